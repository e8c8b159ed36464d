"""Alarms of the BMS (driver guide, *Alarms*): what they say, and how they leave without holding anything up."""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import threading
import urllib.request
from collections.abc import Callable, Iterable
from datetime import datetime
from http.client import HTTPException
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ampgate.bms.config import AlarmTable, syslog_address

log = logging.getLogger(__name__)

PRIORITY: Final = 4
UNKNOWN: Final = "Unknown"
START: Final = "Charging start"
WAITING: Final = 100
"""Alarms that wait for a slow receiver; older ones give way."""
RETRY_AFTER: Final = (1.0, 10.0, 60.0)
"""Seconds before each further attempt; then the alarm is given up."""
WEBHOOK_TIMEOUT: Final = 5.0
CLOSE_TIMEOUT: Final = 1.0

Send = Callable[["Alarm"], None]


def stop_point(energy: float) -> str:
    """Point text of the end of a session of ``energy`` kWh."""
    return f"Charging stop ({energy:.3f}kWh)"


class Alarm(NamedTuple):
    """One alarm: the six texts of the North format, the last two from ``at``."""

    system: str
    point: str
    condition: str
    at: datetime

    @property
    def fields(self) -> dict[str, str]:
        """System, point, condition, priority, date (dd/mm/yy) and time, by name."""
        return {
            "system": self.system,
            "point": self.point,
            "condition": self.condition,
            "priority": str(PRIORITY),
            "date": f"{self.at:%d/%m/%y}",
            "time": f"{self.at:%H:%M:%S}",
        }


class Outlet:
    """One receiver of alarms with a thread of its own, so that nobody waits for it.

    ``send`` raises `OSError` or `HTTPException` when an alarm did not arrive; it is tried again, first after
    ``retry_after[0]`` seconds.
    """

    def __init__(self, name: str, send: Send, retry_after: Iterable[float] = RETRY_AFTER) -> None:
        self._name, self._send, self._retry_after = name, send, tuple(retry_after)
        self._waiting: queue.Queue[Alarm | None] = queue.Queue(WAITING)
        self._closing = threading.Event()
        # A daemon: a receiver that never answers does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"alarms to {name}", daemon=True)
        self._thread.start()

    def put(self, alarm: Alarm | None) -> None:
        """Let it be sent; returns at once."""
        while True:
            try:
                return self._waiting.put_nowait(alarm)
            except queue.Full:
                self._drop_oldest()

    def close(self) -> None:
        """Give what waits a last chance, for `CLOSE_TIMEOUT`."""
        self._closing.set()
        self.put(None)
        self._thread.join(CLOSE_TIMEOUT)

    def _drop_oldest(self) -> None:
        try:
            lost = self._waiting.get_nowait()
        except queue.Empty:
            return
        if lost is not None:
            log.error("alarm lost, too many wait for %s: %s", self._name, lost.fields)

    def _run(self) -> None:
        while (alarm := self._waiting.get()) is not None:
            self._deliver(alarm)

    def _deliver(self, alarm: Alarm) -> None:
        for pause in (*self._retry_after, None):
            try:
                return self._send(alarm)
            except (OSError, HTTPException) as error:
                reason = str(error)
            if pause is None or self._closing.wait(pause):
                break
        log.error("alarm lost, %s: %s: %s", self._name, reason, alarm.fields)


class Alarms:
    """All receivers of a configuration."""

    def __init__(self, outlets: Iterable[Outlet]) -> None:
        self._outlets = list(outlets)

    def raise_(self, alarm: Alarm) -> None:
        """Send an alarm to every receiver; returns at once."""
        for outlet in self._outlets:
            outlet.put(alarm)

    def close(self) -> None:
        """Stop sending."""
        for outlet in self._outlets:
            outlet.close()


def configured(table: AlarmTable) -> Alarms:
    """The receivers that the configuration names."""
    outlets = []
    if table.stdout:
        outlets.append(Outlet("standard output", to_stdout, ()))
    if table.syslog:
        outlets.append(Outlet(f"syslog {table.syslog}", syslog(table.syslog)))
    if table.webhook:
        # Its path may hold a secret and stays out of the log.
        outlets.append(Outlet(f"webhook at {urlsplit(table.webhook).hostname}", webhook(table.webhook)))
    return Alarms(outlets)


def to_stdout(alarm: Alarm) -> None:
    """The columns of the driver guide's examples, with a tab between them."""
    print("\t".join(alarm.fields.values()), flush=True)


def syslog(address: str) -> Send:
    """As severity *warning*, which has the alarms' priority 4 (RFC 5424 §6.2.1)."""

    def send(alarm: Alarm) -> None:
        handler = _SysLog(syslog_address(address))
        handler.ident = "ampgate-bms: "
        try:
            handler.emit(logging.makeLogRecord({"levelname": "WARNING", "msg": " | ".join(alarm.fields.values())}))
        finally:
            handler.close()

    return send


class _SysLog(logging.handlers.SysLogHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704  called within the handling of the error


def webhook(url: str) -> Send:
    """POST the fields as a JSON object, and ``at``, the time by ISO 8601; any answer of 200…299 will do."""

    def send(alarm: Alarm) -> None:
        body = json.dumps(alarm.fields | {"at": alarm.at.isoformat(timespec="seconds")}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT):
            pass  # other answers are exceptions

    return send
