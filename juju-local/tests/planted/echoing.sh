#!/bin/sh
# Answers the echo of its own write with another write.
set -eu
case $JUJU_DISPATCH_PATH in
hooks/config-changed | hooks/peers-relation-changed)
    count=$(relation-get -r "$(relation-ids peers)" --app count echoing)
    relation-set -r "$(relation-ids peers)" --app "count=$((${count:-0} + 1))"
    ;;
esac
status-set active ready
