"""What went over the wires lately: a bounded ring that costs one append a request."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, NamedTuple

LONGEST: Final = 4096
"""Bytes of a frame that are kept in any case, so that the ring stays small whatever peers send."""
WHOLE: Final = 64
"""Number of longer frames that are kept whole, the newest: an answer to GetConfiguration, a local list."""


class Frame(NamedTuple):
    """One frame that was received or sent."""

    at: float
    """Unix time in seconds."""
    peer: str
    """``modbus 10.0.0.5:40112`` or ``ocpp CP001``."""
    sent: bool
    data: bytes
    """Whole, or its first `LONGEST` bytes when `WHOLE` longer ones came after it."""


class _Long:
    """A long frame that loses its end when its turn is over."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def cut(self) -> None:
        self.data = self.data[:LONGEST]


class Trace:
    """The last frames of all connections, oldest first.

    ``capacity`` bounds their number (a request and its response count once), `LONGEST` and `WHOLE` their size.
    """

    def __init__(self, capacity: int = 2000) -> None:
        self._entries: deque[tuple[float, str, bytes | _Long, bytes | _Long]] = deque(maxlen=capacity)
        self._long: deque[_Long] = deque()
        self.add = self._entries.append
        """Append ``(unix time, peer, received, sent)``; bound once, as it is on the hot path.

        Either side may be empty, none may be longer than `LONGEST`.
        """

    def received(self, peer: str, data: bytes) -> None:
        """Keep a frame that a peer sent."""
        self.add((time.time(), peer, self._bounded(data), b""))

    def sent(self, peer: str, data: bytes) -> None:
        """Keep a frame that went to a peer."""
        self.add((time.time(), peer, b"", self._bounded(data)))

    def _bounded(self, data: bytes) -> bytes | _Long:
        if len(data) <= LONGEST:
            return data
        if len(self._long) == WHOLE:
            self._long.popleft().cut()
        self._long.append(long := _Long(data))
        return long

    def last(self, count: int) -> list[Frame]:
        """At most this many of the newest frames, oldest first."""
        frames = [
            Frame(at, peer, sent, data.data if isinstance(data, _Long) else data)
            for at, peer, received, answer in self._entries
            for sent, data in ((False, received), (True, answer))
            if data
        ]
        return frames[-count:] if count > 0 else []
