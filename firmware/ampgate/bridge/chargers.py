"""The chargers of a site, the clock and the BMS's sign of life, whoever is the central system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta, tzinfo
from typing import Any, Final, Generic, TypeVar

from ampgate.bridge.activity import Activity
from ampgate.bridge.clock import Clock
from ampgate.bridge.policy import Fallback
from ampgate.bridge.presence import Presence
from ampgate.bridge.requests import TransactionIds
from ampgate.bridge.results import StatusOrder, words
from ampgate.bridge.sessions import Settings
from ampgate.bridge.signals import ChargerSetting, Connection, Connector, Signals
from ampgate.bridge.vitals import Counters, Vitals
from ampgate.journal import Journal
from ampgate.registers.site import Site

_C = TypeVar("_C", bound=Signals)


class Chargers(Generic[_C]):
    """The chargers of a site, made by ``make``.

    ``answer_timeout`` is how long a request waits for the BMS and ``heartbeat_timeout`` how long the BMS may be silent
    before it counts as absent, all in seconds. ``counters`` gives what the extension registers show of the gateway's
    other rooms; ``adjust`` sets the system's clock, see `Clock`.
    """

    def __init__(
        self,
        site: Site,
        chargers: Sequence[ChargerSetting],
        journal: Journal,
        make: Callable[[int, ChargerSetting, Settings], _C],
        *,
        fallback: Fallback | None = None,
        answer_timeout: float = 15.0,
        heartbeat_timeout: float = 60.0,
        status_order: StatusOrder = StatusOrder.MANUAL,
        zone: tzinfo = UTC,
        adjust: Callable[[timedelta], bool] | None = None,
        version: str = "",
        counters: Counters = dict,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.activity = Activity()
        self.clock = Clock(site.gateway, zone=zone, monotonic=loop.time, adjust=adjust)
        self.presence = Presence(site.gateway["bms.heartbeat"], heartbeat_timeout, loop.time, self.activity)
        settings = Settings(
            now=self.clock.now,
            fallback=fallback or Fallback(),
            activity=self.activity,
            transaction_ids=TransactionIds(journal.last_transaction_id),
            journal=journal,
            bms_absent=self.presence.absent,
            status_order=status_order,
            answer_timeout=answer_timeout,
        )
        self.chargers = [make(index, setting, settings) for index, setting in enumerate(chargers)]
        self._by_id = {charger.id: charger for charger in self.chargers}
        for charger in self.chargers:
            charger.restore()
        self._vitals = Vitals(site.gateway, version, self.chargers, self.presence, counters)

    @property
    def online(self) -> bool:
        """Whether the OCPP system is there: a charger, and its central system where that is elsewhere."""
        return any(charger.link is not None and not charger.upstream_away for charger in self.chargers)

    def known(self, identity: str) -> bool:
        """Whether a charger with this id is configured."""
        return identity in self._by_id

    def disconnected(self, identity: str, link: Connection) -> None:
        """A charger is gone."""
        charger = self._by_id[identity]
        if charger.link is link:
            charger.disconnected()

    def tick(self) -> None:
        """What has to happen every second."""
        self.clock.show()
        self.presence.tick()
        self._vitals.tick()

    async def close(self) -> None:
        """End all handshakes and operations."""
        await asyncio.gather(*(charger.close() for charger in self.chargers))

    def status(self) -> dict[str, Any]:
        """What ``ampgate status`` shows of chargers and events."""
        return {
            "chargers": [_charger_status(charger, self.clock) for charger in self.chargers],
            "activity": [event._asdict() for event in self.activity.events],
        }


def _charger_status(charger: Signals, clock: Clock) -> dict[str, Any]:
    running = {transaction.connector: transaction for transaction in charger.running.values()}
    connectors = []
    for connector in charger.connectors[1:]:
        transaction = running.get(connector.number)
        reading = _readings(connector)
        energy = reading["energy_wh"]
        connectors.append(
            reading
            | {
                "number": connector.number,
                "status": connector.status,
                "error": connector.error,
                "id_tag": transaction.id_tag if transaction else "",
                "transaction_id": transaction.id if transaction else None,
                "session_wh": max(0.0, energy - transaction.meter_start) if transaction and energy else None,
                "session_s": int(clock.now().timestamp() - transaction.started) if transaction else None,
            }
        )
    return {
        "index": charger.index,
        "id": charger.id,
        "name": charger.name,
        "online": charger.link is not None,
        "vendor": charger.vendor,
        "model": charger.model,
        "waiting": charger.waiting,
        "upstream": charger.upstream,
        "connectors": connectors,
    }


_KILO: Final = {"power_active_import": "kW", "energy_active_import_register": "kWh"}


def _readings(connector: Connector) -> dict[str, Any]:
    """The usual readings in W, Wh and A, from the registers."""
    points: Mapping[str, Any] = connector.points

    def reading(name: str) -> float:
        value: float = points[f"connector.{name}"].get()
        unit = words(f"connector.{name}_unit").get(points[f"connector.{name}_unit"].get())
        return value * 1000 if unit == _KILO[name] else value

    return {
        "power_w": reading("power_active_import"),
        "energy_wh": reading("energy_active_import_register"),
        "currents_a": [points[f"connector.current_import_l{line}"].get() for line in (1, 2, 3)],
    }
