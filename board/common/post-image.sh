#!/bin/sh
# Makes the disk image, as Buildroot's post-image script: post-image.sh BINARIES_DIR BOARD
# Takes the tools of HOST_DIR. Without SYSTEM, genimage.cfg says which file goes into slot A.
set -eu
images=$1
board=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"

"$HOST_DIR/bin/mkimage" -A arm64 -T script -C none -n "ampgate boot" -d "$top/board/$board/boot.cmd" "$images/boot.scr" >/dev/null
"$HOST_DIR/bin/genimage" --loglevel 0 --config "$top/board/$board/genimage.cfg" \
    --rootpath "$work/empty" --tmppath "$work/tmp" --inputpath "$images" --outputpath "$images"
