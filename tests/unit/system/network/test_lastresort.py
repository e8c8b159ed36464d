"""When the fallback address is taken: manual 1.12 (30 s, 192.168.100.246) and RFC 5227."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from ampgate.system.network.acd import Arp
from ampgate.system.network.lastresort import FALLBACK, PATIENCE, LastResort, State, View

OURS = bytes.fromhex("020000000001")
THEIRS = bytes.fromhex("020000000002")
REPLY = Arp(2, THEIRS, FALLBACK.ip, IPv4Address("0.0.0.0"))


@dataclass
class Line:
    """An interface whose address does what it is told, on a clock that goes to the next thing to do."""

    decide: LastResort
    view: View
    now: float = 1000.0

    def step(self, *heard, **changes):
        self.view = replace(self.view, **changes)
        actions = self.decide.step(self.now, self.view, heard)
        if actions.hold is not None:
            self.view = replace(self.view, held=actions.hold)
        return actions

    def until(self, state, limit=600.0):
        """Let time go by; returns the seconds it took."""
        begin = self.now
        while self.step() and self.decide.state is not state:
            assert self.decide.next is not None, f"waits for ever in {self.decide.state}"
            self.now = max(self.now, self.decide.next)
            assert self.now - begin < limit
        return self.now - begin


def line(**view):
    spread = {"spread": lambda low, high: high}
    return Line(LastResort(**spread), View(**{"carrier": True, "mac": OURS, "configured": False, "held": False} | view))


def test_the_address_is_there_thirty_seconds_after_the_carrier():
    device = line()
    assert device.until(State.HELD) == PATIENCE == 30.0
    assert device.view.held


def test_it_waits_for_the_carrier():
    device = line(carrier=False)
    device.step()
    assert device.decide.state is State.NO_LINK
    assert device.decide.next is None
    device.now += 3600
    device.step(carrier=True)
    assert device.until(State.HELD) == 30.0


def test_a_lease_in_time_is_left_alone():
    device = line()
    device.step()
    device.now += 29.9
    actions = device.step(configured=True)
    assert actions.hold is None
    assert not actions.send
    assert device.decide.state is State.CONFIGURED
    assert device.decide.next is None


def test_a_late_lease_takes_its_place_at_once():
    device = line()
    device.until(State.HELD)
    assert device.step(configured=True).hold is False
    assert device.decide.state is State.CONFIGURED


def test_it_comes_back_when_the_lease_is_lost():
    device = line(configured=True)
    device.step()
    device.now += 1000
    device.step(configured=False)
    assert device.until(State.HELD) == 30.0


def test_a_lost_carrier_takes_it_away_and_begins_anew():
    device = line()
    device.until(State.HELD)
    assert device.step(carrier=False).hold is False
    assert device.decide.state is State.NO_LINK
    device.step(carrier=True)
    assert device.until(State.HELD) == 30.0


def test_an_address_in_use_is_not_taken():
    device = line()
    device.step()
    device.now += 26
    device.step()
    device.step(REPLY)
    assert device.decide.state is State.IN_USE
    assert device.decide.rival == THEIRS
    assert not device.view.held


def test_an_address_in_use_is_looked_at_again_until_it_is_free():
    device = line()
    device.step()
    device.now += 26
    device.step()
    device.step(REPLY)
    seconds = device.until(State.HELD)
    assert 60 <= seconds <= 140
    assert device.decide.rival is None


def test_a_rival_that_insists_gets_it():
    device = line()
    device.until(State.HELD)
    device.step()
    assert device.step(REPLY).send == (Arp(1, OURS, FALLBACK.ip, FALLBACK.ip),)
    assert device.view.held
    device.now += 1
    assert device.step(REPLY).hold is False
    assert device.decide.state is State.IN_USE


def test_packets_from_before_the_probes_do_not_count():
    device = line()
    device.step()
    device.now += 25
    device.step(REPLY)
    device.until(State.HELD)


def test_an_address_that_somebody_took_away_comes_back():
    device = line()
    device.until(State.HELD)
    device.step()
    device.step(held=False)
    assert device.until(State.HELD) <= 7.0
    assert device.view.held


def test_a_program_that_starts_again_keeps_the_address():
    device = line(held=True)
    actions = device.step()
    assert actions.hold is None
    assert actions.send == (Arp(1, OURS, FALLBACK.ip, FALLBACK.ip),)
    assert device.decide.state is State.HELD


def test_it_listens_only_while_it_matters():
    device = line()
    device.step()
    assert not device.decide.listening
    device.until(State.HELD)
    assert device.decide.listening
    device.step(configured=True)
    assert not device.decide.listening
