"""The program behind ``ampgate-mark-good.service``: confirms a system to the boot loader once it does its work.

The proof comes from outside the gateway process: an answer to a Modbus request and to an HTTP request on its own ports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ampgate import control
from ampgate.system import files
from ampgate.system.identity import RELEASE_FILE, parse

log = logging.getLogger(__name__)

CONTROL_SOCKET: Final = Path("/data/ampgate") / control.SOCKET_NAME
CONFIRMED: Final = Path("/data/system/confirmed.json")
"""By slot the version that has worked there."""
PATIENCE: Final = 180.0
"""Seconds that the gateway has to come up."""
_TIMEOUT: Final = 5.0
_INTERVAL: Final = 1.0


class Unhealthy(Exception):
    """What does not work."""


def mark_good() -> int:
    """Confirm the running system; the exit code tells systemd what follows.

    0: confirmed. EX_TEMPFAIL (75): it does not work now but has worked before, or the boot loader cannot be told; it
    goes on. 1: it has never worked; the unit starts the device anew, until the boot loader takes the other slot.
    """
    return judge(wait_until_healthy(CONTROL_SOCKET, PATIENCE), *running_system(), CONFIRMED)


def judge(problem: str | None, slot: str, version: str, confirmed: Path) -> int:
    """Tell the boot loader, or what follows; ``confirmed`` keeps by slot the version that has worked there."""
    known = files.read_json(confirmed)
    if problem is None:
        reason = tell_boot_loader()
        if reason:
            log.error("the gateway works, but the boot loader cannot be told: %s", reason)
            return os.EX_TEMPFAIL
        if known.get(slot) != version:
            files.replace_json(confirmed, known | {slot: version})
        log.info("confirmed: version %s in slot %s", version, slot)
        return 0
    if known.get(slot) == version:
        log.error("not confirmed: %s; this system has worked before and goes on", problem)
        return os.EX_TEMPFAIL
    log.error("not confirmed: %s; the device starts anew", problem)
    return 1


def tell_boot_loader() -> str:
    """Mark the slot good; returns why that failed."""
    try:
        result = subprocess.run(
            ["rauc", "status", "mark-good"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return result.stderr.strip() or f"exit code {result.returncode}" if result.returncode else ""


def running_system() -> tuple[str, str]:
    """The slot that was booted, and the version in it."""
    slot = version = ""
    with contextlib.suppress(OSError):
        for word in Path("/proc/cmdline").read_text(encoding="utf-8").split():
            name, _, value = word.partition("=")
            if name == "rauc.slot":
                slot = value
    with contextlib.suppress(OSError):
        version = parse(RELEASE_FILE.read_text(encoding="utf-8")).get("AMPGATE_VERSION", "")
    return slot, version


def wait_until_healthy(
    path: Path,
    patience: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Look until the gateway behind a control socket works; what does not, when patience ends first."""
    deadline = clock() + patience
    while True:
        try:
            check(path)
            return None
        except Unhealthy as error:
            if clock() >= deadline:
                return str(error)
        sleep(_INTERVAL)


def check(path: Path) -> None:
    """`Unhealthy` when the gateway behind a control socket does not answer Modbus or does not listen for OCPP."""
    status = _status(path)
    modbus = status["modbus"]
    if modbus["tcp"] is not None:
        _check_modbus(path, modbus["tcp"], modbus["unit_id"])
    elif not modbus["rtu"]["open"]:
        raise Unhealthy(f"the serial port {modbus['rtu']['line']} cannot be opened")
    _check_http("OCPP", status["ocpp"])


def _status(path: Path) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = control.ask(path, "status")
    except control.ControlError as error:
        raise Unhealthy(str(error)) from error
    return answer


def _check_modbus(path: Path, server: dict[str, Any], unit: int) -> None:
    """Read register 0, which not every mode has: exception 02 is an answer too.

    A server that turns us away, as its settings want, is alive as well.
    """
    request = struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, 0, 1)
    try:
        answer = _exchange(server, request, 9)
    except OSError as error:
        raise Unhealthy(f"Modbus TCP: {error}") from error
    if len(answer) < 9 and _status(path)["modbus"]["tcp"]["refused"] > server["refused"]:
        return
    value, absent = struct.pack(">HHHBB", 1, 0, 5, unit, 3), struct.pack(">HHHBBB", 1, 0, 3, unit, 0x83, 2)
    if not answer.startswith((value, absent)):
        raise Unhealthy(f"Modbus TCP: wrong answer {answer.hex() or '(none)'}")


def _check_http(name: str, server: dict[str, Any]) -> None:
    try:
        answer = _exchange(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 7)
    except OSError as error:
        raise Unhealthy(f"{name}: {error}") from error
    if not answer.startswith(b"HTTP/1."):
        raise Unhealthy(f"{name}: no answer")


def _exchange(server: dict[str, Any], request: bytes, length: int) -> bytes:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server["host"], server["host"])
    with socket.create_connection((host, server["port"]), _TIMEOUT) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            while len(answer) < length and (data := connection.recv(4096)):
                answer += data
        return answer
