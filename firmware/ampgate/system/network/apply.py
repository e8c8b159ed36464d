"""The programs behind ``ampgate-network*.service``: settings come into force, on trial until they are confirmed.

Settings on trial live in ``/run`` only. What is on the data partition was confirmed, so a power cut during a trial
leaves the settings from before.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ampgate.system import files, places
from ampgate.system.network import render
from ampgate.system.network.settings import Settings, SettingsError, parse

log = logging.getLogger(__name__)

TRIAL: Final = 60.0
"""Seconds that somebody has to confirm new settings."""
_LOOK: Final = 0.5


class Outcome(StrEnum):
    """What became of the settings."""

    FACTORY = "factory"
    """Nothing else was ever confirmed."""
    CONFIRMED = "confirmed"
    TRIAL = "on trial"
    ROLLED_BACK = "rolled back"
    """Not confirmed in time: the ones from before hold again."""
    REFUSED = "refused"
    """Something is wrong with them; nothing was changed."""


def _run(words: list[str]) -> None:
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    if result.returncode:
        log.error("%s: %s", " ".join(words), result.stderr.strip() or f"exit code {result.returncode}")


@dataclass
class Device:
    """What the programs touch."""

    requests: Path = places.REQUESTS
    answers: Path = places.ANSWERS
    confirmed: Path = places.CONFIRMED_NETWORK
    networkd: Path = Path("/run/systemd/network")
    interface: str = places.INTERFACE
    command: Callable[[list[str]], None] = _run
    set_host_name: Callable[[str], None] = socket.sethostname

    def mac(self) -> bytes:
        """Hardware address of the interface; zeros while there is none."""
        try:
            text = Path(f"/sys/class/net/{self.interface}/address").read_text(encoding="ascii")
            return bytes.fromhex(text.strip().replace(":", ""))
        except (OSError, ValueError):
            return bytes(6)

    @property
    def static_flag(self) -> Path:
        """Exists while the address is static."""
        return self.answers / "static-address"

    @property
    def state(self) -> Path:
        """What `tell` writes."""
        return self.answers / places.NETWORK_STATE


def request_id(text: str) -> str:
    """By which the writer of a request knows its answer."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def boot() -> int:
    """Before the network comes up: what was confirmed comes into force."""
    return start(Device())


def trial() -> int:
    """A request is there: try it until it is confirmed or time is up."""
    return run_trial(Device())


def restore() -> int:
    """After a trial, however it ended: what was confirmed holds, unless it does already."""
    device = Device()
    if files.read_json(device.state).get("outcome") == Outcome.TRIAL:
        roll_back(device, "the trial was cut short")
    return 0


def start(device: Device) -> int:
    """See `boot`."""
    settings, outcome, problems = _load(device)
    for problem in problems:
        log.error("%s", problem)
    install(device, settings)
    tell(device, outcome, settings, problems=problems)
    return 0


def run_trial(device: Device, clock: Callable[[], float] = time.monotonic) -> int:
    """See `trial`."""
    try:
        text = files.take(device.requests / places.NETWORK_REQUEST)
        if text is None:
            return 0
        settings = parse(text)
    except (SettingsError, ValueError) as error:
        problems = error.problems if isinstance(error, SettingsError) else [str(error)]
        log.warning("network settings refused: %s", "; ".join(problems))
        request = request_id(text) if isinstance(error, SettingsError) and text else ""
        tell(device, Outcome.REFUSED, _load(device)[0], request=request, problems=problems)
        return 0
    confirmation = device.requests / places.NETWORK_CONFIRMATION
    confirmation.unlink(missing_ok=True)  # of an earlier trial
    log.info("network settings on trial for %g s: %s", TRIAL, describe(settings))
    tell(device, Outcome.TRIAL, settings, request=request_id(text))
    install(device, settings)
    reload(device)
    deadline = clock() + TRIAL
    while not confirmation.exists():
        if (device.requests / places.NETWORK_REQUEST).exists():
            roll_back(device, "other settings were sent", request_id(text))
            return 0
        if clock() >= deadline:
            roll_back(device, f"not confirmed within {TRIAL:g} s", request_id(text))
            return 0
        time.sleep(_LOOK)
    confirmation.unlink()
    files.replace(device.confirmed, text)
    log.info("network settings confirmed: %s", describe(settings))
    tell(device, Outcome.CONFIRMED, settings, request=request_id(text))
    return 0


def roll_back(device: Device, reason: str, request: str = "") -> None:
    """What was confirmed holds again."""
    settings = _load(device)[0]
    log.warning("network settings rolled back, %s: %s", reason, describe(settings))
    install(device, settings)
    reload(device)
    tell(device, Outcome.ROLLED_BACK, settings, request=request, problems=[reason])


def install(device: Device, settings: Settings) -> None:
    """Write the files that the network services read, and set the host name."""
    device.networkd.mkdir(parents=True, exist_ok=True)
    files.replace(device.networkd / "50-ethernet.network", render.networkd(settings, device.interface))
    sources = device.answers / "chrony.sources"
    if settings.ntp:
        files.replace(sources, render.chrony_sources(settings))
    else:
        sources.unlink(missing_ok=True)
    if settings.address is not None:
        files.replace(device.static_flag, f"{settings.address}\n")
    else:
        device.static_flag.unlink(missing_ok=True)
    device.set_host_name(render.host_name(settings, device.mac()))


def reload(device: Device) -> None:
    """Let the running services take the files; their conditions say whether they run at all."""
    device.command(["networkctl", "reload"])
    device.command(["systemctl", "restart", "--no-block", "ampgate-network-fallback.service", "ampgate-time.service"])


def tell(
    device: Device, outcome: Outcome, settings: Settings, *, request: str = "", problems: list[str] | None = None
) -> None:
    """Say for everybody what holds and what became of the last request."""
    files.replace_json(
        device.state,
        {
            "outcome": outcome,
            "at": time.time(),
            "request": request,
            "problems": problems or [],
            "settings": as_json(settings),
            "hostname": render.host_name(settings, device.mac()),
        },
    )


def as_json(settings: Settings) -> dict[str, Any]:
    """The settings with the keys of the file."""
    return {
        "address": str(settings.address or ""),
        "gateway": str(settings.gateway or ""),
        "dns": [str(server) for server in settings.dns],
        "ntp": list(settings.ntp),
        "hostname": settings.hostname,
        "mdns": settings.mdns,
    }


def describe(settings: Settings) -> str:
    """The settings in one line."""
    words = {key: ", ".join(value) if isinstance(value, list) else value for key, value in as_json(settings).items()}
    return "; ".join(f"{key} {value}" for key, value in words.items() if value != "")


def _load(device: Device) -> tuple[Settings, Outcome, list[str]]:
    try:
        text = device.confirmed.read_text(encoding="utf-8")
        return parse(text, str(device.confirmed)), Outcome.CONFIRMED, []
    except FileNotFoundError:
        return Settings(), Outcome.FACTORY, []
    except (OSError, UnicodeDecodeError) as error:
        return Settings(), Outcome.FACTORY, [f"{device.confirmed}: {error}; factory settings hold"]
    except SettingsError as error:
        return Settings(), Outcome.FACTORY, [*error.problems, "factory settings hold"]
