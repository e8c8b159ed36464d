"""IPv4 address conflict detection (RFC 5227) for one address, without I/O.

The kernel has none. That of systemd-networkd belongs to the addresses of its own files, and a change of those restarts
its DHCP client, which must never stop; arping only probes, it neither announces nor defends.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address
from typing import Final

# RFC 5227 §1.1, seconds
PROBE_WAIT: Final = 1.0
PROBE_NUM: Final = 3
PROBE_MIN: Final = 1.0
PROBE_MAX: Final = 2.0
ANNOUNCE_WAIT: Final = 2.0
ANNOUNCE_NUM: Final = 2
ANNOUNCE_INTERVAL: Final = 2.0
DEFEND_INTERVAL: Final = 10.0

LONGEST: Final = PROBE_WAIT + (PROBE_NUM - 1) * PROBE_MAX + ANNOUNCE_WAIT
"""Seconds after which an address that nobody answers for is known to be free."""

_HEADER: Final = struct.pack("!HHBB", 1, 0x0800, 6, 4)  # Ethernet, IPv4
_LAYOUT: Final = struct.Struct("!6sH6s4s6s4s")
_NOBODY: Final = IPv4Address(0)
_REQUEST: Final = 1


@dataclass(frozen=True)
class Arp:
    """An ARP packet (RFC 826) for IPv4 over Ethernet."""

    operation: int
    sender_mac: bytes
    sender: IPv4Address
    target: IPv4Address

    def encode(self) -> bytes:
        """The packet; probes and announcements leave the target's hardware address empty."""
        return _LAYOUT.pack(_HEADER, self.operation, self.sender_mac, self.sender.packed, bytes(6), self.target.packed)

    @classmethod
    def decode(cls, data: bytes) -> Arp | None:
        """The packet in a frame's payload, None when it is another kind."""
        if len(data) < _LAYOUT.size or not data.startswith(_HEADER):
            return None
        _, operation, mac, sender, _, target = _LAYOUT.unpack_from(data)
        return cls(operation, mac, IPv4Address(sender), IPv4Address(target))


class Verdict(Enum):
    """What is known about the address."""

    PROBING = auto()
    FREE = auto()
    """Nobody answered; `claim` may be called."""
    CLAIMED = auto()
    IN_USE = auto()
    """Somebody else has it: not to be taken, or to be given up at once."""


class ConflictDetector:
    """Probes an address, announces it once it is claimed, and defends it as long as one can (§2.4 b)."""

    def __init__(
        self,
        address: IPv4Address,
        mac: bytes,
        now: float,
        *,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.verdict = Verdict.PROBING
        self.rival: bytes | None = None
        """Hardware address of who else has it."""
        self.next: float | None = now + spread(0, PROBE_WAIT)
        """When `due` has something to do, if nothing is heard before."""
        self._address = address
        self._mac = mac
        self._spread = spread
        self._probes = PROBE_NUM
        self._announcements = 0
        self._defended: float | None = None

    def claim(self, now: float) -> None:
        """The address is ours from now on."""
        self.verdict = Verdict.CLAIMED
        self._announcements = ANNOUNCE_NUM
        self.next = now

    def due(self, now: float) -> Arp | None:
        """What is to be sent now."""
        if self.next is None or now < self.next:
            return None
        if self.verdict is Verdict.CLAIMED:
            self._announcements -= 1
            self.next = now + ANNOUNCE_INTERVAL if self._announcements else None
            return self._announcement()
        if self._probes:
            self._probes -= 1
            self.next = now + (self._spread(PROBE_MIN, PROBE_MAX) if self._probes else ANNOUNCE_WAIT)
            return Arp(_REQUEST, self._mac, _NOBODY, self._address)
        self.verdict = Verdict.FREE
        self.next = None
        return None

    def hear(self, packet: Arp, now: float) -> Arp | None:
        """Take in an ARP packet from the line; returns a defence that is to be sent."""
        if packet.sender_mac == self._mac:
            return None
        uses = packet.sender == self._address
        probes = packet.operation == _REQUEST and packet.sender == _NOBODY and packet.target == self._address
        if self.verdict is Verdict.CLAIMED:
            if not uses:  # the kernel answers probes
                return None
            if self._defended is None or now - self._defended >= DEFEND_INTERVAL:
                self._defended = now
                return self._announcement()
        elif not (uses or probes):
            return None
        self.verdict, self.rival, self.next = Verdict.IN_USE, packet.sender_mac, None
        return None

    def _announcement(self) -> Arp:
        return Arp(_REQUEST, self._mac, self._address, self._address)
