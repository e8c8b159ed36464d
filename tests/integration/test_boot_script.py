"""The boot scripts of all boards choose and count alike.

U-Boot's shell is close enough to sh to run them there, with the commands that U-Boot has beyond it as functions.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest

BOARDS = Path(__file__).resolve().parents[2] / "board"
VARIABLES = ("BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT", "ampgate_factory_reset")
COMMANDS = """
setenv() { name=$1; shift; eval "$name=\\$*"; }
setexpr() { eval "$1=$(($2 $3 $4))"; }
load() { loaded="$loaded $1 $2 ${4#/boot/}"; }
fdt() { :; }
virtio() { :; }
restore() { BOOT_ORDER=$stored_order BOOT_A_LEFT=$stored_a BOOT_B_LEFT=$stored_b ampgate_factory_reset=$stored_reset; }
saveenv() { echo "saved $BOOT_ORDER|$BOOT_A_LEFT|$BOOT_B_LEFT|$ampgate_factory_reset"; }
env() { case $1 in import) restore; test -n "$stored_order";; export) saveenv;; esac; }
booti() { echo "booted$loaded with $bootargs"; exit; }
reset() { echo "reset"; exit; }
restore
"""


def start(board: str, order: str, a: str, b: str, reset: str = "") -> dict[str, str]:
    """What the script did, by its first word."""
    script = COMMANDS + (BOARDS / board / "boot.cmd").read_text()
    stored = {"stored_order": order, "stored_a": a, "stored_b": b, "stored_reset": reset, "fdtfile": "some.dtb"}
    stored |= dict.fromkeys(("kernel_addr_r", "ramdisk_addr_r", "fdt_addr_r", "pxefile_addr_r"), "100000")
    done = subprocess.run(["sh", "-e"], input=script, env=stored, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def choice(order: str, left: dict[str, int]) -> str:
    """The slot that is due, as docs/device.md#updates says; none when the tries are used up."""
    return next((slot for slot in order.split() if left[slot] > 0), "")


@pytest.fixture(params=sorted(path.parent.name for path in BOARDS.glob("*/boot.cmd")))
def board(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_first_slot_with_tries_left_and_one_try_less(board: str) -> None:
    for order, a, b in itertools.product(("A B", "B A", "A", "B"), range(4), range(4)):
        said = start(board, order, str(a), str(b))
        left = {"A": a, "B": b}
        slot = choice(order, left)
        if slot:
            left[slot] -= 1
            assert said["saved"] == f"{order}|{left['A']}|{left['B']}|"
            assert f"rauc.slot={slot}" in said["booted"].split()
            assert f"root=PARTLABEL=root{slot}" in said["booted"].split()
            part = {"A": "0:2", "B": "0:3"}[slot]
            assert f"{part} Image" in said["booted"]
            assert {"A": "0:3", "B": "0:2"}[slot] not in said["booted"]
        else:
            assert said["saved"] == f"{order}|3|3|"
            assert "booted" not in said
            assert "reset" in said


def test_without_a_boot_state_slot_a_starts(board: str) -> None:
    said = start(board, "", "", "")
    assert said["saved"] == "A B|2|3|"
    assert "rauc.slot=A" in said["booted"]


def test_a_pending_factory_reset_is_kept(board: str) -> None:
    assert start(board, "A B", "3", "3", reset="1")["saved"] == "A B|2|3|1"


def test_the_device_tree_comes_from_the_slot() -> None:
    said = start("ampgate-cm4", "B", "3", "3")
    assert "mmc 0:3 some.dtb mmc 0:3 broadcom/ampgate-cm4.dtbo" in said["booted"]
    # The serial port is the EIA-485 bus: the kernel must not talk there.
    assert [word for word in said["booted"].split() if word.startswith("console=")] == ["console=tty1"]


def test_rauc_and_u_boot_read_the_same_tries() -> None:
    """RAUC writes hexadecimal, U-Boot's ``test`` reads decimal: one digit is the same in both."""
    tries = re.findall(r"^boot-attempts.*=(.*)$", (BOARDS / "common/rauc/system.conf.in").read_text(), re.MULTILINE)
    assert len(tries) == 2
    assert all(re.fullmatch("[1-9]", number) for number in tries)
