#!/usr/bin/env bash
# The initramfs: initramfs.sh SYSTEM CROSS FILE. BusyBox, the world, and the drivers up to the root file system.
set -euo pipefail
system=$1 cross=$2 file=$3
here=$(cd "$(dirname "$0")" && pwd)
release=$(basename "$system"/usr/lib/modules/*)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree"/{bin,dev,lib/modules,mnt,proc,sys}
cp "$system/usr/bin/busybox" "$cross/out/world" "$tree/bin"
ln -s busybox "$tree/bin/sh"
cp "$here/initramfs/init" "$tree/init"
load() { # MODULE [ARGUMENTS]: with what it depends on, each once, in order
    local name=$1 kind path
    shift
    while read -r kind path _; do
        if [ "$kind" != insmod ] || [ -e "$tree/lib/modules/$(basename "$path" .xz)" ]; then
            continue
        fi
        case $path in
        *.xz) xz -dc "$path" >"$tree/lib/modules/$(basename "$path" .xz)" ;;
        *) cp "$path" "$tree/lib/modules" ;;
        esac
        if [ "$(basename "$path" | sed 's/\.ko.*//')" = "$name" ]; then
            echo "$(basename "$path" .xz) $*"
        else
            basename "$path" .xz
        fi
    done < <(modprobe -d "$system" -S "$release" --show-depends "$name")
}
{
    load virtio_blk
    load ext4
    load virtio_net
    load virtio_console
    load gpio_sim
    load i2c-dev
    load i2c-stub chip_addr=0x20
} >"$tree/modules"
(cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$file"
