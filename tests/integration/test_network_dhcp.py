"""The network of the device as systemd-networkd makes it, with the fallback beside it and a DHCP server or none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampgate.system.network import render
from ampgate.system.network.settings import parse
from tests.integration.lan import FALLBACK, Lan, lan, until
from tests.unit.system.overlay import OVERLAY

FACTORY = (OVERLAY / "usr/lib/systemd/network/50-ethernet.network").read_text()

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Lan]:
    with lan(tmp_path) as made:
        yield made


def test_thirty_seconds_without_dhcp(site: Lan) -> None:
    """The factory's behaviour with nothing shortened."""
    site.start_networkd(FACTORY)
    site.start_fallback(patience=30)
    until(lambda: site.state()["state"] == "no link", "the fallback waits for the cable")
    site.plug_in()
    begin = time.monotonic()
    until(site.has_fallback, "the fallback address", 60)
    assert time.monotonic() - begin >= 29
    assert site.addresses()[FALLBACK]["prefixlen"] == 24
    assert not [route for route in site.routes() if route["dst"] == "default"]
    assert site.state()["state"] == "fallback"


def test_a_late_dhcp_server_takes_over(site: Lan) -> None:
    site.plug_in()
    site.start_networkd(FACTORY)
    site.start_fallback()
    until(site.has_fallback, "the fallback address")
    site.start_dhcp_server()
    until(lambda: site.state()["state"] == "configured", "the lease", 120)
    until(lambda: not site.has_fallback(), "the fallback address is given back")
    assert [address for address in site.addresses() if address.startswith("192.168.77.")]


def test_a_lease_in_time(site: Lan) -> None:
    site.plug_in()
    site.start_dhcp_server()
    site.start_networkd(FACTORY)
    site.start_fallback(patience=20)
    until(lambda: site.state()["state"] == "configured", "the lease")
    assert [address for address in site.addresses() if address.startswith("192.168.77.")]
    assert not site.has_fallback()


def test_an_address_in_use_is_not_taken(site: Lan) -> None:
    site.network("ip", "address", "add", f"{FALLBACK}/24", "dev", "lan0")
    site.plug_in()
    site.start_networkd(FACTORY)
    site.start_fallback()
    until(lambda: site.state()["state"] == "fallback in use", "the conflict is seen")
    assert not site.has_fallback()
    assert site.state()["used_by"] == site.mac()
    until(lambda: [a for a in site.addresses() if a.startswith("169.254.")], "the link-local address", 120)
    assert not site.has_fallback()


def test_static_settings(site: Lan) -> None:
    settings = parse('address = "10.0.0.5/24"\ngateway = "10.0.0.1"\ndns = ["10.0.0.1"]')
    site.plug_in()
    site.start_networkd(render.networkd(settings, "eth0"))
    until(lambda: "10.0.0.5" in site.addresses(), "the static address")
    assert list(site.addresses()) == ["10.0.0.5"]
    until(lambda: [route for route in site.routes() if route["dst"] == "default"], "the default route")
    (route,) = [route for route in site.routes() if route["dst"] == "default"]
    assert route["gateway"] == "10.0.0.1"
