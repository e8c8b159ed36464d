"""A device with its port ``eth0`` and the network that it is plugged into, as two network namespaces of their own.

The device's file systems ``/run`` and ``/sys`` are its own too, so that systemd-networkd can run in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.tools import needs

DEADLINE = 60.0
FALLBACK = "192.168.100.246"

_DEVICE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /etc/systemd/network
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/ampgate-fallback
chown -R systemd-network: /run/systemd/netif
ip link set lo up
echo ready
exec sleep 600
"""


class Lan:
    """The two namespaces, and what was started in them."""

    def __init__(self, stack: ExitStack, tmp: Path) -> None:
        self._stack = stack
        self.tmp = tmp
        self._device = self.start(["unshare", "--net", "--mount", "sh", "-ec", _DEVICE], output=subprocess.PIPE)
        assert self._device.stdout is not None
        assert self._device.stdout.readline() == b"ready\n"
        self._network = self.start(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"], output=subprocess.PIPE
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline() == b"ready\n"
        self.device("ip", "link", "add", "eth0", "type", "veth", "peer", "lan0", "netns", str(self._network.pid))
        self.network("ip", "link", "set", "lo", "up")
        self.network("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/lan0/arp_notify")
        self.network("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/lan0/arp_accept")
        self.device("ip", "link", "set", "eth0", "up")

    def plug_in(self) -> None:
        """Put the cable in."""
        self.network("ip", "link", "set", "lan0", "up")

    def pull_out(self) -> None:
        """Pull the cable."""
        self.network("ip", "link", "set", "lan0", "down")

    def announce(self, mac: str) -> None:
        """Let the kernel over there announce its addresses: with arp_notify it does so at a new hardware address."""
        self.network("ip", "link", "set", "lan0", "address", mac)

    def start(self, words: list[str], output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a process that ends with the test."""
        process = subprocess.Popen(words, stdout=output)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.kill)
        if process.stdout is not None:
            self._stack.callback(process.stdout.close)
        return process

    def device_words(self, *words: str) -> list[str]:
        """A command as it runs on the device."""
        return ["nsenter", "--net", "--mount", "--target", str(self._device.pid), *words]

    def network_words(self, *words: str) -> list[str]:
        """A command as it runs in the network."""
        return ["nsenter", "--net", "--target", str(self._network.pid), *words]

    def device(self, *words: str) -> str:
        """Run a command on the device; returns its output."""
        return subprocess.run(self.device_words(*words), check=True, capture_output=True, text=True, timeout=30).stdout

    def network(self, *words: str) -> str:
        """Run a command in the network; returns its output."""
        return subprocess.run(self.network_words(*words), check=True, capture_output=True, text=True, timeout=30).stdout

    def start_fallback(self, patience: float = 1.0) -> subprocess.Popen[bytes]:
        """The program of ``ampgate-network-fallback.service``; the 30 s of DHCP can be made shorter."""
        state = "/run/ampgate-fallback/state.json"
        module = [sys.executable, "-m", "ampgate.system", "network-fallback", "eth0", state, str(patience)]
        return self.start(self.device_words(*module))

    def start_networkd(self, file: str) -> subprocess.Popen[bytes]:
        """systemd-networkd with this ``.network`` file."""
        (program,) = needs("systemd-networkd")
        self.write_network_file(file)
        return self.start(self.device_words("env", "SYSTEMD_LOG_TARGET=console", program))

    def write_network_file(self, file: str) -> None:
        """Give the device a ``.network`` file."""
        path = self.tmp / "file.network"
        path.write_text(file)
        self.device("cp", str(path), "/run/systemd/network/50-ethernet.network")

    def start_dhcp_server(self) -> subprocess.Popen[bytes]:
        """dnsmasq at 192.168.77.1, which leases 192.168.77.50 to .60."""
        (program,) = needs("dnsmasq")
        self.network("ip", "address", "add", "192.168.77.1/24", "dev", "lan0")
        words = [
            program,
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--log-facility=-",
        ]
        words += ["--interface=lan0", "--bind-interfaces", "--dhcp-range=192.168.77.50,192.168.77.60,120"]
        words += [f"--dhcp-leasefile={self.tmp / 'leases'}", "--pid-file="]
        return self.start(self.network_words(*words))

    def addresses(self) -> dict[str, Mapping[str, Any]]:
        """The IPv4 addresses of the device's port."""
        (port,) = json.loads(self.device("ip", "-json", "address", "show", "dev", "eth0"))
        return {address["local"]: address for address in port["addr_info"] if address["family"] == "inet"}

    def routes(self) -> list[Mapping[str, Any]]:
        """The IPv4 routes of the device."""
        return list(json.loads(self.device("ip", "-json", "-4", "route", "show")))

    def has_fallback(self) -> bool:
        """Whether the device has the fallback address."""
        return FALLBACK in self.addresses()

    def state(self) -> dict[str, Any]:
        """What the fallback says of itself."""
        try:
            return dict(json.loads(self.device("cat", "/run/ampgate-fallback/state.json")))
        except subprocess.CalledProcessError:
            return {"state": ""}

    def mac(self) -> str:
        """Hardware address of the network's side."""
        (port,) = json.loads(self.network("ip", "-json", "link", "show", "dev", "lan0"))
        return str(port["address"])


def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> None:
    """Wait for something."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(0.1)


@contextmanager
def lan(tmp: Path) -> Iterator[Lan]:
    """Make the two namespaces; everything in them ends with the block."""
    needs("ip", "unshare", "nsenter", root=True)
    with ExitStack() as stack:
        yield Lan(stack, tmp)
