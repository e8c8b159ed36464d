#!/bin/sh
# Completes the root file system, as Buildroot's post-build script: post-build.sh TARGET_DIR BOARD
# AMPGATE_KEYS names the directory of scripts/signing-keys; without it this build has keys of its own, made the first time.
# AMPGATE_IMAGE_VERSION is another version than that of the package, to try updates.
set -eu
target=$1
board=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
keys=${AMPGATE_KEYS:-$BASE_DIR/keys}

if [ -z "${AMPGATE_KEYS:-}" ] && [ ! -e "$keys/keyring.pem" ]; then
    "$top/scripts/signing-keys" "$keys"
fi
install -D -m 644 "$keys/keyring.pem" "$target/etc/rauc/keyring.pem"
VERSION=${AMPGATE_IMAGE_VERSION:-} "$top/scripts/identity" "$target" "$board"

# One file instead of a directory that is searched at each connection.
ln -sf certs/ca-certificates.crt "$target/etc/ssl/cert.pem"

# Nobody on the device reads, compiles or tests.
site=$(echo "$target"/usr/lib/python3.*)
find "$site" -type d \( -name test -o -name tests -o -name idlelib -o -name ensurepip -o -name turtledemo \) -prune -exec rm -rf {} +
rm -rf "$target"/etc/init.d "$target"/usr/share/bash-completion "$target"/usr/share/zsh
