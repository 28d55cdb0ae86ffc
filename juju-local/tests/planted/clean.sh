#!/bin/sh
# A charm without a bug: what the strict watch must say nothing of.
set -eu
case $JUJU_DISPATCH_PATH in
hooks/leader-elected)
    if ! secret-get --label admin >/dev/null 2>&1; then
        (umask 077 && head -c 12 /dev/urandom | base64 >password)
        secret-add --label admin password#file=password
    fi
    ;;
hooks/start)
    systemctl is-active --quiet worker || systemd-run --quiet --unit worker sleep infinity
    ;;
hooks/config-changed | hooks/peers-relation-changed)
    for relation in $(relation-ids peers); do
        relation-set -r "$relation" "word=$(config-get word)"
        if is-leader --format json | grep -q true; then
            relation-set -r "$relation" --app "word=$(config-get word)"
        fi
    done
    ;;
esac
status-set active ready
