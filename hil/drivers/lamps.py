"""Lamps of which each change is reported with its time: by the virtual world, or by a lamp sensor.

A lamp sensor is a small board with photo-transistors at the lamps and a USB serial port, 115200 8N1. It speaks ASCII
lines: to a line ``?`` it answers with one for each lamp, and it sends one for each change: milliseconds of a clock that
runs through, a lamp of `LAMPS`, 1 (on) or 0, such as ``81250 port_a 1``. Other lines are remarks. Times should be
right to 5 ms.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import serial

from hil.drivers.protocols import LAMPS, Light

LOOK: Final = 3.0
"""Seconds of a look: the slowest that blinks, a single red flash, comes every 1.5 s."""

STATE: Final = 5.0
"""Seconds that a lamp sensor has to tell the state of all lamps."""


@dataclass(frozen=True)
class Change:
    """A lamp that went on or off, in milliseconds of a clock that never jumps: the guest's or the sensor's."""

    at: int
    lamp: str
    on: bool


class TimedLamps:
    """What the lamps have done; all of them begin dark."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        """All that the lamps have done since the beginning."""
        self._news = threading.Condition()

    def lamps(self) -> dict[str, bool]:
        """The lamps as they are now."""
        with self._news:
            return {name: self._last(name) for name in LAMPS}

    def lamps_now(self, name: str) -> bool:
        """Whether one lamp is on; for conditions of `until`."""
        return self._last(name)

    def look(self) -> dict[str, Light]:
        """What a person would see."""
        begin = len(self.changes)
        time.sleep(LOOK)
        with self._news:
            changed = Counter(change.lamp for change in self.changes[begin:])
            return {
                name: Light.BLINKING if changed[name] > 1 else Light.ON if self._last(name) else Light.OFF
                for name in LAMPS
            }

    def until(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for the lamps; ``condition`` is looked at after each change."""
        with self._news:
            if not self._news.wait_for(condition, timeout):
                raise AssertionError(f"not within {timeout:g} s: {what}; last changes: {self.changes[-12:]}")

    def until_lit(self, *names: str, timeout: float = 120.0) -> None:
        """Wait until exactly these lamps are on."""
        self.until(lambda: {n for n in LAMPS if self._last(n)} == set(names), f"lamps {sorted(names)}", timeout)

    def _changed(self, change: Change) -> None:
        with self._news:
            self.changes.append(change)
            self._news.notify_all()

    def _last(self, name: str) -> bool:
        return next((change.on for change in reversed(self.changes) if change.lamp == name), False)


class SensedLamps(TimedLamps):
    """Lamps that a lamp sensor looks at."""

    def watch(self, path: str, speed: int = 115200) -> None:
        """Begin to listen to the sensor at this serial port; AssertionError when it does not tell the state."""
        self._sensor = serial.Serial(path, speed)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._sensor.write(b"?\n")
        self.until(lambda: {change.lamp for change in self.changes} == LAMPS.keys(), "the state of each lamp", STATE)

    def unwatch(self) -> None:
        """Listen no more."""
        self._sensor.cancel_read()
        self._thread.join()
        self._sensor.close()

    def _listen(self) -> None:
        while line := self._sensor.readline():
            with contextlib.suppress(ValueError):
                at, lamp, on = line.decode("ascii", "replace").split()
                if lamp in LAMPS:
                    self._changed(Change(int(at), lamp, on == "1"))
