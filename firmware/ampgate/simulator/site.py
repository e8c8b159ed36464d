"""A car park: several charge points and drivers who come, charge and leave, at random but repeatably."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ampgate.ocpp import v16
from ampgate.simulator.charger import Charger
from ampgate.simulator.clock import Clock
from ampgate.simulator.electrics import AC, DC, Supply
from ampgate.simulator.events import Listener
from ampgate.simulator.profiles import PROFILES, Profile
from ampgate.simulator.vehicle import Vehicle

_MINUTE: Final = 60.0
GAP: Final = 15 * _MINUTE
"""Mean simulated seconds between two cars on a connector."""
PATIENCE: Final = 15 * _MINUTE
"""Simulated seconds that a driver waits to be started from afar before taking out a card."""
STAY: Final = (30 * _MINUTE, 150 * _MINUTE)
"""Simulated seconds that a driver stays at most, shortest and longest."""
LINGER: Final = (2 * _MINUTE, 8 * _MINUTE)
"""Simulated seconds between the end of charging, the card, and the departure."""
FIRST_CAR: Final = 0.5
"""Real seconds from the first connection to the first car."""
FIRST_CARS: Final = (2.0, 15.0)
"""Real seconds in which each other connector gets its first car."""
START_TIMEOUT: Final = 60.0
"""Real seconds that a driver waits for the central system to answer."""

# Cars by what they are plugged into
_MODELS: Final[dict[Supply, tuple[Vehicle, ...]]] = {
    AC: (
        Vehicle(capacity=40_000, phases=1, max_current=32),
        Vehicle(capacity=52_000, phases=3, max_current=32),
        Vehicle(capacity=58_000, phases=3, max_current=16),
        Vehicle(capacity=77_000, phases=3, max_current=16),
        Vehicle(capacity=82_000, phases=3, max_current=16),
    ),
    DC: (
        Vehicle(capacity=52_000, phases=1, max_current=125, ramp=20),
        Vehicle(capacity=77_000, phases=1, max_current=250, ramp=20),
        Vehicle(capacity=105_000, phases=1, max_current=300, ramp=20),
    ),
}
FIRST_SOC: Final = 74.0
"""% of the very first car: full soon enough to show how a session ends."""


def vehicle(supply: Supply, soc: float, chance: random.Random | None = None) -> Vehicle:
    """A car for this supply: the one of the middle, or any."""
    models = _MODELS[supply]
    model = chance.choice(models) if chance is not None else models[len(models) // 2]
    return replace(model, soc=soc)


class Plan(NamedTuple):
    """One charge point of the site."""

    id: str
    connectors: int | None = None
    """As many as the profile has when None."""
    profile: Profile = PROFILES["generic"]
    settings: Mapping[str, str] = {}
    """Configuration keys of this one to begin with, besides those of the site."""
    sample_interval: float | None = None
    """Real seconds between two MeterValues; as on the site, or of the profile, when None."""


class Visit(NamedTuple):
    """A driver who comes to charge."""

    vehicle: Vehicle
    tag: str
    wait: float
    """Real seconds between plug and card."""
    remote: bool
    """Whether the driver first waits for the central system."""


class Site:
    """Charge points at a central system, and their drivers.

    ``tags`` are the drivers' id tags; the very first driver has the first one. ``remote_share`` of the drivers wait
    `PATIENCE` for the central system to start them before they use a card. Without ``drivers`` nobody comes by
    himself. ``sample_interval``, ``settings``, ``quirks`` and ``tls`` are those of `Charger`.
    """

    def __init__(
        self,
        url: str,
        plans: Sequence[Plan],
        *,
        tags: Sequence[str],
        speed: float = 60.0,
        sample_interval: float | None = None,
        seed: int = 1,
        remote_share: float = 0.3,
        drivers: bool = True,
        settings: dict[str, str] | None = None,
        quirks: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
        listener: Listener | None = None,
    ) -> None:
        if not tags:
            raise ValueError("drivers need at least one id tag")
        self.clock = Clock(speed)
        self.chargers = [
            Charger(
                url,
                plan.id,
                profile=plan.profile,
                connectors=plan.connectors,
                clock=self.clock,
                sample_interval=sample_interval if plan.sample_interval is None else plan.sample_interval,
                seed=seed + index,
                settings={**(settings or {}), **plan.settings},
                quirks=quirks,
                tls=tls,
                listener=listener,
            )
            for index, plan in enumerate(plans)
        ]
        self._tags = tags
        self._in_use: set[str] = set()
        """Id tags of drivers who are on the site: a card is in one place only."""
        self._remote_share = remote_share
        self._drivers = drivers
        self._seed = seed

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for index, charger in enumerate(self.chargers):
                group.create_task(charger.run())
                for number in range(1, len(charger.connectors)) if self._drivers else ():
                    driver = random.Random(f"{self._seed}/{index}/{number}")
                    group.create_task(self._drive(charger, number, driver, first=index == 0 and number == 1))

    async def _drive(self, charger: Charger, number: int, chance: random.Random, *, first: bool) -> None:
        connector = charger.connector(number)
        await charger.until(lambda: charger.online)
        await asyncio.sleep(FIRST_CAR if first else chance.uniform(*FIRST_CARS))
        visitor = self._visitor(connector.supply, chance)
        if first:
            visitor = Visit(vehicle(connector.supply, FIRST_SOC), self._tags[0], wait=0.5, remote=False)
        while True:
            await charger.until(lambda: connector.status is v16.ChargePointStatus.AVAILABLE)
            await self._visit(charger, number, chance, visitor)
            await self.clock.sleep(chance.expovariate(1 / GAP))
            visitor = self._visitor(connector.supply, chance)

    def _visitor(self, supply: Supply, chance: random.Random) -> Visit:
        car = vehicle(supply, chance.uniform(20, 75), chance)
        wait = self.clock.real(chance.uniform(0.3, 2.0) * _MINUTE)
        free = [tag for tag in self._tags if tag not in self._in_use] or self._tags
        return Visit(car, chance.choice(free), wait, remote=chance.random() < self._remote_share)

    async def _visit(self, charger: Charger, number: int, chance: random.Random, visit: Visit) -> None:
        """Plug in, charge, unplug."""
        self._in_use.add(visit.tag)
        charger.plug_in(number, visit.vehicle)
        await asyncio.sleep(visit.wait)
        if await self._begin(charger, number, visit.tag, remote=visit.remote):
            await self._charge(charger, number, chance)
        await self.clock.sleep(chance.uniform(*LINGER))
        if charger.connector(number).vehicle is visit.vehicle:  # unless somebody else has sent it away
            charger.unplug(number)
        self._in_use.discard(visit.tag)

    async def _begin(self, charger: Charger, number: int, tag: str, *, remote: bool) -> bool:
        """Whether a session has begun, by card or from afar."""
        connector = charger.connector(number)
        if remote and await charger.until(lambda: connector.transaction is not None, self.clock.real(PATIENCE)):
            return True
        if connector.transaction is not None or await charger.present(number, tag):
            # A start that the central system refuses ends as quickly as it began.
            return await charger.until(lambda: connector.transaction is not None or connector.finished, START_TIMEOUT)
        return connector.transaction is not None

    async def _charge(self, charger: Charger, number: int, chance: random.Random) -> None:
        """Until the car is full, the time is up or somebody else ends it."""
        connector = charger.connector(number)
        suspended = v16.ChargePointStatus.SUSPENDED_EV
        stay = self.clock.real(chance.uniform(*STAY))
        await charger.until(lambda: connector.transaction is None or connector.status is suspended, stay)
        if connector.status is suspended:
            await self.clock.sleep(chance.uniform(*LINGER))
        # Some drivers show their card again, the others pull the plug.
        if connector.transaction is not None and chance.random() < 0.7:
            await charger.present(number, connector.transaction.id_tag)
