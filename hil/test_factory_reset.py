"""The push button at power-up (manual 1.12 §5.2).

Held for 10 s it resets, released earlier it does not; a power cut in the middle leaves the device reset or as it was.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hil import lan
from hil.conftest import share_of
from hil.strategy import CONFIG_FILE, GatewayStrategy, serves, until

pytestmark = pytest.mark.lg_feature(["button", "console", "lamps", "power", "reflash"])

HOLD = 10.0
"""Seconds."""
MOMENTS = (0, 50, 100, 200, 300, 450, 650, 900, 1300, 2000)
"""Of the power cuts, in milliseconds from the tenth second on."""


@pytest.fixture
def box(bench: GatewayStrategy, commissioned: Path) -> GatewayStrategy:
    """A commissioned device, off."""
    bench.power_cut()
    bench.machine.insert(commissioned)
    return bench


def hold(box: GatewayStrategy, seconds: float) -> None:
    """Power on with the button held, for so many seconds of the device's clock since the lamps say so."""
    box.power_on(pressed=True)
    world = box.world
    world.until(lambda: world.lamps_now("feedback_red") and world.lamps_now("button"), "red feedback lamp", 240)
    begin = next(change.at for change in world.changes if change.lamp == "feedback_red" and change.on)
    world.until(lambda: world.changes[-1].at >= begin + seconds * 1000, f"{seconds} s", 120)
    world.press(False)


def configured(box: GatewayStrategy) -> bool:
    """Whether the installer's configuration is there; the device must have its data partition."""
    until(lambda: box.run_code("mountpoint -q /data")[1] == 0, "/data")
    return box.run_code(f"test -e {CONFIG_FILE}")[1] == 0


def requested(box: GatewayStrategy) -> bool:
    """Whether a reset is stored in the boot loader's environment."""
    return box.run_code("fw_printenv -n ampgate_factory_reset")[0] == "1"


def until_serving(box: GatewayStrategy, leases: Path) -> None:
    """Normal operation."""
    address = until(lambda: lan.leased(leases), "a lease")
    until(lambda: serves(address), "service")


def test_held_for_ten_seconds(box: GatewayStrategy, dhcp: Path) -> None:
    hold(box, HOLD + 0.4)
    world = box.world
    world.until_lit(timeout=120)  # all off ...
    lit = [change for change in world.changes if change.lamp == "port_a" and change.on]
    assert len(lit) >= 9  # LED 1 and LED 2 have alternated twice a second
    world.until(lambda: world.lamps_now("feedback_green"), "one blink", 60)
    until_serving(box, dhcp)
    assert not configured(box)
    assert not requested(box)
    until(lambda: box.run_code("systemctl is-system-running --wait")[0] == "running", "state running")


def test_held_for_nine_seconds(box: GatewayStrategy, dhcp: Path) -> None:
    hold(box, HOLD - 1)
    box.world.until(lambda: not box.world.lamps_now("feedback_red"), "feedback lamp off", 60)
    until_serving(box, dhcp)
    assert configured(box)


def test_not_held(box: GatewayStrategy, dhcp: Path) -> None:
    box.power_on()
    until_serving(box, dhcp)
    assert configured(box)
    assert not any(change.lamp == "feedback_red" and change.on for change in box.world.changes)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a moment."""
    if "milliseconds" in metafunc.fixturenames:
        metafunc.parametrize("milliseconds", share_of(metafunc.config, MOMENTS))


def test_power_cut_in_the_middle(box: GatewayStrategy, milliseconds: int) -> None:
    """What the request has begun, the next start completes; never in between."""
    box.power_on(pressed=True)
    world = box.world
    world.until(lambda: world.lamps_now("feedback_red"), "red feedback lamp", 240)
    begin = next(change.at for change in world.changes if change.lamp == "feedback_red" and change.on)
    end = begin + HOLD * 1000 + milliseconds
    world.until(lambda: world.changes[-1].at >= end or reset_is_over(box, begin), "the moment", 120)
    box.restart()
    if configured(box):
        assert box.run("cat /data/ampgate/config.toml").count("[[charger]]") == 2
    assert not requested(box)
    until(lambda: box.run_code("systemctl is-active ampgate-gateway")[0] == "active", "gateway")


def reset_is_over(box: GatewayStrategy, begin: int) -> bool:
    """All lamps went dark after the hold."""
    last = box.world.changes[-1]
    return last.at > begin + HOLD * 1000 and not any(box.world.lamps_now(lamp) for lamp in ("feedback_red", "button"))
