"""The lamps of a gateway that runs, one step after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from ampgate.board.patterns import BUTTON, FEEDBACK, ON, STEP, Trouble
from ampgate.board.ports import Lamp

BLINKING: Final = round(2.0 / STEP)
"""A lamp that has switched twice in so many steps is called blinking."""


class Signs(NamedTuple):
    """What the lamps have to show."""

    connected: bool
    """The OCPP system is there: a charger, or the central system beyond."""
    ocpp_frames: int
    """Counts OCPP frames; any change is traffic."""
    modbus_frames: int
    """Counts Modbus TCP frames."""
    trouble: Trouble | None = None


class _Traffic:
    """Inverts a lamp for one step when something was counted, and not for at least the next one."""

    def __init__(self) -> None:
        self._count = 0
        self._inverted = False

    def step(self, idle: bool, count: int) -> bool:
        self._inverted = count != self._count and not self._inverted
        if self._inverted:
            self._count = count
        return idle is not self._inverted


class Panel:
    """Drives the lamps of a box; `step` is to be called every `STEP` seconds."""

    def __init__(self, lamps: Mapping[str, Lamp]) -> None:
        self._lamps = lamps
        self._ocpp = _Traffic()
        self._modbus = _Traffic()
        self._trouble: Trouble | None = None
        self._begun = 0
        self._now = 0
        self._switched = {name: deque([-BLINKING, -BLINKING], 2) for name in lamps}

    def step(self, signs: Signs) -> None:
        """Show this state; a lamp is touched only when it changes."""
        self._now += 1
        if signs.trouble is not self._trouble:  # a code is readable from its beginning
            self._trouble, self._begun = signs.trouble, self._now
        feedback = FEEDBACK[signs.trouble]
        self._set("port_a", self._ocpp.step(signs.connected, signs.ocpp_frames))
        self._set("ethernet", self._modbus.step(False, signs.modbus_frames))
        self._set("feedback_green", self._lit(feedback.green))
        self._set("feedback_red", self._lit(feedback.red))
        self._set("button", self._lit(BUTTON))

    def shows(self, name: str) -> str:
        """``on``, ``off`` or ``blinking``, as somebody sees it who looks for two seconds."""
        if self._now - self._switched[name][0] < BLINKING:
            return "blinking"
        return "on" if self._lamps[name].on else "off"

    def _lit(self, pattern: str) -> bool:
        return pattern[(self._now - self._begun) % len(pattern)] == ON

    def _set(self, name: str, on: bool) -> None:
        lamp = self._lamps[name]
        if lamp.on is not on:
            lamp.set(on)
            self._switched[name].append(self._now)
