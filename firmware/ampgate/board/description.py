"""What is where on one piece of hardware: the file ``board.toml``.

Its key ``backend`` says how the parts are reached: ``raspberry`` (GPIO of a Raspberry Pi and an I²C expander, with all
their pins) or ``simulated`` (no hardware at all).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

Gpio = Annotated[int, Meta(ge=0, le=57)]
"""A GPIO number of the BCM2711, not a pin number of a connector."""
Pin = Annotated[int, Meta(ge=0, le=7)]
"""A pin P0…P7 of the expander."""
Text = Annotated[str, Meta(min_length=1)]


class BoardError(Exception):
    """What is wrong with a ``board.toml``: file, key and what is allowed."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; its fields are its keys."""


class Lamps(Table, frozen=True):
    """``[lamps]``: GPIO of each lamp; high is on."""

    port_a: Gpio
    """LED 1, green."""
    ethernet: Gpio
    """LED 2, red."""
    feedback_red: Gpio
    feedback_green: Gpio
    button: Gpio
    """Green, in the push button."""


class Button(Table, frozen=True):
    """``[button]``: the push button; low is pressed."""

    gpio: Gpio
    pull_up: bool = True
    """With the pull-up of the GPIO; false where the board has a resistor of its own."""


class Serial(Table, frozen=True):
    """``[serial]``: the port behind the EIA-485 terminals."""

    device: Text


class Uart(Serial, frozen=True):
    """``[serial]`` of a Raspberry Pi; the kernel drives its GPIOs, they are here so that nothing else takes them."""

    transmit: Gpio
    receive: Gpio
    driver_enable: Gpio
    """RTS of the UART: the kernel's RS-485 mode switches the driver with it."""


class Expander(Table, frozen=True):
    """``[expander]``: a TCA9534 with the DIP switch (low is ON) and the two outputs (high is on)."""

    device: Text
    """The I²C bus."""
    address: Annotated[int, Meta(ge=0x08, le=0x77)]
    switches: Annotated[list[Pin], Meta(min_length=3, max_length=3)]
    """Pins of the switches 1, 2 and 3."""
    termination: Pin
    bias: Pin


class Simulated(Table, frozen=True, tag_field="backend", tag="simulated"):
    """A box without hardware."""

    name: Text
    serial: Serial


class Raspberry(Table, frozen=True, tag_field="backend", tag="raspberry"):
    """A Raspberry Pi with the parts of the reference hardware."""

    name: Text
    lamps: Lamps
    button: Button
    serial: Uart
    expander: Expander


Description = Simulated | Raspberry

NO_HARDWARE: Final = Simulated("simulated", Serial("/dev/ttyAMA0"))
"""The box of a computer that has none."""

LAMPS: Final = Lamps.__struct_fields__
"""Names of the lamps."""


def describe(path: Path | None) -> Description:
    """Read a ``board.toml``, or none for a simulated box; `BoardError` names file, key and what is allowed."""
    if path is None:
        return NO_HARDWARE
    try:
        description: Description = msgspec.toml.decode(path.read_bytes(), type=Description)
    except OSError as error:
        raise BoardError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path}: {str(error).replace('$.', '')}") from error
    if isinstance(description, Raspberry):
        for kind, pins in _used(description):
            for pin, count in Counter(pins).items():
                if count > 1:
                    raise BoardError(f"{path}: {kind} {pin} is used {count} times; each part needs its own")
    return description


def _used(board: Raspberry) -> Iterator[tuple[str, list[int]]]:
    """The pins of each chip."""
    uart, expander = board.serial, board.expander
    lamps = [getattr(board.lamps, name) for name in LAMPS]
    yield "GPIO", [*lamps, board.button.gpio, uart.transmit, uart.receive, uart.driver_enable]
    yield "pin of the expander", [*expander.switches, expander.termination, expander.bias]
