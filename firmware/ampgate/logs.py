"""The log: one line an event on standard error, for people, for the journal or as JSON."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

_PRIORITY: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""Syslog priorities, which the journal reads from the ``<6>`` before a line."""


class LogFormat(StrEnum):
    """How lines look; ``auto`` is ``journal`` under systemd, else ``text``."""

    AUTO = "auto"
    TEXT = "text"
    JOURNAL = "journal"
    JSON = "json"


class _Formatter(logging.Formatter):
    def __init__(self, style: LogFormat) -> None:
        super().__init__()
        self._line = {LogFormat.JOURNAL: self._journal, LogFormat.JSON: self._json}.get(style, self._text)

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        return self._line(record, record.name.removeprefix("ampgate."), message)

    @staticmethod
    def _text(record: logging.LogRecord, room: str, message: str) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z {record.levelname:<7} {room}: {message}"

    @staticmethod
    def _journal(record: logging.LogRecord, room: str, message: str) -> str:
        # The journal splits lines; each needs its priority.
        return "\n".join(f"<{_PRIORITY[record.levelname]}>{room}: {line}" for line in message.splitlines())

    @staticmethod
    def _json(record: logging.LogRecord, room: str, message: str) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": room,
            "message": message,
        }
        return msgspec.json.encode(fields).decode()


def start(style: LogFormat = LogFormat.AUTO, level: str = "INFO") -> None:
    """Send the log of this process to standard error."""
    if style is LogFormat.AUTO:
        style = LogFormat.JOURNAL if "JOURNAL_STREAM" in os.environ else LogFormat.TEXT
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(style))
    root = logging.getLogger("ampgate")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    # Libraries speak only when something is wrong.
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
