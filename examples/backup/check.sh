#!/bin/sh
# usage: check.sh ARCHIVE   reads all of it, and counts what is in it
set -eu
list=$(mktemp)
trap 'rm -f "$list"' EXIT
tar -tzf "$1" >"$list"
printf '{"files": %d}\n' "$(grep -cv '/$' "$list")"
