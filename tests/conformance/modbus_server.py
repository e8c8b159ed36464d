"""A Modbus TCP server under test, and the clients' end of a raw connection."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

from ampgate.modbus.pdu import Executor
from ampgate.modbus.tcp import Network, TcpServer
from ampgate.trace import Trace

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
DEADLINE = 10.0
_S = TypeVar("_S")


class Served:
    """A server that runs in a thread of its own, so that blocking clients of every kind can talk to it."""

    def __init__(self, server: TcpServer, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.port = port
        self.loop = loop

    def connect(self) -> Wire:
        """A new client."""
        return Wire(self.port)

    def transports(self) -> list[Any]:
        """The server's ends of all connections."""
        return [client._transport for client in self.server.clients]

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait until the server's thread finds this true; `AssertionError` after the deadline."""
        end = time.monotonic() + DEADLINE
        while not self.inside(condition):
            assert time.monotonic() < end, "the server did not get there"

    def inside(self, function: Callable[[], Any]) -> Any:
        """Run a function in the server's thread, return its result."""
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(DEADLINE)


@contextmanager
def in_thread(loop: str, start: Callable[[], Awaitable[_S]], stop: Callable[[_S], Awaitable[None]]) -> Iterator[_S]:
    """Start something in an event loop of its own, stop it there at the end; exceptions in callbacks fail the test."""
    started: Future[tuple[_S, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    failures: list[str] = []

    async def body() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: failures.append(str(context)))
        served, end = await start(), asyncio.Event()
        started.set_result((served, running, end))
        await end.wait()
        await stop(served)

    def main() -> None:
        with asyncio.Runner(debug=True, loop_factory=LOOPS[loop]) as runner:
            runner.run(body())

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    served, running, end = started.result(DEADLINE)
    try:
        yield served
    finally:
        running.call_soon_threadsafe(end.set)
        thread.join(DEADLINE)
    assert not thread.is_alive(), "the server did not stop"
    assert not failures, failures


@contextmanager
def serve(
    units: Mapping[int, Executor],
    *,
    loop: str = "uvloop",
    max_clients: int = 6,
    allow: Sequence[Network] = (),
    trace: Trace | None = None,
) -> Iterator[Served]:
    """Run a server on a free port of 127.0.0.1 until the block ends; exceptions in its callbacks fail the test."""

    async def start() -> Served:
        server = TcpServer(units, max_clients=max_clients, allow=allow, trace=trace)
        return Served(server, await server.start("127.0.0.1", 0), asyncio.get_running_loop())

    with in_thread(loop, start, lambda served: served.server.stop()) as served:
        yield served


def adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Modbus Messaging on TCP/IP 1.0b §3.1.3: transaction id, protocol id 0, length, unit id, PDU."""
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


class Wire:
    """A raw client connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Put bytes on the wire."""
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly this many bytes, or fewer when the server closes."""
        data = bytearray()
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                break
            data += part
        return bytes(data)

    def ask(self, pdu: bytes, *, unit: int = 1, transaction: int = 0x1234) -> bytes:
        """Send one request; its response PDU, after a check of the header."""
        self.send(adu(transaction, unit, pdu))
        header = self.receive(7)
        assert len(header) == 7, "the server closed the connection"
        got_transaction, protocol, length, got_unit = struct.unpack(">HHHB", header)
        assert (got_transaction, protocol, got_unit) == (transaction, 0, unit)
        response = self.receive(length - 1)
        assert len(response) == length - 1
        return response

    def closed(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return self.receive(1) == b""
