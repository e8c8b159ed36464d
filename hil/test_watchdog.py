"""A gateway that hangs is replaced, and so is a system that hangs."""

from __future__ import annotations

import time

import pytest

from hil.strategy import GatewayStrategy, listens, serves, until

pytestmark = pytest.mark.lg_feature(["console", "network"])

WATCHDOG, ABORT = 10.0, 2.0
"""Seconds (ampgate-gateway.service)."""
START = 60.0
"""Seconds that a new gateway has on an emulated device."""


def test_a_stopped_gateway_is_replaced(device: GatewayStrategy) -> None:
    until(lambda: device.run_code("systemctl is-active ampgate-mark-good")[0] == "active", "confirmation")
    before = gateway(device)
    starts = device.world.starts
    device.run(f"kill -STOP {before}")
    begin = time.monotonic()
    until(lambda: gateway(device) not in ("0", before), "another process", WATCHDOG + ABORT + 30)
    assert time.monotonic() - begin >= WATCHDOG - 1.5  # the last sign of life was up to a second old
    until(lambda: serves(device.address), "service", START)
    assert "Watchdog timeout" in device.run("journalctl --boot --no-pager --unit ampgate-gateway")
    assert device.world.starts == starts  # the device itself went on


@pytest.mark.lg_feature("power")
def test_a_hanging_system_starts_again(device: GatewayStrategy) -> None:
    """Nobody feeds the hardware's watchdog any more."""
    assert "/dev/watchdog" in device.run("journalctl --boot --no-pager | grep 'Using hardware watchdog'")
    starts = device.world.starts
    device.run("echo 0 >/proc/sys/kernel/panic; echo 1 >/proc/sys/kernel/sysrq")  # a panic that hangs
    device.run("(sleep 1; echo c >/proc/sysrq-trigger) &")
    device.started(starts + 1)
    until(lambda: listens(device.address, 502), "service")


def gateway(device: GatewayStrategy) -> str:
    """Its process id."""
    return device.run("systemctl show --property MainPID --value ampgate-gateway")
