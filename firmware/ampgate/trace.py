"""What went over the wires lately: a bounded ring that costs one append a request."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, NamedTuple

LONGEST: Final = 4096
"""Bytes of a frame that are kept, so that the ring stays small whatever peers send."""


class Frame(NamedTuple):
    """One frame that was received or sent."""

    at: float
    """Unix time in seconds."""
    peer: str
    """``modbus 10.0.0.5:40112`` or ``ocpp CP001``."""
    sent: bool
    data: bytes
    """Its first `LONGEST` bytes."""


class Trace:
    """The last frames of all connections, oldest first.

    ``capacity`` bounds their number (a request and its response count once), `LONGEST` their size.
    """

    def __init__(self, capacity: int = 2000) -> None:
        self._entries: deque[tuple[float, str, bytes, bytes]] = deque(maxlen=capacity)
        self.add = self._entries.append
        """Append ``(unix time, peer, received, sent)``; bound once, as it is on the hot path.

        Either side may be empty, none may be longer than `LONGEST`.
        """

    def received(self, peer: str, data: bytes) -> None:
        """Keep a frame that a peer sent."""
        self.add((time.time(), peer, data[:LONGEST], b""))

    def sent(self, peer: str, data: bytes) -> None:
        """Keep a frame that went to a peer."""
        self.add((time.time(), peer, b"", data[:LONGEST]))

    def last(self, count: int) -> list[Frame]:
        """At most this many of the newest frames, oldest first."""
        frames = [
            Frame(at, peer, sent, data)
            for at, peer, received, answer in self._entries
            for sent, data in ((False, received), (True, answer))
            if data
        ]
        return frames[-count:] if count > 0 else []
