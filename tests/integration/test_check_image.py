"""scripts/check-image finds what would be missing on the device: one thing broken at a time, in a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
UNITS = "board/common/rootfs-overlay/usr/lib/systemd/system"
CM4 = "buildroot-external/configs/ampgate_cm4_defconfig"
QEMU = "buildroot-external/configs/ampgate_qemu_defconfig"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the script looks at."""
    for name in ("board", "buildroot-external", "firmware", "hil/virtual", "scripts"):
        shutil.copytree(TOP / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", tmp_path)
    return tmp_path


def check(top: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, top / "scripts/check-image", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_repository_is_in_order() -> None:
    done = check(TOP)
    assert (done.returncode, done.stderr) == (0, "")


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(top: Path) -> None:
        text = (top / name).read_text()
        assert old in text
        (top / name).write_text(text.replace(old, new, 1))

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda top: (top / name).unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            remove("board/common/rootfs-overlay/usr/share/ampgate/firewall.nft"),
            "ampgate-firewall.service: /usr/share/ampgate/firewall.nft is neither in board/common/rootfs-overlay",
        ),
        (
            replace(f"{UNITS}/ampgate-bms-clock.service", "/usr/sbin/hwclock", "/usr/sbin/clock"),
            "/usr/sbin/clock is neither",
        ),
        (replace(CM4, "BR2_PACKAGE_NFTABLES=y\n", ""), "ampgate_cm4_defconfig has no BR2_PACKAGE_NFTABLES"),
        (replace(QEMU, "BR2_PACKAGE_NFTABLES=y\n", ""), "ampgate_cm4_defconfig has: BR2_PACKAGE_NFTABLES=y"),
        (remove(f"{UNITS}/ampgate-network.service"), "drop-in of a unit that is not there"),
        (remove(f"{UNITS}/ampgate-bms-clock.service"), "ampgate-bms-clock.service is neither among our units"),
        (
            replace("board/common/rootfs-overlay/usr/lib/systemd/system-preset/00-ampgate.preset", "rauc", "rouc"),
            "rouc.service is neither among our units",
        ),
        (replace(CM4, "BR2_PACKAGE_RAUC_DBUS=y\n", ""), "rauc.service is missing from the image"),
        (
            replace(f"{UNITS}/ampgate-events.service", "ampgate.system events", "ampgate.system event"),
            "ampgate.system has no event",
        ),
        (
            replace("firmware/ampgate/demo.py", "from __future__", "import requests\nfrom __future__"),
            "requests is not known",
        ),
        (
            replace("firmware/ampgate/gateway.py", "import logging", "import curses\nimport logging"),
            "curses is missing from the image: ampgate_cm4_defconfig: BR2_PACKAGE_PYTHON3_CURSES",
        ),
        (replace(CM4, "BR2_PACKAGE_PYTHON_RPI_GPIO=y\n", ""), "RPi is missing from the image"),
        (
            replace("buildroot-external/packages/ampgate/Config.in", "select BR2_PACKAGE_PYTHON_SMBUS2", "# "),
            "smbus2 is missing from the image",
        ),
        (replace(CM4, "BR2_PACKAGE_E2FSPROGS=y\n", ""), "mkfs.ext4 is missing from the image"),
        (remove("board/ampgate-cm4/linux.fragment"), "there is no board/ampgate-cm4/linux.fragment"),
        (remove("board/ampgate-cm4/boot.cmd"), "there is no board/ampgate-cm4/boot.cmd"),
        (replace(CM4, "BR2_aarch64=y\n", "BR2_aarch64=y\nBR2_aarch64=y\n"), "BR2_aarch64 a second time"),
        (
            replace("board/common/linux.fragment", "CONFIG_PACKET=y\n", "CONFIG_PACKET y\n"),
            "neither an option nor a comment: CONFIG_PACKET y",
        ),
    ],
)
def test_what_is_broken_is_found(copy: Path, change: Callable[[Path], None], said: str) -> None:
    change(copy)
    done = check(copy)
    assert done.returncode == 1
    assert said in done.stderr


def build_output(top: Path, output: Path) -> None:
    """What a build of the CM4's image leaves, as far as the script looks."""
    board = top / "board"
    parts = {
        "": [top / CM4],
        "build/linux-6.12": [board / "common/linux.fragment", board / "ampgate-cm4/linux.fragment"],
        "build/uboot-2026.01": [board / "ampgate-cm4/uboot.fragment"],
    }
    for directory, files in parts.items():
        (output / directory).mkdir(parents=True, exist_ok=True)
        (output / directory / ".config").write_text("".join(path.read_text() for path in files))


def test_the_output_of_a_build(copy: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    build_output(copy, output)
    done = check(copy, "--output", output)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (".config", ("BR2_PACKAGE_RAUC=y", ""), "BR2_PACKAGE_RAUC=y did not survive: it is gone"),
        (
            "build/linux-6.12/.config",
            ("CONFIG_DM_VERITY=y", "CONFIG_DM_VERITY=m"),
            "board/common/linux.fragment: CONFIG_DM_VERITY=y did not survive: it is m",
        ),
        (
            "build/linux-6.12/.config",
            ("# CONFIG_BT is not set", "CONFIG_BT=y"),
            "board/ampgate-cm4/linux.fragment: CONFIG_BT=n did not survive: it is y",
        ),
        (
            "build/uboot-2026.01/.config",
            ("CONFIG_ENV_OFFSET=0x10000", "CONFIG_ENV_OFFSET=0x0"),
            "CONFIG_ENV_OFFSET=0x10000 did not survive: it is 0x0",
        ),
    ],
)
def test_a_line_that_a_build_dropped(copy: Path, tmp_path: Path, file: str, change: tuple[str, str], said: str) -> None:
    output = tmp_path / "output"
    build_output(copy, output)
    old, new = change
    replace(file, f"{old}\n", f"{new}\n")(output)
    done = check(copy, "--output", output)
    assert done.returncode == 1
    assert said in done.stderr


def test_lines_that_this_computer_overrules(copy: Path, tmp_path: Path) -> None:
    output, config = tmp_path / "output", tmp_path / "mine"
    build_output(copy, output)
    replace(".config", "BR2_cortex_a72=y\n", "BR2_cortex_a53=y\n")(output)
    config.write_text("# BR2_cortex_a72 is not set\nBR2_cortex_a53=y\n")
    done = check(copy, "--output", output, "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    config.write_text("# BR2_cortex_a72 is not set\nBR2_CCACHE=y\n")
    done = check(copy, "--output", output, "--config", config)
    assert done.returncode == 1
    assert "mine: BR2_CCACHE=y did not survive: it is gone" in done.stderr


def test_wrong_use(tmp_path: Path) -> None:
    done = check(TOP, "--buildroot", tmp_path / "none")
    assert done.returncode == 2
    assert "is not a directory" in done.stderr
