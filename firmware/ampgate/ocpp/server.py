"""The websocket server that charge points connect to (OCPP-J 1.6 §3).

``ws://<gateway>:<port>/<any prefix>/<charger id>``: the identity is the last path segment that is not empty, percent
decoded. Identity, subprotocol and double connections are settled during the handshake.
"""

from __future__ import annotations

import asyncio
import http
import logging
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ampgate.ocpp.link import Handler, Link
from ampgate.ocpp.session import Session
from ampgate.sockets import keep_alive
from ampgate.trace import Trace

log = logging.getLogger(__name__)
# What matters of a handshake is logged here in one line; the library would add a traceback for each port scan.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)

SUBPROTOCOL: Final = Subprotocol("ocpp1.6")
MAX_MESSAGE: Final = 64 * 1024
"""Bytes of one frame from a charger."""
HANDSHAKE_TIMEOUT: Final = 10.0
DUPLICATE_PING_TIMEOUT: Final = 2.0
"""Seconds that the older of two connections of one charger has to prove that it lives."""
MAX_UNKNOWN: Final = 1000
SPARE_CONNECTIONS: Final = 8
"""Connections that one address may open beyond the number of configured chargers."""

Connected = Callable[[str, Link], Handler]
"""Called with charger id and link when a charger has connected; returns what answers its requests."""
Disconnected = Callable[[str, Any], None]
"""Called with charger id and session when that has ended."""


class ChargerServer(ABC):
    """Accepts the charge points that are configured; who serves them then is a matter of the kinds of it.

    ``known`` says whether an identity is configured; ``disconnected`` hears of the end of each session.
    ``tcp_keep_alive`` and ``ping_interval`` are seconds, 0 switches them off.
    """

    def __init__(
        self,
        known: Callable[[str], bool],
        disconnected: Disconnected,
        *,
        capacity: int,
        require_subprotocol: bool = False,
        tcp_keep_alive: int = 0,
        ping_interval: float = 30.0,
        call_timeout: float = 30.0,
        trace: Trace | None = None,
    ) -> None:
        self._known = known
        self._disconnected = disconnected
        self._require_subprotocol = require_subprotocol
        self._tcp_keep_alive = tcp_keep_alive
        self._ping_interval = ping_interval
        self._call_timeout = call_timeout
        self._trace = trace
        self._per_address = capacity + SPARE_CONNECTIONS
        self._addresses: Counter[str] = Counter()
        self._gates: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._server: Server | None = None
        self.links: dict[str, Session] = {}
        """Open connections by charger id."""
        self.received = self.malformed = 0
        """Frames of connections that have ended."""
        self.unknown: Counter[str] = Counter()
        """How often identities that are not configured have tried; bounded."""

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. `OSError` when the address cannot be had."""
        self._server = await serve(
            self._serve,
            host,
            port,
            process_request=self._admit,
            select_subprotocol=self._select_subprotocol,
            compression=None,
            max_size=MAX_MESSAGE,
            open_timeout=HANDSHAKE_TIMEOUT,
            ping_interval=None,  # the link's own keep-alive knows the chargers that never answer a ping
            close_timeout=2,
            server_header=None,
            logger=_quiet,
        )
        return cast(int, next(iter(self._server.sockets)).getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and close every connection (1001, going away: chargers come back)."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        _tolerate_missing_upgrade(request)
        identity = identity_of(request.path)
        address = connection.remote_address[0]
        if not self._known(identity):
            if len(self.unknown) < MAX_UNKNOWN or identity in self.unknown:
                self.unknown[identity] += 1
            log.warning("ocpp %s: charger %r is not configured, refused with 404", address, identity)
            return connection.respond(http.HTTPStatus.NOT_FOUND, f"charger {identity!r} is not configured\n")
        if self._addresses[address] >= self._per_address:
            log.warning("ocpp %s: %d connections are open already, refused with 429", address, self._per_address)
            return connection.respond(http.HTTPStatus.TOO_MANY_REQUESTS, "too many connections\n")
        if await self._occupied(identity):
            log.warning("ocpp %s: %s is connected already and alive, refused with 409", address, identity)
            return connection.respond(http.HTTPStatus.CONFLICT, f"charger {identity!r} is connected already\n")
        return await self._prepare(connection, identity)

    async def _prepare(self, connection: ServerConnection, identity: str) -> Response | None:
        """What else has to be settled before an admitted charger's handshake ends; a response refuses it."""
        return None

    def _select_subprotocol(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        if SUBPROTOCOL in offered:
            return SUBPROTOCOL
        if not offered and not self._require_subprotocol:
            return None
        reason = f"the subprotocol must be {SUBPROTOCOL}; offered: {', '.join(offered) or 'none'}"
        identity = identity_of(connection.request.path) if connection.request is not None else ""
        log.warning("ocpp %s: charger %r refused with 400: %s", connection.remote_address[0], identity, reason)
        raise NegotiationError(reason)

    async def _occupied(self, identity: str) -> bool:
        older = self.links.get(identity)
        if older is None or not older.open or older.unresponsive:
            return False
        return await older.alive(DUPLICATE_PING_TIMEOUT)

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        identity = identity_of(websocket.request.path)
        address = websocket.remote_address[0]
        self._addresses[address] += 1
        try:
            # One at a time: of two handshakes that were admitted together only the first may stay.
            async with self._gates[identity]:
                if await self._occupied(identity):
                    await websocket.close(1008, "connected already")
                    return
                self._drop(identity)
                link = self._open(identity, websocket)
            try:
                await link.run()
            finally:
                if self.links.get(identity) is link:
                    self._drop(identity)
        finally:
            self._addresses[address] -= 1

    def _drop(self, identity: str) -> None:
        """Forget a connection; its own end, which may come later, must not undo what a newer one begins."""
        link = self.links.pop(identity, None)
        if link is not None:
            self.received += link.received
            self.malformed += link.malformed
            self._disconnected(identity, link)
            link.abort()

    def _open(self, identity: str, websocket: ServerConnection) -> Session:
        if self._tcp_keep_alive:
            keep_alive(websocket.transport.get_extra_info("socket"), self._tcp_keep_alive)
        session = self.links[identity] = self._session(identity, websocket)
        return session

    @abstractmethod
    def _session(self, identity: str, websocket: ServerConnection) -> Session:
        """Who serves a charger that has connected."""


class CentralSystem(ChargerServer):
    """Answers the charge points itself: ``connected`` and ``disconnected`` frame each connection."""

    def __init__(
        self, known: Callable[[str], bool], connected: Connected, disconnected: Disconnected, **options: Any
    ) -> None:
        super().__init__(known, disconnected, **options)
        self._connected = connected

    def _session(self, identity: str, websocket: ServerConnection) -> Session:
        link = Link(
            websocket,
            call_timeout=self._call_timeout,
            ping_interval=self._ping_interval,
            name=identity,
            trace=self._trace,
        )
        link.handle = self._connected(identity, link)
        return link


def identity_of(path: str) -> str:
    """The charger id in a request path: its last segment that is not empty, percent-decoded (OCPP-J 1.6 §3.1.1)."""
    segments = [segment for segment in path.partition("?")[0].split("/") if segment]
    return unquote(segments[-1]) if segments else ""


def _tolerate_missing_upgrade(request: Request) -> None:
    """Some chargers forget ``Connection: Upgrade``; the rest of their handshake is sound."""
    headers = request.headers
    connection = ", ".join(headers.get_all("Connection")).lower()
    if "upgrade" not in connection and "Sec-WebSocket-Key" in headers:
        headers["Connection"] = "Upgrade"
        if "Upgrade" not in headers:
            headers["Upgrade"] = "websocket"
