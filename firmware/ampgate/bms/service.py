"""The BMS at work: polls the gateway, answers what chargers ask and carries out tasks.

`charger` decides, `store` keeps, `client` talks; this module brings them together. One round reads of each charger the
three request blocks and of each connector what the driver guide's Monitor shows. Whatever is decided is kept before the
gateway hears of it, so a broken connection or a restart in between makes no difference.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final

from ampgate.bms import blocks
from ampgate.bms.alarms import START, UNKNOWN, Alarm, Alarms, stop_point
from ampgate.bms.blocks import Block
from ampgate.bms.charger import ACCEPTED, Charger, TaskRefused, TransactionIds, Users, new_tag
from ampgate.bms.client import BUSY, ILLEGAL_ADDRESS, Client, Refused, Unreachable
from ampgate.bms.config import BmsConfig
from ampgate.bms.records import Charge, ConnectorRecord, Session, StartMessage, StopMessage
from ampgate.bms.store import Store, StoreError
from ampgate.registers.catalogue import SIGNALS

log = logging.getLogger(__name__)

RETRY_DELAY: Final = 1.0
"""Seconds between two attempts to reach the gateway."""
FOLLOW_UP: Final = (1.0, 30.0)
"""After an answer or a task the next step soon follows: poll every first number of seconds, for the second one."""
SETTLING: Final = 1.0
"""Seconds that a gateway whose *processed* cannot be read has to take an answer in."""
FLAG_INTERVAL: Final = 0.1
"""Seconds between two looks at the flag of an operation."""
OPERATION_TIMEOUT: Final = 60.0
"""Seconds that an operation may take; the gateway gives the charger half of it."""
SUCCESS: Final = (0, 2, 6)
"""Result codes: accepted, scheduled, unlocked."""
TIMED_OUT: Final = 20
"""Result code: the charger has not answered, and may do it all the same."""
RESULTS: Final = {
    0: "accepted",
    1: "rejected",
    2: "scheduled",
    3: "not supported",
    4: "unknown",
    6: "unlocked",
    7: "unlock failed",
    8: "failed",
    11: "not implemented",
    TIMED_OUT: "the charger has not answered",
    21: "the charger is not connected to the gateway",
    22: "invalid request",
    23: "the charger does not know this operation",
}
"""Result codes in words; see the Modbus guide."""
_REQUESTS: Final = ("stop_transaction", "authorize", "start_transaction")
"""In this order: what has ended, before what begins."""
_CLEARED: Final = ("remote_start", "remote_stop", "clear_cache", "reset")
"""Operations whose registers *Clear gateway registers* writes."""


class System:
    """One connector as the driver guide's *OCPP* object shows it (``S1``, ``S2``, …)."""

    def __init__(self, number: int, index: int, charger: Charger, connector: int) -> None:
        self.name = f"S{number}"
        self.place = f"{charger.name}/{connector}"
        self.index = index
        """Of its charger in the register map, from 0."""
        self.charger = charger
        self.connector = connector
        self.block = blocks.monitor(index, connector)
        self.status = ""
        """Word of the register map; empty before the first poll."""
        self.error = 6
        """Number of the charger error in the register map and the driver guide; 6 is *No error*."""
        self.user = ""
        """User for the next task."""
        self.trouble = ""
        """Why it could not be polled; empty when it could."""

    @property
    def record(self) -> ConnectorRecord:
        """What is kept of it."""
        return self.charger.connector(self.connector)

    @property
    def session(self) -> Session | None:
        """The session that runs."""
        return self.charger.session(self.connector)


class Bms:
    """The reference BMS for the chargers of a configuration.

    ``now`` gives the local time with its zone. ``make_tag`` makes the id tags of remote starts, up to 20 characters in
    upper case.
    """

    def __init__(
        self,
        config: BmsConfig,
        store: Store,
        alarms: Alarms,
        *,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        make_tag: Callable[[], str] = new_tag,
    ) -> None:
        self.config = config
        self.label, self.enabled = config.bms.label, config.bms.enabled
        self.read_rate: float = config.bms.read_rate
        """Seconds to wait between poll operations."""
        self.client = Client(config.modbus)
        self.extensions = False
        """Whether the gateway has the registers that the original has not."""
        self._store, self._alarms, self.now = store, alarms, now
        users = Users((user.name, user.tags) for user in config.user)
        self._ids = TransactionIds(store.last_transaction, self._running)
        self.chargers = [
            Charger(
                table.name,
                table.connectors,
                store.charger(table.name),
                users=users,
                ids=self._ids,
                make_tag=make_tag,
            )
            for table in config.charger
        ]
        places = [
            (index, charger, connector)
            for index, charger in enumerate(self.chargers)
            for connector in range(1, config.charger[index].connectors + 1)
        ]
        self.systems = [System(number, *place) for number, place in enumerate(places, 1)]
        self._busy = [asyncio.Lock() for _ in self.chargers]
        """One task at a time for each charger."""
        self._wake = asyncio.Event()
        self._follow_up_until = 0.0
        self._greeted = False
        self._beats = True
        """Whether the gateway has a heartbeat register."""
        self._reads_back = True
        """Whether the gateway lets *processed* be read, which the map calls write only."""
        self._settled: dict[tuple[int, str], float] = {}
        """Where that cannot be read: when a request that was answered has gone for certain."""
        self.trouble = ""
        """Why nothing is polled; empty when all is well."""

    def _running(self) -> Iterator[int]:
        return (session.transaction for charger in self.chargers for session in charger.record.sessions)

    # Polling

    async def run(self) -> None:
        """Work until cancelled; a lost connection is made again."""
        next_heartbeat = next_round = 0.0
        try:
            while True:
                wait = RETRY_DELAY
                try:
                    if self.enabled:
                        if not self._greeted:
                            await self._greet()
                            next_heartbeat = next_round = 0.0
                        if time.monotonic() >= next_heartbeat:
                            next_heartbeat = time.monotonic() + await self._beat()
                        if time.monotonic() >= next_round:
                            await self._round()
                            next_round = time.monotonic() + self._pause()
                        self.trouble = ""
                        wait = min(next_round, next_heartbeat) - time.monotonic()
                    else:
                        self._leave()
                except Unreachable as error:
                    self._leave()
                    self._tell(f"no connection to the gateway: {error}")
                except (Refused, StoreError) as error:
                    self._tell(str(error))
                if await self._woken(wait):
                    next_round = 0.0
        finally:
            self.client.close()

    async def _woken(self, seconds: float) -> bool:
        """Wait for so long, or until `wake`; whether it was that."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _pause(self) -> float:
        interval, _ = FOLLOW_UP
        return min(self.read_rate, interval) if time.monotonic() < self._follow_up_until else self.read_rate

    def wake(self) -> None:
        """Poll at once, and often for a while: something is going on."""
        self._follow_up_until = time.monotonic() + FOLLOW_UP[1]
        self._wake.set()

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("%s", trouble)
            self.trouble = trouble

    def _leave(self) -> None:
        self.client.close()
        self._greeted = False

    async def _greet(self) -> None:
        """Find out what the gateway is: the original has no map version."""
        try:
            values = await self.client.read(Block([blocks.MAP_VERSION]))
            self.extensions = values[blocks.MAP_VERSION] > 0
        except Refused:
            self.extensions = False
        self._greeted = self._beats = self._reads_back = True
        kind = "with extensions" if self.extensions else "original map"
        log.info("gateway at %s: connected, %s", self.config.modbus.reference, kind)

    async def _beat(self) -> float:
        """Write the heartbeat register when the gateway has one; seconds to the next time."""
        interval = self.config.bms.heartbeat_interval
        if interval and self._beats:
            try:
                await self._write([blocks.HEARTBEAT], {blocks.HEARTBEAT: 1})
            except Refused as error:
                self._beats = False
                log.warning("no heartbeat: %s", error)
        return interval if interval and self._beats else math.inf

    async def _round(self) -> None:
        self.turn_day()
        for index, charger in enumerate(self.chargers):
            trouble = ""
            try:
                await self._poll(index, charger)
            except Refused as error:
                trouble = str(error)
                if error.code == ILLEGAL_ADDRESS:
                    trouble += (
                        ": does the gateway have this charger, with these connectors and signals, at this unit id?"
                    )
            for system in self.systems:
                if system.index == index:
                    if trouble and trouble != system.trouble:
                        log.error("%s: %s", system.place, trouble)
                    system.trouble = trouble

    async def _poll(self, index: int, charger: Charger) -> None:
        for group in _REQUESTS:
            values = await self._request(group, index)
            if values["flag"] and not values["processed"]:
                await self._answer(group, index, charger, values)
        for system in self.systems:
            if system.index == index:
                await self._look(system)

    async def _request(self, group: str, index: int) -> dict[str, Any]:
        """A request block by names, *processed* included."""
        if self._reads_back:
            try:
                return await self._read_request(group, index)
            except Refused as error:
                if error.code != ILLEGAL_ADDRESS:
                    raise
            values = await self._read_request(group, index, with_processed=False)
            self._reads_back = False
            log.info("the gateway does not let *processed* be read: answers get %g s to take effect", SETTLING)
        else:
            values = await self._read_request(group, index, with_processed=False)
        return values | {"processed": time.monotonic() < self._settled.get((index, group), 0.0)}

    async def _read_request(self, group: str, index: int, *, with_processed: bool = True) -> dict[str, Any]:
        values = await self.client.read(blocks.request(group, index, with_processed=with_processed))
        return {key.partition(".")[2]: value for key, value in values.items()}

    async def _look(self, system: System) -> None:
        """Read what the Monitor shows."""
        values = await self.client.read(system.block)
        system.status, system.error = self._status(values[blocks.STATUS]), values[blocks.ERROR_CODE]
        if system.status == "Available" and system.charger.unplugged(system.connector):
            self._keep(system.charger)

    def _status(self, value: int) -> str:
        """The word for a value of the status register; an unknown one as it is."""
        word = SIGNALS[blocks.STATUS].values.get(value, str(value))
        if self.config.modbus.status_order == "north":
            return {"SuspendedEV": "SuspendedEVSE", "SuspendedEVSE": "SuspendedEV"}.get(word, word)
        return word

    def turn_day(self) -> None:
        """Begin a new day when it is one; *today's use* becomes *previous day's use*."""
        today = self.now().date()
        for charger in self.chargers:
            if charger.turn(today):
                self._keep(charger)

    # Requests from chargers

    async def _answer(self, group: str, index: int, charger: Charger, values: dict[str, Any]) -> None:
        decide = {"authorize": self._authorize, "start_transaction": self._start, "stop_transaction": self._stop}[group]
        with self._all_or_nothing(charger):
            answer = decide(charger, values)
        # Processed in a request of its own: the answer is there before the gateway looks for it.
        values = {f"{group}.{name}": value for name, value in answer.items()}
        await self._write(list(values), values, index)
        await self._write([f"{group}.processed"], {f"{group}.processed": 1}, index)
        self._settled[index, group] = time.monotonic() + SETTLING
        self.wake()

    def _authorize(self, charger: Charger, values: dict[str, Any]) -> dict[str, int]:
        result = charger.authorize(values["id_tag"])
        log.info("%s: Authorize %s: %s", charger.name, values["id_tag"], _verdict(result))
        return {"result": result}

    def _start(self, charger: Charger, values: dict[str, Any]) -> dict[str, int]:
        message = StartMessage(values["connector_id"], values["id_tag"], values["meter"], values["timestamp"])
        answer, session = charger.start(message, self.now())
        self._keep(charger)
        log.info(
            "%s/%d: Start %s: %s, transaction %d",
            *(charger.name, message.connector, message.id_tag, _verdict(answer.result), answer.transaction),
        )
        if session is not None:
            self._alarm(charger, session, START)
        return {"result": answer.result, "transaction_id": answer.transaction}

    def _stop(self, charger: Charger, values: dict[str, Any]) -> dict[str, int]:
        message = StopMessage(values["transaction_id"], values["meter"], values["timestamp"], values["reason"])
        now = self.now()
        charger.turn(now.date())
        charge = charger.stop(message, now)
        self._keep(charger, charge)
        log.info("%s: Stop of transaction %d", charger.name, message.transaction)
        if charge is not None:
            self._alarm(charger, charge, stop_point(charge.energy))
        return {"result": ACCEPTED}

    def _alarm(self, charger: Charger, of: Session | Charge, point: str) -> None:
        system = self.label if len(self.systems) == 1 else f"{self.label} {charger.name}/{of.connector}"
        at = of.started if isinstance(of, Session) else of.ended
        self._alarms.raise_(Alarm(system, point, of.user or UNKNOWN, at))

    def _keep(self, charger: Charger, charge: Charge | None = None) -> None:
        self._store.keep(charger.name, charger.record, self._ids.last, charge)

    @contextmanager
    def _all_or_nothing(self, charger: Charger) -> Iterator[None]:
        """What cannot be kept has not happened: it is decided again in the next round."""
        before = copy.deepcopy(charger.record)
        try:
            yield
        except StoreError:
            charger.record = before
            raise

    # Tasks

    async def start(self, system: System, user: str) -> str:
        """Request start charge; what became of it, or `TaskRefused`."""
        async with self._task(system):
            await self._look(system)
            charger = system.charger
            with self._all_or_nothing(charger):
                tag = charger.request_start(system.connector, user, system.status)
                self._keep(charger)
            try:
                result = await self._operate("remote_start", system.index, connector_id=system.connector, id_tag=tag)
            except Refused:
                self._withdraw(system, tag)
                raise
            if result not in (*SUCCESS, TIMED_OUT):
                self._withdraw(system, tag)
            return _outcome("start", result)

    def _withdraw(self, system: System, tag: str) -> None:
        system.charger.withdraw(system.connector, tag)
        self._keep(system.charger)

    async def stop(self, system: System) -> str:
        """Request stop charge."""
        async with self._task(system):
            transaction = system.charger.request_stop(system.connector)
            result = await self._operate("remote_stop", system.index, transaction_id=transaction)
            return _outcome("stop", result)

    async def unlock(self, system: System) -> str:
        """Unlock the connector. Only a gateway with extensions tells what came of it."""
        async with self._task(system):
            await self._write([blocks.UNLOCK], {blocks.UNLOCK: 1}, system.index, system.connector)
            await self._until_done(Block([blocks.UNLOCK], system.index, system.connector))
            if not self.extensions:
                return "unlock: done"
            values = await self.client.read(Block([blocks.UNLOCK_RESULT], system.index))
            return _outcome("unlock", values[blocks.UNLOCK_RESULT])

    async def clear_registers(self, system: System) -> str:
        """Write 0 to what a BMS writes for this charger: its answers, and the operations of the driver guide."""
        async with self._task(system):
            for group in (*_REQUESTS, *_CLEARED):
                keys = [key for key, signal in SIGNALS.items() if signal.group == group and signal.writable]
                await self._write(keys, {}, system.index)
            return "clear gateway registers: done"

    async def clear_cache(self, system: System) -> str:
        """Clear the charger's memory of id tags."""
        async with self._task(system):
            return _outcome("clear EV authorization cache", await self._operate("clear_cache", system.index))

    async def reset(self, system: System) -> str:
        """Reset the charger: it ends its sessions and starts anew (OCPP *Soft*)."""
        async with self._task(system):
            return _outcome("reset EV", await self._operate("reset", system.index))

    def reset_counters(self) -> None:
        """Reset the total use of all systems."""
        for charger in self.chargers:
            with self._all_or_nothing(charger):
                charger.reset_total()
                self._keep(charger)

    @asynccontextmanager
    async def _task(self, system: System) -> AsyncIterator[None]:
        """A task for a charger, one at a time; every failure is a `TaskRefused`."""
        if not self.enabled:
            raise TaskRefused("the BMS is not enabled")
        async with self._busy[system.index]:
            try:
                yield
            except Unreachable as error:
                raise TaskRefused(f"no connection to the gateway: {error}") from None
            except Refused as error:
                raise TaskRefused(f"the gateway refuses: {error}") from None
            except StoreError as error:
                raise TaskRefused(str(error)) from None
            finally:
                self.wake()

    async def _operate(self, group: str, index: int, **parameters: Any) -> int:
        """Start an operation and wait for its result code."""
        flag = Block([f"{group}.flag"], index)
        if (await self.client.read(flag))[f"{group}.flag"]:
            raise Refused("this operation is still running for this charger", BUSY)
        if parameters:
            values = {f"{group}.{name}": value for name, value in parameters.items()}
            await self._write(list(values), values, index)
        await self._write([f"{group}.flag"], {f"{group}.flag": 1}, index)
        await self._until_done(flag)
        return int((await self.client.read(Block([f"{group}.result"], index)))[f"{group}.result"])

    async def _until_done(self, flag: Block) -> None:
        """Wait until the gateway puts a flag back to 0."""
        deadline = time.monotonic() + OPERATION_TIMEOUT
        while any((await self.client.read(flag)).values()):
            if time.monotonic() > deadline:
                raise TaskRefused(f"no result within {OPERATION_TIMEOUT:g} s")
            await asyncio.sleep(FLAG_INTERVAL)

    async def _write(
        self, keys: Sequence[str], values: Mapping[str, Any], charger: int | None = None, connector: int | None = None
    ) -> None:
        await self.client.write(Block(keys, charger, connector), values)

    def system(self, place: str) -> System:
        """The system at a place: ``S1``, a charger's name, or ``name/connector``; the only one when it is left out."""
        found = [
            system
            for system in self.systems
            if place.casefold() in (system.name.casefold(), system.place.casefold(), system.charger.name.casefold(), "")
        ]
        if len(found) == 1:
            return found[0]
        choices = ", ".join(f"{system.name} ({system.place})" for system in found or self.systems)
        raise TaskRefused(f"say which connector: {choices}" if found else f"there is no {place}; there are {choices}")

    def charges(self, count: int) -> Sequence[tuple[str, Charge]]:
        """The last completed sessions and the names of their chargers, oldest first."""
        return self._store.charges(count)


def _verdict(result: int) -> str:
    return "Accepted" if result == ACCEPTED else "Invalid"


def _outcome(task: str, result: int) -> str:
    words = RESULTS.get(result, f"result {result}")
    if result not in SUCCESS:
        raise TaskRefused(f"{task}: {words}")
    return f"{task}: {words}"
