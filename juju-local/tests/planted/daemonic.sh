#!/bin/sh
# Starts its daemon itself, without a service manager, and leaves its own output to it.
set -eu
if [ "$JUJU_DISPATCH_PATH" = hooks/start ]; then
    sleep 1000 &
fi
status-set active ready
