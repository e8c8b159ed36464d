"""A real gateway process whose BMS is on a serial line, alone and beside Modbus TCP.

Addresses are those of charger 0 in the original's register map (configuration guide r1.2, appendix 2). The masters are
pymodbus on a pseudo-terminal and literal frames.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from pymodbus.client import ModbusSerialClient

from tests.conformance.serial_line import Cable, Pty, cable, pty
from tests.integration.conftest import StartGateway
from tests.integration.peers import DEADLINE, Bms, Charger, GatewayProcess, config_of, until

PlugIn = Callable[..., Awaitable[Charger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]
_TAG = [0x5441, 0x472D, 0x3100, 0, 0, 0, 0, 0, 0, 0]
READ_STATUS = bytes.fromhex("01 03 02 CA 00 01 A5 8C")
FREE = bytes.fromhex("01 03 02 00 00 B8 44")


def serial_config(device: str, **rtu: Any) -> dict[str, Any]:
    """Both transports, the serial one on this device."""
    config = config_of()
    config["modbus"] |= {"transport": "tcp+rtu", "rtu": {"device": device, "baudrate": 115200, **rtu}}
    return config


class Master:
    """A BMS on the serial line: blocking calls of pymodbus in threads."""

    def __init__(self, device: str) -> None:
        self.client = ModbusSerialClient(device, baudrate=115200, timeout=DEADLINE, retries=0)
        assert self.client.connect()

    async def read(self, address: int, count: int = 1) -> list[int]:
        """Registers by function 03."""
        response = await asyncio.to_thread(self.client.read_holding_registers, address, count=count)
        assert not response.isError(), response
        return list(response.registers)

    async def write(self, address: int, *values: int) -> None:
        """Function 06 for one register, 16 for several."""
        if len(values) == 1:
            response = await asyncio.to_thread(self.client.write_register, address, values[0])
        else:
            response = await asyncio.to_thread(self.client.write_registers, address, list(values))
        assert not response.isError(), response

    async def until(self, address: int, value: int) -> None:
        """Poll a register until it holds this value."""

        async def equal() -> bool:
            return await self.read(address) == [value]

        await until(equal, f"register {address} is {value}")


# Asked for before the gateway, so that the line outlives it.


@pytest.fixture
def wire() -> Iterator[Cable]:
    with cable() as wire:
        yield wire


@pytest.fixture
def line() -> Iterator[Pty]:
    with pty() as line:
        yield line


@pytest.fixture
async def gateway(wire: Cable, start_gateway: StartGateway) -> GatewayProcess:
    return await start_gateway(config=serial_config(wire.server))


@pytest.fixture
def master(gateway: GatewayProcess, wire: Cable) -> Iterator[Master]:
    master = Master(wire.client)
    yield master
    master.client.close()


async def test_one_map_over_both(gateway: GatewayProcess, wire: Cable, master: Master, poll: Poll) -> None:
    bms = await poll(gateway)
    await master.write(357, 0x1234)  # reservation id of Cancel Reservation
    assert await bms.word(357) == 0x1234
    await bms.write(357, 0x4321)
    assert await master.read(357) == [0x4321]
    await master.write(178, *_TAG)  # parent id tag
    assert await bms.read(178, 10) == _TAG
    assert await master.read(612, 125) == await bms.read(612, 125)
    status = gateway.status()["modbus"]
    assert status["rtu"] == {
        "line": f"{wire.server} 115200 8N1",
        "open": True,
        "requests": 4,
        "exceptions": 0,
        "bus_messages": 4,
        "bus_errors": 0,
    }
    assert status["tcp"]["requests"] >= 4


@pytest.mark.parametrize(("result", "status"), [(0, "Accepted"), (1, "Blocked")])
async def test_a_charger_is_authorised_over_the_serial_line(
    result: int, status: str, gateway: GatewayProcess, master: Master, plug_in: PlugIn
) -> None:
    """Manual 1.12 §3: flag, id tag, the answer of the BMS, *processed*."""
    charger = await plug_in(gateway)
    await charger.status(1, "Preparing")
    assert await master.read(714) == [1]
    asked = asyncio.create_task(charger.ask(call.Authorize(id_tag="TAG-1")))
    await master.until(164, 1)
    assert await master.read(165, 10) == _TAG
    await master.write(190, result)
    await master.write(177, 1)
    async with asyncio.timeout(DEADLINE):
        answer = await asked
    assert answer.id_tag_info == {"status": status}
    await master.until(164, 0)
    assert await master.read(177) == [0]


async def test_a_remote_start_over_the_serial_line(gateway: GatewayProcess, master: Master, plug_in: PlugIn) -> None:
    charger = await plug_in(gateway)
    await master.write(476, 1, 2, *_TAG)  # flag, connector, id tag in one request
    assert await charger.until_asked("RemoteStartTransaction") == {"connector_id": 2, "id_tag": "TAG-1"}
    await master.until(476, 0)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_broadcast_heartbeat_and_silence_for_others(
    loop: str, line: Pty, start_gateway: StartGateway, poll: Poll
) -> None:
    gateway = await start_gateway(config=serial_config(line.path), loop=loop)
    bms = await poll(gateway)
    line.send("02 03 02 CA 00 01 A5 BF")  # another slave's
    line.send("00 06 01 65 12 34 94 8F")  # a broadcast: reservation id
    await bms.until(357, 0x1234)
    line.send(READ_STATUS)
    assert await asyncio.to_thread(line.receive, 7) == FREE
    assert await asyncio.to_thread(line.answer) == b""
    rtu = gateway.status()["modbus"]["rtu"]
    assert (rtu["requests"], rtu["bus_messages"], rtu["bus_errors"]) == (2, 3, 0)


async def test_without_its_port_the_gateway_runs(
    start_gateway: StartGateway, tmp_path: Path, poll: Poll, plug_in: PlugIn
) -> None:
    """The port is opened as soon as it is there, and again after it was unplugged."""
    device = tmp_path / "ttyUSB0"
    gateway = await start_gateway(config=serial_config(str(device)))
    gateway.troubles_expected.append("Modbus RTU")
    bms = await poll(gateway)
    await gateway.logged("trying again every 2 s")
    assert gateway.status()["modbus"]["rtu"]["open"] is False
    assert await bms.word(8) & 4  # alarm: serial port not open
    await plug_in(gateway)
    for _ in range(2):
        with pty() as line:
            device.symlink_to(line.path)
            await until(lambda: gateway.status()["modbus"]["rtu"]["open"], "the port is open")
            line.send(READ_STATUS)
            assert await asyncio.to_thread(line.receive, 7) == FREE
            os.unlink(device)
        await until(lambda: not gateway.status()["modbus"]["rtu"]["open"], "the loss is seen")
    assert await bms.word(100) == 0  # the charger is connected all the while


async def test_rtu_alone(tmp_path: Path, state: Path, line: Pty) -> None:
    config = serial_config(line.path, stopbits=2)
    config["modbus"] |= {"transport": "rtu", "unit_id": 17}
    gateway = GatewayProcess(config, tmp_path, state)
    try:
        await gateway.logged(f"Modbus RTU on {line.path} 115200 8N2")
        line.send("11 03 02 CA 00 01 A7 1C")
        assert await asyncio.to_thread(line.receive, 7) == bytes.fromhex("11 03 02 00 00 79 87")
        assert gateway.status()["modbus"]["tcp"] is None
        gateway.check_end()
    finally:
        gateway.kill()
