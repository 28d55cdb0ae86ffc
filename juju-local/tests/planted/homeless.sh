#!/bin/sh
# Takes for granted that somebody has set HOME.
set -eu
echo done >"$HOME/.planted"
status-set active ready
