"""Who is let in and what becomes of the bytes; real sockets are in ``tests/conformance/test_modbus_tcp.py``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.tcp import TcpServer, _Client
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from ampgate.trace import LONGEST, Trace

pytestmark = pytest.mark.unit

READ = bytes.fromhex("0001 0000 0006 01 03 02CA 0001")
ANSWER = bytes.fromhex("0001 0000 0005 01 03 02 0000")


class Transport(asyncio.Transport):
    """Keeps what is written and what is asked of it."""

    def __init__(self, peer: tuple[str, int] | None = ("10.0.0.5", 40112)) -> None:
        self._sock = socket.socket()
        super().__init__({"peername": peer, "socket": self._sock})
        self.written = b""
        self.calls: list[str] = []

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def release(self) -> None:
        self._sock.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.release()


@pytest.fixture
def server() -> TcpServer:
    site = Site([ChargerShape(1)], extensions=False)
    return TcpServer({1: Executor(site.images[0], Identity("Vendor", "Code", "1.0"))}, trace=Trace(10))


def test_a_client_from_beginning_to_end(server: TcpServer, transport: Transport) -> None:
    client = _Client(server)
    client.connection_made(transport)
    assert server.clients == {client}
    client.data_received(READ[:5])
    assert transport.written == b""
    client.data_received(READ[5:] + READ)
    assert transport.written == ANSWER * 2
    client.pause_writing()
    client.resume_writing()
    client.connection_lost(None)
    assert transport.calls == ["pause", "resume"]
    assert server.clients == set()
    peer = "modbus 10.0.0.5:40112"
    assert [frame[1:] for frame in server.trace.last(9)] == [
        (peer, False, READ[:5]), (peer, False, READ[5:] + READ), (peer, True, ANSWER * 2),
    ]  # fmt: skip


def test_a_client_that_speaks_something_else(server: TcpServer, transport: Transport) -> None:
    client = _Client(server)
    client.connection_made(transport)
    client.data_received(READ + b"GET / HTTP/1.1")
    assert (transport.written, transport.calls) == (ANSWER, ["close"])
    assert [frame.data for frame in server.trace.last(9)] == [READ + b"GET / HTTP/1.1", ANSWER]


def test_a_client_that_is_turned_away(server: TcpServer, transport: Transport) -> None:
    server.allow = (IPv4Network("192.168.0.0/16"),)
    client = _Client(server)
    client.connection_made(transport)
    client.connection_lost(None)
    assert transport.calls == ["abort"]
    assert (server.clients, server.statistics.refused) == (set(), 1)


def test_a_client_that_has_gone_already(server: TcpServer) -> None:
    transport, client = Transport(peer=None), _Client(server)
    client.connection_made(transport)
    client.connection_lost(None)
    transport.release()
    assert transport.calls == ["abort"]
    assert (server.clients, server.statistics.refused) == (set(), 0)


def test_the_trace_keeps_the_beginning_of_long_segments(server: TcpServer, transport: Transport) -> None:
    client = _Client(server)
    client.connection_made(transport)
    client.data_received(READ * 1000)
    assert len(transport.written) == 1000 * len(ANSWER)
    assert [len(frame.data) for frame in server.trace.last(9)] == [LONGEST, LONGEST]


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),  # an IPv4 client of a socket for both
        ("::ffff:11.1.2.3", False),
        ("fe80::1%eth0", True),
        ("fd00::1", False),
    ],
)
def test_allow_list(host: str, welcome: bool) -> None:
    server = TcpServer({}, allow=[IPv4Network("10.0.0.0/8"), IPv6Network("fe80::/10")])
    reason = server.admits(host)
    assert (reason is None) == welcome
    assert welcome or "modbus.tcp.allow" in str(reason)


def test_without_an_allow_list_everybody_is_welcome() -> None:
    assert TcpServer({}).admits("203.0.113.9") is None


def test_no_more_clients_than_allowed() -> None:
    server = TcpServer({}, max_clients=2)
    clients: set[Any] = {object(), object()}
    server.clients = clients
    assert "modbus.tcp.max_clients" in str(server.admits("10.0.0.1"))
    clients.pop()
    assert server.admits("10.0.0.1") is None


async def test_start_and_stop_twice() -> None:
    server = TcpServer({})
    port = await server.start("127.0.0.1", 0)
    assert port > 0
    await server.stop()
    await server.stop()
    assert await server.start("127.0.0.1", port) == port
    await server.stop()
