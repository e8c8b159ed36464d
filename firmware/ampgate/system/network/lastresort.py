"""When the fallback address is taken and given back, without I/O (manual 1.12: 192.168.100.246 after 30 s).

It watches levels, not events: whatever else changes the interface, the next look puts things right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface
from typing import Final

from ampgate.system.network.acd import LONGEST, Arp, ConflictDetector, Verdict

FALLBACK: Final = IPv4Interface("192.168.100.246/24")
PATIENCE: Final = 30.0
"""Seconds that DHCP has from the moment the cable is in, or the lease lost."""
RETRY: Final = (60.0, 120.0)
"""Seconds until an address in use is looked at again; spread, as two gateways that start together both see a rival."""


class State(StrEnum):
    """What the interface has."""

    NO_LINK = "no link"
    CONFIGURED = "configured"
    """A lease, or an address that somebody gave it."""
    WAITING = "waiting for DHCP"
    HELD = "fallback"
    IN_USE = "fallback in use"
    """Another device has the fallback address; there is the link-local one only."""


@dataclass(frozen=True)
class View:
    """What the kernel says of the interface."""

    carrier: bool
    mac: bytes
    configured: bool
    """It has an address of global scope that is not ours."""
    held: bool
    """It has the fallback address, from us."""


@dataclass(frozen=True)
class Actions:
    """What is to be done: at most one change of the address, then packets in this order."""

    hold: bool | None = None
    """True adds the address, False removes it."""
    send: tuple[Arp, ...] = ()


class LastResort:
    """Decides for one interface; times are seconds of one monotonic clock."""

    def __init__(self, patience: float = PATIENCE, *, spread: Callable[[float, float], float] = random.uniform) -> None:
        self.state = State.NO_LINK
        self.rival: bytes | None = None
        """Who has the address, in `State.IN_USE`."""
        self.next: float | None = None
        """When to look again, if nothing happens before."""
        self._patience = patience
        self._spread = spread
        self._take_at: float | None = None
        self._detector: ConflictDetector | None = None

    @property
    def listening(self) -> bool:
        """Whether ARP packets matter now."""
        return self._detector is not None

    def step(self, now: float, view: View, heard: tuple[Arp, ...] = ()) -> Actions:
        """Look at the interface and at the ARP packets that came in."""
        if not view.carrier or view.configured:
            self.state = State.CONFIGURED if view.carrier else State.NO_LINK
            self.rival = self._detector = self._take_at = self.next = None
            return Actions(hold=False if view.held else None)
        if self._take_at is None:
            self._begin(now, view)
        assert self._take_at is not None
        detector = self._detector
        if detector is not None and detector.verdict is Verdict.CLAIMED and not view.held:
            detector, self.state = None, State.WAITING  # somebody took it away: begin anew, without the wait
        if detector is None:
            if now < self._take_at - LONGEST:
                self.next = self._take_at - LONGEST
                return Actions()
            detector = self._detector = ConflictDetector(FALLBACK.ip, view.mac, now, spread=self._spread)
            heard = ()  # from before, and so without meaning
        return self._detect(now, detector, view, heard)

    def _begin(self, now: float, view: View) -> None:
        self.state = State.WAITING
        self._take_at = now + self._patience
        if view.held:  # of a run of this program that ended early
            self._take_at = now
            self._detector = ConflictDetector(FALLBACK.ip, view.mac, now, spread=self._spread)
            self._detector.claim(now)
            self.state = State.HELD

    def _detect(self, now: float, detector: ConflictDetector, view: View, heard: tuple[Arp, ...]) -> Actions:
        assert self._take_at is not None
        send = [defence for packet in heard if (defence := detector.hear(packet, now))]
        if packet := detector.due(now):
            send.append(packet)
        hold = None
        self.next = detector.next
        if detector.verdict is Verdict.IN_USE:
            self.state, self.rival, self._detector = State.IN_USE, detector.rival, None
            self._take_at = now + LONGEST + self._spread(*RETRY)
            self.next = self._take_at - LONGEST
            hold = False if view.held else None
        elif detector.verdict is Verdict.FREE and now < self._take_at:
            self.next = self._take_at
        elif detector.verdict is Verdict.FREE:
            detector.claim(now)
            self.state, self.rival, self.next = State.HELD, None, detector.next
            hold = True
        return Actions(hold, tuple(send))
