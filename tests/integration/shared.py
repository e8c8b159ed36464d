"""One gateway process for the tests of a module, of which each test gets a charger of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from pymodbus.client import AsyncModbusTcpClient

from tests.integration.peers import DEADLINE, Bms, GatewayProcess, config_of

CHARGERS_PER_UNIT = 32


class Registers(Bms):
    """The registers of one charger, by the addresses of charger 0.

    Each charger lies 2000 above the one before it; after 32 chargers the next unit id begins.
    """

    def __init__(self, client: AsyncModbusTcpClient, charger: int) -> None:
        super().__init__(client)
        unit, number = divmod(charger, CHARGERS_PER_UNIT)
        self._unit, self._shift = 1 + unit, 2000 * number

    async def read(self, address: int, count: int = 1) -> list[int]:
        response = await self.client.read_holding_registers(address + self._shift, count=count, device_id=self._unit)
        assert not response.isError(), response
        return list(response.registers)

    async def refusal(self, address: int, *values: int) -> int:
        address += self._shift
        if len(values) == 1:
            response = await self.client.write_register(address, values[0], device_id=self._unit)
        else:
            response = await self.client.write_registers(address, list(values), device_id=self._unit)
        return response.exception_code if response.isError() else 0


class Place:
    """A charger of a shared gateway."""

    def __init__(self, gateway: GatewayProcess, identity: str, bms: Registers) -> None:
        self.gateway = gateway
        self.identity = identity
        self.bms = bms


class SharedGateway:
    """A gateway process and its chargers that no test has used yet."""

    def __init__(self, process: GatewayProcess, identities: Sequence[str]) -> None:
        self.process = process
        self.identities = identities
        self._free = iter(enumerate(identities))

    @contextlib.asynccontextmanager
    async def place(self, identity: str | None = None) -> AsyncIterator[Place]:
        """A charger that no test has used, or the one with this identity, and a BMS that is connected."""
        number, name = next(self._free) if identity is None else (self.identities.index(identity), identity)
        gateway = await self.process.ready()
        client = AsyncModbusTcpClient("127.0.0.1", port=gateway.modbus_port, timeout=DEADLINE, retries=0)
        assert await client.connect()
        try:
            yield Place(gateway, name, Registers(client, number))
        finally:
            client.close()


@contextlib.contextmanager
def shared_gateway(directory: Path, identities: Sequence[str], **tables: dict[str, Any]) -> Iterator[SharedGateway]:
    """A gateway process with these chargers; keywords as of `config_of`."""
    with tempfile.TemporaryDirectory(prefix="ampgate-") as state:
        process = GatewayProcess(config_of(identities, **tables), directory, Path(state))
        try:
            yield SharedGateway(process, identities)
            process.check_end()
        finally:
            process.kill()
