"""The program behind ``ampgate-network-fallback.service``: `LastResort` over netlink and ARP.

It runs until SIGTERM and then takes the address away. What it sees stands in ``state.json`` of its runtime directory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, Final

import sdnotify

from ampgate.system import files, places
from ampgate.system.network.acd import Arp
from ampgate.system.network.lastresort import FALLBACK, PATIENCE, LastResort, State, View
from ampgate.system.network.rtnetlink import Netlink

log = logging.getLogger(__name__)

_ETHERTYPE_ARP: Final = 0x0806
_BROADCAST: Final = b"\xff" * 6
_MOST_PACKETS: Final = 64
"""ARP packets taken at a time, so that a storm cannot keep us from looking up."""


class Interface:
    """One interface as `LastResort` wants to see it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.netlink = Netlink(name)
        self.arp = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        self.arp.bind((name, _ETHERTYPE_ARP))
        self.arp.setblocking(False)

    def close(self) -> None:
        """Give the sockets back."""
        self.netlink.close()
        self.arp.close()

    def view(self) -> View:
        """What the kernel says now."""
        carrier, mac = self.netlink.link()
        addresses = [address for address in self.netlink.addresses() if address.everywhere]
        ours = [address for address in addresses if address.permanent and address.interface == FALLBACK]
        return View(carrier, mac, configured=len(addresses) > len(ours), held=bool(ours))

    def hold(self, wanted: bool) -> None:
        """Add or remove the fallback address."""
        try:
            (self.netlink.add if wanted else self.netlink.remove)(FALLBACK)
        except OSError as error:  # somebody was faster; the next look tells
            log.warning("%s: %s cannot be %s: %s", self.name, FALLBACK, "added" if wanted else "removed", error)

    def send(self, packet: Arp) -> None:
        """Send an ARP packet to everybody."""
        try:
            self.arp.sendto(packet.encode(), (self.name, _ETHERTYPE_ARP, 0, 0, _BROADCAST))
        except OSError as error:  # the cable was pulled
            log.debug("%s: ARP packet not sent: %s", self.name, error)

    def heard(self) -> tuple[Arp, ...]:
        """The ARP packets that came in."""
        packets = []
        for _ in range(_MOST_PACKETS):
            try:
                data, where = self.arp.recvfrom(128)
            except BlockingIOError:
                break
            except OSError:  # ENETDOWN is reported here once
                continue
            if where[2] != socket.PACKET_OUTGOING and (packet := Arp.decode(data)):
                packets.append(packet)
        return tuple(packets)


def run(name: str, state_file: str | Path = places.FALLBACK_STATE, patience: str | float = PATIENCE) -> int:
    """Watch an interface until SIGTERM or SIGINT; ``patience`` are the seconds that DHCP has."""
    wake, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(ring)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        interface = Interface(name)
    except OSError as error:
        log.error("%s: %s", name, error)
        return 1
    try:
        _watch(interface, wake, Path(state_file), LastResort(float(patience)))
    except OSError as error:
        log.error("%s: %s", name, error)
        return 1
    finally:
        with contextlib.suppress(OSError):  # the interface itself may have gone
            if interface.view().held:
                interface.hold(False)
        interface.close()
        signal.set_wakeup_fd(-1)
        os.close(wake)
        os.close(ring)
    return 0


def _watch(interface: Interface, stop: int, state_file: Path, decide: LastResort) -> None:
    told: tuple[State, bytes | None] | None = None
    view = interface.view()
    while True:
        actions = decide.step(time.monotonic(), view, interface.heard())
        for packet in actions.send:
            interface.send(packet)
        if (decide.state, decide.rival) != told:
            told = decide.state, decide.rival
            _tell(interface.name, decide, state_file)
        if actions.hold is not None:
            interface.hold(actions.hold)
            view = interface.view()
            continue
        timeout = None if decide.next is None else max(0.0, decide.next - time.monotonic())
        inputs: list[Any] = [stop, interface.netlink, *([interface.arp] if decide.listening else [])]
        ready = select.select(inputs, [], [], timeout)[0]
        if stop in ready:
            return
        if ready != [interface.arp]:  # a busy line is no reason to ask the kernel again
            interface.netlink.drain()
            view = interface.view()


def _tell(name: str, decide: LastResort, state_file: Path) -> None:
    rival = decide.rival.hex(":") if decide.rival else None
    if decide.state is State.IN_USE:
        log.error(
            "%s: no DHCP, and %s is in use by %s: not taken, only the link-local address is left. Remove the other "
            "device or give one of them another address.",
            name,
            FALLBACK.ip,
            rival,
        )
    elif decide.state is State.HELD:
        log.warning("%s: no DHCP lease: %s taken until one comes", name, FALLBACK)
    else:
        log.info("%s: %s", name, decide.state)
    files.replace_json(
        state_file, {"interface": name, "state": decide.state, "address": str(FALLBACK), "used_by": rival}
    )
    sdnotify.SystemdNotifier().notify(f"READY=1\nSTATUS={name}: {decide.state}")
