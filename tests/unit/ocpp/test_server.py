"""The websocket server: identities, admission, one connection for each charger."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from ampgate.ocpp import server as server_module
from ampgate.ocpp import v16
from ampgate.ocpp.link import Link
from ampgate.ocpp.server import CentralSystem, identity_of
from tests.integration.peers import DEADLINE, until

TIME = v16.HeartbeatResponse(current_time="2026-01-31T12:00:00Z")


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/CP1", "CP1"),
        ("/CP1/", "CP1"),
        ("/ocpp/1.6//CP1//", "CP1"),
        ("/CP1?a=/b", "CP1"),
        ("/00:1B-44", "00:1B-44"),
        ("/a%20b%2Fc%23", "a b/c#"),
        ("/Gr%C3%BCn", "Grün"),
        ("/%FF", "\N{REPLACEMENT CHARACTER}"),
        ("/", ""),
        ("", ""),
        ("?x", ""),
    ],
)
def test_identity(path: str, identity: str) -> None:
    assert identity_of(path) == identity


class Site:
    """Who came and went."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.system: CentralSystem
        self.port = 0

    def connected(self, identity: str, link: Link) -> Callable[[v16.Message], v16.Message]:
        self.events.append(f"+{identity}")
        return lambda request: TIME

    def disconnected(self, identity: str, link: Link) -> None:
        self.events.append(f"-{identity}")

    async def connect(self, identity: str, subprotocols: Any = ("ocpp1.6",)) -> ClientConnection:
        return await connect(f"ws://127.0.0.1:{self.port}/{identity}", subprotocols=subprotocols, compression=None)

    async def refusal(self, identity: str, subprotocols: Any = ("ocpp1.6",)) -> int:
        with pytest.raises(InvalidStatus) as refused:
            await self.connect(identity, subprotocols)
        return int(refused.value.response.status_code)


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def serve(**options: Any) -> Site:
            site = Site()
            options = {"capacity": 2, "ping_interval": 0} | options
            site.system = CentralSystem(lambda name: name[:2] == "CP", site.connected, site.disconnected, **options)
            site.port = await site.system.start("127.0.0.1", 0)
            stack.push_async_callback(site.system.stop)
            return site

        yield serve


async def test_a_connection(serve: Serve) -> None:
    site = await serve()
    async with await site.connect("CP1") as socket:
        assert socket.subprotocol == "ocpp1.6"
        assert list(site.system.links) == ["CP1"]
        await socket.send('[2,"a","Heartbeat",{}]')
        assert await socket.recv() == '[3,"a",{"currentTime":"2026-01-31T12:00:00Z"}]'
        await socket.send("hello")
        await socket.send('[2,"b","Heartbeat",{}]')
        await socket.recv()
    await until(lambda: site.events == ["+CP1", "-CP1"], "its end")
    assert site.system.links == {}
    assert (site.system.received, site.system.malformed) == (3, 1)  # of connections that have ended


async def test_who_is_not_let_in(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    site = await serve()
    assert await site.refusal("X") == 404
    assert await site.refusal("CP1", ["ocpp2.0.1"]) == 400
    async with await site.connect("CP1", None) as socket:
        assert socket.subprotocol is None
        assert await site.refusal("CP1") == 409
    assert site.system.unknown == {"X": 1}
    assert site.events[0] == "+CP1"
    assert site.events.count("+CP1") == 1
    for text in ("'X' is not configured", "offered: ocpp2.0.1", "CP1 is connected already"):
        assert text in caplog.text


async def test_a_subprotocol_may_be_required(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    site = await serve(require_subprotocol=True)
    assert await site.refusal("CP1", None) == 400
    assert "offered: none" in caplog.text
    async with await site.connect("CP1", ["ocpp2.0.1", "ocpp1.6"]) as socket:
        assert socket.subprotocol == "ocpp1.6"


async def test_unknown_identities_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_UNKNOWN", 1)
    site = await serve()
    for identity in ("A", "B", "A"):
        assert await site.refusal(identity) == 404
    assert site.system.unknown == {"A": 2}


async def test_connections_of_an_address_are_bounded(serve: Serve) -> None:
    site = await serve(capacity=1)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(9):
            await stack.enter_async_context(await site.connect(f"CP{number}"))
        assert await site.refusal("CP9") == 429
    await until(lambda: not site.system.links, "the end of all")
    await (await site.connect("CP9")).close()


async def test_a_newer_connection_takes_the_place_of_a_dead_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "DUPLICATE_PING_TIMEOUT", 0.02)
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"GET /CP1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b"101" in await reader.readline()
    await until(lambda: site.system.links, "the first connection")
    older = site.system.links["CP1"]
    async with await site.connect("CP1"):
        await until(lambda: site.events == ["+CP1", "-CP1", "+CP1"], "the second connection")
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionError):
                await reader.read()  # to the end of the first one
        assert site.system.links["CP1"] is not older
        assert site.events == ["+CP1", "-CP1", "+CP1"]
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_tcp_keep_alive(serve: Serve) -> None:
    for idle in (0, 37):
        site = await serve(tcp_keep_alive=idle)
        async with await site.connect("CP1"):
            await until(lambda site=site: site.system.links, "the connection")
            transport = site.system.links["CP1"]._websocket.transport
            raw = transport.get_extra_info("socket")
            assert bool(raw.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)) == bool(idle)
            if idle and sys.platform == "linux":
                assert raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == idle


async def test_stopping(serve: Serve) -> None:
    site = await serve()
    socket = await site.connect("CP1")
    await site.system.stop()
    await socket.wait_closed()
    assert socket.close_code == 1001
    with pytest.raises(OSError):
        await site.connect("CP1")
    await site.system.stop()  # again: nothing to do
    assert site.events == ["+CP1", "-CP1"]


async def test_a_port_in_use(serve: Serve) -> None:
    site = await serve()
    second = CentralSystem(lambda name: True, site.connected, site.disconnected, capacity=1)
    with pytest.raises(OSError):
        await second.start("127.0.0.1", site.port)
