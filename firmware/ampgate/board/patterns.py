"""What the lamps show, as data (manual 1.12 §6; the red codes are ours).

A pattern is one character for each `STEP`, ``#`` on and ``.`` off, and begins again at its end.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

STEP: Final = 0.05
"""Seconds. A frame inverts its lamp for one step, which then rests for one: so idle and busy both show."""

ON: Final = "#"
OFF: Final = "."
BLINK: Final = "#" * 10 + "." * 10
_FLASH: Final = "#" * 5 + "." * 5
_PAUSE: Final = "." * 20


class Trouble(IntEnum):
    """What the feedback lamp tells; the number is that of its red flashes. Of several, the smallest shows."""

    BMS_ABSENT = 1
    SERIAL_PORT = 2
    SWITCHES = 3
    PARTS = 4
    ADDRESS_IN_USE = 5


class Feedback(NamedTuple):
    """Patterns of the two colours of the feedback lamp."""

    green: str
    red: str


NORMAL: Final = Feedback(BLINK, OFF)
FEEDBACK: Final = {None: NORMAL} | {trouble: Feedback(OFF, _FLASH * trouble + _PAUSE) for trouble in Trouble}
"""The feedback lamp of a gateway that runs."""

BUTTON: Final = ON
"""The button's lamp while the gateway runs."""
