"""The network of the virtual bench: one cable between this computer and the device, in a network namespace of its own.

`make hil` starts the tests in that namespace; nothing of it can reach another network.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CABLE: Final = "tap0"
OURS: Final = "192.168.100.1"
LEASES: Final = ("192.168.100.50", "192.168.100.60")
LEASE_SECONDS: Final = 120


class LanError(Exception):
    """This is not the namespace that the tests need."""


def plug_in() -> None:
    """Lay the cable."""
    others = [name for name in _interfaces() if name not in ("lo", CABLE)]
    if others:
        raise LanError(
            f"these tests need a network namespace of their own, this one has {', '.join(others)}: use `make hil`"
        )
    if CABLE not in _interfaces():
        _ip("link", "set", "lo", "up")
        _ip("tuntap", "add", CABLE, "mode", "tap")
        _ip("address", "add", f"{OURS}/24", "dev", CABLE)
        _ip("link", "set", CABLE, "up")


@contextlib.contextmanager
def dhcp_server(directory: Path) -> Iterator[Path]:
    """A DHCP server on the cable; yields its list of leases."""
    leases = directory / "leases"
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", f"--interface={CABLE}"]
    command += ["--bind-interfaces", f"--dhcp-range={LEASES[0]},{LEASES[1]},{LEASE_SECONDS}", "--no-ping"]
    command += [f"--dhcp-leasefile={leases}", f"--pid-file={directory / 'dnsmasq.pid'}", "--user=root"]
    with (directory / "dnsmasq.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield leases
    finally:
        process.terminate()
        process.wait(10)


def leased(leases: Path) -> str | None:
    """The address that the device got."""
    with contextlib.suppress(FileNotFoundError):
        for line in leases.read_text(encoding="ascii").splitlines():
            return line.split()[2]
    return None


@contextlib.contextmanager
def also_ours(address: str) -> Iterator[None]:
    """This computer has one more address on the cable."""
    _ip("address", "add", f"{address}/24", "dev", CABLE)
    try:
        yield
    finally:
        _ip("address", "del", f"{address}/24", "dev", CABLE)


def cable(up: bool) -> None:
    """Plug the cable in or out, at our end."""
    _ip("link", "set", CABLE, "up" if up else "down")


def _interfaces() -> list[str]:
    """Of this namespace; /sys may still show another one's."""
    lines = Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
