#!/bin/sh
# Counts its runs where others can see it, and so is another one after each retry.
set -eu
if [ "$JUJU_DISPATCH_PATH" = hooks/config-changed ]; then
    count=$(relation-get -r "$(relation-ids peers)" count "$JUJU_UNIT_NAME")
    relation-set -r "$(relation-ids peers)" "count=$((${count:-0} + 1))"
fi
status-set active ready
