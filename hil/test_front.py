"""What the lamps show to somebody who looks, and the push button in an operator's hand.

Manual 1.12 §5.2 and §6; docs/hardware.md. How long a blink lasts, and the button by the clock, is in `test_board` and
`test_factory_reset`.
"""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from hil.bench import SITE, BenchStrategy
from hil.drivers.protocols import Light
from hil.strategy import GatewayStrategy, until
from hil.test_session import bms_over_tcp, charger_at
from tests.integration.peers import Charger, again_and_again

pytestmark = pytest.mark.lg_feature(["lamps", "network"])

NORMAL = {
    "port_a": Light.OFF,
    "ethernet": Light.OFF,
    "feedback_green": Light.BLINKING,
    "feedback_red": Light.OFF,
    "button": Light.ON,
}
HELD = {
    "port_a": Light.BLINKING,
    "ethernet": Light.BLINKING,
    "feedback_green": Light.OFF,
    "feedback_red": Light.ON,
    "button": Light.ON,
}
"""While the button is held at power-up."""


async def until_seen(device: GatewayStrategy | BenchStrategy, **lamps: Light) -> None:
    """Look until everything is as in normal operation but for these; traffic goes on meanwhile."""
    expected = NORMAL | lamps
    await asyncio.to_thread(until, lambda: device.world.look() == expected, f"lamps {expected}", 60)


async def test_idle(device: GatewayStrategy) -> None:
    await until_seen(device)


async def test_led_1_is_on_while_a_charger_is_connected(device: GatewayStrategy) -> None:
    async with charger_at(device):
        await until_seen(device, port_a=Light.ON)
    await until_seen(device)


async def test_led_1_blinks_with_ocpp_frames(device: GatewayStrategy) -> None:
    async with charger_at(device) as charger, again_and_again(lambda: charger.status(1, "Available")):
        await until_seen(device, port_a=Light.BLINKING)


async def test_led_2_blinks_with_modbus_tcp_frames(device: GatewayStrategy) -> None:
    async with bms_over_tcp(device) as bms, again_and_again(lambda: bms.read(100)):
        await until_seen(device, ethernet=Light.BLINKING)
    await until_seen(device)


@pytest.mark.lg_feature("dip")
async def test_one_of_two_bias_switches_is_shown(device: GatewayStrategy) -> None:
    device.world.switches(True, False, False)
    device.restart_gateway()
    await until_seen(device, feedback_green=Light.OFF, feedback_red=Light.BLINKING)
    device.world.switches(False, False, False)
    device.restart_gateway()
    await until_seen(device)


@pytest.mark.lg_feature("operator")
async def test_the_button_released_early_changes_nothing(device: BenchStrategy) -> None:
    assert device.hold_at_power_up(5) == HELD
    device.until_serving()
    await until_seen(device)
    async with charger_at(device):  # which the factory's configuration would not let in
        pass


@pytest.mark.lg_feature(["configure", "operator"])
async def test_the_button_held_resets(device: BenchStrategy) -> None:
    assert device.hold_at_power_up(0) == HELD
    device.until_serving()
    await until_seen(device)
    with pytest.raises(InvalidStatus, match="404"):
        await Charger.connect(9000, "CP001", host=device.address)
    device.configure(SITE.read_text(encoding="utf-8"))
