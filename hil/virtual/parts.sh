#!/usr/bin/env bash
# What the bench compiles for arm64: simulated hardware, the world around it, lgpio: parts.sh TREE KERNEL_RELEASE SOURCES
# TREE is the one of cross.sh; results in TREE/out.
set -euo pipefail
tree=$1 release=$2 sources=$3
here=$(cd "$(dirname "$0")" && pwd)

rm -rf "$tree/out" "$tree/build"
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
tar -xzf "$sources/lgpio-$lgpio.tar.gz" -C "$tree/build"
compile sh -ec "cd /build/lgpio-$lgpio && swig -python -outdir . lgpio.i &&
    aarch64-linux-gnu-gcc-14 -O2 -pthread -shared -fPIC -Isrc -I/usr/include/python3.13 -idirafter /usr/include \
        lgpio_wrap.c src/lg*.c src/rgpiod.c -o /out/_lgpio.cpython-313-aarch64-linux-gnu.so &&
    cp lgpio.py lgpio_extra.py /out"

echo "world"
cp "$here/world.c" "$tree/build"
compile aarch64-linux-gnu-gcc-14 -std=gnu11 -O2 -Wall -Wextra -Wno-unused-result -Werror -static \
    /build/world.c -o /out/world
