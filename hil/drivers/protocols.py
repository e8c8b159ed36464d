"""What a test asks of the box, whoever does it."""

from __future__ import annotations

import abc
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

LAMPS: Final = {"feedback_green": 22, "port_a": 23, "ethernet": 24, "feedback_red": 25, "button": 27}
"""Lamp to GPIO (board.toml)."""


class Light(StrEnum):
    """What somebody sees who looks at a lamp for a few seconds."""

    OFF = "off"
    ON = "on"
    BLINKING = "blinking"


class Bus(NamedTuple):
    """Our end of EIA-485 port A."""

    path: Path
    virtual: bool
    """A pseudo-terminal: bytes without parity, bit rate or driver enable."""


class FrontProtocol(abc.ABC):
    """The front of the device: push button, DIP switch, lamps."""

    @abc.abstractmethod
    def press(self, pressed: bool) -> None:
        """Press or release the push button."""

    @abc.abstractmethod
    def switches(self, one: bool, two: bool, three: bool) -> None:
        """Set the DIP switch; True is ON."""

    @abc.abstractmethod
    def look(self) -> dict[str, Light]:
        """What each lamp of `LAMPS` shows."""


class ResistorProtocol(abc.ABC):
    """The resistors of the EIA-485 port."""

    @abc.abstractmethod
    def resistors(self) -> tuple[bool, bool]:
        """Whether termination and bias are on."""
