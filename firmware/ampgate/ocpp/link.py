"""One OCPP-J connection over a websocket, at either end: `rpc` with a socket, a queue and a clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from ampgate.ocpp import rpc, v16
from ampgate.tasks import Tasks
from ampgate.trace import Trace

log = logging.getLogger(__name__)

Handler = Callable[[v16.Message], "v16.Message | Awaitable[v16.Message]"]
"""Answers a request of the peer, at once or later; raises `rpc.CallError` to refuse it."""

MAX_UNANSWERED: Final = 32
"""CALLs of the peer that may be in work at a time. More are left in the socket, which slows the peer down."""
PING_TIMEOUT: Final = 20.0
MAX_GARBAGE: Final = 100
"""Frames in a row that cannot be answered, after which the connection is closed."""


class Link:
    """Sends and answers calls over an open websocket.

    ``handle`` gets each request of the peer. It may return the response, or an awaitable of it when the answer takes
    time; then later requests are handled meanwhile.
    """

    def __init__(
        self,
        websocket: Connection,
        handle: Handler | None = None,
        *,
        call_timeout: float = 30.0,
        ping_interval: float = 0.0,
        name: str = "",
        trace: Trace | None = None,
    ) -> None:
        self._websocket = websocket
        self.handle = handle or _refuse
        self._call_timeout = call_timeout
        self._ping_interval = ping_interval
        self._answers_pings = False
        self._missed_ping = 0.0
        self._trace = trace if trace is not None else Trace(0)
        self._peer = f"ocpp {name}"
        self.name = name
        self.rpc = rpc.Rpc()
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[v16.Message] | None = None
        self._room = asyncio.Semaphore(MAX_UNANSWERED)
        self._tasks = Tasks()
        self._garbage = 0
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

    async def run(self) -> None:
        """Read and answer until the connection closes; raises nothing for what the peer sends."""
        receive = self._websocket.recv
        if self._ping_interval:
            self._tasks.start(self._keep_alive())
        try:
            while True:
                await self._received(await receive(decode=False))
        except ConnectionClosed:
            pass
        finally:
            self._tasks.cancel()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ConnectionError(f"{self._peer}: connection closed"))

    async def call(self, request: v16.Message) -> v16.Message:
        """Ask the peer; waits for its turn, as the peer gets one CALL at a time (OCPP-J §4.1.1).

        Raises `rpc.CallError` when the peer refuses, `TimeoutError` when no answer comes within the call timeout and
        `ConnectionError` when the connection is or gets closed.
        """
        async with self._turn:
            answer: asyncio.Future[v16.Message] = asyncio.get_running_loop().create_future()
            self._answer = answer
            try:
                async with asyncio.timeout(self._call_timeout):
                    await self._send(self.rpc.call(request))
                    return await answer
            except ConnectionClosed as error:
                raise ConnectionError(f"{self._peer}: {error}") from error
            finally:
                self.rpc.forget()
                self._answer = None
                if answer.done() and not answer.cancelled():
                    answer.exception()  # looked at, also when sending has failed before it could be awaited

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

    async def _send(self, frame: bytes) -> None:
        self._trace.sent(self._peer, frame)
        await self._websocket.send(frame, text=True)

    async def _received(self, frame: bytes) -> None:
        self.last_received = time.monotonic()
        self._trace.received(self._peer, frame)
        event = self.rpc.receive(frame)
        match event:
            case rpc.Call():
                await self._called(event)
            case rpc.Refused():
                log.warning("%s: refused %s: %s", self._peer, _excerpt(frame), event.error)
                await self._send(event.reply)
            case rpc.Result() | rpc.Failure():
                self._answered(event)
            case rpc.Garbage():
                await self._garbage_received(frame, event)
                return
        self._garbage = 0

    async def _called(self, call: rpc.Call) -> None:
        try:
            answer = self.handle(call.request)
        except Exception as error:
            await self._send(self._refusal(call, error))
            return
        if isinstance(answer, v16.Message):
            await self._send(self.rpc.result(call, answer))
            return
        await self._room.acquire()
        self._tasks.start(self._answer_later(call, answer)).add_done_callback(lambda _: self._room.release())

    async def _answer_later(self, call: rpc.Call, answer: Awaitable[v16.Message]) -> None:
        try:
            frame = self.rpc.result(call, await answer)
        except Exception as error:
            frame = self._refusal(call, error)
        try:
            await self._send(frame)
        except ConnectionClosed:
            log.info("%s: went away before it could be answered", self._peer)

    def _refusal(self, call: rpc.Call, error: Exception) -> bytes:
        if not isinstance(error, rpc.CallError):
            log.error("%s: %s failed", self._peer, type(call.request).__name__, exc_info=error)
            error = rpc.CallError(rpc.ErrorCode.INTERNAL_ERROR, "the gateway failed to handle this; see its log")
        return self.rpc.error(call.id, error)

    def _answered(self, event: rpc.Result | rpc.Failure) -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(event, rpc.Result):
            self._answer.set_result(event.response)
        else:
            self._answer.set_exception(event.error)

    async def _garbage_received(self, frame: bytes, event: rpc.Garbage) -> None:
        self._garbage += 1
        if self._garbage == 1:
            log.warning("%s: ignored %s: %s", self._peer, _excerpt(frame), event.reason)
        if self._garbage >= MAX_GARBAGE:
            log.warning("%s: closed after %d unreadable frames in a row", self._peer, self._garbage)
            await self._websocket.close(1002, "too many unreadable frames")


def _excerpt(frame: bytes) -> str:
    return repr(frame[:120].decode("utf-8", "replace"))


def _refuse(request: v16.Message) -> v16.Message:
    raise rpc.CallError(rpc.ErrorCode.NOT_SUPPORTED, f"{type(request).__name__} is not handled here")
