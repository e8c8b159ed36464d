"""What people are told of a simulated charge point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

Kind = Literal["link", "status", "session", "operation"]


class Event(NamedTuple):
    """Something that happened at a charger, for people to read."""

    charger: str
    connector: int | None
    kind: Kind
    text: str


Listener = Callable[[Event], None]


def reason(error: BaseException) -> str:
    """Why something failed, in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
