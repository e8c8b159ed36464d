"""The fallback address over a real kernel: its own addresses, a cable, and somebody at the other end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lan import FALLBACK, Lan, lan, until

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Lan]:
    with lan(tmp_path) as made:
        yield made


def test_a_lost_lease_brings_it_back(site: Lan) -> None:
    site.plug_in()
    site.start_fallback()
    lease = ["ip", "address", "replace", "192.168.77.50/24", "dev", "eth0"]
    site.device(*lease, "valid_lft", "3", "preferred_lft", "3")
    until(lambda: site.state()["state"] == "configured", "the lease is seen")
    until(site.has_fallback, "the fallback address")


def test_a_lease_of_the_very_address_is_left_alone(site: Lan) -> None:
    site.plug_in()
    site.start_fallback()
    until(site.has_fallback, "the fallback address")
    site.device("ip", "address", "change", f"{FALLBACK}/24", "dev", "eth0", "valid_lft", "600", "preferred_lft", "600")
    until(lambda: site.state()["state"] == "configured", "the lease is seen")
    assert site.addresses()[FALLBACK]["dynamic"]


def test_an_intruder_is_warned_once_then_has_it(site: Lan) -> None:
    site.plug_in()
    site.start_fallback()
    until(site.has_fallback, "the fallback address")
    # With arp_accept the kernel over there learns the address from our announcements (RFC 5227).
    until(lambda: FALLBACK in site.network("ip", "neighbour", "show", "dev", "lan0"), "the announcement")
    site.network("ip", "address", "add", f"{FALLBACK}/24", "dev", "lan0")
    site.announce("02:00:00:00:00:07")
    site.announce("02:00:00:00:00:08")
    until(lambda: site.state()["state"] == "fallback in use", "the address is given up")
    assert site.state()["used_by"] == "02:00:00:00:00:08"
    assert not site.has_fallback()


def test_the_cable_is_pulled_and_put_back(site: Lan) -> None:
    site.plug_in()
    site.start_fallback()
    until(site.has_fallback, "the fallback address")
    site.pull_out()
    until(lambda: not site.has_fallback(), "it goes with the cable")
    site.plug_in()
    until(site.has_fallback, "it comes back")


def test_the_end_takes_it_away_and_a_crash_does_not(site: Lan) -> None:
    site.plug_in()
    process = site.start_fallback()
    until(site.has_fallback, "the fallback address")
    process.kill()
    process.wait(30)
    assert site.has_fallback()
    site.device("rm", "/run/ampgate-fallback/state.json")
    process = site.start_fallback(patience=600)
    until(lambda: site.state()["state"] == "fallback", "it is adopted")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not site.has_fallback()


def test_a_missing_interface_is_said(site: Lan) -> None:
    site.device("ip", "link", "del", "eth0")
    assert site.start_fallback().wait(30) == 1
