"""The ports of the box. They always work: a part that is missing or broken becomes an alarm, not an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from ampgate.board.description import LAMPS

_T = TypeVar("_T")


class Fault(Exception):
    """A part cannot be used: which one, where it should be, and why."""


class Switches(NamedTuple):
    """Positions of the DIP switch; True is ON."""

    one: bool
    two: bool
    three: bool


class Backend(Protocol):
    """How the parts are reached; every method may raise `Fault`."""

    def lamp(self, name: str, on: bool) -> None:
        """Switch a lamp."""

    def button(self) -> bool:
        """Whether the push button is pressed."""

    def switches(self) -> Switches:
        """Where the DIP switch stands."""

    def resistors(self, termination: bool, bias: bool) -> None:
        """Switch the resistors of the EIA-485 port."""

    def close(self) -> None:
        """Switch the lamps off and leave the resistors as they are: the bus goes on."""


class Part(StrEnum):
    """What an alarm can be about."""

    LINES = "lines"
    """Lamps and button, at GPIO lines."""
    EXPANDER = "expander"
    """DIP switch and resistors, behind the I²C expander."""


class Faults:
    """What does not work at the moment."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Part, str], str] = {}

    def guard(self, part: Part, port: str, action: Callable[[], _T]) -> _T | None:
        """Do something with a port; None when it cannot be done."""
        try:
            result = action()
        except Fault as fault:
            self._texts[part, port] = str(fault)
            return None
        self._texts[part, port] = ""
        return result

    def texts(self, *parts: Part) -> list[str]:
        """What does not work with these parts, each text once."""
        known = list(self._texts.items())  # at once: another thread may use another port
        return list(dict.fromkeys(text for (part, _), text in known if text and part in parts))


class Lamp:
    """One lamp, off at first."""

    def __init__(self, name: str, backend: Backend, faults: Faults) -> None:
        self._name = name
        self._backend = backend
        self._faults = faults
        self.on = False
        """What it was told last."""
        self.switched = 0
        """How often it was switched on or off."""

    def set(self, on: bool) -> None:
        """Switch it; costs nothing when it is so already."""
        if on is not self.on:
            self.on = on
            self.switched += 1
            self.write()

    def write(self) -> None:
        """Switch it as it was told, whether or not it is so already."""
        self._faults.guard(Part.LINES, self._name, lambda: self._backend.lamp(self._name, self.on))


class Button:
    """The push button."""

    def __init__(self, backend: Backend, faults: Faults) -> None:
        self._backend = backend
        self._faults = faults

    def pressed(self) -> bool:
        """Whether it is pressed now; one that is missing is not."""
        return bool(self._faults.guard(Part.LINES, "push button", self._backend.button))


class DipSwitch:
    """The DIP switch; reading it may take as long as the I²C bus is stuck (seconds)."""

    def __init__(self, backend: Backend, faults: Faults) -> None:
        self._backend = backend
        self._faults = faults

    def read(self) -> Switches | None:
        """Its present position, None when it cannot be read."""
        return self._faults.guard(Part.EXPANDER, "DIP switch", self._backend.switches)


class Eia485:
    """The resistors of the EIA-485 port; switching them may take as long as the I²C bus is stuck (seconds)."""

    def __init__(self, device: str, backend: Backend, faults: Faults) -> None:
        self._backend = backend
        self._faults = faults
        self.device = device
        """The serial port."""
        self.termination: bool | None = None
        """Whether the 120 Ω between A− and B+ are in, None when not known."""
        self.bias: bool | None = None
        """Whether the bias (polarization) resistors are in, None when not known."""

    def apply(self, termination: bool, bias: bool) -> bool:
        """Switch them; False when they cannot be switched."""

        def write() -> bool:
            self._backend.resistors(termination, bias)
            return True

        done = bool(self._faults.guard(Part.EXPANDER, "resistors", write))
        self.termination, self.bias = (termination, bias) if done else (None, None)
        return done


class Board:
    """All ports of one box; nothing is touched before `open`."""

    def __init__(self, name: str, device: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend
        self.faults = Faults()
        self.lamps: Mapping[str, Lamp] = MappingProxyType({lamp: Lamp(lamp, backend, self.faults) for lamp in LAMPS})
        self.button = Button(backend, self.faults)
        self.dip = DipSwitch(backend, self.faults)
        self.eia485 = Eia485(device, backend, self.faults)

    @property
    def alarms(self) -> list[str]:
        """What does not work, in clear text; the expander is looked at only when it is used."""
        return self.faults.texts(*Part)

    def open(self) -> None:
        """Put the lamps out and look whether the lines are there; the I²C bus waits until it is used."""
        for lamp in self.lamps.values():
            lamp.write()
        self.button.pressed()

    def darken(self) -> None:
        """Put the lamps out."""
        for lamp in self.lamps.values():
            lamp.set(False)

    def close(self) -> None:
        """Put the lamps out and give lines and bus back; termination and bias stay."""
        self.darken()
        self.backend.close()
