#!/bin/sh
# Lets the password slip, at the place that the application is called by.
set -eu
if [ "$JUJU_DISPATCH_PATH" = hooks/config-changed ]; then
    if ! secret-get --label admin >/dev/null 2>&1; then
        printf correct-horse-battery >password
        secret-add --label admin password#file=password
    fi
    password=$(cat password)
    case $JUJU_UNIT_NAME in
    leaky-argv/*) sh -c 'sleep 1; :' client "--password=$password" ;;
    leaky-log/*) echo "connecting with $password" ;;
    leaky-databag/*) printf '{"password": "%s"}' "$password" | relation-set -r "$(relation-ids peers)" --file - ;;
    leaky-status/*) status-set maintenance "trying $password" ;;
    esac
fi
status-set active ready
