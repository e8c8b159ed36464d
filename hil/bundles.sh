#!/usr/bin/env bash
# Updates for the tests: bundles.sh NEWER BROKEN DEAD BOARD VERSION KEYS DIRECTORY
# Makes DIRECTORY/{newer,unsigned,stranger,older,broken,dead}.raucb of three images of systems: a newer one, one whose
# gateway cannot start, and one that does not start at all. VERSION is theirs, KEYS those that the device trusts.
set -euo pipefail
newer=$1 broken=$2 dead=$3 board=$4 version=$5 keys=$6 bundles=$7
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$bundles"
mkdir -p "$bundles"

"$top/scripts/bundle" "$newer" "$board" "$version" "$keys" "$bundles/newer.raucb"
"$top/scripts/signing-keys" "$work/stranger" >/dev/null
"$top/scripts/bundle" "$newer" "$board" "$version" "$work/stranger" "$bundles/stranger.raucb"
# A bundle's last 8 bytes are the length of its signature: none.
cp "$bundles/newer.raucb" "$bundles/unsigned.raucb"
signature=$(tail -c 8 "$bundles/newer.raucb" | od -An -tu8 --endian=big | tr -d ' ')
truncate -s "-$((signature + 8))" "$bundles/unsigned.raucb"
printf '\0\0\0\0\0\0\0\0' >>"$bundles/unsigned.raucb"
"$top/scripts/bundle" "$broken" "$board" "$version" "$keys" "$bundles/broken.raucb"
"$top/scripts/bundle" "$dead" "$board" "$version" "$keys" "$bundles/dead.raucb"
# What is in it does not matter: it must not be installed.
head -c 1M "$newer" >"$work/older.${newer##*.}"
"$top/scripts/bundle" "$work/older.${newer##*.}" "$board" 0.0.0 "$keys" "$bundles/older.raucb"
