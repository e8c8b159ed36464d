# U-Boot script: takes the first slot of BOOT_ORDER that has tries left, and counts one down (RAUC sets them again).
# U-Boot has read these variables, and ampgate_factory_reset, from where fw_env.config says; saveenv writes them there.
if test -z "${BOOT_ORDER}"; then
    echo "boot state: none, starting with defaults"
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
saveenv

if test -n "${slot}"; then
    echo "slot ${slot}, tries left: A ${BOOT_A_LEFT}, B ${BOOT_B_LEFT}"
    # The console is the screen: the first serial port is the EIA-485 bus.
    setenv bootargs "console=tty1 net.ifnames=0 panic=5 systemd.condition_needs_update=no root=PARTLABEL=root${slot} rootfstype=squashfs rootwait ro rauc.slot=${slot}"
    # Kernel and device tree come from the slot, so that an update changes all or nothing. U-Boot completes this tree with
    # what the firmware knows (memory, network address, revision of the chip).
    load mmc 0:${part} ${kernel_addr_r} /boot/Image
    load mmc 0:${part} ${fdt_addr_r} /boot/${fdtfile}
    load mmc 0:${part} ${pxefile_addr_r} /boot/broadcom/ampgate-cm4.dtbo
    fdt addr ${fdt_addr_r}
    fdt resize 10000
    fdt apply ${pxefile_addr_r}
    # RPi.GPIO asks for this to know the Raspberry Pi.
    fdt mknode / system
    fdt set /system linux,revision "<${board_revision}>"
    booti ${kernel_addr_r} - ${fdt_addr_r}
fi
reset
