"""Lamps, DIP switch and resistors (manual 1.12 §5.1 and §6; docs/hardware.md)."""

from __future__ import annotations

import itertools

import pytest

from hil.conftest import CONFIG, configure, status
from hil.drivers.lamps import Change
from hil.strategy import GatewayStrategy, listens, until
from hil.test_session import bms_over_tcp, charger_at

pytestmark = pytest.mark.lg_feature("network")

DIP_AT_START, DIP_NOW, TERMINATION, BIAS = 41, 42, 43, 44
STEP = 50
"""Milliseconds of a blink for a frame (device.md)."""

POSITIONS = list(itertools.product((False, True), repeat=3))


@pytest.mark.lg_feature(["dip", "resistors"])
@pytest.mark.parametrize("position", POSITIONS, ids=lambda on: "".join("01"[one] for one in on))
async def test_switches_drive_the_resistors(device: GatewayStrategy, position: tuple[bool, bool, bool]) -> None:
    """1 and 2 both ON: bias; 3 ON: termination (manual 1.12 §5.1)."""
    one, two, three = position
    device.world.switches(*position)
    device.restart_gateway()
    until(lambda: device.world.resistors() == (three, one and two), "termination and bias", 60)
    async with bms_over_tcp(device) as bms:
        word = one | two << 1 | three << 2
        await bms.until(DIP_AT_START, word, word, three, one and two)


@pytest.mark.lg_feature(["dip", "resistors"])
async def test_switches_count_at_the_start_only(device: GatewayStrategy) -> None:
    device.world.switches(False, False, False)
    device.restart_gateway()
    async with bms_over_tcp(device) as bms:
        await bms.until(DIP_AT_START, 0, 0, 0, 0)
        device.world.switches(True, True, True)
        await bms.until(DIP_NOW, 7)
        assert await bms.word(DIP_AT_START) == 0
        assert await bms.read(TERMINATION, 2) == [0, 0]
        assert device.world.resistors() == (False, False)
    device.world.switches(False, False, False)


@pytest.mark.lg_feature(["console", "dip", "lamp-times"])
def test_one_of_two_bias_switches_is_a_warning(device: GatewayStrategy) -> None:
    device.world.switches(True, False, False)
    device.restart_gateway()
    until(lambda: "differ" in device.run("journalctl --boot --unit ampgate-gateway --no-pager | tail -n 20"), "warning")
    assert any("differ" in alarm for alarm in status(device)["board"]["alarms"])
    until(lambda: flashes(device, "feedback_red") >= 2, "red flashes", 60)
    device.world.switches(False, False, False)
    device.restart_gateway()


@pytest.mark.lg_feature("lamp-times")
def test_normal_operation(device: GatewayStrategy) -> None:
    """Feedback blinks green once a second, the button is lit, LED 1 and 2 are dark: no charger, no frames."""
    world = device.world
    until(lambda: world.lamps()["button"], "button lamp")
    begin = len(world.changes)
    world.until(lambda: len(blinks(world.changes[begin:], "feedback_green")) >= 8, "green blinking", 60)
    times = [change.at for change in blinks(world.changes[begin:], "feedback_green")]
    periods = [later - earlier for earlier, later in itertools.pairwise(times[::2])]
    assert 900 <= sorted(periods)[len(periods) // 2] <= 1200  # an emulator's clock is not even
    lamps = world.lamps()
    assert lamps["button"] and not lamps["feedback_red"] and not lamps["port_a"] and not lamps["ethernet"]


@pytest.mark.lg_feature("lamp-times")
async def test_led_1_is_the_ocpp_system_and_led_2_modbus_tcp(device: GatewayStrategy) -> None:
    world = device.world
    async with charger_at(device) as charger:
        world.until(lambda: world.lamps_now("port_a"), "LED 1 on", 60)
        begin = len(world.changes)
        for count in (1, 2, 3):
            await charger.status(1, "Available")
            world.until(lambda: len(blinks(world.changes[begin:], "port_a")) >= 2 * count, "LED 1 blinks", 60)  # noqa: B023
        world.until(lambda: world.lamps_now("port_a"), "LED 1 on again", 60)
        assert not blinks(world.changes[begin:], "ethernet")

        async with bms_over_tcp(device) as bms:
            begin = len(world.changes)
            for count in (1, 2, 3):
                await bms.read(100)
                world.until(lambda: len(blinks(world.changes[begin:], "ethernet")) >= 2 * count, "LED 2 blinks", 60)  # noqa: B023
            world.until(lambda: not world.lamps_now("ethernet"), "LED 2 dark again", 60)
    world.until(lambda: not world.lamps_now("port_a"), "LED 1 off", 60)


@pytest.mark.lg_feature("lamp-times")
async def test_the_lamps_flicker_under_steady_traffic(device: GatewayStrategy) -> None:
    """Idle and busy both show: on and off for a step each."""
    world = device.world
    async with bms_over_tcp(device) as bms:
        begin = len(world.changes)
        while len(blinks(world.changes[begin:], "ethernet")) < 20:
            await bms.read(100)
        times = [change.at for change in blinks(world.changes[begin:], "ethernet")]
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    assert STEP * 0.5 <= gaps[len(gaps) // 2] <= STEP * 4


@pytest.mark.lg_feature(["console", "lamp-times"])
def test_a_gateway_that_has_ended_is_dark(device: GatewayStrategy) -> None:
    device.run("systemctl stop ampgate-gateway")
    device.world.until_lit(timeout=60)
    device.restart_gateway()
    until(lambda: device.world.lamps()["button"], "button lamp")


@pytest.mark.lg_feature("console")
def test_a_missing_expander_is_an_alarm_and_the_gateway_serves(device: GatewayStrategy) -> None:
    configure(device, CONFIG)
    device.run("sed s/0x20/0x21/ /usr/share/ampgate/board.toml >/run/board.toml")
    device.run("mount --bind /run/board.toml /usr/share/ampgate/board.toml")  # nobody lives at 0x21
    try:
        device.restart_gateway()
        until(lambda: any("0x21" in alarm for alarm in status(device)["board"]["alarms"]), "alarm")
        assert listens(device.address, 9000)
    finally:
        device.run("umount /usr/share/ampgate/board.toml")
        device.restart_gateway()


def blinks(changes: list[Change], lamp: str) -> list[Change]:
    """The changes of one lamp."""
    return [change for change in changes if change.lamp == lamp]


def flashes(device: GatewayStrategy, lamp: str) -> int:
    """How often a lamp went on since power-up."""
    return sum(change.on for change in blinks(device.world.changes, lamp))
