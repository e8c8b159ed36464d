#!/usr/bin/env bash
# A Debian tree of this computer's architecture with the compiler for arm64 and the kernel's headers:
# cross.sh TREE KERNEL_RELEASE
set -euo pipefail
tree=$1 release=$2
suite=trixie
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
