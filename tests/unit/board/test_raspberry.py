"""The Raspberry Pi's backend where parts are missing, and what must not flash on the bus."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ampgate.board import make_board
from ampgate.board.ports import Board
from tests.unit.board.bench import REFERENCE, ChipBench

pytestmark = pytest.mark.unit


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChipBench:
    return ChipBench(tmp_path, monkeypatch)


@pytest.fixture
def board(bench: ChipBench) -> Board:
    bench.board.open()
    return bench.board


def test_the_i2c_bus_waits_until_it_is_used(bench: ChipBench, tmp_path: Path) -> None:
    bench.bus.unlink()
    bench.board.open()
    bench.board.lamps["button"].set(True)
    assert bench.board.alarms == []
    assert bench.board.dip.read() is None
    assert bench.board.alarms == [
        f"DIP switch, termination and bias: I²C bus {bench.bus} cannot be used: No such file or directory"
    ]


@pytest.mark.parametrize(("key", "pull"), [("", "PUD_UP"), ("pull_up = false", "PUD_OFF")])
def test_the_pull_up_of_the_button(bench: ChipBench, tmp_path: Path, key: str, pull: str) -> None:
    text = REFERENCE.read_text(encoding="utf-8").replace("[button]", f"[button]\n{key}\n#")
    (tmp_path / "carrier.toml").write_text(text, encoding="utf-8")
    board = make_board(tmp_path / "carrier.toml")
    board.open()
    assert not board.button.pressed()
    assert bench.gpio.pulls == {bench.pins.button.gpio: getattr(bench.gpio, pull)}
    bench.press(True)
    assert board.button.pressed()


def test_outputs_have_their_level_before_they_drive(bench: ChipBench, board: Board) -> None:
    # After power-up the output register is all ones: the wrong order would switch both resistors in for a moment.
    board.eia485.apply(termination=False, bias=False)
    assert bench.expander.driven == [set(), set()]
    board.eia485.apply(termination=True, bias=False)
    assert all(outputs <= {bench.pins.expander.termination} for outputs in bench.expander.driven)


def test_only_the_resistors_are_driven(bench: ChipBench, board: Board) -> None:
    board.eia485.apply(termination=True, bias=True)
    driven = {pin for pin in range(8) if bench.expander.drives(pin) is not None}
    assert driven == {bench.pins.expander.termination, bench.pins.expander.bias}


def test_a_polarity_that_somebody_left_is_undone(bench: ChipBench, board: Board) -> None:
    bench.expander.write(2, 0xFF)
    bench.move(1)
    assert board.dip.read() == (True, False, False)


def test_an_expander_that_is_missing_comes_back(bench: ChipBench, board: Board) -> None:
    address = bench.pins.expander.address
    chip = bench.i2c.chips.pop(address)
    assert board.dip.read() is None
    assert not board.eia485.apply(termination=True, bias=True)
    assert board.eia485.termination is None
    [alarm] = board.alarms
    assert alarm.startswith(f"DIP switch, termination and bias: expander at 0x20 on {bench.bus} cannot be used: Remote")
    board.lamps["port_a"].set(True)
    assert bench.lit() == {"port_a"}
    bench.i2c.chips[address] = chip
    assert board.dip.read() is not None
    assert board.eia485.apply(termination=True, bias=True)
    assert board.alarms == []


def test_a_line_that_is_missing(bench: ChipBench) -> None:
    del bench.gpio.levels[bench.lamps["ethernet"]], bench.gpio.levels[bench.pins.button.gpio]
    bench.board.open()
    assert not bench.board.button.pressed()
    assert bench.board.alarms == [
        "lamp ethernet: GPIO 24 cannot be used: bad GPIO number",
        "push button: GPIO 5 cannot be used: bad GPIO number",
    ]
    for lamp in bench.board.lamps.values():
        lamp.set(True)
    assert set(bench.lamps) - {"ethernet"} == {
        name for name, line in bench.lamps.items() if bench.gpio.levels.get(line, False)
    }
    bench.board.close()


def test_a_line_that_fails_later(bench: ChipBench, board: Board) -> None:
    del bench.gpio.levels[bench.lamps["button"]]
    board.lamps["button"].set(True)
    assert board.alarms == ["lamp button: GPIO 27 cannot be used: I/O error"]


def test_a_chip_that_is_missing_comes_back(bench: ChipBench) -> None:
    bench.gpio.chip_missing = True
    bench.board.open()
    assert bench.board.alarms == ["lamps and push button: the GPIO chip cannot be used: can not open gpiochip"]
    bench.gpio.chip_missing = False
    bench.board.lamps["button"].set(True)
    assert bench.lit() == {"button"}


def test_lines_that_cannot_be_given_back(bench: ChipBench, board: Board) -> None:
    bench.gpio.levels.clear()
    board.close()


def test_lines_are_set_up_once(bench: ChipBench, board: Board) -> None:
    lamp = board.lamps["ethernet"]
    for _ in range(3):
        lamp.set(True)
        lamp.set(False)
        board.button.pressed()
    assert bench.gpio.set_up == len(bench.lamps) + 1
    assert [level for line, level in bench.gpio.seen if line == 24] == [False, *[True, False] * 3]


def test_a_module_that_is_missing(bench: ChipBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "RPi.GPIO", None)
    monkeypatch.setitem(sys.modules, "smbus2", None)
    bench.board.open()
    assert bench.board.dip.read() is None
    gpio, i2c = bench.board.alarms
    assert gpio.startswith("lamps and push button: the Python module RPi.GPIO cannot be used: ")
    assert i2c.startswith("DIP switch, termination and bias: the Python module smbus2 cannot be used: ")
    bench.board.close()
