"""The connection to an external central system, where the gateway is the charge point (OCPP-J 1.6 §3)."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, NegotiationError, WebSocketException
from websockets.typing import Subprotocol

_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes of one frame from the central system: more than a charger may send, for long local lists."""
_QUEUE: Final = 4
"""Frames that are read before the charger has taken the one before."""
CONNECT_TIMEOUT: Final = 10.0
PING_TIMEOUT: Final = 20.0
CLOSE_TIMEOUT: Final = 2.0
FIRST_DELAY: Final = 1.0
"""Seconds before the first new try, at most."""


class Unreachable(Exception):
    """Why the central system could not be connected to, in words for people."""


class Endpoint(NamedTuple):
    """Where the central system of one charger is, and how the gateway proves who it is."""

    host: str
    port: int
    path: str = "/"
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = ""
    ping_interval: float = 30.0
    """Seconds, 0 is off."""

    def url(self, identity: str) -> str:
        """``ws(s)://host:port<path>/<charger id>``, the charger id percent-encoded."""
        scheme = "wss" if self.tls else "ws"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path.rstrip('/')}/{quote(identity, safe='')}"

    def headers(self) -> dict[str, str]:
        """HTTP Basic credentials (RFC 7617, in UTF-8), when there is a password."""
        if not self.password:
            return {}
        credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {credentials}"}


class _Connect(websocket):
    """The library's, without redirects: credentials go to the configured host and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def connect(
    endpoint: Endpoint, identity: str, subprotocols: Sequence[str], timeout: float = CONNECT_TIMEOUT
) -> ClientConnection:
    """Connect as this charger, the name looked up anew; `Unreachable` says why it does not work."""
    try:
        return await _Connect(
            endpoint.url(identity),
            subprotocols=[Subprotocol(name) for name in subprotocols],
            additional_headers=endpoint.headers(),
            user_agent_header="ampgate",
            compression=None,
            proxy=None,
            open_timeout=timeout,
            ping_interval=endpoint.ping_interval or None,
            ping_timeout=PING_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_MESSAGE,
            max_queue=_QUEUE,
            logger=_quiet,
            ssl=endpoint.tls,
        )
    except (OSError, ValueError, WebSocketException) as error:  # the second is for names that are none
        raise Unreachable(reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """What a failed connection means, in words for people."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: the certificate of the central system is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case socket.gaierror():
            return f"DNS: {error.strerror}"
        case ConnectionRefusedError():
            return "refused: nothing listens on this port"
        case TimeoutError():
            return "no answer in time"
        case InvalidStatus():
            return status_reason(error.response.status_code, error.response.headers.get("Location", ""))
        case NegotiationError():
            return f"subprotocol: {error}"
        case InvalidMessage() if isinstance(error.__cause__, EOFError):
            return "closed without an answer; with TLS it may want a client certificate"
        case InvalidHandshake():
            return f"not a websocket server: {error}"
        case ConnectionError() if not error.strerror:
            return "closed at once; perhaps only one side speaks TLS"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error) or type(error).__name__


_STATUS: Final = {
    400: "it does not like the request; often the subprotocol",
    401: "credentials are missing or wrong",
    403: "it does not let this charger in",
    404: "it knows no such path or charger id",
    409: "this charger is connected there already",
    429: "it wants fewer tries",
}


def status_reason(status: int, location: str = "") -> str:
    """What an HTTP status other than 101 means here."""
    if 300 <= status < 400:
        meaning = f"it is elsewhere: {location or 'it does not say where'}; redirects are not followed"
    else:
        meaning = _STATUS.get(status, "trouble at the central system" if status >= 500 else "refused")
    return f"HTTP {status}: {meaning}"


def delays(longest: float, dice: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before each new try: doubled each time up to ``longest``, the second half of each at random.

    At random, so that not all gateways of a central system that was away come back at once.
    """
    dice = dice or random.Random()
    ceiling = min(FIRST_DELAY, longest)
    while True:
        yield dice.uniform(ceiling / 2, ceiling)
        ceiling = min(2 * ceiling, longest)


async def close(connection: ClientConnection, code: int, reason: str) -> None:
    """Close a connection; one that does not answer is cut."""
    try:
        await connection.close(code, reason)
    except asyncio.CancelledError:
        connection.transport.abort()
        raise
