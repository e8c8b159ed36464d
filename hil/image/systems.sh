#!/usr/bin/env bash
# Other versions of an image's system: systems.sh IMAGE VERSION DIRECTORY
# Makes DIRECTORY/{newer,broken,dead}.squashfs of IMAGE: one of that version, the same without its gateway, and without init.
set -euo pipefail
image=$1 version=$2 directory=$3
top=$(cd "$(dirname "$0")/../.." && pwd)
tree=$directory/tree
trap 'rm -rf "$tree"' EXIT
rm -rf "$directory"
mkdir -p "$directory"

pack() {
    mksquashfs "$tree" "$directory/$1.squashfs" -noappend -no-progress -quiet -comp zstd -b 256K >/dev/null
}

unsquashfs -quiet -no-progress -dest "$tree" "$image" >/dev/null
VERSION=$version "$top/scripts/identity" "$tree" qemu-virt
pack newer
rm "$tree/usr/bin/ampgate"
pack broken
rm "$tree/usr/lib/systemd/systemd"
pack dead
