"""What happened lately, one line an event, for people: the log, ``ampgate status`` and the demo show it."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import NamedTuple

log = logging.getLogger("ampgate.site")


class Event(NamedTuple):
    """One line."""

    at: float
    """Unix time in seconds."""
    charger: str
    """Charger id, or empty for the gateway itself."""
    text: str


class Activity:
    """The last events, oldest first."""

    def __init__(self, capacity: int = 50) -> None:
        self.events: deque[Event] = deque(maxlen=capacity)

    def add(self, charger: str, text: str) -> None:
        """Keep and log one event."""
        self.events.append(Event(time.time(), charger, text))
        log.info("%s: %s", charger or "gateway", text)
