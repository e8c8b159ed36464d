"""Between a charger and an external central system, without I/O: what becomes of each frame.

Every frame passes unread in both directions, with two exceptions. The gateway's own CALLs to the charger are answered
to the gateway, and the charger gets one CALL at a time (OCPP-J 1.6 §4.1.1), whoever asks: the others wait here, in the
order in which they came. An answer never waits: many chargers answer no CALL before they have the answer to their own,
so an answer that stood behind a CALL which waits would stop both. Hence CALLs keep their order among themselves, and
so does everything else.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CALL, CALLERROR, CALLRESULT, Envelope, Event, Rpc, Unreadable, read

Frame = str | bytes
"""A websocket message: text, or the binary message that no OCPP peer should send."""
Translate = Callable[[Envelope, Frame], Frame]
"""Gives the frame that goes on in place of a CALL."""

MAX_WAITING: Final = 8
"""CALLs that may wait for the charger. With more, nothing is read from upstream, which slows it down."""
MAX_UNANSWERED: Final = 64
"""Message ids that are kept until the answer comes. The oldest is forgotten, its answer passes unmatched."""


class Heard(NamedTuple):
    """A frame that has come, and what it is."""

    envelope: Envelope | None
    """None when it could not be read; it passes all the same."""
    passes: Frame | None
    """What goes to the other side at once; None for a CALL to the charger, which takes its turn, and for answers that
    are not meant for upstream."""
    call: Call | None = None
    """The CALL of the charger that this frame of upstream answers."""
    own: Event | None = None
    """The answer to the gateway's CALL."""


class Call(NamedTuple):
    """A CALL of the charger."""

    envelope: Envelope
    frame: Frame
    """As the charger sent it."""


class Relay:
    """One charger and its upstream. Times are seconds of any clock that never goes back.

    ``call_timeout`` is how long the charger has to answer a CALL before the next one may go. ``outward`` and ``inward``
    may replace CALLs to upstream and to the charger.
    """

    def __init__(
        self,
        call_timeout: float = 30.0,
        outward: Translate = lambda envelope, frame: frame,
        inward: Translate = lambda envelope, frame: frame,
    ) -> None:
        self._call_timeout = call_timeout
        self._outward = outward
        self._inward = inward
        # Known to nobody else: no id of upstream or charger begins like this by chance.
        self._mark = f"{secrets.token_hex(8)}-"
        ids = itertools.count(1)
        self._rpc = Rpc(lambda: f"{self._mark}{next(ids)}")
        self._own: str | None = None
        self._waiting: deque[tuple[str, Frame]] = deque()
        self._busy: str | None = None
        self.deadline: float | None = None
        """When the CALL that the charger has to answer counts as lost; None while there is none."""
        self._asked: dict[str, Call] = {}
        self._passed: dict[str, None] = {}
        self._orphans: dict[str, None] = {}
        self.received = self.malformed = 0
        """Frames from either side, and those that could not be read."""

    # From the charger

    def from_charger(self, frame: Frame) -> Heard:
        """Take a frame of the charger."""
        envelope = self._read(frame)
        if envelope is None:
            return Heard(None, frame)
        key = str(envelope.id)
        if envelope.kind == CALL:
            _keep(self._asked, key, Call(envelope, frame))
            return Heard(envelope, self._outward(envelope, frame))
        if envelope.kind in (CALLRESULT, CALLERROR):
            if key == self._busy:
                self._busy, self.deadline = None, None
            self._passed.pop(key, None)
            if key.startswith(self._mark):
                return Heard(envelope, None, own=self._rpc.receive(frame))
            if key in self._orphans:
                del self._orphans[key]
                return Heard(envelope, None)
        return Heard(envelope, frame)

    def answered_here(self, call: Call) -> None:
        """A CALL of the charger was answered by the gateway: upstream will not."""
        self._asked.pop(str(call.envelope.id), None)

    # From upstream

    def from_upstream(self, frame: Frame) -> Heard:
        """Take a frame of upstream."""
        envelope = self._read(frame)
        if envelope is None:
            return Heard(None, frame)
        key = str(envelope.id)
        if envelope.kind == CALL:
            self._waiting.append((key, self._inward(envelope, frame)))
            return Heard(envelope, None)
        call = self._asked.pop(key, None) if envelope.kind in (CALLRESULT, CALLERROR) else None
        return Heard(envelope, frame, call)

    def upstream_lost(self) -> list[Call]:
        """Upstream is gone: what it asked has nobody to hear the answer. Returns what it has not answered."""
        self._waiting = deque(item for item in self._waiting if self._is_own(item[0]))
        for key in self._passed:
            if not self._is_own(key):
                _keep(self._orphans, key, None)
        self._passed.clear()
        unanswered = list(self._asked.values())
        self._asked.clear()
        return unanswered

    # CALLs to the charger

    @property
    def congested(self) -> bool:
        """Whether as many CALLs wait as may; upstream is not to be read."""
        return len(self._waiting) >= MAX_WAITING

    def call(self, request: v16.Message) -> None:
        """Queue a CALL of the gateway's own; one at a time, until its answer comes or `forget`."""
        frame = self._rpc.call(request).decode()
        self._own = str(read(frame).id)
        self._waiting.append((self._own, frame))

    def forget(self) -> None:
        """Give up on the gateway's own CALL."""
        self._rpc.forget()
        self._own = None
        self._waiting = deque(item for item in self._waiting if not self._is_own(item[0]))

    def next_call(self, now: float) -> Frame | None:
        """The CALL that is to be sent to the charger now, if any."""
        if self._busy is not None or not self._waiting:
            return None
        key, frame = self._waiting.popleft()
        self._busy, self.deadline = key, now + self._call_timeout
        self._orphans.pop(key, None)  # a central system may count its ids from 1 on each connection
        _keep(self._passed, key, None)
        return frame

    def expire(self, now: float) -> bool:
        """Let the next CALL go when the charger's time is over; whether that was the one that `call` waits for."""
        if self._busy is None or self.deadline is None or now < self.deadline:
            return False
        key, self._busy, self.deadline = self._busy, None, None
        return key == self._own

    def _is_own(self, key: str) -> bool:
        return key.startswith(self._mark)

    def _read(self, frame: Frame) -> Envelope | None:
        self.received += 1
        try:
            return read(frame)
        except Unreadable:
            self.malformed += 1
            return None


_T = TypeVar("_T")


def _keep(table: dict[str, _T], key: str, value: _T) -> None:
    """Add, and forget the oldest when there are too many."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MAX_UNANSWERED:
        del table[next(iter(table))]
