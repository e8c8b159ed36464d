"""Points in time as OCPP writes them: ISO 8601 text, in UTC wherever this side has the choice."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_TIMESTAMP = re.compile(
    r"\s*(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"[Tt\s]\s*(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"\s*(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>[0-9]{2})(?::?(?P<zone_minute>[0-9]{2}))?)?\s*"
)


def read_timestamp(text: str | None) -> datetime | None:
    """The moment ``text`` names, in UTC, or ``None`` when it is missing, empty or not a timestamp.

    Understood besides ``2026-01-31T12:00:00Z``: fractions of a second of any length (cut to microseconds), no
    seconds, no zone (then UTC), zones as ``+02``, ``+0200`` or ``+02:00``, a space for the ``T``, lower case.
    """
    if text and len(text) == len("2026-01-31T12:00:00Z") and text.endswith("Z"):
        try:
            return datetime.fromisoformat(text)  # the usual form, read the fast way
        except ValueError:
            return None
    match = _TIMESTAMP.fullmatch(text) if text else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(match[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")
    )
    microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=_zone(match))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):  # month 13, zone +99, or a date that leaves the calendar in UTC
        return None


def parse_timestamp(text: str | None, now: datetime) -> datetime:
    """The moment ``text`` names, in UTC, or ``now`` when it cannot be read.

    A caller that counts the unreadable ones uses ``read_timestamp``, which tells them apart.
    """
    return read_timestamp(text) or now


def format_timestamp(moment: datetime) -> str:
    """``moment`` as sent to chargers: UTC, whole seconds (cut, not rounded), ``Z``.

    Chargers fail on fractions and on offsets, so neither is ever sent. Raises ``ValueError`` for a ``moment``
    without time zone, whose meaning would depend on the machine.
    """
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _zone(match: re.Match[str]) -> timezone:
    if match["sign"] is None:
        return UTC
    offset = timedelta(hours=int(match["zone_hour"]), minutes=int(match["zone_minute"] or 0))
    return timezone(-offset if match["sign"] == "-" else offset)
