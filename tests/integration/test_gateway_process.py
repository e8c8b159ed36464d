"""The gateway process as a whole: clock, start and end, what people see of it.

Addresses are those of the original's map for the gateway and for charger 0 (configuration guide r1.2, appendix 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from ocpp.v16 import call

from tests.integration.conftest import StartGateway
from tests.integration.peers import (
    DEADLINE,
    NOON,
    NOON_EPOCH,
    Bms,
    Charger,
    GatewayProcess,
    RawCharger,
    config_of,
    until,
)

PlugIn = Callable[..., Awaitable[Charger]]
PlugInRaw = Callable[..., Awaitable[RawCharger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]


def seconds_off(timestamp: str) -> float:
    return abs((datetime.fromisoformat(timestamp) - datetime.now(UTC)).total_seconds())


# Clock and heartbeat


async def test_the_clock_reads_utc(gateway: GatewayProcess, bms: Bms) -> None:
    second, minute, hour, day, month, year = await bms.read(1, 6)
    shown = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    assert abs((datetime.now(UTC) - shown).total_seconds()) < 5


async def _time_told(charger: Charger) -> datetime:
    return datetime.fromisoformat((await charger.ask(call.Heartbeat())).current_time)


async def test_setting_the_clock_in_one_request(charger: Charger, bms: Bms) -> None:
    await bms.write(1, 30, 59, 23, 28, 2, 2032)
    assert (await bms.read(2, 5)) == [59, 23, 28, 2, 2032]
    off = await _time_told(charger) - datetime(2032, 2, 28, 23, 59, 30, tzinfo=UTC)
    assert 0 <= off.total_seconds() < 5


async def test_setting_the_clock_register_by_register(charger: Charger, bms: Bms) -> None:
    before = await _time_told(charger)
    for address, value in ((6, 2032), (5, 3), (1, 7), (2, 8), (3, 9)):
        await bms.write(address, value)
        assert (await _time_told(charger) - before).total_seconds() < 5  # not set before all six are there
    await bms.write(4, 31)
    off = await _time_told(charger) - datetime(2032, 3, 31, 9, 8, 7, tzinfo=UTC)
    assert 0 <= off.total_seconds() < 5


async def test_an_impossible_date_is_dropped(gateway: GatewayProcess, charger: Charger, bms: Bms) -> None:
    await bms.write(1, 0, 0, 0, 31, 2, 2032)
    assert seconds_off((await charger.ask(call.Heartbeat())).current_time) < 5
    assert await bms.word(6) == datetime.now(UTC).year
    await gateway.logged("no date")


async def test_the_clock_registers_in_another_zone(start_gateway: StartGateway, plug_in: PlugIn, poll: Poll) -> None:
    gateway = await start_gateway(gateway={"timezone": "Europe/Madrid"})
    bms, charger = await poll(gateway), await plug_in(gateway)
    await bms.write(1, 0, 30, 1, 1, 7, 2032)  # summer: UTC+2, so it is June still
    off = await _time_told(charger) - datetime(2032, 6, 30, 23, 30, tzinfo=UTC)
    assert 0 <= off.total_seconds() < 5


async def test_the_heartbeat_register_goes_back_to_0(gateway: GatewayProcess, bms: Bms) -> None:
    for _ in range(3):
        await bms.write(0, 1)
        await bms.until(0, 0)


# The process


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_sigterm_tells_the_chargers_and_ends(
    loop: str, start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway(loop=loop, chargers=["CP0", "CP1"])
    bms = await poll(gateway)
    chargers = [await plug_in_raw(gateway, identity) for identity in ("CP0", "CP1")]
    await chargers[0].request("Authorize", idTag="A")  # handshakes and operations that wait do not hold it up
    await chargers[1].request("StartTransaction", connectorId=1, idTag="A", meterStart=0, timestamp=NOON)
    await bms.until(164, 1)
    await bms.until(2194, 1)
    await bms.write(366, 1)
    await until(lambda: chargers[0].calls, "ClearCache")
    code = await asyncio.to_thread(gateway.terminate)
    assert code == 0
    for charger in chargers:
        await charger.websocket.wait_closed()
        assert charger.websocket.close_code == 1001
    assert not (gateway.state / "control.sock").exists()


async def _second(gateway: GatewayProcess, peers: AsyncExitStack, state: Any, config: dict[str, Any]) -> GatewayProcess:
    second = GatewayProcess(config, gateway.log_path.parent / "second", state)
    peers.callback(second.kill)
    await asyncio.to_thread(second.process.wait, DEADLINE)
    return second


async def test_a_second_gateway_on_the_same_state_directory_is_refused(
    gateway: GatewayProcess, charger: Charger, bms: Bms, peers: AsyncExitStack
) -> None:

    second = await _second(gateway, peers, gateway.state, config_of())
    assert second.process.returncode == 1
    assert second.log.splitlines()[-1].startswith("ampgate: another gateway is running with ")
    assert str(gateway.state) in second.log
    assert "Traceback" not in second.log
    assert gateway.status()["ocpp"]["connected"] == 1  # the first one has not noticed
    await charger.ask(call.Heartbeat())


@pytest.mark.parametrize("table", ["modbus.tcp", "ocpp"])
async def test_a_port_in_use_is_told(
    table: str, gateway: GatewayProcess, peers: AsyncExitStack, state: Any, tmp_path: Any
) -> None:

    config = config_of()
    port = gateway.modbus_port if table == "modbus.tcp" else gateway.ocpp_port
    (config["modbus"]["tcp"] if table == "modbus.tcp" else config["ocpp"])["port"] = port
    second = await _second(gateway, peers, state / "two", config)
    assert second.process.returncode == 1
    assert f"ampgate: {table}: cannot listen on 127.0.0.1:{port}" in second.log
    assert f"see {table}.host and .port" in second.log
    assert "Traceback" not in second.log
    assert not (state / "two" / "control.sock").exists()


async def test_a_socket_left_by_a_killed_gateway_is_no_obstacle(start_gateway: StartGateway) -> None:
    first = await start_gateway()
    first.kill()
    assert (first.state / "control.sock").exists()
    second = await start_gateway()
    assert second.status()["chargers"][0]["id"] == "CP0"


async def test_a_state_directory_that_cannot_be_used_is_told(tmp_path: Any, state: Any, peers: AsyncExitStack) -> None:

    (state / "file").write_text("")
    gateway = GatewayProcess(config_of(), tmp_path / "g", state / "file" / "below")
    peers.callback(gateway.kill)
    await asyncio.to_thread(gateway.process.wait, DEADLINE)
    assert gateway.process.returncode == 1
    assert f"ampgate: the state directory {state / 'file' / 'below'} cannot be used" in gateway.log
    assert "Traceback" not in gateway.log


# What people see


async def test_status_tells_of_chargers_and_requests(gateway: GatewayProcess, raw: RawCharger, bms: Bms) -> None:
    start = await raw.request("StartTransaction", connectorId=2, idTag="A", meterStart=1000, timestamp=NOON)
    await bms.until(194, 1)
    assert gateway.status()["chargers"][0]["waiting"] == ["start_transaction"]
    await bms.write(228, 5)
    await bms.write(214, 1)
    await start
    await raw.ask("StatusNotification", connectorId=2, errorCode="NoError", status="Charging")
    samples = [
        {"value": "3.5", "unit": "kWh"},
        {"value": "7.2", "unit": "kW", "measurand": "Power.Active.Import"},
        {"value": "31", "measurand": "Current.Import", "phase": "L2"},
    ]
    await raw.ask("MeterValues", connectorId=2, meterValue=[{"timestamp": NOON, "sampledValue": samples}])
    status = gateway.status()
    assert status["modbus"]["tcp"]["clients"] == 1
    assert status["ocpp"]["connected"] == 1
    [shown] = status["chargers"]
    assert (shown["id"], shown["online"], shown["vendor"], shown["model"]) == ("CP0", True, "ACME", "Raw")
    connector = shown["connectors"][1]
    assert connector["power_w"] == pytest.approx(7200)
    assert connector["energy_wh"] == pytest.approx(3500)
    assert connector["session_wh"] == pytest.approx(2500)
    assert connector["currents_a"] == [0, 31, 0]
    assert (connector["number"], connector["status"], connector["error"]) == (2, "Charging", "NoError")
    assert (connector["id_tag"], connector["transaction_id"]) == ("A", 5)
    assert connector["session_s"] == pytest.approx(datetime.now(UTC).timestamp() - NOON_EPOCH, abs=5)
    assert [event["text"] for event in status["activity"]][-1] == "connector 2: Charging"


async def test_unknown_chargers_are_remembered(gateway: GatewayProcess) -> None:
    from websockets.exceptions import InvalidStatus

    for _ in range(2):
        with pytest.raises(InvalidStatus) as refused:
            await RawCharger.connect(gateway.ocpp_port, "STRANGER")
        assert refused.value.response.status_code == 404
    assert gateway.status()["ocpp"]["unknown"] == {"STRANGER": 2}
