"""The box around a Raspberry Pi: lamps and button at its GPIO, DIP switch and resistors behind a TCA9534 on I²C.

GPIO goes through the API of the module RPi.GPIO, which rpi-lgpio provides on other hardware. It is polled: edge
detection of RPi.GPIO fails on Linux 6.6 and later.
"""

from __future__ import annotations

import contextlib
import importlib
from types import ModuleType
from typing import Any, Final

from ampgate.board.description import LAMPS, Expander, Raspberry
from ampgate.board.ports import Fault, Switches

# Registers of the TCA9534 (data sheet SCPS197, table 3)
_INPUT: Final = 0
_OUTPUT: Final = 1
_POLARITY: Final = 2
_CONFIGURATION: Final = 3
"""1 is input; after power-up all pins are."""


class RaspberryBackend:
    """Reaches the parts through the pins of a description; opens each one when it is used first."""

    def __init__(self, description: Raspberry) -> None:
        self._lines = _Lines()
        self._lamps = {name: getattr(description.lamps, name) for name in LAMPS}
        self._button = description.button
        self._expander = _Tca9534(description.expander)

    def lamp(self, name: str, on: bool) -> None:
        """Switch a lamp."""
        self._lines.write(f"lamp {name}", self._lamps[name], on)

    def button(self) -> bool:
        """Whether the push button is pressed: it pulls the line down."""
        return not self._lines.read("push button", self._button.gpio, self._button.pull_up)

    def switches(self) -> Switches:
        """Where the DIP switch stands."""
        return self._expander.switches()

    def resistors(self, termination: bool, bias: bool) -> None:
        """Switch the resistors of the EIA-485 port."""
        self._expander.resistors(termination, bias)

    def close(self) -> None:
        """Give lines and bus back; the expander holds its outputs."""
        self._lines.close()
        self._expander.close()


class _Library:
    """A Python module of the device, loaded at its first use; one that is missing is not looked for again."""

    def __init__(self, name: str, parts: str) -> None:
        self._name = name
        self._parts = parts
        self._module: ModuleType | None = None
        self._missing = ""

    def load(self) -> Any:
        if self._module is None and not self._missing:
            try:
                self._module = importlib.import_module(self._name)
            except Exception as error:  # RPi.GPIO raises RuntimeError on another computer, lgpio errors of its own
                self._missing = f"{self._parts}: the Python module {self._name} cannot be used: {error}"
        if self._missing:
            raise Fault(self._missing)
        return self._module


class _Lines:
    """GPIO lines, each set up at its first use."""

    def __init__(self) -> None:
        self._library = _Library("RPi.GPIO", "lamps and push button")
        self._ready: set[int] = set()

    def write(self, part: str, number: int, high: bool) -> None:
        gpio = self._gpio()
        try:
            if number in self._ready:
                gpio.output(number, high)
            else:
                gpio.setup(number, gpio.OUT, initial=high)
                self._ready.add(number)
        except Exception as error:  # each library has its own
            raise Fault(f"{part}: GPIO {number} cannot be used: {error}") from error

    def read(self, part: str, number: int, pull_up: bool) -> bool:
        gpio = self._gpio()
        try:
            if number not in self._ready:
                gpio.setup(number, gpio.IN, pull_up_down=gpio.PUD_UP if pull_up else gpio.PUD_OFF)
                self._ready.add(number)
            return bool(gpio.input(number))
        except Exception as error:
            raise Fault(f"{part}: GPIO {number} cannot be used: {error}") from error

    def close(self) -> None:
        if self._ready:
            with contextlib.suppress(Exception):  # the lines end with the process in any case
                self._gpio().cleanup(sorted(self._ready))
            self._ready.clear()

    def _gpio(self) -> Any:
        gpio = self._library.load()
        if not self._ready:
            try:
                gpio.setwarnings(False)  # "channel in use" after a process that was killed
                gpio.setmode(gpio.BCM)  # where rpi-lgpio opens the chip
            except Exception as error:
                raise Fault(f"lamps and push button: the GPIO chip cannot be used: {error}") from error
        return gpio


class _Tca9534:
    """The expander, opened at its first use."""

    def __init__(self, place: Expander) -> None:
        self._place = place
        self._parts = "DIP switch, termination and bias"
        self._library = _Library("smbus2", self._parts)
        self._bus: Any = None

    def switches(self) -> Switches:
        levels = self._transfer((_POLARITY, 0), read=_INPUT)
        one, two, three = (not levels >> pin & 1 for pin in self._place.switches)
        return Switches(one, two, three)

    def resistors(self, termination: bool, bias: bool) -> None:
        place = self._place
        levels = termination << place.termination | bias << place.bias
        inputs = 0xFF & ~(1 << place.termination | 1 << place.bias)
        # The levels before the direction: pins must not become outputs with what the register held before.
        self._transfer((_OUTPUT, levels), (_CONFIGURATION, inputs))

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def _transfer(self, *writes: tuple[int, int], read: int | None = None) -> int:
        """Write registers in this order, then read one."""
        smbus, device, address = self._library.load(), self._place.device, self._place.address
        where = f"I²C bus {device}"
        try:
            bus = self._bus
            if bus is None:
                bus = self._bus = smbus.SMBus(device)
            where = f"expander at 0x{address:02x} on {device}"
            for register, value in writes:
                bus.write_byte_data(address, register, value)
            return 0 if read is None else int(bus.read_byte_data(address, read))
        except OSError as error:
            raise Fault(f"{self._parts}: {where} cannot be used: {error.strerror or error}") from error
