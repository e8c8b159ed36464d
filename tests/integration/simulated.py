"""Simulated chargers at a real gateway process: the other end of `shared`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ampgate.simulator.charger import Charger
from ampgate.simulator.clock import Clock
from ampgate.simulator.profiles import PROFILES
from tests.integration.peers import DEADLINE
from tests.integration.shared import Place, SharedGateway


@contextlib.asynccontextmanager
async def at(place: Place, profile: str, **options: Any) -> AsyncIterator[Charger]:
    """A charger of this profile that tries to connect; options as of `Charger`."""
    charger = Charger(
        f"ws://127.0.0.1:{place.gateway.ocpp_port}",
        place.identity,
        profile=PROFILES[profile],
        **{"clock": Clock(60), "backoff": (0.05, 0.2), "sample_interval": 0.3} | options,
    )
    work = asyncio.create_task(charger.run())
    try:
        yield charger
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


@contextlib.asynccontextmanager
async def connected(shared: SharedGateway, profile: str, **options: Any) -> AsyncIterator[tuple[Place, Charger]]:
    """A charger of this profile that has told its status, at a place that no test has used."""
    async with shared.place() as place, at(place, profile, **options) as charger:
        assert await charger.until(lambda: charger.online and not charger.connection.outbox, DEADLINE)
        yield place, charger
