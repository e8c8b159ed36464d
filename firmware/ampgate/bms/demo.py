"""A small building management system: the Modbus client's side of every handshake, in one polling loop.

It authorises id tags, gives transaction ids, takes in stopped sessions, starts some sessions from afar and stops some,
writes the heartbeat and, once, the clock. Addresses come from the register map by key; each block is read at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder, codec
from ampgate.registers.layout import CHARGERS_PER_UNIT, address

log = logging.getLogger(__name__)

DEFAULT_TAGS: Final = ("DEMO-1", "DEMO-2", "DEMO-3", "DEMO-4")
REMOTE_TAG: Final = "BMS-REMOTE"
"""Id tag of sessions that the BMS itself starts."""
POLL_INTERVAL: Final = 0.25
"""Seconds between two rounds over all chargers."""
HEARTBEAT_INTERVAL: Final = 10.0
RECONNECT_DELAY: Final = 1.0
_ACCEPTED, _INVALID = 0, 3
_MAX_TRANSACTION_ID: Final = 65535

_CLOCK: Final = ("second", "minute", "hour", "day", "month", "year")
_MEASUREMENTS: Final = ("power_active_import", "current_import_l1", "current_import_l2", "current_import_l3")


class Refused(Exception):
    """The gateway answered with a Modbus exception."""


class Block:
    """Signals of one charger or connector that are read with one FC 03, or written with one FC 16."""

    def __init__(self, keys: Sequence[str], charger: int | None = None, connector: int | None = None) -> None:
        self._fields = [(key, address(key, charger, connector), SIGNALS[key]) for key in keys]
        self.address = min(start for _, start, _ in self._fields)
        self.registers = max(start + signal.registers for _, start, signal in self._fields) - self.address
        self.unit = (charger or 0) // CHARGERS_PER_UNIT
        """To be added to the configured unit id."""

    def decode(self, registers: Sequence[int], order: ByteOrder) -> dict[str, Any]:
        """The values of the signals by key."""
        data = b"".join(register.to_bytes(2) for register in registers)
        return {
            key: codec(signal.type, signal.registers, order).decode(self._part(data, start, signal.registers))
            for key, start, signal in self._fields
        }

    def encode(self, values: Mapping[str, Any], order: ByteOrder) -> list[int]:
        """Registers that hold these values; signals without a value are 0."""
        data = bytearray(2 * self.registers)
        for key, start, signal in self._fields:
            if key in values:
                at = 2 * (start - self.address)
                data[at : at + 2 * signal.registers] = codec(signal.type, signal.registers, order).encode(values[key])
        return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]

    def _part(self, data: bytes, start: int, registers: int) -> bytes:
        at = 2 * (start - self.address)
        return data[at : at + 2 * registers]


def _keys(group: str, access: str) -> list[str]:
    return [key for key, signal in SIGNALS.items() if signal.group == group and signal.access == access]


@dataclass
class Counters:
    """What the BMS has done so far."""

    rounds: int = 0
    requests: int = 0
    """Modbus requests that were answered."""
    accepted: int = 0
    declined: int = 0
    sessions: int = 0
    """Sessions that have ended."""
    energy_wh: float = 0.0
    """Energy of the ended sessions."""
    remote_starts: int = 0
    remote_stops: int = 0


@dataclass
class _Connector:
    """One connector as the BMS sees it."""

    charger: int
    number: int
    block: Block
    reading: dict[str, Any] = field(default_factory=dict)
    preparing_since: float | None = None
    remote: bool = False
    """Whether the car that waits here shall be started from afar."""


@dataclass
class _Session:
    charger: int
    connector: int
    meter_start: float
    stop_at: float | None
    """Monotonic time at which the BMS ends it; None leaves that to the driver."""


class DemoBms:
    """Polls the gateway at ``host:port`` for ``chargers``, given as the number of connectors of each.

    ``tags`` are accepted, all others are invalid. A car that waits ``remote_start_after`` seconds without anybody
    presenting a card is started with probability ``remote_start_share``; a session is stopped from afar with
    probability ``remote_stop_share``, after one of the seconds in ``remote_stop_after``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        unit_id: int,
        chargers: list[int],
        *,
        tags: Sequence[str] = DEFAULT_TAGS,
        order: ByteOrder = ByteOrder.BIG,
        poll_interval: float = POLL_INTERVAL,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        remote_start_after: float = 4.0,
        remote_start_share: float = 1.0,
        remote_stop_after: tuple[float, float] = (30.0, 90.0),
        remote_stop_share: float = 0.25,
        first_transaction_id: int = 1,
        seed: int | None = None,
        listener: Callable[[str], None] | None = None,
    ) -> None:
        self.counters = Counters()
        self.connected = False
        self._host, self._port, self._unit_id = host, port, unit_id
        self._tags = {tag.lower() for tag in (*tags, REMOTE_TAG)}
        self._order = order
        self._poll_interval, self._heartbeat_interval = poll_interval, heartbeat_interval
        self._remote_start_after, self._remote_start_share = remote_start_after, remote_start_share
        self._remote_stop_after, self._remote_stop_share = remote_stop_after, remote_stop_share
        self._next_id = first_transaction_id
        self._random = random.Random(seed)
        self._listener = listener or (lambda text: None)
        self._connectors = [
            _Connector(charger, number, _connector_block(charger, number))
            for charger, count in enumerate(chargers)
            for number in range(1, count + 1)
        ]
        self._requests = [
            (charger, _request_block(group, charger), handle)
            for charger in range(len(chargers))
            for group, handle in (
                ("authorize", self._authorize),
                ("start_transaction", self._start),
                ("stop_transaction", self._stop),
            )
        ]
        self._sessions: dict[int, _Session] = {}
        """Running sessions by transaction id."""
        self._next_heartbeat = 0.0
        self._client: AsyncModbusTcpClient | None = None

    @property
    def readings(self) -> dict[tuple[int, int], dict[str, Any]]:
        """What was last read of each connector, by (charger, connector number): signals by key."""
        return {(connector.charger, connector.number): connector.reading for connector in self._connectors}

    async def run(self) -> None:
        """Work until cancelled; a lost connection is made again."""
        clock_set = False
        while True:
            client = AsyncModbusTcpClient(self._host, port=self._port, timeout=2, retries=0, reconnect_delay=0)
            try:
                if await client.connect():
                    self._client, self.connected, self._next_heartbeat = client, True, 0.0
                    if not clock_set:
                        await self._set_clock()
                        clock_set = True
                    while True:
                        await self._round()
                        await asyncio.sleep(self._poll_interval)
            except (ModbusException, OSError, TimeoutError) as error:
                _heed_cancellation()
                log.warning("%s:%d: %s", self._host, self._port, error)
            except Refused as error:
                log.error("%s", error)
            finally:
                self.connected = False
                client.close()
            await asyncio.sleep(RECONNECT_DELAY)

    # Modbus

    async def _read(self, block: Block) -> dict[str, Any]:
        assert self._client is not None
        response = await self._client.read_holding_registers(
            block.address, count=block.registers, device_id=self._unit_id + block.unit
        )
        self._check(response, block, "read")
        return block.decode(response.registers, self._order)

    async def _write(self, block: Block, values: Mapping[str, Any]) -> None:
        assert self._client is not None
        registers = block.encode(values, self._order)
        response = await self._client.write_registers(block.address, registers, device_id=self._unit_id + block.unit)
        self._check(response, block, "write")

    def _check(self, response: Any, block: Block, verb: str) -> None:
        _heed_cancellation()
        if response.isError():
            place = f"{block.registers} registers at {block.address}, unit {self._unit_id + block.unit}"
            raise Refused(f"{verb} of {place}: {response}")
        self.counters.requests += 1

    # One round

    async def _round(self) -> None:
        if time.monotonic() >= self._next_heartbeat:
            await self._write(Block(["bms.heartbeat"]), {"bms.heartbeat": 1})
            self._next_heartbeat = time.monotonic() + self._heartbeat_interval
        for charger, block, handle in self._requests:
            values = await self._read(block)
            if _pending(values):
                await handle(charger, values)
        for connector in self._connectors:
            connector.reading = await self._read(connector.block)
            await self._consider_start(connector)
        await self._stop_sessions()
        self.counters.rounds += 1

    async def _set_clock(self) -> None:
        """All six registers in one request: the clock is set as one instant."""
        now = datetime.now(UTC)
        values = {f"bms.{part}": getattr(now, part) for part in _CLOCK}
        await self._write(Block(list(values)), values)

    # Requests from chargers

    async def _authorize(self, charger: int, values: Mapping[str, Any]) -> None:
        id_tag = values["authorize.id_tag"]
        accepted = self._accepts(id_tag)
        await self._answer("authorize", charger, {"result": _ACCEPTED if accepted else _INVALID})
        if not accepted:
            # Whoever was turned away must not be started from afar instead.
            for connector in self._connectors:
                if connector.charger == charger:
                    connector.remote = False
        self._tell(f"charger {charger}: authorise {id_tag}: {'Accepted' if accepted else 'Invalid'}")

    async def _start(self, charger: int, values: Mapping[str, Any]) -> None:
        id_tag, connector = values["start_transaction.id_tag"], values["start_transaction.connector_id"]
        accepted = self._accepts(id_tag)
        transaction = self._new_transaction()
        result = _ACCEPTED if accepted else _INVALID
        await self._answer("start_transaction", charger, {"result": result, "transaction_id": transaction})
        lasts = self._random.uniform(*self._remote_stop_after)
        stopped = accepted and self._random.random() < self._remote_stop_share
        self._sessions[transaction] = _Session(
            charger, connector, values["start_transaction.meter"], time.monotonic() + lasts if stopped else None
        )
        self._tell(f"charger {charger} connector {connector}: transaction {transaction} for {id_tag}")

    async def _stop(self, charger: int, values: Mapping[str, Any]) -> None:
        transaction = values["stop_transaction.transaction_id"]
        await self._answer("stop_transaction", charger, {"result": _ACCEPTED})
        self.counters.sessions += 1
        session = self._sessions.pop(transaction, None)
        if session is not None:
            energy = max(0.0, values["stop_transaction.meter"] - session.meter_start)
            self.counters.energy_wh += energy
            self._tell(f"charger {charger}: transaction {transaction} ended, {energy / 1000:.2f} kWh")

    async def _answer(self, group: str, charger: int, values: Mapping[str, Any]) -> None:
        """Write every W register of a request block at once, *processed* included."""
        answer = {"processed": 1} | dict(values)
        await self._write(_answer_block(group, charger), {f"{group}.{name}": value for name, value in answer.items()})

    def _accepts(self, id_tag: str) -> bool:
        accepted = id_tag.lower() in self._tags
        self.counters.accepted += accepted
        self.counters.declined += not accepted
        return accepted

    def _new_transaction(self) -> int:
        """A 16-bit transaction id that no running session has."""
        while True:
            transaction = self._next_id
            self._next_id = transaction % _MAX_TRANSACTION_ID + 1
            if transaction not in self._sessions:
                return transaction

    # Operations

    async def _consider_start(self, connector: _Connector) -> None:
        """Start a car that waits; what nobody authorised stays in Preparing."""
        status = SIGNALS["connector.status"].values[connector.reading["connector.status"]]
        if status != "Preparing":
            connector.preparing_since = None
            return
        now = time.monotonic()
        if connector.preparing_since is None:
            connector.preparing_since = now
            connector.remote = self._random.random() < self._remote_start_share
        elif connector.remote and now - connector.preparing_since >= self._remote_start_after:
            connector.remote = False
            started = await self._operate(
                "remote_start", connector.charger, {"connector_id": connector.number, "id_tag": REMOTE_TAG}
            )
            self.counters.remote_starts += started
            self._tell(f"charger {connector.charger} connector {connector.number}: remote start")

    async def _stop_sessions(self) -> None:
        now = time.monotonic()
        for transaction, session in list(self._sessions.items()):
            if session.stop_at is not None and now >= session.stop_at:
                session.stop_at = None
                self.counters.remote_stops += await self._operate(
                    "remote_stop", session.charger, {"transaction_id": transaction}
                )
                self._tell(f"charger {session.charger}: remote stop of transaction {transaction}")

    async def _operate(self, group: str, charger: int, values: Mapping[str, Any]) -> bool:
        """Write parameters and flag at once; False when the same operation is still running there."""
        parameters = {f"{group}.flag": 1} | {f"{group}.{name}": value for name, value in values.items()}
        if (await self._read(Block([f"{group}.flag"], charger)))[f"{group}.flag"]:
            return False
        with contextlib.suppress(Refused):  # busy: another client has just started one
            await self._write(Block(list(parameters), charger), parameters)
            return True
        return False

    def _tell(self, text: str) -> None:
        log.info("%s", text)
        self._listener(text)


def _heed_cancellation() -> None:
    """End a cancelled task all the same.

    pymodbus makes an error of its own of a cancelled request, and the ``asyncio.wait_for`` of Python 3.11 that it uses
    forgets the cancellation when the response has just come.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _request_block(group: str, charger: int) -> Block:
    """What a charger asks: the R signals of the block, flag included; and whether it has been processed."""
    return Block([*_keys(group, "R"), f"{group}.processed"], charger)


def _answer_block(group: str, charger: int) -> Block:
    """What the BMS answers: the W signals of the block."""
    return Block(_keys(group, "W"), charger)


def _connector_block(charger: int, number: int) -> Block:
    keys = ["connector.status", *(f"connector.{name}" for name in _MEASUREMENTS), "transaction.id_tag"]
    return Block(keys, charger, number)


def _pending(values: Mapping[str, Any]) -> bool:
    """Whether the block asks something that has no answer yet."""
    by_name = {key.partition(".")[2]: value for key, value in values.items()}
    return bool(by_name["flag"]) and not by_name["processed"]
