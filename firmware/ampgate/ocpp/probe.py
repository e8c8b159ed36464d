"""A test connection to an external central system, step by step, with the time of each and a plain reason."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple

from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ampgate.ocpp.server import SUBPROTOCOL
from ampgate.ocpp.upstream import Endpoint, reason_of

STEP_TIMEOUT: Final = 10.0
_READ: Final = 65536


class Step(NamedTuple):
    """One step of a test connection."""

    name: str
    """``DNS``, ``TCP``, ``TLS``, ``HTTP`` or ``subprotocol``."""
    ok: bool
    seconds: float
    text: str
    """What was found, or why it failed."""


class _Failed(Exception):
    """Why a step did not succeed."""


class _Probe:
    def __init__(self, endpoint: Endpoint, identity: str) -> None:
        self.endpoint = endpoint
        self.identity = identity
        self.addresses: list[Any] = []
        self.socket: socket.socket | None = None
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None
        self.subprotocol = ""

    async def dns(self) -> str:
        loop = asyncio.get_running_loop()
        self.addresses = await loop.getaddrinfo(self.endpoint.host, self.endpoint.port, type=socket.SOCK_STREAM)
        return f"{self.endpoint.host} is {', '.join(dict.fromkeys(str(found[4][0]) for found in self.addresses))}"

    async def tcp(self) -> str:
        loop = asyncio.get_running_loop()
        errors: list[str] = []
        for family, kind, protocol, _, address in self.addresses:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                errors.append(f"{address[0]}: {reason_of(error)}")
            except BaseException:
                sock.close()
                raise
            else:
                self.socket = sock
                if not self.endpoint.tls:
                    self.reader, self.writer = await asyncio.open_connection(sock=sock)
                return f"{address[0]} port {address[1]} is open"
        raise _Failed("; ".join(errors))

    async def tls(self) -> str:
        self.reader, self.writer = await asyncio.open_connection(
            sock=self.socket, ssl=self.endpoint.tls, server_hostname=self.endpoint.host
        )
        tls = self.writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert() or {}
        return f"{tls.version()}, certificate is trusted, valid until {certificate.get('notAfter', '?')}"

    async def http(self) -> str:
        assert self.writer is not None
        protocol = ClientProtocol(
            parse_uri(self.endpoint.url(self.identity)), subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=_READ
        )
        request = protocol.connect()
        request.headers["User-Agent"] = "ampgate"
        request.headers.update(self.endpoint.headers())
        protocol.send_request(request)
        self.writer.write(b"".join(protocol.data_to_send()))
        while not protocol.events_received() and protocol.handshake_exc is None:
            try:
                data = await self.reader.read(_READ)
            except ConnectionError:  # one that wants a client certificate resets or closes, as it happens to come
                data = b""
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        self.subprotocol = protocol.subprotocol or ""
        protocol.send_close(1000, "test connection")
        self.writer.write(b"".join(protocol.data_to_send()))
        return f"101, {self.endpoint.url(self.identity)} is a websocket"

    async def agree(self) -> str:
        if not self.subprotocol:
            raise _Failed(f"it chose none of {SUBPROTOCOL}; many chargers do not put up with that")
        return f"{self.subprotocol} is chosen"

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.writer.wait_closed()
        elif self.socket is not None:
            self.socket.close()


async def probe(endpoint: Endpoint, identity: str) -> AsyncIterator[Step]:
    """Try each step as this charger, up to the first that fails; each has 10 s."""
    attempt = _Probe(endpoint, identity)
    steps: list[tuple[str, Callable[[], Coroutine[Any, Any, str]]]] = [("DNS", attempt.dns), ("TCP", attempt.tcp)]
    if endpoint.tls:
        steps.append(("TLS", attempt.tls))
    steps += [("HTTP", attempt.http), ("subprotocol", attempt.agree)]
    try:
        for name, work in steps:
            begin = time.perf_counter()
            try:
                async with asyncio.timeout(STEP_TIMEOUT):
                    text, ok = await work(), True
            except Exception as error:
                text, ok = str(error) if isinstance(error, _Failed) else reason_of(error), False
            yield Step(name, ok, time.perf_counter() - begin, text)
            if not ok:
                return
    finally:
        await attempt.close()
