"""The Python servers of the Modbus part, each in a process of its own: ``python -m tests.bench.servers NAME``.

They listen on a free port of 127.0.0.1, print it, and serve until they are killed.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from ipaddress import IPv4Network

import uvloop

CHARGERS, CONNECTORS = 20, 7


async def ampgate() -> None:
    """Ours with everything on that a gateway has: full map, allow-list, counters, trace, watchers."""
    from ampgate.modbus.pdu import Executor, Identity
    from ampgate.modbus.tcp import TcpServer
    from ampgate.registers.layout import ChargerShape
    from ampgate.registers.site import Site
    from ampgate.trace import Trace

    site = Site([ChargerShape(CONNECTORS)] * CHARGERS)
    heard: list[int] = [0]

    def watcher(value: int) -> None:
        heard[0] += value

    for place in site.places:
        if place.signal.writable and place.signal.registers == 1:
            site.images[place.unit].watch(place.address, place.signal, watcher)
    executor = Executor(site.images[0], Identity("ampgate", "bench", "0"))
    units = dict.fromkeys((1, 0, 255), executor)
    server = TcpServer(units, allow=[IPv4Network("127.0.0.0/8")], trace=Trace())
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.get_running_loop().create_future()


async def pymodbus() -> None:
    """pymodbus' asyncio server with a plain block of 65 535 registers."""
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    # The block's first address is 1: pymodbus adds one to what is on the wire.
    device = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, [0] * 65535))
    server = ModbusTcpServer(ModbusServerContext(devices=device, single=True), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


async def ocpp() -> None:
    """A central system of the ``ocpp`` package; it validates against the schemas and throws the values away."""
    import logging

    from ocpp.routing import on
    from ocpp.v16 import ChargePoint, call_result
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    class Handler(ChargePoint):
        @on("BootNotification")
        def boot(self, **_: object) -> call_result.BootNotification:
            return call_result.BootNotification(current_time="2026-01-31T12:00:00Z", interval=300, status="Accepted")

        @on("MeterValues")
        def meter_values(self, **_: object) -> call_result.MeterValues:
            return call_result.MeterValues()

    async def connected(websocket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await Handler("bench", websocket).start()

    logging.getLogger("ocpp").setLevel(logging.ERROR)
    server = await serve(connected, "127.0.0.1", 0, subprotocols=["ocpp1.6"], compression=None)
    print(next(iter(server.sockets)).getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


SERVERS = {"ampgate": ampgate, "pymodbus": pymodbus, "ocpp": ocpp}


if __name__ == "__main__":
    uvloop.run(SERVERS[sys.argv[1]]())
