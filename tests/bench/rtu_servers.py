"""The Python servers of the RTU part: ``python -m tests.bench.rtu_servers NAME DEVICE BAUDRATE``.

They print a line when the port is open, and serve slave 1 until they are killed.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.bench.servers import CHARGERS, CONNECTORS


async def ampgate(device: str, baudrate: int) -> None:
    """Ours with a full map and a trace, as a gateway has it."""
    from ampgate.modbus.pdu import Executor, Identity
    from ampgate.modbus.rtu import Server
    from ampgate.modbus.serial import Line, SerialServer
    from ampgate.registers.layout import ChargerShape
    from ampgate.registers.site import Site
    from ampgate.trace import Trace

    site = Site([ChargerShape(CONNECTORS)] * CHARGERS)
    units = {1: Executor(site.images[0], Identity("ampgate", "bench", "0")).execute}
    server = SerialServer(Server(units), Line(device, baudrate), trace=Trace())
    server.start()
    await asyncio.sleep(0)  # its task opens the port
    if not server.open:
        sys.exit("the port does not open")
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


async def pymodbus(device: str, baudrate: int) -> None:
    """pymodbus' asyncio server with a plain block of 65 535 registers."""
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusSerialServer

    # The block's first address is 1: pymodbus adds one to what is on the wire.
    unit = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, [0] * 65535))
    server = ModbusSerialServer(ModbusServerContext(devices=unit, single=True), port=device, baudrate=baudrate)
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


SERVERS = {"ampgate": ampgate, "pymodbus": pymodbus}


if __name__ == "__main__":
    uvloop.run(SERVERS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
