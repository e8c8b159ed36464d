#!/usr/bin/env bash
# Updates for the tests: bundles.sh BUILD VERSION. Makes BUILD/bundles (hil/bundles.sh) of the next version.
set -euo pipefail
build=$1 version=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$build/bundling
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work"

newer=${version%.*}.$((${version##*.} + 1))
VERSION=$newer "$here/system.sh" "$build" "$newer" "$work/newer.ext4"
cp "$work/newer.ext4" "$work/broken.ext4"
debugfs -w -R "rm /usr/bin/ampgate" "$work/broken.ext4" 2>/dev/null
cp "$work/broken.ext4" "$work/dead.ext4"
debugfs -w -R "rm /usr/lib/systemd/systemd" "$work/dead.ext4" 2>/dev/null
"$here/../bundles.sh" "$work"/{newer,broken,dead}.ext4 qemu-virt "$newer" "$build/keys" "$build/bundles"
