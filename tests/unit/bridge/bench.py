"""A bridge without sockets: registers on one side, messages on the other, time in the hands of the test."""

from __future__ import annotations

import asyncio
import inspect
import json
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ampgate.bridge.central import Bridge
from ampgate.bridge.charger import Charger
from ampgate.bridge.signals import ChargerSetting
from ampgate.journal import Journal
from ampgate.ocpp import v16
from ampgate.registers.image import Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

NOON = "2026-01-31T12:00:00Z"


class FakeLink:
    """What the bridge uses of a connection to a charge point."""

    def __init__(self) -> None:
        self.address = "192.0.2.7"
        self.last_received = time.monotonic()
        self.asked: list[v16.Message] = []
        self.reply: Any = v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)

    async def call(self, request: v16.Message) -> v16.Message:
        self.asked.append(request)
        reply = self.reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, v16.Message)
        return reply


class Bench:
    """A bridge for chargers CP0, CP1, … with two connectors each."""

    def __init__(self, chargers: int = 1, journal: Journal | None = None, **options: Any) -> None:
        self.site = Site([ChargerShape(2)] * chargers)
        self.journal = journal or Journal(":memory:")
        settings = [ChargerSetting(f"CP{number}", f"Place {number}", 2) for number in range(chargers)]
        self.bridge = Bridge(self.site, settings, self.journal, **options)
        self.links: dict[str, FakeLink] = {}
        self._closed = False

    @property
    def charger(self) -> Charger:
        return self.bridge.chargers[0]

    # The charge point

    def connect(self, identity: str = "CP0") -> FakeLink:
        link = self.links[identity] = FakeLink()
        self.bridge.connected(identity, link)  # type: ignore[arg-type]
        return link

    def disconnect(self, identity: str = "CP0") -> None:
        self.bridge.disconnected(identity, self.links[identity])  # type: ignore[arg-type]

    async def send(self, action: str, identity: str = "CP0", **payload: Any) -> Any:
        """Send a message; returns the payload of its answer."""
        charger = next(charger for charger in self.bridge.chargers if charger.id == identity)
        answer = charger.handle(v16.decode(v16.ACTIONS[action].request, json.dumps(payload).encode()))
        if inspect.isawaitable(answer):
            answer = await answer
        await asyncio.sleep(0)  # the answer is on its way
        return json.loads(v16.encode(answer))

    async def boot(self, identity: str = "CP0", **fields: Any) -> Any:
        return await self.send(
            "BootNotification", identity, **{"chargePointVendor": "ACME", "chargePointModel": "Two"} | fields
        )

    # The BMS

    def write(self, address: int, *values: int) -> Refusal:
        return self.site.images[0].write(address, b"".join(value.to_bytes(2, "big") for value in values))

    def words(self, address: int, count: int) -> list[int]:
        return list(struct.unpack(f">{count}H", self.site.images[0].words[2 * address : 2 * (address + count)]))

    def word(self, address: int) -> int:
        return self.words(address, 1)[0]

    def text(self, address: int, count: int) -> str:
        data = bytes(self.site.images[0].words[2 * address : 2 * (address + count)])
        return data.rstrip(b"\0").decode("iso-8859-1")

    def float(self, address: int) -> float:
        return float(struct.unpack(">f", self.site.images[0].words[2 * address : 2 * address + 4])[0])

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self.bridge.close()
            self.journal.close()


@asynccontextmanager
async def benches() -> AsyncIterator[Callable[..., Bench]]:
    """Gives what makes benches, and closes them at the end."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(**options))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()
