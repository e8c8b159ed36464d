"""Chips that behave as their data sheets and drivers say, for the Raspberry Pi's backend.

The module RPi.GPIO is replaced, as it exists only on the device; smbus2 is the real one, on a file, with the kernel's
side of its ioctl calls here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import smbus2.smbus2 as kernel


class GpioError(Exception):
    """As lgpio's: no subclass of anything else."""


class Gpio(ModuleType):
    """RPi.GPIO by its documentation, on lines that can be missing."""

    BCM, OUT, IN, PUD_OFF, PUD_UP = 11, 0, 1, 20, 22

    def __init__(self, lines: Iterable[int]) -> None:
        super().__init__("RPi.GPIO")
        self.levels = dict.fromkeys(lines, False)
        """What is on each line."""
        self.pulled_down: set[int] = set()
        """Inputs that something outside connects with ground."""
        self.seen: list[tuple[int, bool]] = []
        """Levels that outputs have had, in order."""
        self.set_up = 0
        self.pulls: dict[int, int] = {}
        """Of each input."""
        self._directions: dict[int, int] = {}
        self._mode: int | None = None
        self.chip_missing = False

    def setwarnings(self, on: bool) -> None:
        pass

    def setmode(self, mode: int) -> None:
        assert mode == self.BCM
        if self.chip_missing:
            raise GpioError("can not open gpiochip")
        self._mode = mode

    def setup(self, line: int, direction: int, pull_up_down: int = 0, initial: Any = None) -> None:
        if self._mode is None:
            raise RuntimeError("Please set pin numbering mode using GPIO.setmode(GPIO.BOARD) or GPIO.setmode(GPIO.BCM)")
        if line not in self.levels:
            raise GpioError("bad GPIO number")
        self.set_up += 1
        self._directions[line] = direction
        if direction == self.OUT:
            assert initial is not None, "the level of a new output would be that of the last process"
            self._drive(line, bool(initial))
        else:
            self.pulls[line] = pull_up_down

    def output(self, line: int, level: Any) -> None:
        if self._directions.get(line) != self.OUT:
            raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
        if line not in self.levels:
            raise GpioError("I/O error")
        self._drive(line, bool(level))

    def input(self, line: int) -> int:
        if line not in self._directions:
            raise RuntimeError("You must setup() the GPIO channel first")
        return int(line not in self.pulled_down)

    def cleanup(self, lines: list[int]) -> None:
        for line in lines:
            if line not in self.levels:
                raise GpioError("I/O error")
            del self._directions[line]
            self.levels[line] = False

    def _drive(self, line: int, level: bool) -> None:
        self.levels[line] = level
        self.seen.append((line, level))


class Tca9534:
    """The expander (data sheet SCPS197 §8.5): four registers; eight pins, here with pull-ups outside."""

    def __init__(self) -> None:
        self.power_up()
        self.pulled_down: set[int] = set()
        """Pins that something outside connects with ground."""

    def power_up(self) -> None:
        self._registers = [0, 0xFF, 0x00, 0xFF]
        self.driven: list[set[int]] = []
        """After each write: the outputs that are high."""

    def drives(self, pin: int) -> bool | None:
        """The level that an output has, None for an input."""
        return None if self._registers[3] >> pin & 1 else bool(self._registers[1] >> pin & 1)

    def read(self, register: int) -> int:
        if register != 0:
            return self._registers[register]
        levels = [self.drives(pin) if self.drives(pin) is not None else pin not in self.pulled_down for pin in range(8)]
        return sum(bool(level) << pin for pin, level in enumerate(levels)) ^ self._registers[2]

    def write(self, register: int, value: int) -> None:
        self._registers[register] = value
        self.driven.append({pin for pin in range(8) if self.drives(pin)})


class I2c:
    """The kernel's side of an I²C bus."""

    def __init__(self, chips: dict[int, Tca9534]) -> None:
        self.chips = chips
        self._address = 0

    def ioctl(self, descriptor: int, request: int, argument: Any) -> None:
        os.fstat(descriptor)  # a closed one is an error
        if request == kernel.I2C_FUNCS:
            argument.value = int(kernel.I2cFunc.SMBUS_READ_BYTE_DATA | kernel.I2cFunc.SMBUS_WRITE_BYTE_DATA)
        elif request == kernel.I2C_SLAVE:
            self._address = argument
        else:
            assert request == kernel.I2C_SMBUS
            assert argument.size == kernel.I2C_SMBUS_BYTE_DATA, "i2c-stub has registers only"
            if self._address not in self.chips:
                raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
            chip, data = self.chips[self._address], argument.data.contents
            if argument.read_write == kernel.I2C_SMBUS_READ:
                data.byte = chip.read(argument.command)
            else:
                chip.write(argument.command, data.byte)
