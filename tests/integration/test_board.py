"""The box of a real gateway process: its simulated board seen through the control socket and Modbus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call

from ampgate import control
from tests.conformance.serial_line import pty
from tests.integration.conftest import StartGateway
from tests.integration.peers import Bms, Charger, GatewayProcess, again_and_again, config_of, until

PlugIn = Callable[..., Awaitable[Charger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]

# Registers of the extension area
ALARMS, DIP_SWITCH, DIP_SWITCH_NOW, TERMINATION, BIAS = 8, 41, 42, 43, 44
SERIAL_PORT, EXPANDER, LINES, SWITCHES_DIFFER = 1 << 2, 1 << 8, 1 << 9, 1 << 10


def board(gateway: GatewayProcess) -> dict[str, Any]:
    status: dict[str, Any] = gateway.status()["board"]
    return status


def shows(gateway: GatewayProcess) -> dict[str, str]:
    """What somebody sees who looks at the lamps for two seconds."""
    return {name: lamp["shows"] for name, lamp in board(gateway)["lamps"].items()}


async def lamps(gateway: GatewayProcess, **expected: str) -> None:
    """Wait until these lamps show this."""
    await until(lambda: expected.items() <= shows(gateway).items(), f"{expected}, now {shows(gateway)}")


def switched(gateway: GatewayProcess, lamp: str) -> int:
    count: int = board(gateway)["lamps"][lamp]["switched"]
    return count


async def blinks(gateway: GatewayProcess, lamp: str, count: int = 4) -> None:
    """Wait until a lamp has been switched some more times."""
    before = switched(gateway, lamp)
    await until(lambda: switched(gateway, lamp) >= before + count, f"{lamp} blinks")


async def rests(gateway: GatewayProcess, lamp: str) -> bool:
    """Whether a lamp is left alone while the feedback lamp blinks twice."""
    before = switched(gateway, lamp)
    await blinks(gateway, "feedback_green")
    return switched(gateway, lamp) == before


def operate(gateway: GatewayProcess, **changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = control.ask(gateway.state / "control.sock", "board", **changes)
    return answer


NORMAL = {"feedback_green": "blinking", "feedback_red": "off", "button": "on"}


async def test_a_gateway_that_nobody_talks_to(gateway: GatewayProcess) -> None:
    await lamps(gateway, port_a="off", ethernet="off", **NORMAL)
    await blinks(gateway, "feedback_green")
    assert [switched(gateway, lamp) for lamp in ("port_a", "ethernet", "feedback_red", "button")] == [0, 0, 0, 1]
    status = board(gateway)
    assert (status["name"], status["button"], status["alarms"]) == ("simulated", False, [])


async def test_led_1_is_on_with_a_charger_and_blinks_with_its_frames(gateway: GatewayProcess, plug_in: PlugIn) -> None:
    charger = await plug_in(gateway)
    await lamps(gateway, port_a="on")
    await until(lambda: rests(gateway, "port_a"), "LED 1 rests, after the boot")

    for _ in range(3):
        before = switched(gateway, "port_a")
        await charger.ask(call.Heartbeat())
        # Off for a moment, and on again.
        await until(lambda count=before: switched(gateway, "port_a") == count + 2, "LED 1 blinks once")
    assert shows(gateway)["port_a"] == "blinking"
    assert shows(gateway)["ethernet"] == "off"
    await lamps(gateway, port_a="on")
    await charger.close()
    await lamps(gateway, port_a="off", **NORMAL)


async def test_led_1_blinks_for_what_the_bms_asks_of_a_charger(
    gateway: GatewayProcess, plug_in: PlugIn, bms: Bms
) -> None:
    charger = await plug_in(gateway)
    await lamps(gateway, port_a="on")
    before = switched(gateway, "port_a")
    await bms.write(366, 1)  # clear cache
    await charger.until_asked("ClearCache")
    await until(lambda: switched(gateway, "port_a") > before, "LED 1 blinks")


async def test_led_2_blinks_with_modbus_tcp(gateway: GatewayProcess, poll: Poll) -> None:
    bms = await poll(gateway)
    assert shows(gateway)["ethernet"] == "off"  # connected, but silent
    await bms.read(0)
    await until(lambda: switched(gateway, "ethernet") == 2, "LED 2 lights once")
    assert not board(gateway)["lamps"]["ethernet"]["on"]
    async with again_and_again(lambda: bms.read(0, 7)):
        await blinks(gateway, "ethernet", 10)
        assert shows(gateway)["ethernet"] == "blinking"
    await lamps(gateway, ethernet="off", port_a="off", **NORMAL)


async def test_an_absent_bms_is_a_red_code(start_gateway: StartGateway, poll: Poll) -> None:
    gateway = await start_gateway(bms={"heartbeat_timeout": 0.5})
    bms = await poll(gateway)
    await bms.write(0, 1)
    await lamps(gateway, feedback_green="off", feedback_red="blinking", button="on")
    await bms.until(ALARMS, 0b11)
    async with again_and_again(lambda: bms.write(0, 1)):
        await lamps(gateway, **NORMAL)


async def test_a_missing_serial_port_is_a_red_code(start_gateway: StartGateway, poll: Poll, tmp_path: Path) -> None:
    config = config_of()
    config["modbus"] |= {"transport": "tcp+rtu", "rtu": {"device": str(tmp_path / "tty")}}
    gateway = await start_gateway(config=config)
    gateway.troubles_expected.append("Modbus RTU")
    await lamps(gateway, feedback_green="off", feedback_red="blinking")
    bms = await poll(gateway)
    await bms.until(ALARMS, SERIAL_PORT | 0b10)
    with pty() as line:
        (tmp_path / "tty").symlink_to(line.path)
        await lamps(gateway, **NORMAL)


async def test_the_serial_port_of_the_board_is_the_default(start_gateway: StartGateway, tmp_path: Path) -> None:
    with pty() as line:
        path = tmp_path / "board.toml"
        path.write_text(f'name = "desk"\nbackend = "simulated"\n[serial]\ndevice = "{line.path}"\n', encoding="utf-8")
        config = config_of()
        config["modbus"]["transport"] = "tcp+rtu"
        gateway = await start_gateway(config=config, board=path)
        await until(lambda: gateway.status()["modbus"]["rtu"]["open"], "the port is open")
        assert gateway.status()["modbus"]["rtu"]["line"] == f"{line.path} 9600 8N1"
        assert board(gateway)["name"] == "desk"
        gateway.terminate()


@pytest.mark.parametrize(
    ("on", "bits", "resistors", "alarms"),
    [
        ([3], 0b100, (1, 0), 0),
        ([1, 2], 0b011, (0, 1), 0),
        ([1, 2, 3], 0b111, (1, 1), 0),
        ([2, 3], 0b110, (1, 0), SWITCHES_DIFFER),
    ],
)
async def test_the_dip_switch_is_read_at_the_start(
    *, on: list[int], bits: int, resistors: tuple[int, int], alarms: int, start_gateway: StartGateway, poll: Poll
) -> None:
    first = await start_gateway(chargers=())
    bms = await poll(first)
    operate(first, on=on)
    await bms.until(DIP_SWITCH, 0, bits, 0, 0)
    assert await bms.read(ALARMS) == [0]
    assert board(first)["switches"]["now"] == [number in on for number in (1, 2, 3)]
    bms.close()
    first.terminate()

    second = await start_gateway(chargers=())
    if alarms:
        second.troubles_expected.append("DIP switches 1 and 2 differ")
    bms = await poll(second)
    await bms.until(DIP_SWITCH, bits, bits, *resistors)
    await bms.until(ALARMS, alarms)
    assert bool(board(second)["alarms"]) == bool(alarms)
    await lamps(second, feedback_red="blinking" if alarms else "off")
    # Moving them now changes nothing but the position.
    operate(second, off=[1, 2, 3])
    await bms.until(DIP_SWITCH, bits, 0, *resistors)
    bms.close()


async def test_the_button(gateway: GatewayProcess) -> None:
    assert operate(gateway, pressed=True)["button"]
    assert board(gateway)["button"]
    assert not operate(gateway, pressed=False)["button"]


@pytest.mark.parametrize("changes", [{"on": [4]}, {"on": [1], "off": [1]}, {"on": 5}, {"fly": True}])
async def test_what_cannot_be_moved(changes: dict[str, Any], gateway: GatewayProcess) -> None:
    with pytest.raises(control.ControlError):
        operate(gateway, **changes)
    assert board(gateway)["switches"]["now"] in (None, [False, False, False])


async def test_without_its_parts_the_gateway_bridges(
    start_gateway: StartGateway, plug_in: PlugIn, poll: Poll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even on a Raspberry Pi may this test touch real lines: this package has no GPIO.
    (tmp_path / "modules" / "RPi").mkdir(parents=True)
    (tmp_path / "modules" / "RPi" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    reference = Path(__file__).parents[2] / "board" / "ampgate-cm4" / "board.toml"
    description = tmp_path / "board.toml"
    description.write_text(reference.read_text(encoding="utf-8").replace("/dev/i2c-1", str(tmp_path / "i2c-1")))
    gateway = await start_gateway(board=description)
    gateway.troubles_expected += ["lamps and push button", "DIP switch, termination and bias"]

    charger, bms = await plug_in(gateway), await poll(gateway)
    await bms.until(DIP_SWITCH, 0, 0, 2, 2)
    await bms.until(ALARMS, EXPANDER | LINES)
    await charger.status(1, "Preparing")
    await bms.until(714, 1)
    lines, expander = board(gateway)["alarms"]
    assert "RPi.GPIO" in lines
    assert f"I²C bus {tmp_path / 'i2c-1'} cannot be used: No such file or directory" in expander
    assert lines in gateway.log
    with pytest.raises(control.ControlError, match="ampgate-cm4 is no simulation"):
        operate(gateway, on=[1])
