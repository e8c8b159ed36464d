"""The program behind ``ampgate-events.service``: warnings and errors of the volatile journal, kept on the data disk.

Few writes and bounded ones: two files of 256 KiB, a write every 10 s at most, 60 lines a minute at most.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ampgate.system import files

log = logging.getLogger(__name__)

DIRECTORY: Final = Path("/data/log")
CURSOR: Final = Path("/run/ampgate-events/cursor")
LARGEST: Final = 256 * 1024
LONGEST_LINE: Final = 1000
_PERIOD: Final = 10.0
_MOST_AT_ONCE: Final = 1024 * 1024
_MOST_A_MINUTE: Final = 60
_WARNING: Final = 4
_ERROR: Final = 3


def line(entry: dict[str, Any]) -> str | None:
    """An entry of ``journalctl -o json`` as a line; None when it is not kept, as the kernel's many warnings are not."""
    priority = int(entry.get("PRIORITY", 6))
    if priority > (_ERROR if entry.get("_TRANSPORT") == "kernel" else _WARNING):
        return None
    at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are not UTF-8
        message = bytes(message).decode("utf-8", "replace")
    text = " ".join(str(message).split())[:LONGEST_LINE]
    word = "warning" if priority == _WARNING else "error"
    return f"{at:%Y-%m-%dT%H:%M:%SZ} {word} {entry.get('SYSLOG_IDENTIFIER', 'unknown')}: {text}"


class EventLog:
    """Two files, ``events.log`` and the one before it; lines wait until `write`."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.path = directory / "events.log"
        self._clock = clock
        self._waiting: list[str] = []
        self._minute = clock()
        self._left = _MOST_A_MINUTE
        self._dropped = 0

    def add(self, text: str) -> None:
        """Keep a line, unless there are too many."""
        if self._clock() - self._minute >= 60:
            self._minute, self._left = self._clock(), _MOST_A_MINUTE
        if self._left:
            self._left -= 1
            self._waiting.append(text)
        else:
            self._dropped += 1

    def write(self) -> None:
        """Put what waits on the disk."""
        if self._dropped and self._clock() - self._minute >= 60:
            self._waiting.append(
                f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} warning ampgate: {self._dropped} more, not kept"
            )
            self._dropped = 0
        if not self._waiting:
            return
        if self.path.exists() and self.path.stat().st_size >= LARGEST:
            os.replace(self.path, self.path.with_suffix(".log.1"))
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in self._waiting)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()


def journalctl(cursor: str) -> list[str]:
    """The command that gives the entries after a cursor, or of this start."""
    since = [f"--after-cursor={cursor}"] if cursor else ["--boot", "--lines=all"]
    return ["journalctl", "--follow", "--quiet", "--output=json", "--priority=warning", *since]


def run() -> int:
    """Follow the journal until SIGTERM; what came until then is kept."""
    cursor = CURSOR.read_text(encoding="ascii") if CURSOR.exists() else ""
    events = EventLog(DIRECTORY, time.monotonic)
    stop, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGTERM, lambda *_: None)
    rest = b""
    stopped: list[Any] = []
    with subprocess.Popen(journalctl(cursor), stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        while not stopped:
            select.select([source.stdout.fileno(), stop], [], [], _PERIOD)
            stopped = select.select([stop], [], [], _PERIOD)[0]  # what comes in a burst is written at once
            if select.select([source.stdout], [], [], 0)[0]:
                data = os.read(source.stdout.fileno(), _MOST_AT_ONCE)
                if not data:
                    log.error("journalctl has ended")
                    return 1
                *lines, rest = (rest + data).split(b"\n")
                cursor = follow(lines, events) or cursor
            events.write()
            files.replace(CURSOR, cursor)
        source.terminate()
    return 0


def follow(lines: Iterable[bytes], events: EventLog) -> str:
    """Take in lines of journalctl; returns the cursor of the last."""
    cursor = ""
    for data in lines:
        try:
            entry = json.loads(data)
            cursor = entry["__CURSOR"]
            text = line(entry)
        except (ValueError, KeyError, TypeError) as error:
            log.debug("not an entry of the journal: %s", error)
            continue
        if text:
            events.add(text)
    return cursor
