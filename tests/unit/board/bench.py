"""Boxes and somebody outside who presses, moves and looks: one simulated, one with the reference hardware's chips."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import msgspec
import pytest

from ampgate.board import make_board
from ampgate.board.description import LAMPS, Raspberry, describe
from ampgate.board.ports import Board, Switches
from ampgate.board.simulated import SimulatedBackend
from tests.unit.board.chips import Gpio, I2c, Tca9534

REFERENCE = Path(__file__).parents[3] / "board" / "ampgate-cm4" / "board.toml"


class Bench(Protocol):
    """A box, seen from outside."""

    board: Board

    def press(self, pressed: bool) -> None: ...

    def move(self, *on: int) -> None:
        """Set these switches ON, the others OFF."""

    def lit(self) -> set[str]:
        """The lamps that are on."""

    def resistors(self) -> tuple[bool, bool]:
        """Whether termination and bias are in."""


class SimulatedBench:
    def __init__(self, path: Path) -> None:
        self.board = make_board(None, path / "memory.json")
        backend = self.board.backend
        assert isinstance(backend, SimulatedBackend)
        self._backend = backend

    def press(self, pressed: bool) -> None:
        self._backend.press(pressed)

    def move(self, *on: int) -> None:
        self._backend.move(Switches(*(number in on for number in (1, 2, 3))))

    def lit(self) -> set[str]:
        return {name for name, on in self._backend.lamps.items() if on}

    def resistors(self) -> tuple[bool, bool]:
        return self._backend.termination, self._backend.bias


class ChipBench:
    """The pins of the reference hardware; the bus is a file, so that smbus2 has something to open."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pins = describe(REFERENCE)
        assert isinstance(pins, Raspberry)
        self.pins = pins
        self.bus = path / "i2c-1"
        self.bus.write_bytes(b"")
        text = REFERENCE.read_text(encoding="utf-8").replace(pins.expander.device, str(self.bus))
        (path / "board.toml").write_text(text, encoding="utf-8")
        self.lamps = {name: getattr(pins.lamps, name) for name in LAMPS}
        self.gpio = Gpio([*self.lamps.values(), pins.button.gpio])
        self.expander = Tca9534()
        self.i2c = I2c({pins.expander.address: self.expander})
        self._switches = pins.expander.switches
        package = ModuleType("RPi")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, "RPi", package)
        monkeypatch.setitem(sys.modules, "RPi.GPIO", self.gpio)
        monkeypatch.setattr("smbus2.smbus2.ioctl", self.i2c.ioctl)
        self.board = make_board(path / "board.toml")

    def press(self, pressed: bool) -> None:
        self.gpio.pulled_down = {self.pins.button.gpio} if pressed else set()

    def move(self, *on: int) -> None:
        self.expander.pulled_down = {self._switches[number - 1] for number in on}

    def lit(self) -> set[str]:
        return {name for name, line in self.lamps.items() if self.gpio.levels[line]}

    def resistors(self) -> tuple[bool, bool]:
        expander = self.pins.expander
        return bool(self.expander.drives(expander.termination)), bool(self.expander.drives(expander.bias))


def description(**changes: Any) -> bytes:
    """The reference board's file with other values; a dictionary changes a table, None takes a key away."""
    content = msgspec.toml.decode(REFERENCE.read_bytes())
    for key, value in changes.items():
        table = content[key] | value if isinstance(value, dict) else value
        content[key] = (
            {name: pin for name, pin in table.items() if pin is not None} if isinstance(value, dict) else table
        )
        if value is None:
            del content[key]
    return msgspec.toml.encode(content)
