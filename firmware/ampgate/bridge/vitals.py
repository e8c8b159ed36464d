"""The extension registers that say how the gateway itself is: once a second, from whoever knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntFlag
from typing import Final

from ampgate.bridge.presence import Presence
from ampgate.bridge.results import numbers
from ampgate.bridge.signals import Signals
from ampgate.registers.image import Point

MAP_VERSION: Final = 1
"""Counts the releases that added signals; an address never changes its meaning."""

Counters = Callable[[], Mapping[str, int]]
"""Gives values of ``gateway_state`` signals by name, from outside the bridge."""


class Alarm(IntFlag):
    """Bits of the register Alarms."""

    BMS_ABSENT = 1
    CHARGER_OFFLINE = 2
    SERIAL_PORT_CLOSED = 4
    CENTRAL_SYSTEM_AWAY = 8
    ADDRESS_IN_USE = 16
    # From bit 8 on: the box, `ampgate.board.box.Alarm`.


class Vitals:
    """Shows the state of the gateway.

    ``counters`` may give an ``alarms`` value too; its bits are added to those that the bridge knows of.
    """

    def __init__(
        self,
        points: Mapping[str, Point],
        version: str,
        chargers: Sequence[Signals],
        presence: Presence,
        counters: Counters,
    ) -> None:
        self._points = points
        self._chargers = chargers
        self._presence = presence
        self._counters = counters
        self._show("map_version", MAP_VERSION)
        points["gateway_state.firmware_version"].set(version)

    def tick(self) -> None:
        """Bring the registers up to date."""
        connected = sum(charger.link is not None for charger in self._chargers)
        alarms = Alarm(0)
        if self._presence.absent():
            alarms |= Alarm.BMS_ABSENT
        if connected < len(self._chargers):
            alarms |= Alarm.CHARGER_OFFLINE
        if any(charger.upstream_away for charger in self._chargers):
            alarms |= Alarm.CENTRAL_SYSTEM_AWAY
        values = dict(self._counters())
        self._show("alarms", alarms | values.pop("alarms", 0))
        self._show("connected_chargers", connected)
        self._show("bms", numbers("gateway_state.bms")[self._presence.state])
        for name, value in values.items():
            self._show(name, value)
        for charger in self._chargers:
            charger.show_age()

    def _show(self, name: str, value: int) -> None:
        self._points[f"gateway_state.{name}"].set(value)
