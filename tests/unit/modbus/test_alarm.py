from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from ampgate.modbus import alarm
from ampgate.modbus.alarm import Alarm

pytestmark = pytest.mark.unit


class Ringing:
    """An alarm and the moments of its calls."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.rang = asyncio.Event()
        self.alarm = Alarm(self._ring)

    def _ring(self) -> None:
        self.calls.append(time.monotonic())
        self.rang.set()

    async def wait(self) -> float:
        """The moment of the next call."""
        async with asyncio.timeout(5):
            await self.rang.wait()
        self.rang.clear()
        return self.calls[-1]


def without_timerfd(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(alarm, "_create", lambda: -1)


@pytest.fixture(params=["timerfd", "event loop"])
async def ringing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ringing]:
    if request.param == "event loop":
        without_timerfd(monkeypatch)
    ringing = Ringing()
    yield ringing
    ringing.alarm.close()


async def test_it_is_never_early(ringing: Ringing) -> None:
    for step in range(20):
        moment = time.monotonic() + 0.0007 + step * 0.0001
        ringing.alarm.at(moment)
        assert await ringing.wait() >= moment
    assert len(ringing.calls) == 20


async def test_a_moment_that_is_past_is_now(ringing: Ringing) -> None:
    ringing.alarm.at(time.monotonic() - 1)
    await ringing.wait()


async def test_it_can_be_moved(ringing: Ringing) -> None:
    begin = time.monotonic()
    ringing.alarm.at(begin + 0.002)
    ringing.alarm.at(begin + 0.02)
    assert await ringing.wait() >= begin + 0.02
    ringing.alarm.at(begin + 60)
    ringing.alarm.at(time.monotonic() + 0.001)
    await ringing.wait()
    assert len(ringing.calls) == 2


async def test_moved_between_its_expiry_and_its_call(ringing: Ringing) -> None:
    ringing.alarm.at(time.monotonic() + 0.001)
    busy_until = time.monotonic() + 0.003  # the loop cannot call meanwhile
    while time.monotonic() < busy_until:
        pass
    later = time.monotonic() + 0.02
    ringing.alarm.at(later)
    assert await ringing.wait() >= later
    assert len(ringing.calls) == 1


async def test_it_can_be_cancelled(ringing: Ringing) -> None:
    other = Ringing()
    ringing.alarm.at(time.monotonic() + 0.001)
    ringing.alarm.cancel()
    other.alarm.at(time.monotonic() + 0.005)
    await other.wait()
    other.alarm.close()
    assert ringing.calls == []


@pytest.mark.parametrize("without", [None, without_timerfd])
def test_on_uvloop(monkeypatch: pytest.MonkeyPatch, without: Callable[[pytest.MonkeyPatch], None] | None) -> None:
    if without is not None:
        without(monkeypatch)

    async def body() -> None:
        ringing = Ringing()
        for step in range(20):
            moment = time.monotonic() + 0.0007 + step * 0.0001
            ringing.alarm.at(moment)
            assert await ringing.wait() >= moment
        ringing.alarm.close()

    uvloop.run(body())
