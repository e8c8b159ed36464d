"""The websocket server of chargers whose central system is elsewhere.

Upstream is connected to while the charger's handshake waits: so both agree on one subprotocol, and a charger that
nobody would answer is refused (HTTP 503) instead of let in.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ampgate.ocpp import upstream
from ampgate.ocpp.relayed import GOING_AWAY, Attendant, Relayed
from ampgate.ocpp.server import SUBPROTOCOL, ChargerServer, Disconnected, identity_of
from ampgate.ocpp.session import Session
from ampgate.ocpp.upstream import Endpoint, Unreachable
from ampgate.tasks import Tasks

log = logging.getLogger(__name__)

PREPARE_TIMEOUT: Final = 5.0
"""Seconds that a charger's handshake waits for upstream; chargers give up after 10 s or more."""

Relaying = Callable[[str, Relayed], Attendant]
"""Called with charger id and session when a charger has connected; returns who reads along."""


class _Handshake:
    """A charger that is being let in."""

    upstream: ClientConnection | None = None
    """None while it is being connected to, and when it is away and somebody stands in."""
    reason = ""
    """Why it is away."""


class RelaySystem(ChargerServer):
    """Passes the frames of each charger to its `Endpoint` and back; ``connected`` gives who reads along.

    With ``hold`` a charger is let in while upstream is away. ``longest_delay`` is in seconds.
    """

    def __init__(
        self,
        known: Callable[[str], bool],
        connected: Relaying,
        disconnected: Disconnected,
        endpoints: Mapping[str, Endpoint],
        *,
        hold: bool = False,
        longest_delay: float = 60.0,
        **options: Any,
    ) -> None:
        super().__init__(known, disconnected, **options)
        self._connected = connected
        self._endpoints = endpoints
        self._hold = hold
        self._longest_delay = longest_delay
        self._handshakes: dict[str, _Handshake] = {}
        self._tasks = Tasks()

    async def stop(self) -> None:
        """Stop listening and close every connection, upstream's too."""
        await super().stop()
        await self._tasks.close()

    async def _prepare(self, connection: ServerConnection, identity: str) -> Response | None:
        if identity in self._handshakes:
            return connection.respond(http.HTTPStatus.CONFLICT, f"charger {identity!r} is about to connect\n")
        offered = _offered(connection)
        if not offered and self._require_subprotocol:
            return None  # the choice of a subprotocol refuses it
        self._drop(identity)  # it is not alive; a central system would refuse a second connection of its charger
        handshake = self._handshakes[identity] = _Handshake()
        self._tasks.start(self._end(identity, handshake, connection))
        try:
            other = await upstream.connect(
                self._endpoints[identity], identity, offered or [SUBPROTOCOL], PREPARE_TIMEOUT
            )
        except Unreachable as error:
            log.warning("ocpp %s: the central system of %s: %s", connection.remote_address[0], identity, error)
            if self._hold and (not offered or SUBPROTOCOL in offered):
                handshake.reason = str(error)
                return None
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"central system: {error}\n")
        if self._handshakes.get(identity) is handshake:
            handshake.upstream = other
        else:
            await upstream.close(other, GOING_AWAY, "the charger has gone")
        return None

    async def _end(self, identity: str, handshake: _Handshake, connection: ServerConnection) -> None:
        """Leave nothing of a handshake that comes to nothing."""
        await connection.wait_closed()
        if self._handshakes.get(identity) is handshake:
            del self._handshakes[identity]
            if handshake.upstream is not None:
                await upstream.close(handshake.upstream, GOING_AWAY, "the charger has gone")

    def _select_subprotocol(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        assert connection.request is not None
        handshake = self._handshakes.get(identity_of(connection.request.path))
        chosen = handshake.upstream.subprotocol if handshake and handshake.upstream else None
        if chosen in offered:
            return chosen
        return super()._select_subprotocol(connection, offered)  # upstream is away, or not particular about it

    def _session(self, identity: str, websocket: ServerConnection) -> Session:
        handshake = self._handshakes.pop(identity, _Handshake())
        session = Relayed(
            websocket,
            handshake.upstream,
            self._endpoints[identity],
            reason=handshake.reason,
            longest_delay=self._longest_delay,
            call_timeout=self._call_timeout,
            ping_interval=self._ping_interval,
            name=identity,
            trace=self._trace,
        )
        session.attend(self._connected(identity, session))
        return session


def _offered(connection: ServerConnection) -> list[Subprotocol]:
    assert connection.request is not None
    try:
        return [
            name
            for header in connection.request.headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(header)
        ]
    except InvalidHeader:
        return []  # the handshake fails over it
