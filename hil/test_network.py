"""The address of the device with and without a DHCP server (docs/network.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil import lan
from hil.strategy import FALLBACK, GatewayStrategy, listens, serves, until

pytestmark = pytest.mark.lg_feature(["console", "network", "power", "reflash"])

PATIENCE = 30.0
"""Seconds that DHCP has."""
NEXT_REQUEST = 150.0
"""Seconds after which a client that has been without an answer for long asks again."""
FALLBACK_IN_USE = 5
"""Flashes of the red lamp (docs/hardware.md)."""
CARRIER, TAKEN = "waiting for DHCP", "taken until"
"""What ampgate-network-fallback.service logs."""


@pytest.fixture
def box(bench: GatewayStrategy, commissioned: Path) -> Iterator[GatewayStrategy]:
    """A commissioned device, off, on a cable without a DHCP server."""
    bench.power_cut()
    bench.machine.insert(commissioned)
    yield bench
    bench.power_cut()


def addresses(box: GatewayStrategy) -> set[str]:
    """The IPv4 addresses of the port."""
    return set(re.findall(r"inet (\S+)", box.run("ip -4 -o address show dev eth0")))


def logged(box: GatewayStrategy, text: str) -> float | None:
    """When, in seconds since the start, the fallback's unit has first said so."""
    lines = box.run(
        "journalctl --boot --no-pager --output short-monotonic --unit ampgate-network-fallback"
    ).splitlines()
    return next((float(re.search(r"\[\s*([\d.]+)\]", line)[1]) for line in lines if text in line), None)


def test_without_a_server_the_fallback_address_and_then_the_lease(box: GatewayStrategy, tmp_path: Path) -> None:
    box.power_on()
    until(lambda: serves(FALLBACK), "service at the fallback address")
    waited = logged(box, TAKEN) - logged(box, CARRIER)
    assert PATIENCE - 0.5 <= waited <= PATIENCE + 3
    assert f"{FALLBACK}/24" in addresses(box)
    assert box.run("ip -4 route show default") == ""
    assert not box.status()["alarms"]

    with lan.dhcp_server(tmp_path) as leases:  # hours later
        lease = until(lambda: lan.leased(leases), "a lease", NEXT_REQUEST)
        until(lambda: addresses(box) == {f"{lease}/24"}, "the lease alone", 60)
        assert serves(lease)
        assert not listens(FALLBACK, 502)


def test_with_a_server_the_lease_alone(box: GatewayStrategy, tmp_path: Path) -> None:
    with lan.dhcp_server(tmp_path) as leases:
        box.power_on()
        lease = until(lambda: lan.leased(leases), "a lease")
        until(lambda: listens(lease, 502), "service")
        over = logged(box, "configured") + PATIENCE + 5
        until(lambda: float(box.run("cut -d ' ' -f 1 /proc/uptime")) > over, "the end of the patience", 90)
        assert addresses(box) == {f"{lease}/24"}
        assert logged(box, TAKEN) is None


def test_an_address_that_is_in_use_is_not_taken(box: GatewayStrategy) -> None:
    with lan.also_ours(FALLBACK):
        box.power_on()
        until(lambda: logged(box, "in use by"), "refusal of the address")
        assert not {address for address in addresses(box) if address.startswith("192.168.")}
        until(lambda: any(address.startswith("169.254.") for address in addresses(box)), "link-local address", 60)
        until(lambda: any(FALLBACK in alarm for alarm in box.status()["alarms"]), "alarm", 60)
        until(lambda: flash_groups(box) == FALLBACK_IN_USE, "five red flashes", 60)
    # The other device is gone: the next try takes it.
    until(lambda: listens(FALLBACK, 502), "service at the fallback address")
    until(lambda: not box.status()["alarms"], "end of the alarm", 60)


def flash_groups(box: GatewayStrategy) -> int:
    """Red flashes of the last whole group; a pause of a second or more is between groups."""
    on = [change.at for change in box.world.changes if change.lamp == "feedback_red" and change.on]
    starts = [0] + [index for index in range(1, len(on)) if on[index] - on[index - 1] > 1000]
    return starts[-1] - starts[-2] if len(starts) > 1 else 0
