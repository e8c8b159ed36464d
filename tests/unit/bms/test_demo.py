"""The small BMS against our Modbus server and registers, with the charger's side of each handshake in the test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from ampgate.bms.demo import DemoBms
from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.tcp import TcpServer
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

UNIT = 3
DEADLINE = 10.0


class Gateway:
    """Registers behind a real Modbus server; notes the writes that matter."""

    def __init__(self, connectors: list[int], order: ByteOrder = ByteOrder.BIG) -> None:
        self.site = Site([ChargerShape(count) for count in connectors], order=order)
        self.writes: list[tuple[str, int]] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._server: TcpServer | None = None
        for key in ("bms.heartbeat", "bms.second", "bms.year"):
            self._watch(self.site.gateway, key)
        for charger in range(len(connectors)):
            for group in ("authorize", "start_transaction", "stop_transaction"):
                self._watch(self.site.charger(charger), f"{group}.processed")
            for group in ("remote_start", "remote_stop"):
                self._watch(self.site.charger(charger), f"{group}.flag")

    async def start(self) -> None:
        identity = Identity("test", "test", "1")
        units = {UNIT + number: Executor(image, identity) for number, image in enumerate(self.site.images)}
        self._server = TcpServer(units)
        self.port = await self._server.start("127.0.0.1", self.port)

    async def stop(self) -> None:
        await self._server.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self._changed.wait()

    async def written(self, key: str) -> None:
        await self.until(lambda: key in [written for written, _ in self.writes])

    def _watch(self, points, key: str) -> None:
        def heard(value: int) -> None:
            self.writes.append((key, value))
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

        points[key].watch(heard)


@contextlib.asynccontextmanager
async def site(*connectors: int, order: ByteOrder = ByteOrder.BIG, **options) -> AsyncIterator[tuple[Gateway, DemoBms]]:
    gateway = Gateway(list(connectors), order)
    await gateway.start()
    defaults = {"tags": ["GOOD"], "poll_interval": 0.01, "heartbeat_interval": 0.0, "seed": 1}
    defaults |= {"remote_start_share": 0.0, "remote_stop_share": 0.0}
    bms = DemoBms("127.0.0.1", gateway.port, UNIT, list(connectors), order=order, **(defaults | options))
    work = asyncio.create_task(bms.run())
    try:
        yield gateway, bms
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await gateway.stop()


async def polled(gateway: Gateway, rounds: int = 2) -> None:
    """Wait until the BMS has looked at everything this many times: each round begins with a heartbeat here."""
    goal = gateway.writes.count(("bms.heartbeat", 1)) + rounds + 1
    await gateway.until(lambda: gateway.writes.count(("bms.heartbeat", 1)) >= goal)


async def ask(gateway: Gateway, charger: int, group: str, **values) -> dict:
    """Present a request and wait for the answer as the gateway does; returns the W signals by name."""
    points = gateway.site.charger(charger)
    for key, point in points.items():
        if key.startswith(f"{group}.") and SIGNALS[key].access == "W":
            point.clear()
    for name, value in values.items():
        points[f"{group}.{name}"].set(value)
    points[f"{group}.flag"].set(1)
    await gateway.until(lambda: points[f"{group}.processed"].get() == 1)
    answer = {
        key.partition(".")[2]: point.get()
        for key, point in points.items()
        if key.startswith(f"{group}.") and SIGNALS[key].access == "W"
    }
    points[f"{group}.flag"].set(0)
    points[f"{group}.processed"].set(0)
    return answer


@pytest.mark.parametrize("order", list(ByteOrder))
async def test_it_authorises_the_tags_of_its_list_only(order):
    async with site(1, 1, order=order) as (gateway, bms):
        assert (await ask(gateway, 1, "authorize", id_tag="good"))["result"] == 0
        assert (await ask(gateway, 1, "authorize", id_tag="BAD"))["result"] == 3
        await polled(gateway)
        assert (bms.counters.accepted, bms.counters.declined) == (1, 1)


async def test_a_session_gets_its_own_transaction_id_and_is_counted():
    async with site(2, first_transaction_id=65535) as (gateway, bms):
        start = {"id_tag": "GOOD", "meter": 1000.0}
        first = await ask(gateway, 0, "start_transaction", connector_id=1, **start)
        second = await ask(gateway, 0, "start_transaction", connector_id=2, **start)
        assert (first["result"], first["transaction_id"]) == (0, 65535)
        assert (second["result"], second["transaction_id"]) == (0, 1)
        refused = await ask(gateway, 0, "start_transaction", connector_id=2, id_tag="BAD", meter=0.0)
        assert refused["result"] == 3
        await ask(gateway, 0, "stop_transaction", transaction_id=65535, meter=4500.0, id_tag="GOOD")
        await polled(gateway)
        assert bms.counters.sessions == 1
        assert bms.counters.energy_wh == pytest.approx(3500)


async def test_a_stop_that_it_does_not_know_is_processed_all_the_same():
    async with site(1) as (gateway, bms):
        await ask(gateway, 0, "stop_transaction", transaction_id=4711, meter=1.0)
        await polled(gateway)
        assert bms.counters.sessions == 1


async def test_an_answered_request_is_not_answered_again():
    async with site(1) as (gateway, bms):
        points = gateway.site.charger(0)
        points["authorize.id_tag"].set("GOOD")
        points["authorize.flag"].set(1)
        await gateway.written("authorize.processed")
        await polled(gateway, 5)
        assert gateway.writes.count(("authorize.processed", 1)) == 1
        assert bms.counters.accepted == 1


async def test_heartbeat_and_clock():
    async with site(1, heartbeat_interval=0.5) as (gateway, _):
        began = time.monotonic()
        await gateway.until(lambda: gateway.writes.count(("bms.heartbeat", 1)) >= 3)
        assert time.monotonic() - began >= 0.9
        parts = ("year", "month", "day", "hour", "minute", "second")
        clock = datetime(*(gateway.site.gateway[f"bms.{part}"].get() for part in parts), tzinfo=UTC)
        assert abs(clock.timestamp() - time.time()) < DEADLINE
        assert [key for key, _ in gateway.writes].count("bms.second") == 1


async def test_it_starts_a_car_that_waits():
    async with site(1, 2, remote_start_share=1.0, remote_start_after=0.1) as (gateway, bms):
        gateway.site.connector(1, 2)["connector.status"].set(1)
        await gateway.written("remote_start.flag")
        points = gateway.site.charger(1)
        assert points["remote_start.connector_id"].get() == 2
        tag = points["remote_start.id_tag"].get()
        assert tag
        points["remote_start.flag"].set(0)
        assert (await ask(gateway, 1, "start_transaction", connector_id=2, id_tag=tag))["result"] == 0
        await polled(gateway)
        assert bms.counters.remote_starts == 1


async def test_who_was_turned_away_is_not_started_from_afar():
    async with site(1, remote_start_share=1.0, remote_start_after=0.3) as (gateway, _):
        gateway.site.connector(0, 1)["connector.status"].set(1)
        await polled(gateway)
        await ask(gateway, 0, "authorize", id_tag="BAD")
        began = time.monotonic()
        while time.monotonic() - began < 0.6:
            await polled(gateway)
        assert ("remote_start.flag", 1) not in gateway.writes


async def test_it_stops_some_sessions():
    options = {"remote_stop_share": 1.0, "remote_stop_after": (0.05, 0.1), "first_transaction_id": 42}
    async with site(1, **options) as (gateway, bms):
        await ask(gateway, 0, "start_transaction", connector_id=1, id_tag="GOOD")
        await gateway.written("remote_stop.flag")
        assert gateway.site.charger(0)["remote_stop.transaction_id"].get() == 42
        await polled(gateway)
        assert bms.counters.remote_stops == 1


async def test_it_reads_status_and_measurements():
    async with site(1, 2) as (gateway, bms):
        points = gateway.site.connector(1, 2)
        points["connector.status"].set(2)
        points["connector.power_active_import"].set(11040.0)
        points["transaction.id_tag"].set("GOOD")
        await polled(gateway)
        reading = bms.readings[1, 2]
        assert reading["connector.status"] == 2
        assert reading["connector.power_active_import"] == 11040.0
        assert reading["transaction.id_tag"] == "GOOD"
        assert bms.readings[0, 1]["connector.status"] == 0


async def test_the_33rd_charger_is_at_the_next_unit_id():
    async with site(*[1] * 33) as (gateway, _):
        assert (await ask(gateway, 32, "authorize", id_tag="GOOD"))["result"] == 0


async def test_it_connects_again():
    async with site(1) as (gateway, _):
        await polled(gateway)
        await gateway.stop()
        await gateway.start()
        assert (await ask(gateway, 0, "authorize", id_tag="GOOD"))["result"] == 0
