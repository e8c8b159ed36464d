# The device's image, built with Buildroot (docs/building.md). The Makefile includes this file.

BOARD ?= ampgate-cm4
BUILDROOT ?=
IMAGE = $(abspath build/image/$(BOARD))
# Keys of this build when none are named, good for development.
KEYS ?=
# More lines for the configuration: a mirror, a compiler cache (docs/building.md).
IMAGE_CONFIG ?=

# The one whose scripts are called for this board.
DEFCONFIG = $(shell grep -lxF 'BR2_ROOTFS_POST_SCRIPT_ARGS="$(BOARD)"' buildroot-external/configs/*_defconfig)
IMAGE_VERSION = $(or $(VERSION),$(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' firmware/ampgate/__init__.py))
# Buildroot, Linux and U-Boot have variables of these names, too.
buildroot = env -u MAKEFLAGS -u MFLAGS -u BOARD -u VERSION -u KEYS \
	$(if $(KEYS),AMPGATE_KEYS="$(abspath $(KEYS))") AMPGATE_IMAGE_VERSION=$(IMAGE_VERSION) $(MAKE) --no-print-directory -C "$(BUILDROOT)" O="$(IMAGE)" \
	BR2_EXTERNAL="$(abspath buildroot-external)"

.PHONY: image image-config bundle sbom legal-info checked-buildroot

image: image-config ## build the image of a device with Buildroot (BUILDROOT=../buildroot BOARD=qemu-virt)
	@rm -rf "$(IMAGE)"/build/ampgate-*
	@scripts/image-progress "$(IMAGE)" $(buildroot) all
	@"$(IMAGE)/host/bin/python3" scripts/check-image --output "$(IMAGE)" $(if $(IMAGE_CONFIG),--config "$(IMAGE_CONFIG)")
	@ls -sh "$(IMAGE)/images/disk.img" "$(IMAGE)/images/rootfs.squashfs"

image-config: $(IMAGE)/.config ## only make the configuration; other targets of Buildroot: image-menuconfig, ...

$(IMAGE)/.config: $(DEFCONFIG) $(IMAGE_CONFIG) $(wildcard buildroot-external/packages/*/Config.in) buildroot-external/buildroot.lock | checked-buildroot
	@mkdir -p $(IMAGE)
	@cat $(DEFCONFIG) $(IMAGE_CONFIG) > $(IMAGE)/defconfig
	@$(buildroot) BR2_DEFCONFIG=$(IMAGE)/defconfig defconfig > $(IMAGE)/config.log 2>&1 || { cat $(IMAGE)/config.log >&2; exit 1; }
	@touch $@

bundle: image ## build the image and an update of it, signed (KEYS=directory of scripts/signing-keys, VERSION=1.2.3)
	@PATH="$(IMAGE)/host/bin:$$PATH" scripts/bundle "$(IMAGE)/images/rootfs.squashfs" $(BOARD) $(IMAGE_VERSION) \
		"$(or $(KEYS),$(IMAGE)/keys)" "$(IMAGE)/images/ampgate-$(BOARD)-$(IMAGE_VERSION).raucb"

sbom: image-config ## list what the image is made of (CycloneDX)
	@mkdir -p "$(IMAGE)/images"
	@$(buildroot) -s show-info | "$(BUILDROOT)/utils/generate-cyclonedx" | \
		scripts/sbom requirements.lock $(IMAGE_VERSION) > "$(IMAGE)/sbom.json"
	@mv "$(IMAGE)/sbom.json" "$(IMAGE)/images/ampgate-$(BOARD)-$(IMAGE_VERSION).cdx.json"
	@echo "$(IMAGE)/images/ampgate-$(BOARD)-$(IMAGE_VERSION).cdx.json"

legal-info: image-config ## collect licences and sources of all that is in the image
	@$(buildroot) legal-info

image-%: image-config
	@$(buildroot) $*

checked-buildroot:
	@[ "$(DEFCONFIG)" ] || { echo "there is no board $(BOARD); known are: $$(sed -n \
		's/^BR2_ROOTFS_POST_SCRIPT_ARGS="\(.*\)"/\1/p' buildroot-external/configs/*_defconfig | xargs)" >&2; exit 1; }
	@[ "$(BUILDROOT)" ] || { echo "name the directory of Buildroot $$(sed -n \
		's/^version=//p' buildroot-external/buildroot.lock): make image BUILDROOT=../buildroot (docs/building.md)" >&2; exit 1; }
	@scripts/buildroot "$(BUILDROOT)"
