#!/usr/bin/env bash
# The disk: boot partition, the system in slot A, nothing in slot B, an empty data partition: disk.sh DIRECTORY
# DIRECTORY holds system.ext4 and gets disk.img.
set -euo pipefail
directory=$1
board=$(cd "$(dirname "$0")/../../board/qemu-virt" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
mkimage -q -A arm64 -T script -C none -n "ampgate boot" -d "$board/boot.cmd" "$directory/boot.scr" >/dev/null
genimage --loglevel 0 --config "$board/genimage.cfg" --rootpath "$work/empty" --tmppath "$work/tmp" \
    --inputpath "$directory" --outputpath "$work/out"
mv "$work/out/disk.img" "$directory/disk.img"
echo "$directory/disk.img: $(du -h "$directory/disk.img" | cut -f1) of $(du -h --apparent-size "$directory/disk.img" | cut -f1)"
