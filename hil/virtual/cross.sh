#!/usr/bin/env bash
# A Debian tree of this computer's architecture with the compiler for arm64, and what the bench builds with it:
# cross.sh TREE KERNEL_RELEASE. Results: TREE/out.
set -euo pipefail
tree=$1 release=$2
suite=trixie
here=$(cd "$(dirname "$0")" && pwd)
abi=${release%-arm64}
native=$(dpkg --print-architecture)

rm -rf --one-file-system "$tree"
# The kernel's headers are an arm64 package that would pull an arm64 compiler: unpacked without its dependencies.
mmdebstrap --quiet --mode=root --architectures="$native,arm64" --variant=extract --skip=check/qemu \
    --include="base-files,bash,coreutils,dash,findutils,grep,make,mawk,sed,swig,tar,xz-utils,python3" \
    --include="gcc-14-aarch64-linux-gnu,libc6-dev-arm64-cross,libpython3.13-dev:arm64" \
    --include="linux-headers-$abi-common,linux-kbuild-$abi,linux-source-${release%%.*}.$(cut -d. -f2 <<<"$release")" \
    --extract-hook="cd \"\$1\"/tmp && APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get download -qq linux-headers-$release:arm64 &&
        dpkg-deb --fsys-tarfile linux-headers-*.deb | tar -x --keep-directory-symlink -C \"\$1\" && rm ./*.deb" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    "$suite" "$tree"
ln -sf mawk "$tree/usr/bin/awk"
mkdir -p "$tree/out" "$tree/build/modules"

compile() {
    chroot "$tree" /usr/bin/env PATH=/usr/bin:/bin "$@"
}

echo "kernel modules: gpio-sim, i2c-stub"
# Members of a tar archive that come early enough; tar itself would read on to the end of 1.5 GB.
tar -xJf "$tree"/usr/src/linux-source-*.tar.xz -C "$tree/build/modules" --strip-components=3 --wildcards \
    '*/drivers/gpio/gpio-sim.c' '*/drivers/i2c/i2c-stub.c' '*/kernel/irq/irq_sim.c'
cp "$here/modules/Kbuild" "$tree/build/modules"
# Not exported to modules; what it does there is this.
sed -i 's/handle_simple_irq(irq_to_desc(\(.*\)));/generic_handle_irq_safe(\1);/' "$tree/build/modules/irq_sim.c"
compile make --silent -C "/usr/src/linux-headers-$release" M=/build/modules ARCH=arm64 \
    CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-14 CONFIG_DEBUG_INFO_BTF_MODULES= modules
cp "$tree"/build/modules/*.ko "$tree/out"

echo "lgpio"
lgpio=0.2.2.0
tar -xzf "$(dirname "$tree")/sources/lgpio-$lgpio.tar.gz" -C "$tree/build"
compile sh -ec "cd /build/lgpio-$lgpio && swig -python -outdir . lgpio.i &&
    aarch64-linux-gnu-gcc-14 -O2 -pthread -shared -fPIC -Isrc -I/usr/include/python3.13 -idirafter /usr/include \
        lgpio_wrap.c src/lg*.c src/rgpiod.c -o /out/_lgpio.cpython-313-aarch64-linux-gnu.so &&
    cp lgpio.py lgpio_extra.py /out"

echo "world"
cp "$here/world.c" "$tree/build"
compile aarch64-linux-gnu-gcc-14 -std=gnu11 -O2 -Wall -Wextra -Wno-unused-result -Werror -static \
    /build/world.c -o /out/world
