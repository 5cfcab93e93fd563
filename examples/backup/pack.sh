#!/bin/sh
# usage: pack.sh FOLDER   packs it into out/backup-RUN.tar.gz
set -eu
mkdir -p out
archive="$PWD/out/backup-$WINDLASS_RUN.tar.gz"
tar --exclude=./out -czf "$archive.part" -C "$1" .
mv "$archive.part" "$archive"
printf '{"archive": "%s"}\n' "$archive"
