"""Configuration keys and vendor data through the extension area: literal addresses of charger 0."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ocpp.v16 import call_result

from tests.integration.conftest import StartGateway
from tests.integration.peers import Bms, Charger, GatewayProcess

Poll = Callable[[GatewayProcess], Awaitable[Bms]]

KEY, MESSAGE_ID, VALUE = (1755, 25), (1780, 25), (1805, 95)


async def operate(bms: Bms, flag: int) -> int:
    await bms.write(flag, 1)
    await bms.until(flag, 0)
    return await bms.word(1753)


async def test_a_key_is_read(bms: Bms, charger: Charger) -> None:
    entry = {"key": "HeartbeatInterval", "value": "300", "readonly": False}
    charger.replies["GetConfiguration"] = call_result.GetConfiguration(configuration_key=[entry])
    await bms.write_text(*KEY, "HeartbeatInterval")
    assert await operate(bms, 1751) == 0
    assert charger.asked == [("GetConfiguration", {"key": ["HeartbeatInterval"]})]
    assert await bms.text(*VALUE) == "300"
    assert await bms.word(1754) == 0


async def test_an_unknown_key_is_told(bms: Bms, charger: Charger) -> None:
    charger.replies["GetConfiguration"] = call_result.GetConfiguration(unknown_key=["Nonsense"])
    await bms.write_text(*KEY, "Nonsense")
    assert await operate(bms, 1751) == 4
    assert await bms.text(*VALUE) == ""


async def test_a_change_needs_a_key(bms: Bms, charger: Charger) -> None:
    assert await operate(bms, 1750) == 22
    assert charger.asked == []


async def test_a_change_may_need_a_reboot(bms: Bms, charger: Charger) -> None:
    charger.replies["ChangeConfiguration"] = call_result.ChangeConfiguration(status="RebootRequired")
    await bms.write_text(*KEY, "NumberOfPhases")
    await bms.write_text(*VALUE, "3")
    assert await operate(bms, 1750) == 5
    assert charger.asked == [("ChangeConfiguration", {"key": "NumberOfPhases", "value": "3"})]


async def test_vendor_data_goes_and_comes_back(bms: Bms, charger: Charger) -> None:
    charger.replies["DataTransfer"] = call_result.DataTransfer(status="Accepted", data="pong")
    await bms.write_text(*KEY, "com.example")
    await bms.write_text(*MESSAGE_ID, "Ping")
    await bms.write_text(*VALUE, "ping")
    assert await operate(bms, 1752) == 0
    expected = {"vendor_id": "com.example", "message_id": "Ping", "data": "ping"}
    assert charger.asked == [("DataTransfer", expected)]
    assert await bms.text(*VALUE) == "pong"


async def test_an_unknown_vendor_is_told(bms: Bms, charger: Charger) -> None:
    charger.replies["DataTransfer"] = call_result.DataTransfer(status="UnknownVendorId")
    await bms.write_text(*KEY, "com.example")
    assert await operate(bms, 1752) == 4


async def test_without_extensions_the_map_is_the_original(start_gateway: StartGateway, poll: Poll) -> None:
    gateway = await start_gateway(modbus={"extensions": False})
    bms = await poll(gateway)
    for address in (7, 1412, 1750, 1899):
        answer = await bms.client.read_holding_registers(address, count=1, device_id=1)
        assert answer.exception_code == 2, address
    assert await bms.word(100) == 1
