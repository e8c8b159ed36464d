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
from ampgate.ocpp.session import Session
from ampgate.trace import Trace

log = logging.getLogger(__name__)

Handler = Callable[[v16.Message], "v16.Message | Awaitable[v16.Message]"]
"""Answers a request of the peer, at once or later; raises `rpc.CallError` to refuse it."""

MAX_UNANSWERED: Final = 32
"""CALLs of the peer that may be in work at a time. More are left in the socket, which slows the peer down."""
MAX_GARBAGE: Final = 100
"""Frames in a row that cannot be answered, after which the connection is closed."""


class Link(Session):
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
        super().__init__(websocket, ping_interval=ping_interval, name=name, trace=trace)
        self.handle = handle or _refuse
        self._call_timeout = call_timeout
        self.rpc = rpc.Rpc()
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[v16.Message] | None = None
        self._room = asyncio.Semaphore(MAX_UNANSWERED)
        self._garbage = 0

    @property
    def received(self) -> int:
        """Frames that the peer has sent."""
        return self.rpc.received

    @property
    def malformed(self) -> int:
        """Frames of the peer that could not be read."""
        return self.rpc.malformed

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
