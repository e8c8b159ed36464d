"""The disk image of each board, put together by the real script, and looked into with other tools.

Partitions, boot files, the boot loader's environment, and the carrier's device tree; of what Buildroot builds there are
stand-ins. The images that `make image` has built under build/image are looked into as well.
"""

from __future__ import annotations

import itertools
import os
import re
import struct
import subprocess
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.tools import find, needs

TOP = Path(__file__).resolve().parents[2]
BOARDS = sorted(path.parent.name for path in (TOP / "board").glob("*/genimage.cfg"))
BUILT = {path.parent.parent.name: path.parent for path in sorted(TOP.glob("build/image/*/images/disk.img"))}
BASIC_DATA = uuid.UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
ROOT_ARM64 = uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae")
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
SECTOR = 512


class Partition(NamedTuple):
    name: str
    kind: uuid.UUID
    begin: int
    """Bytes from the beginning of the disk."""
    size: int


class Card(NamedTuple):
    board: str
    inputs: Path
    image: Path

    def read(self, begin: int, size: int) -> bytes:
        with self.image.open("rb") as disk:
            disk.seek(begin)
            return disk.read(size)

    def partitions(self) -> list[Partition]:
        """The primary GPT (UEFI specification, 5.3)."""
        found = []
        header = self.read(SECTOR, 92)
        assert header[:8] == b"EFI PART"
        table, number, size = struct.unpack_from("<QII", header, 72)
        for index in range(number):
            entry = self.read(table * SECTOR + index * size, size)
            kind, first, last = uuid.UUID(bytes_le=entry[:16]), *struct.unpack_from("<QQ", entry, 32)
            if kind.int:
                name = entry[56:128].decode("utf-16-le").rstrip("\0")
                found.append(Partition(name, kind, first * SECTOR, (last + 1 - first) * SECTOR))
        return found

    def boot_file(self, name: str) -> bytes:
        begin = self.partitions()[0].begin
        words = ["mcopy", "-n", "-i", f"{self.image}@@{begin}", f"::{name}", "-"]
        return subprocess.run(words, check=True, capture_output=True).stdout

    def environment(self) -> list[tuple[int, int]]:
        """Offset and size of each copy, as fw_env.config says."""
        config = TOP / "board" / self.board / "rootfs-overlay/etc/fw_env.config"
        lines = [line.split() for line in config.read_text().splitlines() if not line.startswith("#")]
        return [(int(offset, 0), int(size, 0)) for _, offset, size in lines]


def cards(*boards: str) -> list[Any]:
    """Parameters of `card`: of each board the image with stand-ins, and the one that was built."""
    built = [pytest.param((board, BUILT[board]), id=f"{board}, built") for board in boards if board in BUILT]
    return [pytest.param((board, None), id=board) for board in boards] + built


@pytest.fixture(scope="module", params=cards(*BOARDS))
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Card:
    """Made by board/common/post-image.sh."""
    genimage, mkimage, *_ = needs("genimage", "mkimage", "mksquashfs", "mkdosfs", "mke2fs", "mcopy")
    board, built = request.param
    if built:
        return Card(board, built, built / "disk.img")
    inputs = tmp_path_factory.mktemp(board)
    boot = inputs / "root/boot"
    boot.mkdir(parents=True)
    (boot / "Image").write_bytes(os.urandom(100_000))
    squashfs = inputs / "rootfs.squashfs"
    run("mksquashfs", inputs / "root", squashfs, "-quiet", "-no-progress", "-comp", "zstd")
    for name in stand_ins(board):
        (inputs / name).parent.mkdir(exist_ok=True)
        (inputs / name).write_bytes(f"stand-in for {name}".encode())
    if (TOP / "board" / board / "config.txt").exists():
        (inputs / "rpi-firmware/config.txt").write_bytes((TOP / "board" / board / "config.txt").read_bytes())
    tools = inputs / "host/bin"
    tools.mkdir(parents=True)
    (tools / "genimage").symlink_to(genimage)
    (tools / "mkimage").symlink_to(mkimage)
    environment = os.environ | {"HOST_DIR": str(inputs / "host"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    run(TOP / "board/common/post-image.sh", inputs, board, environment=environment)
    return Card(board, inputs, inputs / "disk.img")


def stand_ins(board: str) -> Iterator[str]:
    """What the boot partition takes from the build, but the boot script."""
    text = (TOP / "board" / board / "genimage.cfg").read_text()
    listed = re.search(r"files = \{(.*?)\}", text, re.DOTALL)
    assert listed
    for name in re.findall(r'"(.+?)"', listed[1]):
        if name != "boot.scr":
            yield name


def run(*words: str | Path, environment: dict[str, str] | None = None) -> str:
    program = find(str(words[0]))
    assert program
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_partitions_are_those_of_the_documentation(card: Card) -> None:
    partitions = card.partitions()
    assert [(one.name, one.kind) for one in partitions] == [
        ("boot", BASIC_DATA),
        ("rootA", ROOT_ARM64),
        ("rootB", ROOT_ARM64),
        ("data", LINUX_DATA),
    ]
    _, a, b, data = partitions
    assert a.size == b.size
    assert [one.begin for one in partitions] == sorted(one.begin for one in partitions)
    # It grows to the end of the card, so nothing may follow it.
    assert data.begin == max(one.begin for one in partitions)
    squashfs = (card.inputs / "rootfs.squashfs").read_bytes()
    assert card.read(a.begin, len(squashfs)) == squashfs
    assert not any(card.read(b.begin, len(squashfs)))
    assert card.read(data.begin + 1024 + 56, 2) == b"\x53\xef"  # ext4's magic number


def test_the_environment_has_its_place_in_front_of_the_first_partition(card: Card) -> None:
    areas = [(0, 34 * SECTOR), *sorted(card.environment())]
    areas.append((card.partitions()[0].begin, 0))
    for (begin, size), (following, _) in itertools.pairwise(areas):
        assert begin + size <= following


def test_writing_the_environment_touches_nothing_else(card: Card, tmp_path: Path) -> None:
    setenv, printenv = needs("fw_setenv", "fw_printenv")
    before = card.read(0, card.partitions()[0].begin + 1024 * 1024)
    copy = tmp_path / "disk.img"
    copy.write_bytes(before)
    config = tmp_path / "fw_env.config"
    config.write_text("".join(f"{copy} {offset:#x} {size:#x}\n" for offset, size in card.environment()))
    (tmp_path / "defaults").write_text("BOOT_ORDER=A B\n")
    for value in ("3", "2", "1"):
        run(setenv, "-c", config, "-f", tmp_path / "defaults", "BOOT_A_LEFT", value)
    assert run(printenv, "-c", config, "-n", "BOOT_A_LEFT").strip() == "1"
    after = bytearray(copy.read_bytes())
    for offset, size in card.environment():
        assert any(after[offset : offset + size])
        after[offset : offset + size] = bytes(size)
    assert after == before


def test_the_boot_script_is_the_board_s(card: Card) -> None:
    script = card.boot_file("boot.scr")
    assert script[:4] == b"\x27\x05\x19\x56"
    text = (TOP / "board" / card.board / "boot.cmd").read_bytes()
    # A header of 64 bytes, the script's length and an end of the list.
    assert script[64:72] == struct.pack(">II", len(text), 0)
    assert script[72:] == text


OF_THE_CM4 = pytest.mark.parametrize("card", cards("ampgate-cm4"), indirect=True)


@OF_THE_CM4
def test_the_firmware_finds_what_it_starts(card: Card) -> None:
    settings = dict(
        line.split("=", 1) for line in card.boot_file("config.txt").decode().splitlines() if not line.startswith("#")
    )
    assert card.boot_file(settings["kernel"]) == (card.inputs / "u-boot.bin").read_bytes()
    assert settings["arm_64bit"] == "1"
    assert settings["enable_uart"] == "0"
    for name in ("start4.elf", "fixup4.dat", "bcm2711-rpi-cm4.dtb", "bcm2711-rpi-4-b.dtb"):
        assert card.boot_file(name)


@OF_THE_CM4
def test_boot_loader_and_linux_agree_on_the_environment(card: Card) -> None:
    text = (TOP / "board/ampgate-cm4/uboot.fragment").read_text()
    setting = dict(re.findall(r"^CONFIG_(\w+)=(\w+)$", text, re.MULTILINE))
    size = int(setting["ENV_SIZE"], 0)
    assert card.environment() == [
        (int(setting["ENV_OFFSET"], 0), size),
        (int(setting["ENV_OFFSET_REDUND"], 0), size),
    ]


# The parts of bcm2711-rpi-cm4.dts that the overlay meets; it was also applied to the whole one, of Linux 6.12.
BASE = """
/dts-v1/;
/ {
    compatible = "raspberrypi,4-compute-module", "brcm,bcm2711";
    aliases { serial0 = "/soc/serial@7e215040"; };
    soc {
        gpio: gpio@7e200000 { };
        uart0: serial@7e201000 { bt: bluetooth { compatible = "brcm,bcm43438-bt"; }; };
        uart1: serial@7e215040 { status = "okay"; };
        i2c1: i2c@7e804000 { status = "disabled"; };
        phy1: ethernet-phy@0 { led-modes = <0x00 0x08>; };
    };
};
"""


@pytest.fixture(scope="module", params=cards("ampgate-cm4"))
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device tree of a Compute Module on the carrier."""
    needs("dtc", "fdtoverlay", "fdtget", "unsquashfs")
    work = tmp_path_factory.mktemp("device-tree")
    _, built = request.param
    if built:
        slot = work / "slot/boot/broadcom"
        run("unsquashfs", "-quiet", "-no-progress", "-dest", work / "slot", built / "rootfs.squashfs", "boot/broadcom")
        run("fdtoverlay", "-i", slot / "bcm2711-rpi-cm4.dtb", "-o", work / "carrier.dtb", slot / "ampgate-cm4.dtbo")
        return work / "carrier.dtb"
    (work / "base.dts").write_text(BASE)
    run("dtc", "-q", "-@", "-I", "dts", "-O", "dtb", "-o", work / "base.dtb", work / "base.dts")
    source = TOP / "board/ampgate-cm4/dts/broadcom/ampgate-cm4.dtso"
    # Without -q: a warning is an error.
    done = subprocess.run(
        ["dtc", "-@", "-I", "dts", "-O", "dtb", "-o", work / "carrier.dtbo", source], capture_output=True, check=True
    )
    assert done.stderr == b""
    run("fdtoverlay", "-i", work / "base.dtb", "-o", work / "carrier.dtb", work / "carrier.dtbo")
    return work / "carrier.dtb"


def values(tree: Path, node: str, name: str, kind: str = "s") -> list[str]:
    return run("fdtget", "-t", kind, tree, node, name).split()


UART0 = "/soc/serial@7e201000"


def test_the_eia485_port(carrier: Path) -> None:
    serial = tomllib.loads((TOP / "board/ampgate-cm4/board.toml").read_text())["serial"]
    pins = [serial["transmit"], serial["receive"], serial["driver_enable"]]
    (handle,) = values(carrier, UART0, "pinctrl-0", "u")
    group = "/soc/gpio@7e200000/ampgate-eia485"
    assert values(carrier, group, "phandle", "u") == [handle]
    assert values(carrier, group, "brcm,pins", "u") == [str(pin) for pin in pins]
    # BCM2711 ARM Peripherals, 5.3: TXD0 and RXD0 are function 0 of GPIO 14 and 15 (value 4), RTS0 is 3 of 17 (value 7).
    assert values(carrier, group, "brcm,function", "u") == ["4", "4", "7"]
    properties = run("fdtget", "-p", carrier, UART0).split()
    assert "linux,rs485-enabled-at-boot-time" in properties
    assert "rs485-rts-active-low" not in properties
    assert values(carrier, UART0, "status") == ["okay"]
    # serial0 makes it /dev/ttyAMA0, and nobody else has the port or its pins.
    assert serial["device"] == "/dev/ttyAMA0"
    assert values(carrier, "/aliases", "serial0") == [UART0]
    assert values(carrier, f"{UART0}/bluetooth", "status") == ["disabled"]
    assert values(carrier, "/soc/serial@7e215040", "status") == ["disabled"]


def test_names_of_the_lines_are_those_of_the_pin_map(carrier: Path) -> None:
    board = tomllib.loads((TOP / "board/ampgate-cm4/board.toml").read_text())
    names = bytes.fromhex(
        "".join(f"{int(byte, 16):02x}" for byte in values(carrier, "/soc/gpio@7e200000", "gpio-line-names", "bx"))
    )
    used = {number: name for number, name in enumerate(names.decode().split("\0")) if name}
    assert used == {
        2: "SDA",
        3: "SCL",
        board["button"]["gpio"]: "button",
        board["serial"]["transmit"]: "TXD",
        board["serial"]["receive"]: "RXD",
        board["serial"]["driver_enable"]: "driver enable",
        board["lamps"]["port_a"]: "LED 1",
        board["lamps"]["ethernet"]: "LED 2",
        board["lamps"]["feedback_red"]: "feedback red",
        board["lamps"]["feedback_green"]: "feedback green",
        board["lamps"]["button"]: "button lamp",
    }


def test_expander_and_lamps_of_the_socket(carrier: Path) -> None:
    assert values(carrier, "/soc/i2c@7e804000", "status") == ["okay"]
    # A node would give the expander to a driver of the kernel.
    assert run("fdtget", "-l", carrier, "/soc/i2c@7e804000").split() == []
    (phy,) = values(carrier, "/__symbols__", "phy1")
    assert values(carrier, phy, "led-modes", "u") == ["0", "0"]
