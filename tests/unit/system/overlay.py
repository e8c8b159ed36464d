"""Where the files of the device's root file system are."""

from pathlib import Path

TOP = Path(__file__).parents[3]
OVERLAY = TOP / "board/common/rootfs-overlay"
UNITS = OVERLAY / "usr/lib/systemd/system"
