"""A charger whose central system is elsewhere: `relay` with two websockets, their pumps and a clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ampgate.ocpp import rpc, upstream, v16
from ampgate.ocpp.relay import Call, Frame, Heard, Relay
from ampgate.ocpp.server import SUBPROTOCOL
from ampgate.ocpp.session import Session
from ampgate.ocpp.upstream import Endpoint, Unreachable
from ampgate.trace import Trace

log = logging.getLogger(__name__)

LASTING: Final = 30.0
"""Seconds that a connection to upstream has to last before the first new try comes soon again."""
GOING_AWAY: Final = 1001


class Reply(NamedTuple):
    """What a charger is told while the gateway stands in for upstream."""

    frame: Frame | None
    """None when the charger's frame has no message id, so that nothing can answer it."""
    stored: bool = False
    """Whether something was stored that must be on the medium before the charger hears this."""


class Delivery(NamedTuple):
    """A CALL of the charger that upstream has still to get."""

    id: str
    """Its message id."""
    frame: Frame
    """What upstream gets."""
    kept: Any
    """Whatever the one who stands in knows it by."""


class StandIn(Protocol):
    """Answers the charger while upstream is away and keeps for upstream what it must get later."""

    def reply(self, frame: Frame) -> Reply:
        """Answer a CALL in place of upstream."""

    def repeated(self, envelope: rpc.Envelope) -> Frame | None:
        """The answer to a CALL that upstream has got from the store already, and must not get again."""

    def outward(self, envelope: rpc.Envelope, frame: Frame) -> Frame:
        """A CALL of the charger as upstream is to have it."""

    def inward(self, envelope: rpc.Envelope, frame: Frame) -> Frame:
        """A CALL of upstream as the charger is to have it."""

    def next(self) -> Delivery | None:
        """What is to be delivered now; None when there is nothing left."""

    def delivered(self, delivery: Delivery, answer: rpc.Envelope | None) -> float:
        """Upstream has answered, or (None) has not in time; returns seconds to wait before the next delivery."""

    async def flush(self) -> None:
        """Return when all that was stored is on the medium."""


class Attendant(Protocol):
    """Reads along and, with ``outage = "hold"``, stands in; must not take long and may not fail."""

    @property
    def stand_in(self) -> StandIn | None:
        """Who stands in for upstream; None: its end is the charger's too."""

    def called(self, call: rpc.Envelope) -> None:
        """The charger has sent a CALL."""

    def answered(self, call: rpc.Envelope, answer: rpc.Envelope, *, by_upstream: bool) -> None:
        """The charger has got the answer to its CALL, from upstream or from who stands in for it."""

    def upstream_changed(self) -> None:
        """`Relayed.state` is another one."""


class Relayed(Session):
    """Passes frames between a charger and its upstream, calls the charger on the gateway's account.

    ``connection`` is upstream, or None when it is away for this ``reason`` and somebody stands in. ``longest_delay``
    bounds the seconds between two tries to reach it again. `attend` comes before `run`.
    """

    def __init__(
        self,
        websocket: ServerConnection,
        connection: ClientConnection | None,
        endpoint: Endpoint,
        *,
        reason: str = "",
        longest_delay: float = 60.0,
        call_timeout: float = 30.0,
        ping_interval: float = 0.0,
        name: str = "",
        trace: Trace | None = None,
    ) -> None:
        super().__init__(websocket, ping_interval=ping_interval, name=name, trace=trace)
        self._upstream = connection
        self._endpoint = endpoint
        self._longest_delay = longest_delay
        self._call_timeout = call_timeout
        self._upstream_peer = f"upstream {name}"
        self._through = False
        self._delivery: tuple[str, asyncio.Future[rpc.Envelope]] | None = None
        self._answer: asyncio.Future[v16.Message] | None = None
        self._own_turn = asyncio.Lock()
        self._turn = asyncio.Event()
        self._room = asyncio.Event()
        self._reason = reason
        self._attendant: Attendant
        self._stand_in: StandIn | None = None
        self._relay: Relay

    def attend(self, attendant: Attendant) -> None:
        """Who reads along and stands in, with a charger that speaks OCPP 1.6; all else passes unread."""
        self._attendant = attendant
        stand_in = self._stand_in = attendant.stand_in if self._readable else None
        translations = (stand_in.outward, stand_in.inward) if stand_in else ()
        self._relay = Relay(self._call_timeout, *translations)

    @property
    def _readable(self) -> bool:
        """Whether the charger speaks what the gateway knows."""
        return self._websocket.subprotocol in (None, SUBPROTOCOL)

    @property
    def received(self) -> int:
        """Frames that came from charger and upstream."""
        return self._relay.received

    @property
    def malformed(self) -> int:
        """Frames of either side that could not be read; they have passed all the same."""
        return self._relay.malformed

    @property
    def has_upstream(self) -> bool:
        """Whether upstream is connected."""
        return self._upstream is not None

    @property
    def state(self) -> str:
        """``connected``, ``delivering`` what was stored, or ``away`` and why."""
        if self._upstream is None:
            return f"away: {self._reason}" if self._reason else "away"
        return "connected" if self._through else "delivering"

    async def run(self) -> None:
        """Pass frames until the charger's connection closes; upstream's is closed then."""
        if self._ping_interval:
            self._tasks.start(self._keep_alive())
        for work in (self._send_calls(), self._serve_upstream()):
            self._tasks.start(self._watched(work))
        try:
            await self._watched(self._serve_charger())
        finally:
            self._tasks.cancel()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ConnectionError(f"{self._peer}: connection closed"))
            if self._upstream is not None:
                await upstream.close(self._upstream, *_closing(self._websocket))

    def abort(self) -> None:
        """Cut the connection of the charger, and so upstream's."""
        super().abort()
        if self._upstream is not None:
            self._upstream.transport.abort()

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that ends with a connection; a mistake of ours, or a full disk, ends both."""
        try:
            await work
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("%s: connection cut", self._peer)
            self.abort()

    # The gateway's own CALLs

    async def call(self, request: v16.Message) -> v16.Message:
        """Ask the charger on the gateway's own account; waits for its turn. As `Link.call`."""
        if not self._readable:
            raise rpc.CallError(rpc.ErrorCode.NOT_SUPPORTED, f"the charger speaks {self._websocket.subprotocol}")
        async with self._own_turn:
            if not self.open:
                raise ConnectionError(f"{self._peer}: connection closed")
            answer: asyncio.Future[v16.Message] = asyncio.get_running_loop().create_future()
            self._answer = answer
            self._relay.call(request)
            self._turn.set()
            try:
                return await answer
            finally:
                self._relay.forget()
                self._answer = None

    async def _send_calls(self) -> None:
        """The charger gets one CALL at a time, ours and upstream's in the order in which they came."""
        relay = self._relay
        while True:
            now = time.monotonic()
            if relay.expire(now) and self._answer is not None and not self._answer.done():
                self._answer.set_exception(TimeoutError())
            if (frame := relay.next_call(now)) is not None:
                self._room.set()
                await self._to_charger(frame)
                continue
            self._turn.clear()
            try:
                async with asyncio.timeout_at(self._at(relay.deadline)):
                    await self._turn.wait()
            except TimeoutError:
                pass

    @staticmethod
    def _at(deadline: float | None) -> float | None:
        """A moment of the monotonic clock as one of the event loop's."""
        return None if deadline is None else asyncio.get_running_loop().time() + deadline - time.monotonic()

    # Frames of the charger

    async def _serve_charger(self) -> None:
        while True:
            await self._from_charger(await self._websocket.recv())

    async def _from_charger(self, frame: Frame) -> None:
        self.last_received = time.monotonic()
        self._trace.received(self._peer, _bytes(frame))
        heard = self._relay.from_charger(frame)
        envelope = heard.envelope
        if envelope is not None and envelope.kind == rpc.CALL:
            await self._called(frame, envelope, heard)
            return
        self._turn.set()
        if heard.own is not None:
            self._own_answered(heard.own)
        elif heard.passes is not None and self._upstream is not None:
            await self._to_upstream(heard.passes)

    async def _called(self, frame: Frame, envelope: rpc.Envelope, heard: Heard) -> None:
        stand_in = self._stand_in
        if stand_in is not None and (answer := stand_in.repeated(envelope)) is not None:
            self._relay.answered_here(Call(envelope, frame))
            await stand_in.flush()  # it may have been written a moment ago, for a connection that is gone
            await self._to_charger(answer)
        elif stand_in is not None and not self._through:
            await self._answer_for_upstream(stand_in, Call(envelope, frame))
        elif heard.passes is not None:
            await self._to_upstream(heard.passes)
            if self._readable:
                self._attendant.called(envelope)

    async def _answer_for_upstream(self, stand_in: StandIn, call: Call) -> None:
        self._relay.answered_here(call)
        reply = stand_in.reply(call.frame)
        if reply.stored:
            await stand_in.flush()
        self._attendant.called(call.envelope)
        if reply.frame is not None:
            self._attendant.answered(call.envelope, rpc.read(reply.frame), by_upstream=False)
            await self._to_charger(reply.frame)

    def _own_answered(self, event: rpc.Event) -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(event, rpc.Result):
            self._answer.set_result(event.response)
        elif isinstance(event, rpc.Failure):
            self._answer.set_exception(event.error)

    async def _to_charger(self, frame: Frame) -> None:
        self._trace.sent(self._peer, _bytes(frame))
        await self._websocket.send(frame)

    # Upstream

    async def _serve_upstream(self) -> None:
        """Keep upstream connected; without somebody who stands in for it, its end is the charger's too."""
        tries = upstream.delays(self._longest_delay)
        if self._upstream is None:
            self._attendant.upstream_changed()
        while True:
            if self._upstream is None:
                self._upstream = await self._reconnect(tries)
            begin = time.monotonic()
            await self._attend(self._upstream)
            connection, self._upstream, self._through = self._upstream, None, False
            lost = self._relay.upstream_lost()
            code, reason = _closing(connection)
            self._reason = f"closed with {code}{f', {reason}' if reason else ''}"
            self._attendant.upstream_changed()
            if self._stand_in is None:
                await self.close(code, reason)
                return
            for call in lost:
                await self._answer_for_upstream(self._stand_in, call)
            if time.monotonic() - begin > LASTING:
                tries = upstream.delays(self._longest_delay)

    async def _reconnect(self, tries: Iterator[float]) -> ClientConnection:
        for delay in tries:
            await asyncio.sleep(delay)
            try:
                return await upstream.connect(self._endpoint, self.name, [self._websocket.subprotocol or SUBPROTOCOL])
            except Unreachable as error:
                if str(error) != self._reason:
                    self._reason = str(error)
                    self._attendant.upstream_changed()
        raise AssertionError  # the tries never end

    async def _attend(self, connection: ClientConnection) -> None:
        """Pass what upstream sends until its connection closes."""
        stand_in = self._stand_in
        delivery = None
        if stand_in is None or stand_in.next() is None:
            self._through = True
        else:
            delivery = self._tasks.start(self._watched(self._deliver(connection, stand_in)))
        self._attendant.upstream_changed()
        try:
            while True:
                await self._from_upstream(await connection.recv())
        except ConnectionClosed:
            # It may have been the charger's that closed; then `run` ends everything.
            await upstream.close(connection, *_closing(self._websocket))
        finally:
            if delivery is not None:
                delivery.cancel()
            self._delivery = None

    async def _from_upstream(self, frame: Frame) -> None:
        self._trace.received(self._upstream_peer, _bytes(frame))
        heard = self._relay.from_upstream(frame)
        envelope = heard.envelope
        if heard.passes is None:
            self._turn.set()
            while self._relay.congested:
                self._room.clear()
                await self._room.wait()
        elif envelope is not None and self._delivery is not None and str(envelope.id) == self._delivery[0]:
            if not self._delivery[1].done():
                self._delivery[1].set_result(envelope)
        else:
            await self._to_charger(heard.passes)
            if heard.call is not None and envelope is not None and self._readable:
                self._attendant.answered(heard.call.envelope, envelope, by_upstream=True)

    async def _to_upstream(self, frame: Frame) -> None:
        connection = self._upstream
        if connection is None:
            return  # a frame that came while the charger's connection is being closed as well
        self._trace.sent(self._upstream_peer, _bytes(frame))
        with suppress(ConnectionClosed):  # whoever reads from it finds out too, and sees to what is left unanswered
            await connection.send(frame)

    async def _deliver(self, connection: ClientConnection, stand_in: StandIn) -> None:
        """Upstream gets what was stored, one CALL at a time; then frames pass through again."""
        while (delivery := stand_in.next()) is not None:
            answer = asyncio.get_running_loop().create_future()
            self._delivery = delivery.id, answer
            try:
                async with asyncio.timeout(self._call_timeout):
                    await self._to_upstream(delivery.frame)
                    wait = stand_in.delivered(delivery, await answer)
            except TimeoutError:
                stand_in.delivered(delivery, None)
                log.warning("%s: upstream does not answer: connection closed", self._peer)
                await connection.close(GOING_AWAY, "no answer")
                return
            finally:
                self._delivery = None
            await asyncio.sleep(wait)
        self._through = True
        self._attendant.upstream_changed()


_UNSENDABLE: Final = (1005, 1006, 1015)
"""Codes that say how a connection ended without a close frame; they cannot be sent (RFC 6455 §7.4.1)."""


def _closing(connection: Connection) -> tuple[int, str]:
    """Code and reason with which the other side's connection is to be closed as well."""
    code = connection.close_code
    if code is None or code in _UNSENDABLE:
        return GOING_AWAY, "the other side is gone"
    return code, connection.close_reason or ""


def _bytes(frame: Frame) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
