"""The Modbus client against our server: answers, exceptions, and none at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from ampgate.bms.blocks import Block, monitor
from ampgate.bms.client import ILLEGAL_ADDRESS, Client, Refused, Unreachable
from ampgate.bms.config import ModbusTable, RtuTable, TcpTable
from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.tcp import TcpServer
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site


@pytest.fixture
async def served() -> AsyncIterator[tuple[TcpServer, Site, int]]:
    site = Site([ChargerShape(1)])
    server = TcpServer({1: Executor(site.images[0], Identity("t", "t", "1"))})
    port = await server.start("127.0.0.1", 0)
    yield server, site, port
    await server.stop()


def client_of(port: int) -> Client:
    return Client(ModbusTable(timeout=0.5, tcp=TcpTable("127.0.0.1", port)))


async def test_reading_and_writing(served) -> None:
    _, site, port = served
    site.connector(0, 1)["connector.status"].set(5)
    client = client_of(port)
    assert not client.online
    assert (await client.read(monitor(0, 1)))["connector.status"] == 5
    await client.write(Block(["remote_start.connector_id"], 0), {"remote_start.connector_id": 7})
    assert site.charger(0)["remote_start.connector_id"].get() == 7
    assert client.online
    client.close()
    assert not client.online


async def test_exceptions(served) -> None:
    client = client_of(served[2])
    with pytest.raises(Refused, match="read of registers 2714–2715 of unit 1: Modbus exception 02") as error:
        await client.read(monitor(1, 1))
    assert error.value.code == ILLEGAL_ADDRESS
    with pytest.raises(Refused, match="write of register 714 of unit 1: Modbus exception 02"):
        await client.write(Block(["connector.status"], 0, 1), {})
    assert client.online, "an exception is an answer"
    client.close()


async def test_nobody_there_and_then_somebody(served) -> None:
    server, _, port = served
    client = client_of(port)
    await client.read(monitor(0, 1))
    await server.stop()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} unit 1: "):
        await client.read(monitor(0, 1))
    assert not client.online
    with pytest.raises(Unreachable, match="no connection"):
        await client.read(monitor(0, 1))
    await server.start("127.0.0.1", port)
    await client.read(monitor(0, 1))
    client.close()


async def test_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = client_of(deaf.getsockname()[1])
        with pytest.raises(Unreachable):
            await client.read(monitor(0, 1))


async def test_no_serial_port() -> None:
    client = Client(ModbusTable(transport="rtu", timeout=0.2, rtu=RtuTable("/dev/absent")))
    with pytest.raises(Unreachable, match="/dev/absent 9600 8N1 address 1: "):
        await client.read(monitor(0, 1))


async def test_requests_wait_for_each_other(served) -> None:
    client = client_of(served[2])
    read = await asyncio.gather(*(client.read(monitor(0, 1)) for _ in range(20)))
    assert len(read) == 20
    client.close()


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    """Its answer must not be taken for that of the next request."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        client = client_of(server.getsockname()[1])
        reading = asyncio.create_task(client.read(monitor(0, 1)))
        connection, _ = await loop.sock_accept(server)
        with connection:
            assert await loop.sock_recv(connection, 100)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert reading.cancelled()
            assert await loop.sock_recv(connection, 100) == b"", "the connection is given up"
