#!/bin/sh
# usage: rotate.sh N   keeps the newest N archives
set -eu
# The names are ours and have no spaces.
# shellcheck disable=SC2012
old=$(ls -1t out/backup-*.tar.gz | tail -n "+$(($1 + 1))")
for archive in $old; do rm -f -- "$archive"; done
printf '{"kept": %d}\n' "$(find out -maxdepth 1 -name 'backup-*.tar.gz' | wc -l)"
