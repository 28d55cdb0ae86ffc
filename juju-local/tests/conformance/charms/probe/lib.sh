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

# The pipes to the agent: what a command says itself goes to a file.
exec 3>&1 4>&2

# about: what the environment says about this event.
about() {
  environ | grep -E '^JUJU_(HOOK_NAME|DISPATCH_PATH|RELATION|REMOTE|DEPARTING|ACTION|STORAGE|SECRET|PRINCIPAL|CONTEXT)'
}

# ended: says that the plan has come to its end, for one that will not.
ended() { echo "probe $plan end" >&3; }

# pause: until the test has seen that the hook is here.
pause() {
  touch /tmp/here
  for _ in $(seq 100); do
    [ ! -e /tmp/go ] || break
    sleep 0.1
  done
  rm -f /tmp/go /tmp/here
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
  [ -z "${JUJU_SECRET_ID:-}" ] || said="$said ${JUJU_SECRET_LABEL:+label=}$JUJU_SECRET_LABEL${JUJU_SECRET_REVISION:+ revision=$JUJU_SECRET_REVISION}"
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
