################################################################################
#
# ampgate
#
################################################################################

AMPGATE_VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' $(AMPGATE_TOP)/firmware/ampgate/__init__.py)
AMPGATE_SITE = $(AMPGATE_TOP)
AMPGATE_SITE_METHOD = local
AMPGATE_LICENSE = Apache-2.0
AMPGATE_LICENSE_FILES = LICENSE
AMPGATE_SETUP_TYPE = hatch

# Nothing of the repository but the package's source.
AMPGATE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	--exclude='__pycache__' --include='/firmware/***' --include='/pyproject.toml' \
	--include='/README.md' --include='/LICENSE' --exclude='*'

# A module that is gone from the source is gone from the device; and Buildroot's installer takes offence at the command
# of an earlier build, whose record is among what is removed here.
define AMPGATE_REMOVE_INSTALLED
	rm -rf $(TARGET_DIR)/usr/lib/python$(PYTHON3_VERSION_MAJOR)/site-packages/ampgate* $(TARGET_DIR)/usr/bin/ampgate
endef
AMPGATE_PRE_INSTALL_TARGET_HOOKS += AMPGATE_REMOVE_INSTALLED

$(eval $(python-package))
