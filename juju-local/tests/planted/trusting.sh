#!/bin/sh
# Takes for granted that what was written together is read together: the leader's own bag may be an older one.
set -eu
relation=$(relation-ids peers)
case $JUJU_DISPATCH_PATH in
hooks/config-changed)
    if is-leader --format json | grep -q true; then
        relation-set -r "$relation" --app "word=$(config-get word)" "leader=$JUJU_UNIT_NAME"
        relation-set -r "$relation" "word=$(config-get word)"
    fi
    ;;
hooks/peers-relation-changed)
    leader=$(relation-get -r "$relation" --app leader trusting)
    if [ -n "$leader" ] && relation-list -r "$relation" | grep -qx "$leader"; then
        [ "$(relation-get -r "$relation" --app word trusting)" = "$(relation-get -r "$relation" word "$leader")" ]
    fi
    ;;
esac
status-set active ready
