#!/bin/sh
# Writes to its peers in install, when there is no relation yet.
set -eu
if [ "$JUJU_DISPATCH_PATH" = hooks/install ]; then
    relation-set -r "$(relation-ids peers)" ready=yes
fi
status-set active ready
