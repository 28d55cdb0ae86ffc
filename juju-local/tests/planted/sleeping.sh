#!/bin/sh
# Waits in a hook for another unit. Here it is on the same machine, and waits for this hook's end.
set -eu
if [ "$JUJU_DISPATCH_PATH" = hooks/start ]; then
    until [ -n "$(relation-list -r "$(relation-ids peers)")" ]; do
        sleep 1
    done
fi
status-set active ready
