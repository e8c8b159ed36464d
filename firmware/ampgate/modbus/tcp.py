"""The Modbus TCP server: sockets around `mbap` and `pdu`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from time import time
from typing import cast

from ampgate.modbus.mbap import Connection, FramingError, Statistics
from ampgate.modbus.pdu import Executor
from ampgate.sockets import keep_alive
from ampgate.trace import LONGEST, Trace

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

KEEP_ALIVE = 60
"""Seconds of silence after which TCP asks whether a client (cable pulled, PLC switched off) still lives."""

RECEIVE_BUFFER = 16384
"""Bytes of requests that a client can have waiting (Linux doubles it); bounds what one wake-up has to answer."""


class TcpServer:
    """Listens for Modbus clients and answers them from the images of its units.

    ``units`` maps each unit id that is answered to its executor; any other unit id gets exception 0B. At most
    ``max_clients`` are connected, the next one is closed at once (manual 1.12 §2.2: six). With ``allow``, clients of
    other networks are closed at once too.
    """

    def __init__(
        self,
        units: Mapping[int, Executor],
        *,
        max_clients: int = 6,
        allow: Sequence[Network] = (),
        trace: Trace | None = None,
    ) -> None:
        self.units = units
        self.max_clients = max_clients
        self.allow = tuple(allow)
        self.trace = trace if trace is not None else Trace(0)
        self.statistics = Statistics()
        self.clients: set[_Client] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (useful when ``port`` is 0). `OSError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), host, port, backlog=16, reuse_address=True)
        for sock in self._server.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # its connections inherit it
        return cast(int, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and close every client."""
        if self._server is not None:
            self._server.close()
            for client in list(self.clients):
                client.abort()
            await self._server.wait_closed()
            self._server = None

    def admits(self, host: str) -> str | None:
        """Why a client from this address is turned away, or None when it is welcome."""
        if self.allow and not any(_plain_address(host) in network for network in self.allow):
            return "its address is not on the allow-list (modbus.tcp.allow)"
        if len(self.clients) >= self.max_clients:
            return f"{self.max_clients} clients are connected already (modbus.tcp.max_clients)"
        return None


class _Client(asyncio.Protocol):
    """One connected client."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._connection = Connection(server.units, server.statistics)
        self._trace = server.trace.add
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write  # once, as `data_received` is the hot path
        peer = transport.get_extra_info("peername")
        if peer is None:  # it has gone already: a port scan
            self._transport.abort()
            return
        self._peer = f"modbus {peer[0]}:{peer[1]}"
        refusal = self._server.admits(peer[0])
        if refusal:
            self._server.statistics.refused += 1
            log.warning("%s turned away: %s", self._peer, refusal)
            self._transport.abort()
            return
        keep_alive(transport.get_extra_info("socket"), KEEP_ALIVE)
        self._server.clients.add(self)
        log.info("%s connected", self._peer)

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._connection.receive(data)
            self._write(answer)
        except FramingError as error:
            log.warning("%s closed: %s", self._peer, error)
            answer = error.answers
            self._write(answer)
            self._transport.close()
        self._trace((time(), self._peer, data[:LONGEST], answer[:LONGEST]))

    def pause_writing(self) -> None:
        # A client that does not read its answers must not fill the memory: stop taking its requests.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._server.clients:
            self._server.clients.discard(self)
            log.info("%s disconnected%s", self._peer, f": {exc}" if exc else "")

    def abort(self) -> None:
        """Close without waiting for a client that does not read."""
        self._transport.abort()


def _plain_address(host: str) -> object:
    address = ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
