"""The websocket of one charger, whoever answers it: its address, its signs of life, its end."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from typing import Final

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from ampgate.tasks import Tasks
from ampgate.trace import Trace

log = logging.getLogger(__name__)

PING_TIMEOUT: Final = 20.0


class Session(ABC):
    """An open websocket and the tasks that end with it. ``ping_interval`` is seconds, 0 switches pings off."""

    def __init__(
        self, websocket: Connection, *, ping_interval: float = 0.0, name: str = "", trace: Trace | None = None
    ) -> None:
        self._websocket = websocket
        self._ping_interval = ping_interval
        self._answers_pings = False
        self._missed_ping = 0.0
        self._trace = trace if trace is not None else Trace(0)
        self._peer = f"ocpp {name}"
        self._tasks = Tasks()
        self.name = name
        self.last_received = time.monotonic()

    @property
    def address(self) -> str:
        """Network address of the peer."""
        return str(self._websocket.remote_address[0])

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._websocket.close_code is None

    @property
    def unresponsive(self) -> bool:
        """Whether the last ping was not answered, and nothing has come since it was sent."""
        return self.last_received < self._missed_ping

    @property
    @abstractmethod
    def received(self) -> int:
        """Frames that the peer has sent."""

    @property
    @abstractmethod
    def malformed(self) -> int:
        """Frames of the peer that could not be read."""

    @abstractmethod
    async def run(self) -> None:
        """Serve the peer until the connection closes; raises nothing for what the peer sends."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the websocket; `run` ends."""
        await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Cut the connection without a closing handshake, which a dead peer would not answer."""
        self._websocket.transport.abort()

    async def alive(self, timeout: float) -> bool:
        """Whether the peer answers a ping within ``timeout`` seconds."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await (await self._websocket.ping())
        except ConnectionClosed:
            return False
        except TimeoutError:
            self._websocket.pong_waiters.clear()  # else one stays for each ping of a charger that answers none
            self._missed_ping = asked
            return False
        self._answers_pings = True
        self._missed_ping = 0.0
        return True

    async def _keep_alive(self) -> None:
        """Find a dead peer: any frame counts as life (OCPP 1.6 §4.6); who never answered a ping is not judged by it."""
        while True:
            await asyncio.sleep(self._ping_interval)
            asked = time.monotonic()
            if not await self.alive(PING_TIMEOUT) and self._answers_pings and self.last_received < asked:
                log.warning("%s: no sign of life for %g s: connection cut", self._peer, time.monotonic() - asked)
                self.abort()
                return
