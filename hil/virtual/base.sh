#!/usr/bin/env bash
# Debian arm64 packages as a tree that boots: base.sh TREE. Nothing of the packages runs (no emulation needed), so what
# their installation scripts would have done and this system needs is done here.
set -euo pipefail
tree=$1
suite=trixie
packages=$(sed 's/#.*//' "$(dirname "$0")/packages.txt" | xargs | tr ' ' ',')

rm -rf --one-file-system "$tree"
mmdebstrap --quiet --mode=root --architectures=arm64 --variant=extract --skip=check/qemu --include="?essential" --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/lib/linux-image-*' \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    "$suite" "$tree"

cp -n "$tree"/usr/share/base-passwd/passwd.master "$tree"/etc/passwd
cp -n "$tree"/usr/share/base-passwd/group.master "$tree"/etc/group
ln -sf mawk "$tree"/usr/bin/awk
# A console without a password is the bench's, not the product's.
sed -i 's/^root:[^:]*:/root::/' "$tree"/etc/passwd
for kind in account auth password session session-noninteractive; do
    echo "${kind%%-*} required pam_permit.so" >"$tree/etc/pam.d/common-$kind"
done
# `u!` of systemd 257 is unknown to an older systemd-sysusers on this computer.
sed -i 's/^\([ug]\)!/\1/' "$tree"/usr/lib/sysusers.d/*.conf

# What update-ca-certificates makes, of which OpenSSL reads this file.
install -d "$tree"/etc/ssl/certs
cat "$tree"/usr/share/ca-certificates/mozilla/*.crt >"$tree"/etc/ssl/certs/ca-certificates.crt

ldconfig -r "$tree" 2>/dev/null
# Without use on a machine of which every part is known.
rm -rf "$tree"/usr/lib/udev/hwdb.d "$tree"/usr/share/{bash-completion,bug,lintian,zsh} "$tree"/usr/lib/python3.13/test \
    "$tree"/usr/lib/aarch64-linux-gnu/gconv "$tree"/usr/share/perl* "$tree"/usr/lib/aarch64-linux-gnu/perl*

# Only the drivers that this machine can have.
release=$(basename "$tree"/usr/lib/modules/*)
modules=$tree/usr/lib/modules/$release
keep='crypto lib arch fs/ext4 fs/jbd2 fs/mbcache.ko.xz fs/fat fs/nls fs/squashfs fs/configfs fs/autofs fs/fuse drivers/block
    drivers/md drivers/char drivers/virtio drivers/net/virtio_net.ko.xz drivers/net/net_failover.ko.xz
    net/core net/802 net/ipv4 net/ipv6 net/netfilter drivers/i2c drivers/watchdog drivers/rtc drivers/gpio'
mv "$modules/kernel" "$modules/all"
for part in $keep; do
    [ -e "$modules/all/$part" ] || continue
    mkdir -p "$modules/kernel/$(dirname "$part")"
    mv "$modules/all/$part" "$modules/kernel/$part"
done
rm -rf "$modules/all"
rm -f "$tree"/boot/System.map-*
mv "$tree/boot/vmlinuz-$release" "$tree/boot/Image"
mv "$tree/boot/config-$release" "$tree/boot/config"
echo "$tree: $(du -sh "$tree" | cut -f1), Linux $release"
