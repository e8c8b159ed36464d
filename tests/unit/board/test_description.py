from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampgate.board import open_board
from ampgate.board.description import BoardError, Raspberry, Simulated, describe
from tests.unit.board.bench import REFERENCE, description

pytestmark = pytest.mark.unit

BOARDS = REFERENCE.parents[1]


def test_the_boards_of_the_repository() -> None:
    cm4, virtual = (describe(BOARDS / name / "board.toml") for name in ("ampgate-cm4", "qemu-virt"))
    assert isinstance(cm4, Raspberry)
    assert isinstance(virtual, Raspberry)
    assert (cm4.name, cm4.serial.device, cm4.expander.device) == ("ampgate-cm4", "/dev/ttyAMA0", "/dev/i2c-1")
    assert (virtual.name, virtual.serial.device) == ("qemu-virt", "/dev/ttyAMA1")
    # What is tried on the virtual bench holds for the device: the pins are the same.
    assert (cm4.lamps, cm4.button.gpio) == (virtual.lamps, virtual.button.gpio)
    assert cm4.button.pull_up
    assert cm4.expander.switches == virtual.expander.switches
    assert cm4.expander.address == virtual.expander.address == 0x20
    assert (cm4.expander.termination, cm4.expander.bias) == (virtual.expander.termination, virtual.expander.bias)


def test_without_a_file_the_box_is_simulated() -> None:
    board = open_board(None)
    assert (board.name, board.eia485.device) == ("simulated", "/dev/ttyAMA0")


def test_a_file_may_ask_for_a_simulated_box(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text('name = "desk"\nbackend = "simulated"\n[serial]\ndevice = "/dev/ttyUSB0"\n', encoding="utf-8")
    assert isinstance(describe(path), Simulated)
    board = open_board(path)
    assert (board.name, board.eia485.device, board.alarms) == ("desk", "/dev/ttyUSB0", [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lamps": {"ethernet": 23}}, "GPIO 23 is used 2 times"),
        ({"button": {"gpio": 17}}, "GPIO 17 is used 2 times"),
        ({"expander": {"termination": 1}}, "pin of the expander 1 is used 2 times"),
        ({"expander": {"bias": 8}}, "Expected `int` <= 7 - at `expander.bias`"),
        ({"expander": {"switches": [0, 1]}}, "Expected `array` of length >= 3 - at `expander.switches`"),
        ({"expander": {"address": 0x78}}, "Expected `int` <= 119 - at `expander.address`"),
        ({"lamps": {"port_a": 58}}, "Expected `int` <= 57 - at `lamps.port_a`"),
        ({"lamps": {"port_a": "23"}}, "Expected `int`, got `str` - at `lamps.port_a`"),
        ({"lamps": {"port_a": None}}, "missing required field `port_a`"),
        ({"lamps": {"power": 4}}, "unknown field `power`"),
        ({"backend": "arduino"}, "Invalid value 'arduino' - at `backend`"),
        ({"backend": None}, "missing required field `backend`"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(description(**changes))
    with pytest.raises(BoardError) as caught:
        describe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"name", b"\xff", b""])
def test_what_is_no_description(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(content)
    with pytest.raises(BoardError, match=str(path)):
        describe(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"board\.toml cannot be read: No such file or directory"):
        describe(tmp_path / "board.toml")
