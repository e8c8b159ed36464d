"""The way to the gateway: one Modbus client over TCP or a serial line, connected when it is needed."""

from __future__ import annotations

import asyncio
import logging
import termios
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ModbusException

from ampgate.bms.blocks import Block
from ampgate.bms.config import ModbusTable

log = logging.getLogger(__name__)

ILLEGAL_ADDRESS: Final = 2
BUSY: Final = 6


class Unreachable(Exception):
    """The gateway does not answer."""


class Refused(Exception):
    """The gateway answered with a Modbus exception, its ``code``."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Client:
    """Reads and writes blocks, one request at a time.

    Both raise `Unreachable` when there is no answer, after which the next request connects anew, and `Refused` when
    the answer is a Modbus exception.
    """

    def __init__(self, settings: ModbusTable) -> None:
        self._settings = settings
        self._client: ModbusBaseClient | None = None
        self._turn = asyncio.Lock()
        self.online = False
        """Whether the last request was answered."""

    async def read(self, block: Block) -> dict[str, Any]:
        """The values of a block by key (FC 03)."""
        unit = self._settings.unit_id + block.unit
        response = await self._ask(
            f"read of {_place(block, unit)}",
            lambda client: client.read_holding_registers(block.address, count=block.registers, device_id=unit),
        )
        if len(response.registers) != block.registers:
            # On a serial line a late answer to another request looks like this.
            self.close()
            raise Unreachable(
                f"{self._settings.reference}: {len(response.registers)} registers instead of {block.registers}"
            )
        return block.decode(response.registers, self._settings.byte_order)

    async def write(self, block: Block, values: Mapping[str, Any]) -> None:
        """Write a block (FC 16); signals without a value become 0."""
        unit = self._settings.unit_id + block.unit
        registers = block.encode(values, self._settings.byte_order)
        await self._ask(
            f"write of {_place(block, unit)}",
            lambda client: client.write_registers(block.address, registers, device_id=unit),
        )

    def close(self) -> None:
        """Disconnect."""
        self.online = False
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _ask(self, what: str, send: Callable[[ModbusBaseClient], Awaitable[Any]]) -> Any:
        async with self._turn:
            try:
                response = await send(await self._connected())
            except (ModbusException, OSError, ValueError, termios.error) as error:
                self.close()
                _heed_cancellation()
                raise Unreachable(f"{self._settings.reference}: {error}") from None
            except BaseException:
                self.close()  # the answer may still come, and must not be taken for that of the next request
                raise
            _heed_cancellation()
        self.online = True
        if response.isError():
            raise Refused(f"{what}: Modbus exception {response.exception_code:02X}", response.exception_code)
        return response

    async def _connected(self) -> ModbusBaseClient:
        if self._client is None or not self._client.connected:
            self.close()
            self._client = _client(self._settings)
            if not await self._client.connect():
                raise TimeoutError("no connection")
        return self._client


def _client(settings: ModbusTable) -> ModbusBaseClient:
    if settings.transport == "tcp":
        return AsyncModbusTcpClient(
            settings.tcp.host, port=settings.tcp.port, timeout=settings.timeout, retries=0, reconnect_delay=0
        )
    return AsyncModbusSerialClient(
        settings.rtu.device,
        baudrate=settings.rtu.baudrate,
        parity=settings.rtu.parity[0].upper(),
        stopbits=settings.rtu.stopbits,
        timeout=settings.timeout,
        retries=0,
        reconnect_delay=0,
    )


def _place(block: Block, unit: int) -> str:
    last = block.address + block.registers - 1
    return (
        f"registers {block.address}–{last} of unit {unit}"
        if block.registers > 1
        else (f"register {block.address} of unit {unit}")
    )


def _heed_cancellation() -> None:
    """End a cancelled task all the same.

    pymodbus makes an error of its own of a cancelled request, and the ``asyncio.wait_for`` of Python 3.11 that it uses
    forgets the cancellation when the response has just come.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
