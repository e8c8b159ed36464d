#!/bin/sh
# Makes the disk image, as Buildroot's post-image script: post-image.sh BINARIES_DIR BOARD
set -eu
images=$1
board=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
SYSTEM=rootfs.squashfs "$HOST_DIR/bin/genimage" --loglevel 1 --config "$top/board/$board/genimage.cfg" \
    --rootpath "$work/empty" --tmppath "$work/tmp" --inputpath "$images" --outputpath "$images"
