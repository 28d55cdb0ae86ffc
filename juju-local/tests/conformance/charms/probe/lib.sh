# What the probe's hooks and commands from outside share.

# run NUMBER COMMAND: runs it in this shell, and prints each line of what it says under its number.
run() {
  eval "$2" >/tmp/said.$$ 2>/tmp/complained.$$
  code=$?
  sed "s|^|probe $plan $1 |" /tmp/said.$$
  if [ -s /tmp/said.$$ ] && [ -n "$(tail -c 1 /tmp/said.$$)" ]; then
    echo
    echo "probe $plan $1 \\ no newline"
  fi
  sed "s|^|probe $plan $1 ! |" /tmp/complained.$$
  [ "$code" = 0 ] || echo "probe $plan $1 exit $code"
  rm -f /tmp/said.$$ /tmp/complained.$$
}

# environ: the environment that the agent has given, untouched by the shell.
environ() { tr '\0' '\n' </proc/$$/environ | sort; }

# event: names the event and what it is about, and carries out its plan, once.
event() {
  name=${JUJU_DISPATCH_PATH##*/}
  unit=${JUJU_UNIT_NAME%/*}-${JUJU_UNIT_NAME##*/}
  about=${JUJU_REMOTE_UNIT:-$JUJU_REMOTE_APP}
  said=$name
  [ -z "$JUJU_ACTION_NAME" ] || said="action $name"
  [ -z "$about" ] || said="$said $about"
  [ -z "${JUJU_DEPARTING_UNIT:-}" ] || said="$said departing=$JUJU_DEPARTING_UNIT"
  [ -z "${JUJU_STORAGE_ID:-}" ] || said="$said $JUJU_STORAGE_ID"
  [ -z "${JUJU_SECRET_ID:-}" ] || said="$said label=$JUJU_SECRET_LABEL${JUJU_SECRET_REVISION:+ revision=$JUJU_SECRET_REVISION}"
  [ ! -f version ] || said="$said by $(cat version)"
  echo "probe event $said"
  home=/var/lib/probe/$unit
  mkdir -p "$home/done"
  about=$(echo "$about" | tr / -)
  for file in "$home/plan/$name" "$home/plan/$name@$about" "plan/$unit.$name"; do
    [ -f "$file" ] || continue
    plan="plan $(sed -n '1s/^# //p' "$file")"
    [ ! -e "$home/done/${plan#plan }" ] || continue
    : >"$home/done/${plan#plan }"
    . "$file"
  done
}
