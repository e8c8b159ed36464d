"""The BMS against our Modbus server and registers, with the gateway's side of each handshake in the test."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ampgate.bms import objects, service
from ampgate.bms.alarms import Alarm, Alarms, Outlet
from ampgate.bms.charger import TaskRefused
from ampgate.bms.client import ILLEGAL_ADDRESS, Refused, Unreachable
from ampgate.bms.config import BmsConfig, BmsTable, ChargerTable, ModbusTable, TcpTable, UserTable
from ampgate.bms.service import Bms
from ampgate.bms.store import Store
from ampgate.bridge.results import Result, result_of
from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.tcp import TcpServer
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

UNIT = 3
DEADLINE = 10.0
TAGS = [f"TAG{number}" for number in range(1, 20)]


class Gateway:
    """Registers behind a real Modbus server; notes the writes that matter."""

    def __init__(self, connectors: list[int], **options: Any) -> None:
        self.site = Site([ChargerShape(count) for count in connectors], **options)
        self.writes: list[tuple[str, int]] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._server: TcpServer | None = None
        self._watch(self.site.gateway, "bms.heartbeat")
        for charger in range(len(connectors)):
            for group in ("authorize", "start_transaction", "stop_transaction"):
                self._watch(self.site.charger(charger), f"{group}.processed")
            for group in ("remote_start", "remote_stop", "reset", "clear_cache"):
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

    async def done(self, charger: int, group: str, result: int) -> None:
        """Wait for an operation and end it as the gateway does."""
        await self.written(f"{group}.flag")
        points = self.site.charger(charger)
        points[f"{group}.result"].set(result)
        points[f"{group}.flag"].set(0)

    def _watch(self, points, key: str) -> None:
        def heard(value: int) -> None:
            self.writes.append((key, value))
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

        points[key].watch(heard)


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2023, 6, 19, 14, 22).astimezone()

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path)) as store:
        yield store


class At:
    """What a test works with."""

    def __init__(self, gateway: Gateway, bms: Bms, clock: Clock, alarms: list[Alarm]) -> None:
        self.gateway, self.bms, self.clock, self.alarms = gateway, bms, clock, alarms


@contextlib.asynccontextmanager
async def site(
    store: Store, *connectors: int, order: ByteOrder = ByteOrder.BIG, gateway: dict | None = None, **tables: Any
) -> AsyncIterator[At]:
    served = Gateway(list(connectors), order=order, **(gateway or {}))
    await served.start()
    tags = iter(TAGS)
    clock, raised = Clock(), []
    config = BmsConfig(
        bms=tables.get("bms", BmsTable(heartbeat_interval=0)),
        modbus=ModbusTable(unit_id=UNIT, byte_order=order, timeout=1, tcp=TcpTable("127.0.0.1", served.port)),
        charger=[ChargerTable(f"CP{number}", count) for number, count in enumerate(connectors)],
        user=[UserTable("User B", ["CARD"])],
    )
    with contextlib.closing(Alarms([Outlet("test", raised.append)])) as alarms:
        bms = Bms(config, store, alarms, now=clock, make_tag=lambda: next(tags))
        bms.read_rate = 0.01
        running = asyncio.create_task(bms.run())
        try:
            yield At(served, bms, clock, raised)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await served.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


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


async def preparing(at: At, charger: int = 0, connector: int = 1) -> None:
    at.gateway.site.connector(charger, connector)["connector.status"].set(1)


async def session(at: At, meter: float = 1000.0) -> int:
    """A session of a known card at connector 1 of charger 0; its transaction id."""
    answer = await ask(at.gateway, 0, "start_transaction", connector_id=1, id_tag="CARD", meter=meter)
    assert answer["result"] == 0
    return answer["transaction_id"]


async def stop(at: At, transaction: int, meter: float, timestamp: int = 1) -> None:
    stopped = {"transaction_id": transaction, "meter": meter, "timestamp": timestamp, "reason": 8}
    await ask(at.gateway, 0, "stop_transaction", **stopped)


def texts(at: At, under: str) -> dict[str, str]:
    return {one.reference.removeprefix("S1."): one.text for one in objects.readings(at.bms, under)}


@pytest.mark.parametrize("order", list(ByteOrder))
async def test_it_authorises_known_cards_only(store, order):
    async with site(store, 1, 1, order=order) as at:
        assert (await ask(at.gateway, 1, "authorize", id_tag="card"))["result"] == 0
        assert (await ask(at.gateway, 1, "authorize", id_tag="BAD"))["result"] == 3
        assert (at.bms.chargers[1].accepted, at.bms.chargers[1].declined) == (1, 1)


async def test_an_answered_request_is_not_answered_again(store):
    async with site(store, 1) as at:
        points = at.gateway.site.charger(0)
        points["authorize.id_tag"].set("CARD")
        points["authorize.flag"].set(1)
        await at.gateway.written("authorize.processed")
        assert (await ask(at.gateway, 0, "start_transaction", connector_id=1, id_tag="CARD"))["result"] == 0
        assert at.gateway.writes.count(("authorize.processed", 1)) == 1


async def test_the_answer_is_there_before_processed(store):
    """A gateway that acts on *processed* within the write request would else miss what follows it."""
    async with site(store, 1) as at:
        points = at.gateway.site.charger(0)
        seen = []
        points["authorize.processed"].watch(lambda _: seen.append(points["authorize.result"].get()))
        points["authorize.flag"].set(1)
        await until(lambda: seen)
        assert seen == [3]


async def test_a_gateway_that_does_not_let_processed_be_read(store, monkeypatch):
    """The original's map calls it write only; an answered request is left alone while the gateway takes it in."""
    async with site(store, 1) as at:
        read = at.bms.client.read

        async def write_only(block):
            if any(key.endswith(".processed") for key, *_ in block._fields):
                raise Refused("test", ILLEGAL_ADDRESS)
            return await read(block)

        monkeypatch.setattr(service, "SETTLING", 3600.0)
        monkeypatch.setattr(at.bms.client, "read", write_only)
        await until(lambda: at.bms.systems[0].status)
        points = at.gateway.site.charger(0)
        points["authorize.id_tag"].set("CARD")
        points["authorize.flag"].set(1)
        await at.gateway.written("authorize.processed")
        assert (await ask(at.gateway, 0, "start_transaction", connector_id=1, id_tag="CARD"))["result"] == 0
        assert at.gateway.writes.count(("authorize.processed", 1)) == 1
        at.bms._settled.clear()
        await at.gateway.until(lambda: at.gateway.writes.count(("authorize.processed", 1)) == 2)


async def test_heartbeat(store):
    async with site(store, 1, bms=BmsTable(heartbeat_interval=1)) as at:
        await at.gateway.until(lambda: at.gateway.writes.count(("bms.heartbeat", 1)) >= 2)


async def test_without_a_heartbeat_register_it_works_all_the_same(store, caplog):
    async with site(store, 1, bms=BmsTable(heartbeat_interval=1), gateway={"external": True}) as at:
        await until(lambda: "no heartbeat" in caplog.text)
        await until(lambda: at.bms.systems[0].trouble)  # nor the request blocks
        assert at.bms.client.online


async def test_a_start_and_its_result(store):
    async with site(store, 1, 2) as at:
        system = at.bms.system("CP1/2")
        await preparing(at, 1, 2)
        starting = asyncio.create_task(at.bms.start(system, "User A"))
        await at.gateway.done(1, "remote_start", 0)
        assert await starting == "start: accepted"
        points = at.gateway.site.charger(1)
        assert points["remote_start.connector_id"].get() == 2
        assert points["remote_start.id_tag"].get() == "TAG1"
        answer = await ask(at.gateway, 1, "start_transaction", connector_id=2, id_tag="TAG1")
        assert answer == {"processed": 1, "parent_id_tag": "", "expiry": 0, "result": 0, "transaction_id": 1}
        assert system.session.user == "User A"


@pytest.mark.parametrize(("result", "authorised"), [(1, 3), (21, 3), (20, 0)])
async def test_the_id_tag_of_a_refused_start_is_void(store, result, authorised):
    """Not that of a charger that has not answered in time: it may start all the same."""
    async with site(store, 1) as at:
        await preparing(at)
        starting = asyncio.create_task(at.bms.start(at.bms.systems[0], ""))
        await at.gateway.done(0, "remote_start", result)
        with pytest.raises(TaskRefused, match="start: "):
            await starting
        assert (await ask(at.gateway, 0, "authorize", id_tag="TAG1"))["result"] == authorised


async def test_an_operation_that_runs_is_waited_for_by_nobody(store):
    async with site(store, 1) as at:
        await preparing(at)
        at.gateway.site.charger(0)["remote_start.flag"].set(1)
        with pytest.raises(TaskRefused, match="this operation is still running"):
            await at.bms.start(at.bms.systems[0], "")
        assert (await ask(at.gateway, 0, "authorize", id_tag="TAG1"))["result"] == 3


async def test_an_operation_without_a_result(store, monkeypatch):
    monkeypatch.setattr(service, "OPERATION_TIMEOUT", 0.1)
    async with site(store, 1) as at:
        with pytest.raises(TaskRefused, match=r"no result within 0\.1 s"):
            await at.bms.reset(at.bms.systems[0])


async def test_clear_gateway_registers(store):
    async with site(store, 1) as at:
        points = at.gateway.site.charger(0)
        written = [key for key in points if SIGNALS[key].writable and key.split(".")[0] in (
            "authorize", "start_transaction", "stop_transaction", "remote_start", "remote_stop"
        ) and not SIGNALS[key].command]  # fmt: skip
        for key in written:
            points[key].set("X" if SIGNALS[key].type == "string" else 1)
        await at.bms.clear_registers(at.bms.systems[0])
        assert {points[key].get() for key in written} == {0, ""}


async def test_the_day_changes(store):
    async with site(store, 1) as at:
        transaction = await session(at)
        at.clock.at += timedelta(minutes=5, seconds=59)
        await stop(at, transaction, 1250.0)
        assert texts(at, "S1.T") == {"T.C": "1", "T.E": "0.250", "T.D": "5"}
        over_midnight = await session(at, 1250.0)
        at.clock.at = datetime(2023, 6, 20, 0, 10).astimezone()
        await stop(at, over_midnight, 2250.0)
        assert texts(at, "S1.T") == {"T.C": "1", "T.E": "1.000", "T.D": "582"}, "counted on the day of its end"
        assert texts(at, "S1.P") == {"P.C": "1", "P.E": "0.250", "P.D": "5"}
        assert texts(at, "S1.F") == {"F.C": "2", "F.E": "1.250", "F.D": "587"}
        at.clock.at += timedelta(days=2)
        assert texts(at, "S1.P") == {"P.C": "0", "P.E": "0.000", "P.D": "0"}, "nothing on the day before"
        assert texts(at, "S1.F.C") == {"F.C": "2"}


async def test_counters_at_their_ends(store):
    async with site(store, 1) as at:
        record = at.bms.systems[0].record
        record.counter = 65535
        record.total = objects.Use(65535, 1.0, 65530)
        transaction = await session(at)
        at.clock.at += timedelta(minutes=10)
        await stop(at, transaction, 1000.0)
        assert texts(at, "S1.L.C") == {"L.C": "1"}, "0 is for initialisation alone"
        assert texts(at, "S1.F") == {"F.C": "65535", "F.E": "1.000", "F.D": "65535"}


@pytest.mark.parametrize("group", ["start_transaction", "stop_transaction"])
async def test_what_could_not_be_answered_counts_once(store, group, monkeypatch):
    """The connection breaks after the decision: the gateway shows the request again."""
    async with site(store, 1) as at:
        write, broken = at.bms.client.write, []

        async def breaking(block, values):
            if f"{group}.processed" in values and not broken:
                broken.append(block)
                raise Unreachable("test")
            await write(block, values)

        monkeypatch.setattr(at.bms.client, "write", breaking)
        transaction = await session(at)
        await stop(at, transaction, 1500.0)
        assert broken
        await until(lambda: len(at.alarms) == 2)
        assert texts(at, "S1.F") == {"F.C": "1", "F.E": "0.500", "F.D": "0"}
        assert [alarm.point for alarm in at.alarms] == ["Charging start", "Charging stop (0.500kWh)"]
        assert len(at.bms.charges(10)) == 1


async def test_what_cannot_be_kept_has_not_happened(store, monkeypatch, caplog):
    """A full disk: no answer, no alarm; when there is room again, all of it."""
    async with site(store, 1) as at:
        transaction = await session(at)
        await until(lambda: len(at.alarms) == 1)

        class Full:
            def execute(self, *_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(store, "_db", Full())
            stopping = asyncio.create_task(stop(at, transaction, 1500.0))
            await until(lambda: "disk is full" in caplog.text)
            assert not stopping.done()
            assert at.bms.systems[0].session is not None
        await stopping
        assert texts(at, "S1.F.C") == {"F.C": "1"}
        assert len(at.bms.charges(10)) == 1
        await until(lambda: len(at.alarms) == 2)


async def test_a_stop_that_it_does_not_know_is_processed_all_the_same(store):
    async with site(store, 1) as at:
        await stop(at, 4711, 1.0)
        assert texts(at, "S1.F.C") == {"F.C": "0"}


async def test_the_33rd_charger_is_at_the_next_unit_id(store):
    async with site(store, *[1] * 33) as at:
        assert (await ask(at.gateway, 32, "authorize", id_tag="CARD"))["result"] == 0


async def test_it_connects_again(store):
    async with site(store, 1) as at:
        await until(lambda: at.bms.client.online)
        await at.gateway.stop()
        await until(lambda: at.bms.trouble)
        await at.gateway.start()
        assert (await ask(at.gateway, 0, "authorize", id_tag="CARD"))["result"] == 0
        await until(lambda: not at.bms.trouble)


async def test_it_polls_as_often_as_it_is_told(store, monkeypatch):
    rounds = []
    async with site(store, 1) as at:
        monkeypatch.setattr(at.bms, "turn_day", lambda: rounds.append(1))
        at.bms.read_rate = 300
        at.bms.wake()
        await until(lambda: rounds)
        monkeypatch.setattr(at.bms, "_follow_up_until", 0.0)
        assert at.bms._pause() == 300
        at.bms.wake()
        assert at.bms._pause() == 1.0, "for a while after something has happened"


async def test_places(store):
    async with site(store, 1, 2) as at:
        bms = at.bms
        assert [system.name for system in bms.systems] == ["S1", "S2", "S3"]
        assert bms.system("s1") is bms.system("CP0") is bms.system("cp0/1") is bms.systems[0]
        assert bms.system("CP1/2") is bms.systems[2]
        for place, words in (
            ("", r"say which connector: S1 \(CP0/1\), S2"),
            ("CP1", r"S2 \(CP1/1\), S3 \(CP1/2\)$"),
            ("X", "there is no X; there are S1"),
        ):
            with pytest.raises(TaskRefused, match=words):
                bms.system(place)


def test_result_codes_are_those_of_the_gateway() -> None:
    assert set(service.RESULTS) <= set(Result)
    assert {result_of(status) for status in ("Accepted", "Scheduled", "Unlocked")} == set(service.SUCCESS)
    assert service.TIMED_OUT == Result.TIMEOUT
