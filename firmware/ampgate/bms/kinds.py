"""The types of the driver guide's objects: how a value reads as text, and which texts may be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

TASKS: Final = {0: "None", 1: "Start", 2: "Stop", 3: "Unlock"}
RESETS: Final = {0: "None", 1: "Clear gateway registers", 2: "Clear EV authorization cache", 3: "Reset EV"}
STATUSES: Final = {
    0: "Available",
    1: "Preparing",
    2: "Charging",
    3: "Suspended EV",
    4: "Suspended EVSE",
    5: "Finishing",
    6: "Reserved",
    7: "Unavailable",
    8: "Fault",
}
ERRORS: Final = {
    0: "Connector lock failure",
    1: "EV communication error",
    2: "Ground failure",
    3: "High temperature",
    4: "Internal error",
    5: "Local list conflict",
    6: "No error",
    7: "Other error",
    8: "Over current failure",
    9: "Over voltage",
    10: "Power meter failure",
    11: "Power switch failure",
    12: "Reader failure",
    13: "Reset failure",
    14: "Under voltage",
    15: "Weak signal",
}
REASONS: Final = {
    0: "De-authorized",
    1: "Emergency stop",
    2: "EV disconnected",
    3: "Hard reset",
    4: "Local",
    5: "Other",
    6: "Power loss",
    7: "Reboot",
    8: "Remote",
    9: "Soft reset",
    10: "Unlock command",
}


class Kind(NamedTuple):
    """A type of objects."""

    name: str
    """As the driver guide writes it."""
    show: Callable[[Any], str]
    """A value as text."""
    parse: Callable[[str], Any] | None = None
    """The value of a text, for objects that can be written; a `ValueError` says what is allowed."""


def text(limit: int) -> Kind:
    """A text of at most ``limit`` characters in one line."""

    def parse(words: str) -> str:
        if len(words) > limit or not words.isprintable():
            raise ValueError(f"a text of at most {limit} characters in one line")
        return words

    return Kind(f"Obj\\Text: {limit} chars", str, parse)


def number(low: int = 0, high: int | None = None) -> Kind:
    """A whole number; one above ``high`` reads as that."""

    def parse(words: str) -> int:
        if not (words.isascii() and words.isdigit()) or not low <= int(words) <= (high or int(words)):
            raise ValueError(f"a whole number, {low}…{high}")
        return int(words)

    if high is None:
        return Kind("Obj\\Num", str, parse)
    return Kind(f"Obj\\Num: {low}...{high}", lambda value: str(min(value, high)), parse)


def enum(values: Mapping[int, str], name: str = "Obj\\Enum") -> Kind:
    """One of some numbers, each with its words; written as either."""

    def parse(words: str) -> int:
        for value, meaning in values.items():
            if words.casefold() in (str(value), meaning.casefold()):
                return value
        raise ValueError(f"one of {', '.join(f'{value}={meaning}' for value, meaning in values.items())}")

    return Kind(name, lambda value: values.get(value, str(value)), parse)


NO_YES: Final = enum({0: "No", 1: "Yes"}, "Obj\\NoYes")
FLOAT: Final = Kind("Obj\\Float", lambda value: f"{value:.3f}")
DATE_TIME: Final = Kind("Obj\\DateTime", lambda value: f"{value.astimezone():%d/%m/%y %H:%M:%S}")
