# U-Boot script: takes the first slot of BOOT_ORDER that has tries left, and counts one down (RAUC sets them again).
# U-Boot's own environment is not reachable from Linux on this machine; these variables live where fw_env.config says.
setenv boot_state ${pxefile_addr_r}
setenv BOOT_ORDER
virtio read ${boot_state} 80 8
env import -c ${boot_state} 1000 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT ampgate_factory_reset || echo "boot state: none, starting with defaults"
if test -z "${BOOT_ORDER}"; then
    setenv BOOT_ORDER "A B"
    setenv BOOT_A_LEFT 3
    setenv BOOT_B_LEFT 3
fi

setenv slot
for candidate in ${BOOT_ORDER}; do
    if test -z "${slot}"; then
        if test "${candidate}" = "A" && test "${BOOT_A_LEFT}" -gt 0; then
            setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
            setenv slot A
            setenv part 2
        elif test "${candidate}" = "B" && test "${BOOT_B_LEFT}" -gt 0; then
            setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
            setenv slot B
            setenv part 3
        fi
    fi
done
if test -z "${slot}"; then
    echo "no slot has tries left: starting over"
    setenv BOOT_A_LEFT 3
    setenv BOOT_B_LEFT 3
fi
env export -c -s 1000 ${boot_state} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT ampgate_factory_reset
virtio write ${boot_state} 80 8

if test -n "${slot}"; then
    echo "slot ${slot}, tries left: A ${BOOT_A_LEFT}, B ${BOOT_B_LEFT}"
    setenv bootargs "console=ttyAMA0 net.ifnames=0 panic=5 TERM=dumb systemd.condition_needs_update=no root=PARTLABEL=root${slot} ro rauc.slot=${slot}"
    load virtio 0:${part} ${kernel_addr_r} /boot/Image
    load virtio 0:${part} ${ramdisk_addr_r} /boot/initrd
    booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
fi
reset
