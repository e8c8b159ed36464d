"""Sessions between a journal in a file and a BMS that writes registers.

Registers are protocol addresses of charger 0 (configuration guide r1.2, appendix 2): Authorize 164…190,
StartTransaction 194…228, StopTransaction 234…268, with the flag first. `Recorder` writes down in which order things
become true.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ampgate.bridge.activity import Activity
from ampgate.bridge.policy import Fallback, Policy
from ampgate.bridge.requests import TransactionIds
from ampgate.bridge.sessions import Sessions, Settings
from ampgate.bridge.transactions import Transaction
from ampgate.journal import Journal, PendingStop
from ampgate.ocpp import v16
from ampgate.registers.image import Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

DEADLINE = 5.0
NOON = "2026-01-31T12:00:00Z"
NOON_EPOCH = 1769860800


async def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        if condition():
            return
        assert time.monotonic() < end, what
        await asyncio.sleep(0)


class Recorder(Journal):
    """A journal that tells when it has written, can be slow to flush, and can fail."""

    def __init__(self, path: Path, events: list[str]) -> None:
        super().__init__(path)
        self.events = events
        self.may_flush = asyncio.Event()
        self.may_flush.set()
        self.fails = False

    def _wrote(self, what: str) -> None:
        self.events.append(what)

    def started(self, *arguments: Any, **values: Any) -> None:
        if self.fails:
            raise sqlite3.OperationalError("database or disk is full")
        super().started(*arguments, **values)
        self._wrote(f"started {values['transaction_id']}")

    def stopping(self, identity: str, message: str, transaction_id: int, request: bytes) -> PendingStop:
        stop = super().stopping(identity, message, transaction_id, request)
        self._wrote(f"stopping {transaction_id}")
        return stop

    def stopped(self, identity: str, stop: PendingStop, response: bytes) -> None:
        if self.fails:
            raise sqlite3.OperationalError("database or disk is full")
        super().stopped(identity, stop, response)
        self._wrote("stopped")

    async def flush(self) -> None:
        await self.may_flush.wait()
        await super().flush()
        self._wrote("flushed")


class Bench:
    """The sessions of one charger, CP0, between a charger and a BMS that the test plays."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.events: list[str] = []
        self.journal = Recorder(path, self.events)
        self.site = Site([ChargerShape(2)])
        self.shown: list[tuple[int, bool]] = []
        """Transaction ids with whether they run, as the connectors are told."""
        self.absent = False
        self.settings = Settings(
            now=lambda: datetime(2026, 1, 31, 12, tzinfo=UTC),
            fallback=Fallback(Policy.REJECT),
            activity=Activity(),
            transaction_ids=TransactionIds(self.journal.last_transaction_id),
            journal=self.journal,
            bms_absent=lambda: self.absent,
            **{"answer_timeout": DEADLINE} | changes,
        )
        self.sessions = Sessions("CP0", self.site.charger(0), self.settings, self._changed)
        self.sessions.restore()

    def _changed(self, transaction: Transaction, runs: bool) -> None:
        self.shown.append((transaction.id, runs))

    def word(self, address: int) -> int:
        return int.from_bytes(self.site.images[0].words[2 * address : 2 * address + 2])

    def write(self, address: int, value: int) -> None:
        """A write of the BMS, up to the moment when it is confirmed."""
        assert self.site.images[0].write(address, value.to_bytes(2)) is Refusal.NONE
        self.events.append("confirmed")

    async def pending(self, flag: int) -> None:
        await until(lambda: self.word(flag) == 1, f"flag {flag}")

    def start(self, connector: int = 1, meter: int = 10) -> asyncio.Task[Any]:
        request = v16.StartTransactionRequest(connector_id=connector, id_tag="TAG", meter_start=meter, timestamp=NOON)
        return asyncio.create_task(self._answer(self.sessions.start(request)))

    def stop(self, transaction_id: int, meter: int = 20) -> asyncio.Task[Any]:
        request = v16.StopTransactionRequest(meter_stop=meter, timestamp=NOON, transaction_id=transaction_id)
        return asyncio.create_task(self._answer(self.sessions.stop(request)))

    async def _answer(self, work: Awaitable[v16.Message]) -> v16.Message:
        response = await work
        self.events.append("answered")
        return response

    async def run(self, transaction_id: int, connector: int = 1) -> None:
        """A transaction, from its start to its answer."""
        asked = self.start(connector)
        await self.pending(194)
        self.write(228, transaction_id)
        self.write(214, 1)
        await asked
        self.events.clear()


@pytest.fixture
async def benches(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Make a bench; each further one is the gateway after it has been killed and started again."""
    made: list[Bench] = []

    def make(**changes: Any) -> Bench:
        made.append(Bench(tmp_path / "journal.db", **changes))
        return made[-1]

    yield make
    for bench in made:
        bench.journal.may_flush.set()
        await bench.sessions.close()
        bench.journal.close()


@pytest.fixture
async def bench(benches: Callable[..., Bench]) -> Bench:
    return benches()


ACCEPTED = v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED)
INVALID = v16.IdTagInfo(status=v16.AuthorizationStatus.INVALID)


# In which order


async def test_a_start_is_written_confirmed_flushed_and_answered_in_this_order(bench: Bench) -> None:
    asked = bench.start()
    await bench.pending(194)
    assert bench.events == []
    bench.write(228, 42)
    bench.write(214, 1)
    assert bench.events == ["confirmed", "started 42", "confirmed"]
    assert await asked == v16.StartTransactionResponse(id_tag_info=ACCEPTED, transaction_id=42)
    assert bench.events[3:] == ["flushed", "answered"]
    assert [bench.word(194), bench.word(214)] == [0, 0]
    assert bench.shown == [(42, True)]


async def test_the_flag_of_a_start_stays_until_it_is_on_the_medium(bench: Bench) -> None:
    bench.journal.may_flush.clear()
    asked = bench.start()
    await bench.pending(194)
    bench.write(214, 1)
    again = bench.start()  # over another connection
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.done()
    assert not again.done()
    assert bench.word(194) == 1
    bench.journal.may_flush.set()
    assert await asked == await again
    assert bench.word(194) == 0


async def test_a_stop_is_written_before_it_is_shown_and_flushed_before_it_is_answered(bench: Bench) -> None:
    await bench.run(42)
    asked = bench.stop(42)
    await bench.pending(234)
    assert bench.events == ["stopping 42"]
    assert bench.shown[-1] == (42, False)
    bench.write(255, 1)
    assert bench.events == ["stopping 42", "stopped", "confirmed"]
    assert await asked == v16.StopTransactionResponse(id_tag_info=ACCEPTED)
    assert bench.events[3:] == ["flushed", "flushed", "answered"]
    assert [bench.word(234), bench.word(255)] == [0, 0]


async def test_an_answer_that_is_known_is_flushed_before_it_is_given_again(bench: Bench) -> None:
    await bench.run(42)
    bench.journal.may_flush.clear()
    again = bench.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not again.done()
    bench.journal.may_flush.set()
    assert (await again).transaction_id == 42


@pytest.mark.parametrize("kind", ["start", "stop"])
async def test_what_cannot_be_written_is_not_processed(kind: str, bench: Bench) -> None:
    flag, processed = {"start": (194, 214), "stop": (234, 255)}[kind]
    asked = bench.start() if kind == "start" else bench.stop(5)
    await bench.pending(flag)
    bench.journal.fails = True
    with pytest.raises(sqlite3.OperationalError):  # the BMS gets exception 04
        bench.write(processed, 1)
    assert bench.word(flag) == 1
    assert bench.shown == []
    assert not asked.done()
    bench.journal.fails = False
    bench.write(processed, 1)
    assert (await asked).id_tag_info == ACCEPTED


# A BMS that is late, or away


async def test_processed_after_the_timeout_concludes_nothing(benches: Callable[..., Bench]) -> None:
    bench = benches(answer_timeout=0.01)
    bench.journal.may_flush.clear()
    asked = bench.start()
    await bench.pending(194)
    await until(lambda: bench.events, "the policy decides")
    for moment in ("before the answer", "after the answer"):
        bench.write(227, 0)
        bench.write(228, 99)
        bench.write(214, 1)
        assert bench.word(214) == 0, moment
        bench.journal.may_flush.set()
        assert await asked == v16.StartTransactionResponse(id_tag_info=INVALID, transaction_id=1)
    assert [event for event in bench.events if event.startswith("started")] == ["started 1"]
    (record,) = bench.journal.running("CP0")
    assert msgspec.json.decode(record, type=Transaction) == Transaction(1, 1, "TAG", 10, NOON_EPOCH, accepted=False)


async def test_an_absent_bms_is_not_waited_for(benches: Callable[..., Bench]) -> None:
    bench = benches(answer_timeout=1000.0)
    bench.absent = True
    async with asyncio.timeout(DEADLINE):
        authorized = await bench.sessions.authorize(v16.AuthorizeRequest(id_tag="TAG"))
        started = await bench.start()
        stopped = await bench.stop(started.transaction_id)
    assert authorized == v16.AuthorizeResponse(id_tag_info=INVALID)
    assert started == v16.StartTransactionResponse(id_tag_info=INVALID, transaction_id=1)
    assert stopped == v16.StopTransactionResponse()
    assert [bench.word(164), bench.word(194)] == [0, 0]
    await bench.pending(234)  # the stop waits for as long as it takes
    assert bench.sessions.waiting == ["stop_transaction"]
    bench.write(255, 1)
    await until(lambda: bench.word(234) == 0, "the stop is done")
    assert bench.sessions.waiting == []


async def test_a_stop_is_confirmed_in_time_and_processed_later(benches: Callable[..., Bench]) -> None:
    bench = benches(answer_timeout=0.01)
    first, second = bench.stop(1), bench.stop(2)
    assert [await first, await second] == [v16.StopTransactionResponse()] * 2
    assert await bench.stop(2) == v16.StopTransactionResponse()  # sent again while it waits
    for number in (1, 2):
        await until(lambda number=number: bench.word(234) and bench.word(249) == number, f"stop {number}")  # type: ignore[misc]
        bench.write(268, 3)
        bench.write(255, 1)
        await until(lambda: bench.word(255) == 0, "processed is taken back")
    assert bench.word(234) == 0
    assert bench.journal.pending_stops("CP0") == []
    assert await bench.stop(2) == v16.StopTransactionResponse(id_tag_info=INVALID)  # now the answer is known
    assert bench.word(234) == 0


# Messages that come again


@pytest.mark.parametrize("kind", ["start", "stop"])
async def test_a_message_on_a_new_connection_joins_the_running_handshake(kind: str, bench: Bench) -> None:
    flag, processed = {"start": (194, 214), "stop": (234, 255)}[kind]

    def send() -> asyncio.Task[Any]:
        return bench.start() if kind == "start" else bench.stop(5)

    lost = send()
    await bench.pending(flag)
    lost.cancel()  # as the link does when its connection ends
    await asyncio.wait({lost})
    assert bench.word(flag) == 1
    again, once_more = send(), send()
    await asyncio.sleep(0)
    bench.write(processed, 1)
    assert await again == await once_more
    assert await send() == await again
    assert bench.word(flag) == 0
    written = [event for event in bench.events if event.startswith(("started", "stopping", "stopped"))]
    assert written == (["started 1"] if kind == "start" else ["stopping 5", "stopped"])


async def test_an_authorize_ends_with_its_connection(bench: Bench) -> None:
    asked = asyncio.create_task(bench.sessions.authorize(v16.AuthorizeRequest(id_tag="TAG")))
    await bench.pending(164)
    assert bench.sessions.waiting == ["authorize"]
    asked.cancel()
    await asyncio.wait({asked})
    assert bench.word(164) == 0
    bench.write(177, 1)
    assert bench.word(177) == 0


async def test_a_start_that_differs_is_another_one(bench: Bench) -> None:
    await bench.run(1)
    asked = bench.start(meter=11)
    await bench.pending(194)
    bench.write(228, 2)
    bench.write(214, 1)
    assert (await asked).transaction_id == 2


# Transactions that do not end as they should


@pytest.mark.parametrize(
    ("transaction_id", "low", "full"), [(7, 7, 7), (0, 0, 0), (-1, 65535, 2**32 - 1), (70000, 4464, 70000)]
)
async def test_a_stop_of_no_known_transaction(transaction_id: int, low: int, full: int, bench: Bench) -> None:
    await bench.run(1)
    asked = bench.stop(transaction_id)
    await bench.pending(234)
    assert bench.word(249) == low
    assert bench.site.charger(0)["charger_state.stop_transaction_id"].get() == full
    bench.write(255, 1)
    await asked
    assert list(bench.sessions.running) == [1]
    assert bench.shown == [(1, True)]
    assert len(bench.journal.running("CP0")) == 1


async def test_a_start_takes_the_place_of_a_transaction_whose_stop_was_lost(
    bench: Bench, benches: Callable[..., Bench]
) -> None:
    await bench.run(8, connector=2)
    await bench.run(5)
    asked = bench.start(meter=11)
    await bench.pending(194)
    bench.write(228, 3)
    bench.write(214, 1)
    await asked
    assert bench.shown == [(8, True), (5, True), (5, False), (3, True)]
    late = bench.stop(5)
    await bench.pending(234)
    bench.write(255, 1)
    await late
    assert bench.shown[-1] == (3, True)
    assert set(bench.sessions.running) == {8, 3}
    assert set(benches().sessions.running) == {8, 3}


async def test_an_id_that_the_bms_gives_twice_means_the_newer_transaction(
    bench: Bench, benches: Callable[..., Bench]
) -> None:
    await bench.run(5, connector=1)
    await bench.run(5, connector=2)
    for each in (bench, benches()):
        assert [transaction.connector for transaction in each.sessions.running.values()] == [2]
    assert bench.shown == [(5, True), (5, False), (5, True)]


async def test_ids_of_the_gateway_keep_away_from_those_in_use(bench: Bench, benches: Callable[..., Bench]) -> None:
    await bench.run(1, connector=2)  # the BMS's choice
    waiting = bench.stop(2)  # of a transaction that nobody knows; the BMS has still to see to it
    await bench.pending(234)
    for expected in (3, 4, 5):
        each = bench if expected == 3 else benches()
        asked = each.start(meter=100 + expected)
        await each.pending(194)
        each.write(214, 1)
        assert (await asked).transaction_id == expected
        assert each.word(228) == expected  # the BMS can read which one it is
    waiting.cancel()


# After a restart


async def test_what_is_restored(bench: Bench, benches: Callable[..., Bench]) -> None:
    await bench.run(4, connector=2)
    await bench.run(9, connector=1)
    stops = [bench.stop(number, meter=number) for number in (30, 10, 20)]
    await until(lambda: len(bench.journal.pending_stops("CP0")) == 3, "three stops")
    after = benches()
    assert after.shown == [(9, True), (4, True)]
    assert after.sessions.running[9] == Transaction(9, 1, "TAG", 10, NOON_EPOCH, accepted=True)
    for number in (30, 10, 20):
        await until(lambda number=number: after.word(234) and after.word(249) == number, f"stop {number}")  # type: ignore[misc]
        after.write(255, 1)
        await until(lambda: after.word(255) == 0, "taken back")
    assert after.word(234) == 0
    assert benches().journal.pending_stops("CP0") == []
    for stop in stops:
        stop.cancel()


async def test_a_start_sent_again_after_a_restart_is_not_shown_again(
    bench: Bench, benches: Callable[..., Bench]
) -> None:
    await bench.run(9)
    after = benches()
    assert await after.start() == v16.StartTransactionResponse(id_tag_info=ACCEPTED, transaction_id=9)
    assert after.word(194) == 0
    assert after.events == ["flushed", "answered"]
    assert after.shown == [(9, True)]


async def test_a_stop_sent_again_after_a_restart_is_shown_once(bench: Bench, benches: Callable[..., Bench]) -> None:
    waiting = bench.stop(5)
    await bench.pending(234)
    after = benches()
    assert await after.stop(5) == v16.StopTransactionResponse()
    await after.pending(234)
    after.write(255, 1)
    await until(lambda: after.word(234) == 0, "the stop is done")
    assert await after.stop(5) == v16.StopTransactionResponse(id_tag_info=ACCEPTED)
    assert after.word(234) == 0
    waiting.cancel()


@pytest.mark.parametrize("steps", range(5))
async def test_a_restored_stop_that_is_processed_while_it_is_sent_again(
    steps: int, bench: Bench, benches: Callable[..., Bench]
) -> None:
    waiting = bench.stop(5)
    await bench.pending(234)
    after = benches()
    await after.pending(234)
    again = after.stop(5)
    for _ in range(steps):
        await asyncio.sleep(0)
    after.write(255, 1)
    assert (await again).id_tag_info in (None, ACCEPTED)
    await until(lambda: after.word(234) == 0, "the stop is done")
    assert [event for event in after.events if event.startswith("stop")] == ["stopped"]
    assert after.journal.pending_stops("CP0") == []
    waiting.cancel()


async def test_a_start_that_was_not_processed_is_asked_again(bench: Bench, benches: Callable[..., Bench]) -> None:
    asked = bench.start()
    await bench.pending(194)
    after = benches()
    assert after.word(194) == 0
    again = after.start()
    await after.pending(194)
    after.write(214, 1)
    assert (await again).transaction_id == 1
    asked.cancel()


async def test_closing_leaves_what_is_pending_to_the_next(bench: Bench, benches: Callable[..., Bench]) -> None:
    asked = bench.stop(5)
    await bench.pending(234)
    await bench.sessions.close()
    assert bench.word(234) == 0
    bench.write(255, 1)  # too late: not processed
    assert bench.word(255) == 0
    await asyncio.wait({asked})
    await benches().pending(234)


@pytest.mark.parametrize("reading", [b'"nan"', b'"inf"', b"1e300"])
def test_a_reading_that_is_no_number_is_no_message(reading: bytes) -> None:
    """It could be written to the journal, and not be read back."""
    with pytest.raises(v16.PayloadError):
        v16.decode(v16.StopTransactionRequest, b'{"meterStop":%s,"timestamp":"","transactionId":1}' % reading)
