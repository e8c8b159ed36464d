#!/usr/bin/env bash
# The system of one slot: base tree + overlay + board files + Python packages, as an ext4 image:
# system.sh BUILD VERSION IMAGE
# The tree is put together inside the cross tree, whose Python compiles the modules.
set -euo pipefail
build=$1 version=$2 image=$3
base=$build/base cross=$build/cross
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/hil/virtual
board=$root/board/qemu-virt
tree=$cross/system
release=$(basename "$base"/usr/lib/modules/*)

rm -rf --one-file-system "$tree"
cp -a "$base" "$tree"

# The simulated hardware. Debug information is not for the device.
extra=$tree/usr/lib/modules/$release/extra
mkdir -p "$extra"
for module in "$cross"/out/*.ko; do
    chroot "$cross" /usr/bin/aarch64-linux-gnu-strip -g -o "/system${extra#"$tree"}/$(basename "$module")" \
        "/out/$(basename "$module")"
done
depmod -b "$tree" "$release"

# What the product is.
cp -a --no-preserve=ownership "$root/board/common/rootfs-overlay/." "$tree"
cp -a --no-preserve=ownership "$board/rootfs-overlay/." "$tree"
find "$tree" -name .gitkeep -delete
VERSION=$version "$root/scripts/identity" "$tree" qemu-virt
install -D -m 644 "$build/keys/keyring.pem" "$tree/etc/rauc/keyring.pem"

# Its Python packages; the ones of the lock that are there as wheels, and ampgate itself.
site=$tree/usr/lib/python3/dist-packages
for wheel in "$build"/wheels/*.whl; do
    unzip -q -o "$wheel" -d "$site"
done
cp "$cross"/out/*lgpio* "$site"
cat >"$tree/usr/bin/ampgate" <<'SCRIPT'
#!/usr/bin/python3 -I
import sys

from ampgate.cli import main

sys.exit(main())
SCRIPT
chmod 755 "$tree/usr/bin/ampgate"
echo "compiling Python modules"
chroot "$cross" /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /system \
    /system/usr/lib/python3.13 /system/usr/lib/python3/dist-packages >/dev/null || true

systemd-sysusers --root="$tree" >/dev/null 2>&1
sed -i 's/^root:[^:]*:/root::/' "$tree/etc/shadow"
systemctl --root="$tree" --quiet preset-all
# Not in this kernel, or no use here.
systemctl --root="$tree" --quiet mask proc-sys-fs-binfmt_misc.automount systemd-binfmt.service getty@tty1.service \
    systemd-logind.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
# A console for the tests, without a password.
install -d "$tree/etc/systemd/system/serial-getty@ttyAMA0.service.d"
cat >"$tree/etc/systemd/system/serial-getty@ttyAMA0.service.d/autologin.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=-/usr/sbin/agetty --autologin root --keep-baud 115200 %I dumb
UNIT
systemctl --root="$tree" --quiet enable serial-getty@ttyAMA0.service

"$root/board/common/post-fakeroot.sh" "$tree"

# Kernel and initramfs travel in the slot, so that an update changes all or nothing.
"$here/initramfs.sh" "$tree" "$cross" "$tree/boot/initrd"
size=$(du -sm "$tree" | cut -f1)
rm -f "$image"
mke2fs -q -t ext4 -d "$tree" -L "system" -E root_owner=0:0 -m 0 -O ^has_journal "$image" "$((size * 115 / 100 + 16))M"
rm -rf --one-file-system "$tree"
echo "$image: $(du -h --apparent-size "$image" | cut -f1), ampgate $version"
