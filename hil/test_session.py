"""A charger and a BMS, both on this computer, complete sessions through the device.

The charger is that of the ``ocpp`` package, the BMS pymodbus. Register numbers are protocol addresses of the original's
map (configuration guide r1.2, appendix 2) for charger 0 and its connector 1.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from ocpp.v16 import call
from pymodbus.client import AsyncModbusSerialClient

from hil.conftest import CONFIG, CONFIG_FILE, configure
from hil.line import Line
from hil.strategy import GatewayStrategy, listens, until
from tests.integration.peers import NOON, Bms, Charger

pytestmark = pytest.mark.lg_feature("network")

AUTHORIZE, AUTHORIZED, AUTHORIZATION = 164, 177, 190
START, STARTED, START_RESULT, TRANSACTION = 194, 214, 227, 228
STOP, STOPPED, STOP_METER, STOP_TRANSACTION = 234, 255, 245, 249
STATUS = 714
CHARGING = 2


@contextlib.asynccontextmanager
async def bms_over_tcp(device: GatewayStrategy) -> AsyncIterator[Bms]:
    """A BMS in the network."""
    bms = await Bms.connect(502, device.address)
    try:
        yield bms
    finally:
        bms.close()


@contextlib.asynccontextmanager
async def bms_over_rtu(device: GatewayStrategy, line: Line) -> AsyncIterator[Bms]:
    """A BMS on the EIA-485 bus."""
    if device.rs485.virtual:
        line = line._replace(parity="N")  # a pseudo-terminal carries bytes and refuses parity; the device's end has it
    client = AsyncModbusSerialClient(str(device.rs485.path), timeout=10, retries=2, **line._asdict())
    assert await client.connect()
    try:
        yield Bms(client)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def charger_at(device: GatewayStrategy, identity: str = "CP001") -> AsyncIterator[Charger]:
    """A charger that has booted."""
    charger = await Charger.connect(9000, identity, host=device.address)
    try:
        await charger.boot()
        yield charger
    finally:
        await charger.close()


async def start(charger: Charger, bms: Bms, transaction: int) -> None:
    """Authorisation and start, both decided by the BMS; the meter tells one session from another."""
    meter = float(transaction)
    asked = asyncio.create_task(charger.ask(call.Authorize(id_tag="CARD")))
    await bms.until(AUTHORIZE, 1)
    assert await bms.text(165, 10) == "CARD"
    await bms.write(AUTHORIZATION, 0)
    await bms.write(AUTHORIZED, 1)
    assert (await asked).id_tag_info["status"] == "Accepted"

    begin = call.StartTransaction(connector_id=1, id_tag="CARD", meter_start=transaction, timestamp=NOON)
    started = asyncio.create_task(charger.ask(begin))
    await bms.until(START, 1, 1)
    assert await bms.float(206) == meter
    await bms.write(START_RESULT, 0)
    await bms.write(TRANSACTION, transaction)
    await bms.write(STARTED, 1)
    answer = await started
    assert (answer.id_tag_info["status"], answer.transaction_id) == ("Accepted", transaction)


async def stop(charger: Charger, bms: Bms, transaction: int, meter: int = 3500) -> None:
    """The end of it, seen and confirmed by the BMS."""
    end = call.StopTransaction(meter_stop=meter, timestamp=NOON, transaction_id=transaction, id_tag="CARD")
    stopped = asyncio.create_task(charger.ask(end))
    await bms.until(STOP, 1)
    assert await bms.float(STOP_METER) == meter
    assert await bms.word(STOP_TRANSACTION) == transaction
    await bms.write(STOPPED, 1)
    await stopped
    await bms.until(STOP, 0)


async def session(charger: Charger, bms: Bms, transaction: int) -> None:
    """A whole session, with status and a meter value."""
    await bms.until(100, 0)
    await start(charger, bms, transaction)
    await charger.status(1, "Charging")
    await bms.until(STATUS, CHARGING)
    await charger.ask(
        call.MeterValues(
            connector_id=1,
            transaction_id=transaction,
            meter_value=[{"timestamp": NOON, "sampled_value": [{"value": "1500", "unit": "Wh"}]}],
        )
    )
    await stop(charger, bms, transaction)


async def test_session_over_modbus_tcp(device: GatewayStrategy) -> None:
    async with charger_at(device) as charger, bms_over_tcp(device) as bms:
        await session(charger, bms, 4711)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((Line(), ""), id="9600 8N1"),  # as from the factory
        pytest.param(
            (Line(19200, "E"), '\n[modbus.rtu]\nbaudrate = 19200\nparity = "even"\n'),
            id="19200 8E1",
            marks=pytest.mark.lg_feature("configure"),
        ),
    ],
)
def line(device: GatewayStrategy, request: pytest.FixtureRequest) -> Iterator[Line]:
    """The serial port's settings, and what an installer writes for them; only for the tests that ask for it."""
    line, settings = request.param
    configure(device, CONFIG + settings)
    until(lambda: listens(device.address, 9000), "OCPP")
    yield line
    configure(device, CONFIG)
    until(lambda: listens(device.address, 9000), "OCPP")


@pytest.mark.lg_feature("rs485")
async def test_session_over_modbus_rtu(device: GatewayStrategy, line: Line) -> None:
    async with charger_at(device) as charger, bms_over_rtu(device, line) as bms:
        await session(charger, bms, line.baudrate // 10)


@pytest.mark.lg_feature(["console", "rs485"])
def test_the_port_has_its_settings(device: GatewayStrategy, line: Line) -> None:
    port = device.run("stty -F /dev/ttyAMA1 -a")
    assert f"speed {line.baudrate} baud" in port
    assert ("-parenb" in port) == (line.parity == "N")
    assert "-parodd" in port and "cs8" in port and "-cstopb" in port


@pytest.mark.lg_feature("rs485")
async def test_tcp_and_rtu_show_the_same_registers(device: GatewayStrategy) -> None:
    async with charger_at(device) as charger, bms_over_tcp(device) as tcp, bms_over_rtu(device, Line()) as rtu:
        await start(charger, tcp, 815)
        await stop(charger, rtu, 815)
        shown = await tcp.read(START, 75)
        assert shown == await rtu.read(START, 75)
        assert any(shown)


@pytest.mark.lg_feature("console")
def test_the_configuration_is_what_the_installer_saved(device: GatewayStrategy) -> None:
    assert 'id = "CP001"' in device.run(f"cat {CONFIG_FILE}")
