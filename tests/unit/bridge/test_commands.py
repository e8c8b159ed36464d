"""Operations from the flag to the outcome, with a charge point that answers as the test says.

Registers are protocol addresses of charger 0 and its connectors (configuration guide r1.2, appendix 2).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ampgate.bridge.activity import Activity
from ampgate.bridge.commands import Commands
from ampgate.bridge.locallist import LocalList
from ampgate.bridge.operations import Context
from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError
from ampgate.registers.image import Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from tests.integration.peers import until


class Bench:
    """Registers of charger 0 with two connectors; `reply` is what the charge point does."""

    def __init__(self) -> None:
        site = Site([ChargerShape(2)])
        self.image = site.images[0]
        self.asked: list[v16.Message] = []
        self.reply: Any = None
        self.restored: list[int] = []
        self.activity = Activity()
        self.commands = Commands(
            "CP1",
            site.charger(0),
            self._call,
            Context(2, lambda shown: shown),
            local_list=LocalList(keep=self._keep),
            activity=self.activity,
        )
        for number in range(3):
            self.commands.watch_connector(
                number, site.connector(0, number), lambda number=number: self.restored.append(number)
            )
        self.disk_full = False

    def _keep(self, version: int | None, entries: bytes) -> None:
        if self.disk_full:
            raise sqlite3.OperationalError("database or disk is full")

    async def _call(self, request: v16.Message) -> v16.Message:
        self.asked.append(request)
        reply = await self.reply if isinstance(self.reply, asyncio.Future) else self.reply
        if isinstance(reply, Exception):
            raise reply
        if isinstance(request, v16.GetLocalListVersionRequest):
            return v16.GetLocalListVersionResponse(list_version=0)
        assert isinstance(reply, v16.Message)
        return reply

    def write(self, address: int, *values: int) -> Refusal:
        return self.image.write(address, b"".join(value.to_bytes(2, "big") for value in values))

    def word(self, address: int) -> int:
        return int.from_bytes(self.image.words[2 * address : 2 * address + 2], "big")

    async def until(self, address: int, value: int) -> None:
        await until(lambda: self.word(address) == value, f"register {address} is {value}")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.commands.close()


ACCEPTED = v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)


@pytest.mark.parametrize(
    ("reply", "result", "words"),
    [
        (ACCEPTED, 0, "accepted"),
        (v16.ClearCacheResponse(status=v16.ClearCacheStatus.REJECTED), 1, "rejected"),
        (TimeoutError(), 20, "timeout"),
        (ConnectionError(), 21, "offline"),
        (CallError("NotSupported", "no cache"), 23, "call error (NotSupported: no cache)"),
    ],
)
async def test_outcome(reply: Any, result: int, words: str, bench: Bench) -> None:
    bench.reply = reply
    bench.write(366, 1)
    assert bench.word(366) == 1
    await bench.until(366, 0)
    assert bench.word(371) == result
    assert [event.text for event in bench.activity.events] == [f"BMS: clear cache: {words}"]


async def test_invalid_parameters(bench: Bench) -> None:
    bench.write(496, 1)
    await bench.until(496, 0)
    assert bench.word(501) == 22
    assert bench.asked == []
    assert "transaction id is 0" in bench.activity.events[-1].text


async def test_busy_while_it_runs(bench: Bench) -> None:
    bench.reply = asyncio.get_running_loop().create_future()
    assert bench.write(366, 1) is Refusal.NONE
    assert bench.write(366, 1) is Refusal.BUSY
    assert bench.write(366, 0) is Refusal.NONE  # ignored
    assert bench.word(366) == 1
    bench.reply.set_result(ACCEPTED)
    await bench.until(366, 0)
    assert len(bench.asked) == 1
    assert bench.write(366, 1) is Refusal.NONE


async def test_parameters_are_taken_when_the_flag_is_written(bench: Bench) -> None:
    bench.reply = v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
    bench.write(496, 1, 5)
    bench.write(497, 6)
    await bench.until(496, 0)
    assert bench.asked == [v16.RemoteStopTransactionRequest(transaction_id=5)]


@pytest.mark.parametrize(("status", "result"), [("Unlocked", 6), ("UnlockFailed", 7), ("NotSupported", 3)])
async def test_unlock(status: str, result: int, bench: Bench) -> None:
    bench.reply = v16.UnlockConnectorResponse(status=v16.UnlockStatus(status))
    bench.write(812, 1)
    assert bench.word(812) == 1
    await bench.until(812, 0)
    assert bench.asked == [v16.UnlockConnectorRequest(connector_id=2)]
    assert bench.word(1496) == result


async def test_nothing_to_unlock(bench: Bench) -> None:
    bench.write(712, 0)
    bench.write(612, 1)
    await bench.until(612, 0)
    assert bench.asked == []
    assert bench.word(1496) == 22


@pytest.mark.parametrize(
    ("reply", "result", "restored"),
    [
        (v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.ACCEPTED), 0, []),
        (v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.SCHEDULED), 2, []),
        (v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.REJECTED), 1, [1]),
        (ConnectionError(), 21, [1]),
        (TimeoutError(), 20, [1]),
        (CallError("GenericError"), 23, [1]),
    ],
)
async def test_availability(reply: Any, result: int, restored: list[int], bench: Bench) -> None:
    bench.reply = reply
    bench.write(713, 0)
    await until(lambda: bench.activity.events, "the end of it")
    assert bench.asked == [v16.ChangeAvailabilityRequest(connector_id=1, type=v16.AvailabilityType.INOPERATIVE)]
    await until(lambda: bench.word(1497) == result and bench.restored == restored, "the result")


async def test_local_list(bench: Bench) -> None:
    bench.reply = v16.SendLocalListResponse(status=v16.UpdateStatus.ACCEPTED)
    bench.write(437, 1, 0x4142)  # id tag AB
    bench.write(436, 1)
    await bench.until(436, 0)
    assert bench.word(463) == 0
    assert len(bench.asked) == 2


async def test_a_flag_goes_back_to_0_whatever_fails(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Else the BMS could not use the operation again before a restart."""
    bench.disk_full = True
    bench.reply = v16.SendLocalListResponse(status=v16.UpdateStatus.ACCEPTED)
    bench.write(437, 1, 0x4142)
    bench.write(436, 1)
    await bench.until(436, 0)
    assert bench.word(463) == 8
    assert "disk is full" in caplog.text


@pytest.mark.parametrize("failure", [CallError("NotSupported"), TimeoutError(), ConnectionError()])
async def test_asking_for_the_status_may_fail(failure: Exception, bench: Bench) -> None:
    bench.reply = failure
    bench.commands.ask_for_status()
    await until(lambda: bench.asked, "the call")
    [request] = bench.asked
    assert isinstance(request, v16.TriggerMessageRequest)
    assert (request.requested_message, request.connector_id) == ("StatusNotification", None)
    assert bench.word(466) == 0
    assert not bench.activity.events  # not an operation of the BMS


async def test_closing_ends_what_is_running(bench: Bench) -> None:
    bench.reply = asyncio.get_running_loop().create_future()
    bench.write(366, 1)
    await until(lambda: bench.asked, "the call")
    await bench.commands.close()
    assert bench.reply.cancelled()
