################################################################################
#
# ampgate-bench
#
################################################################################

AMPGATE_BENCH_SITE = $(AMPGATE_TOP)/hil/virtual
AMPGATE_BENCH_SITE_METHOD = local
AMPGATE_BENCH_LICENSE = Apache-2.0
AMPGATE_BENCH_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	--include='/world.c' --include='/initramfs/***' --exclude='*'

define AMPGATE_BENCH_BUILD_CMDS
	$(TARGET_CC) $(TARGET_CFLAGS) $(TARGET_LDFLAGS) -std=gnu11 -Wall -Wextra -Wno-unused-result \
		$(@D)/world.c -o $(@D)/world
endef

# The shell takes the place of the log-in that systemd offers on the kernel's console.
define AMPGATE_BENCH_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 644 $(AMPGATE_BENCH_PKGDIR)/bench-console.service \
		$(TARGET_DIR)/usr/lib/systemd/system/bench-console.service
	$(INSTALL) -D -m 644 $(AMPGATE_BENCH_PKGDIR)/00-ampgate-bench.preset \
		$(TARGET_DIR)/usr/lib/systemd/system-preset/00-ampgate-bench.preset
	$(INSTALL) -d $(TARGET_DIR)/etc/systemd/system-generators
	ln -sf /dev/null $(TARGET_DIR)/etc/systemd/system-generators/systemd-getty-generator
endef

# When all that goes into it is installed.
define AMPGATE_BENCH_INSTALL_INITRD
	$(AMPGATE_BENCH_PKGDIR)/initrd $(TARGET_DIR) $(AMPGATE_BENCH_DIR) $(TARGET_READELF) $(TARGET_DIR)/boot/initrd
endef
AMPGATE_BENCH_TARGET_FINALIZE_HOOKS += AMPGATE_BENCH_INSTALL_INITRD

$(eval $(generic-package))
