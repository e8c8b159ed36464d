"""What holding the push button at power-up does, without I/O (manual 1.12 §5.2)."""

from __future__ import annotations

from typing import Final

HOLD: Final = 10.0
"""Seconds that the button has to be held."""
ALTERNATION: Final = 0.5
"""Seconds after which LED 1 and LED 2 change over."""
POLL: Final = 0.05
"""Seconds between two looks at the button."""
RELEASE: Final = 3
"""Looks that have to agree before a released button counts: contacts bounce."""
DARK: Final = 1.0
FLASH: Final = 0.5
"""Seconds of the last sign: all lamps off, then on once."""

LAMPS: Final = ("port_a", "ethernet", "feedback_red", "feedback_green", "button")


class Holding:
    """Counts from the first look; `look` tells what to do until it has decided."""

    def __init__(self, now: float) -> None:
        self._begin = now
        self._released = 0

    def look(self, now: float, pressed: bool) -> frozenset[str] | bool:
        """The lamps that are on while nothing is decided, then True for a reset or False for none."""
        self._released = 0 if pressed else self._released + 1
        if self._released >= RELEASE:
            return False
        held = now - self._begin
        if held >= HOLD and pressed:
            return True
        return lamps(held)


def lamps(held: float) -> frozenset[str]:
    """Which lamps are on after so many seconds, while the button is held and while the reset runs."""
    leds = ("port_a", "ethernet")
    return frozenset({"feedback_red", "button", leds[int(held / ALTERNATION) % 2]})


FAREWELL: Final = (
    (frozenset[str](), DARK),
    (frozenset(LAMPS), FLASH),
    (frozenset[str](), DARK),
)
"""After the reset: lamps that are on, and for how many seconds."""
