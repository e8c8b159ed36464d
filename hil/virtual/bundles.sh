#!/usr/bin/env bash
# Updates for the tests: bundles.sh BUILD VERSION. Makes BUILD/bundles/{newer,unsigned,stranger,older,broken,dead}.raucb:
# a newer system, the same unsigned and signed by someone else, an older one, a newer one whose gateway cannot start, and
# one that does not start at all.
set -euo pipefail
build=$1 version=$2
here=$(cd "$(dirname "$0")" && pwd)
compatible=ampgate-qemu-virt
bundles=$build/bundles
work=$build/bundling
trap 'rm -rf "$work"' EXIT
rm -rf "$bundles" "$work"
mkdir -p "$bundles" "$work/content"

bundle() { # NAME VERSION KEYS
    rm -f "$bundles/$1.raucb"
    cat >"$work/content/manifest.raucm" <<EOF
[update]
compatible=$compatible
version=$2

[bundle]
format=verity

[image.rootfs]
filename=system.ext4
EOF
    rauc --cert="$3/signer.pem" --key="$3/signer.key" --keyring="$3/keyring.pem" \
        bundle "$work/content" "$bundles/$1.raucb" >/dev/null
    echo "$1: ampgate $2, $(du -h "$bundles/$1.raucb" | cut -f1)"
}

"$here/../../scripts/signing-keys" "$work/stranger" >/dev/null
newer=${version%.*}.$((${version##*.} + 1))
VERSION=$newer "$here/system.sh" "$build" "$newer" "$work/content/system.ext4"
bundle newer "$newer" "$build/keys"
bundle stranger "$newer" "$work/stranger"
# A bundle's last 8 bytes are the length of its signature: none.
cp "$bundles/newer.raucb" "$bundles/unsigned.raucb"
signature=$(tail -c 8 "$bundles/newer.raucb" | od -An -tu8 --endian=big | tr -d ' ')
truncate -s "-$((signature + 8))" "$bundles/unsigned.raucb"
printf '\0\0\0\0\0\0\0\0' >>"$bundles/unsigned.raucb"
debugfs -w -R "rm /usr/bin/ampgate" "$work/content/system.ext4" 2>/dev/null
bundle broken "$newer" "$build/keys"
debugfs -w -R "rm /usr/lib/systemd/systemd" "$work/content/system.ext4" 2>/dev/null
bundle dead "$newer" "$build/keys"
# What is in it does not matter: it must not be installed.
truncate -s 1M "$work/content/system.ext4"
bundle older 0.0.0 "$build/keys"
