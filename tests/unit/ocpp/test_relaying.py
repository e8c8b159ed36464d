"""Chargers whose central system is elsewhere, over real sockets: sessions, handshakes, the gateway's own CALLs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ampgate.ocpp import rpc, v16
from ampgate.ocpp.relayed import Relayed
from ampgate.ocpp.relaying import RelaySystem
from ampgate.ocpp.upstream import Endpoint
from ampgate.trace import Trace
from tests.integration.peers import until
from tests.integration.upstreams import BareCentral

CLEAR = v16.ClearCacheRequest()
ACCEPTED = v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)


class Site:
    """Reads along, stands in for nobody."""

    stand_in = None

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.session: Relayed
        self.system: RelaySystem
        self.port = 0
        self.trace = Trace()
        self.fault: Exception | None = None

    def connected(self, identity: str, session: Relayed) -> Any:
        self.session = session
        return self

    def disconnected(self, identity: str, session: Any) -> None:
        self.heard.append("gone")

    def called(self, call: rpc.Envelope) -> None:
        self.heard.append(f"called {call.id}")

    def answered(self, call: rpc.Envelope, answer: rpc.Envelope, *, by_upstream: bool) -> None:
        self.heard.append(f"answered {answer.id}")
        if self.fault:
            raise self.fault

    def upstream_changed(self) -> None:
        self.heard.append(self.session.state)

    async def charger(self, **options: Any) -> ClientConnection:
        return await connect(
            f"ws://127.0.0.1:{self.port}/CP1",
            subprotocols=["ocpp1.6"],  # type: ignore[list-item]
            compression=None,
            **options,
        )


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def serve(central: BareCentral, **options: Any) -> Site:
            site = Site()
            options = {"capacity": 2, "ping_interval": 0, "trace": site.trace} | options
            endpoints = {"CP1": Endpoint("127.0.0.1", central.port)}
            site.system = RelaySystem("CP1".__eq__, site.connected, site.disconnected, endpoints, **options)
            site.port = await site.system.start("127.0.0.1", 0)
            stack.push_async_callback(site.system.stop)
            return site

        yield serve


@pytest.fixture
async def central() -> AsyncIterator[BareCentral]:
    async with BareCentral() as central:
        yield central


async def test_who_reads_along_hears_after_the_frame_has_passed(serve: Serve, central: BareCentral) -> None:
    site = await serve(central)
    charger = await site.charger()
    other = await central.until_connected()
    await charger.send('[2,"1","Heartbeat",{}]')
    assert await central.until_frames(1) == ['[2,"1","Heartbeat",{}]']
    await other.send('[3,"1",{}]')
    assert await charger.recv() == '[3,"1",{}]'
    await until(lambda: len(site.heard) == 3, "the answer")
    assert site.heard == ["connected", "called 1", "answered 1"]
    assert (site.session.received, site.session.malformed) == (2, 0)
    assert [(frame.peer, frame.sent, frame.data) for frame in site.trace.last(9)] == [
        ("ocpp CP1", False, b'[2,"1","Heartbeat",{}]'),
        ("upstream CP1", True, b'[2,"1","Heartbeat",{}]'),
        ("upstream CP1", False, b'[3,"1",{}]'),
        ("ocpp CP1", True, b'[3,"1",{}]'),
    ]
    await charger.close()
    await until(lambda: "gone" in site.heard, "the end")
    assert (site.system.received, site.system.malformed) == (2, 0)


async def answer(charger: ClientConnection, *rest: Any, kind: int = 3) -> None:
    """Answer the next CALL of the gateway."""
    call = json.loads(await charger.recv())
    await charger.send(json.dumps([kind, call[1], *rest]))


async def test_calls_of_the_gateway(serve: Serve, central: BareCentral) -> None:
    site = await serve(central, call_timeout=0.2)
    charger = await site.charger()
    calls = [asyncio.create_task(site.session.call(CLEAR)) for _ in range(2)]
    for _ in calls:
        await answer(charger, {"status": "Accepted"})
    assert [await call for call in calls] == [ACCEPTED, ACCEPTED]
    refused = asyncio.create_task(site.session.call(CLEAR))
    await answer(charger, "NotSupported", "no", {}, kind=4)
    with pytest.raises(rpc.CallError, match="NotSupported"):
        await refused
    with pytest.raises(TimeoutError):
        await site.session.call(CLEAR)
    waiting = asyncio.create_task(site.session.call(CLEAR))
    await charger.recv()
    await charger.recv()
    await charger.close()
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await site.session.call(CLEAR)
    assert central.frames == []


async def test_a_call_that_is_cancelled_leaves_the_turn_to_the_next(serve: Serve, central: BareCentral) -> None:
    site = await serve(central)
    charger = await site.charger()
    cancelled = asyncio.create_task(site.session.call(CLEAR))
    first = json.loads(await charger.recv())
    cancelled.cancel()
    following = asyncio.create_task(site.session.call(CLEAR))
    await charger.send(json.dumps([3, first[1], {"status": "Rejected"}]))
    await answer(charger, {"status": "Accepted"})
    assert await following == ACCEPTED


async def test_a_mistake_of_ours_cuts_the_connection_and_no_more(
    serve: Serve, central: BareCentral, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(central)
    site.fault = RuntimeError("a mistake")
    charger = await site.charger()
    await charger.send('[2,"1","Heartbeat",{}]')
    await central.until_frames(1)
    await central.connections[0].send('[3,"1",{}]')
    assert await charger.recv() == '[3,"1",{}]'
    with pytest.raises(ConnectionClosed):
        await charger.recv()
    assert "ocpp CP1: connection cut" in caplog.text
    site.fault = None
    await (await site.charger()).close()


async def test_another_version_passes_unread() -> None:
    async with contextlib.AsyncExitStack() as stack:
        central = await stack.enter_async_context(BareCentral(subprotocols=("ocpp2.0.1",)))
        site = Site()
        endpoints = {"CP1": Endpoint("127.0.0.1", central.port)}
        site.system = RelaySystem("CP1".__eq__, site.connected, site.disconnected, endpoints, capacity=1)
        site.port = await site.system.start("127.0.0.1", 0)
        stack.push_async_callback(site.system.stop)
        url = f"ws://127.0.0.1:{site.port}/CP1"
        async with connect(url, subprotocols=["ocpp2.0.1"]) as charger:  # type: ignore[list-item]
            await charger.send('[2,"1","BootNotification",{}]')
            assert await central.until_frames(1) == ['[2,"1","BootNotification",{}]']
            await central.connections[0].send('[3,"1",{}]')
            assert await charger.recv() == '[3,"1",{}]'
            with pytest.raises(rpc.CallError, match=r"the charger speaks ocpp2\.0\.1"):
                await site.session.call(CLEAR)
        assert not [text for text in site.heard if text.startswith(("called", "answered"))]


async def test_a_dead_connection_gives_way_upstream_first(serve: Serve, central: BareCentral) -> None:
    """The central system would refuse a second connection of a charger whose first one it holds."""
    site = await serve(central)
    dead = await site.charger()
    older = await central.until_connected()
    dead.transport.pause_reading()  # type: ignore[attr-defined]
    newer = await site.charger(open_timeout=10)
    await central.until_connected(2)
    await older.wait_closed()
    await newer.send("x")
    assert await central.until_frames(1) == ["x"]
    dead.transport.abort()
    await newer.close()


async def test_a_living_connection_stays(serve: Serve, central: BareCentral) -> None:
    site = await serve(central)
    charger = await site.charger()
    with pytest.raises(InvalidStatus) as refused:
        await site.charger()
    assert refused.value.response.status_code == 409
    assert len(central.connections) == 1
    await charger.close()


async def test_the_end_of_the_gateway_is_told_to_both_ends(serve: Serve, central: BareCentral) -> None:
    site = await serve(central)
    charger = await site.charger()
    other = await central.until_connected()
    await site.system.stop()
    await charger.wait_closed()
    await other.wait_closed()
    assert (charger.close_code, other.close_code) == (1001, 1001)


async def test_more_calls_than_may_wait_hold_upstream_back(serve: Serve, central: BareCentral) -> None:
    site = await serve(central)
    charger = await site.charger()
    other = await central.until_connected()
    for number in range(30):
        await other.send(json.dumps([2, f"{number}", "ClearCache", {}]))
    for number in range(30):
        assert json.loads(await charger.recv())[1] == f"{number}"
        await charger.send(json.dumps([3, f"{number}", {"status": "Accepted"}]))
    assert [json.loads(frame)[1] for frame in await central.until_frames(30)] == [str(number) for number in range(30)]
