"""Charging sessions whose peers take down what they were told, so that a gateway which fails in between can be judged.

The charge points behave as the standard says: one CALL at a time, and a transaction message that got no answer is sent
again after the reconnect, in order and unchanged (OCPP 1.6 §3.7, §4.8). The BMS takes down what it has processed; a
write that was not confirmed is in doubt, and the BMS answers again when the same transaction is shown again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.integration.peers import SUBPROTOCOL, words_of_text

PATIENCE = 20.0
"""Seconds that a peer waits for one answer."""
VERDICTS = ["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
NOON_EPOCH = 1769860800


@dataclass
class Session:
    """What happens at a connector, and what its charger was told of it."""

    number: int
    charger: int
    connector: int
    meter_start: int
    meter_stop: int
    stop_sent: bool = False
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Answer to ``start`` and ``stop``."""

    @property
    def tag(self) -> str:
        return f"SESSION-{self.number}"

    @property
    def started(self) -> int:
        return NOON_EPOCH + 100 * self.number

    @property
    def stopped(self) -> int:
        return self.started + 50

    @property
    def transaction_id(self) -> int:
        return int(self.told["start"]["transactionId"])

    @property
    def start(self) -> dict[str, Any]:
        return {
            "connectorId": self.connector,
            "idTag": self.tag,
            "meterStart": self.meter_start,
            "timestamp": iso(self.started),
        }

    @property
    def stop(self) -> dict[str, Any]:
        return {
            "transactionId": self.transaction_id,
            "idTag": self.tag,
            "meterStop": self.meter_stop,
            "timestamp": iso(self.stopped),
            "reason": "Local",
        }


def iso(epoch: int) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def plan(dice: random.Random, count: int, chargers: int, connectors: int) -> list[Session]:
    """The sessions in the order in which each connector has them."""
    slots = itertools.cycle(itertools.product(range(chargers), range(1, connectors + 1)))
    sessions = []
    for number, (charger, connector) in zip(range(count), slots, strict=False):
        start = dice.randrange(1 << 23)  # a float register holds whole numbers up to 2²⁴
        sessions.append(Session(number, charger, connector, start, start + dice.randrange(1 << 23)))
    return sessions


class Gateway(Protocol):
    """Where the peers find it."""

    host: str
    modbus_port: int
    ocpp_port: int


class Site(Protocol):
    """Where the sessions happen; its gateway comes and goes."""

    chargers: int
    """They are called CP0, CP1, …"""
    connectors: int

    async def gateway(self) -> Gateway:
        """The running gateway, once there is one."""

    def event(self) -> None:
        """A peer does something: a moment for a failure."""


# The charge points


class Charger:
    """Sends its messages one at a time and each until it is answered."""

    def __init__(self, index: int, site: Site, dice: random.Random) -> None:
        self.index = index
        self.site = site
        self.dice = dice
        self.stops: list[str] = []
        """Id tags in the order of their stops."""
        self._ids = itertools.count()
        self._turn = asyncio.Lock()
        self._websocket: ClientConnection | None = None
        self._booted = False

    async def run(self, sessions: list[Session]) -> None:
        """All sessions of one connector, one after the other."""
        for session in sessions:
            await self._send("start", "StartTransaction", session.start, session)
            for _ in range(self.dice.randrange(3)):
                await self._send("values", "MeterValues", _meter_values(session), None)
            session.stop_sent = True
            await self._send("stop", "StopTransaction", session.stop, session)

    async def close(self) -> None:
        if self._websocket is not None:
            await self._websocket.close()

    def power_cut(self) -> None:
        """The gateway has gone without a word: give up the connection."""
        if self._websocket is not None:
            self._websocket.transport.abort()

    async def _send(self, kind: str, action: str, payload: dict[str, Any], session: Session | None) -> None:
        # A lock serves in the order of arrival: the queue of the standard.
        async with self._turn:
            if kind == "stop" and session is not None:
                self.stops.append(session.tag)
            repetitions = 1 if self.dice.random() < 0.1 else 0  # a charger that has lost the answer
            for _ in range(1 + repetitions):
                answer = await self._until_answered(action, payload)
                self.site.event()
                if session is not None:
                    self._keep(session, kind, answer)

    @staticmethod
    def _keep(session: Session, kind: str, answer: dict[str, Any]) -> None:
        before = session.told.setdefault(kind, answer)
        # A stop that was confirmed without the BMS may later be confirmed with its verdict.
        assert answer == before or (kind == "stop" and before == {}), f"{session}: {answer} after {before}"

    async def _until_answered(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                websocket = await self._connected()
                return await self._exchange(websocket, action, payload, hang_up=self.dice.random() < 0.03)
            except (ConnectionError, WebSocketException):
                self._websocket = None

    async def _connected(self) -> ClientConnection:
        if self._websocket is None:
            gateway = await self.site.gateway()
            url = f"ws://{gateway.host}:{gateway.ocpp_port}/CP{self.index}"
            try:
                self._websocket = await connect(url, subprotocols=[SUBPROTOCOL], compression=None, ping_interval=None)
            except OSError as error:  # no route, no answer: it is gone already
                raise ConnectionError(f"{url}: {error}") from error
        if not self._booted:
            boot = {"chargePointVendor": "ACME", "chargePointModel": f"Model {self.index}"}
            answer = await self._exchange(self._websocket, "BootNotification", boot)
            assert answer["status"] == "Accepted"
            self._booted = True  # once for all: what follows are reconnects
        return self._websocket

    async def _exchange(
        self, websocket: ClientConnection, action: str, payload: dict[str, Any], *, hang_up: bool = False
    ) -> dict[str, Any]:
        message_id = str(next(self._ids))
        self.site.event()
        await websocket.send(json.dumps([2, message_id, action, payload]))
        if hang_up:
            websocket.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = json.loads(await websocket.recv())
                if frame[0] == 2:  # the gateway would like to know the status of the connectors
                    await websocket.send(json.dumps([3, frame[1], {"status": "NotImplemented"}]))
                elif frame[1] == message_id:
                    assert frame[0] == 3, frame
                    return dict(frame[2])


def _meter_values(session: Session) -> dict[str, Any]:
    sample = {"value": str(session.meter_start), "measurand": "Energy.Active.Import.Register"}
    return {
        "connectorId": session.connector,
        "transactionId": session.transaction_id,
        "meterValue": [{"timestamp": iso(session.started + 1), "sampledValue": [sample]}],
    }


# The BMS


class Modbus:
    """A Modbus TCP client on a bare socket, which can send two requests in one piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, gateway: Gateway) -> Modbus:
        try:
            return cls(*await asyncio.open_connection(gateway.host, gateway.modbus_port))
        except OSError as error:
            raise ConnectionError(f"{gateway.host}:{gateway.modbus_port}: {error}") from error

    def send(self, *pdus: bytes) -> None:
        self._writer.write(b"".join(struct.pack(">HHHB", 0, 0, len(pdu) + 1, 1) + pdu for pdu in pdus))

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            length = struct.unpack(">4xH", await self._reader.readexactly(6))[0]
            answer = (await self._reader.readexactly(length))[1:]
        assert answer[0] < 0x80, f"exception {answer.hex()}"
        return answer

    async def read(self, address: int, count: int) -> list[int]:
        self.send(struct.pack(">BHH", 3, address, count))
        return _registers(await self.receive())

    async def answer(self, address: int, values: list[int]) -> int:
        """Write registers and, in the same piece, read the last one of them."""
        count = len(values)
        write = struct.pack(f">BHHB{count}H", 16, address, count, 2 * count, *values)
        self.send(write, struct.pack(">BHH", 3, address + count - 1, 1))
        await self.receive()
        return _registers(await self.receive())[0]

    def close(self) -> None:
        self._writer.transport.abort()


def _registers(answer: bytes) -> list[int]:
    return list(struct.unpack(f">{answer[1] // 2}H", answer[2:]))


def text(words: list[int]) -> str:
    return b"".join(word.to_bytes(2, "big") for word in words).rstrip(b"\0").decode("ascii")


def real(words: list[int]) -> float:
    return float(struct.unpack(">f", struct.pack(">2H", *words))[0])


def epoch(words: list[int]) -> int:
    return words[0] << 16 | words[1]


class Bms:
    """Polls the start and stop blocks of all chargers and processes what they show."""

    def __init__(self, site: Site, dice: random.Random, sessions: list[Session]) -> None:
        self.site = site
        self.dice = dice
        self.by_tag = {session.tag: session for session in sessions}
        self.verdicts: dict[tuple[str, str], int] = {}
        """Decisions by kind and id tag; they do not change when a question is asked again."""
        self.wanted: dict[str, int] = {}
        """Transaction ids that this BMS chose; 0 left it to the gateway."""
        self.given: dict[str, int] = {}
        """Transaction ids that the gateway showed when the answer was confirmed."""
        self.confirmed: set[tuple[str, str]] = set()
        self.doubtful: set[tuple[str, str]] = set()
        self.unconfirmed = 0
        """Writes of *processed* that were not confirmed, as the gateway was killed meanwhile."""
        self.order: list[tuple[str, str]] = []
        """Everything processed, in order of the first time."""
        self._ids = itertools.count(60000, -1)
        self._modbus: Modbus | None = None
        self._open: dict[tuple[str, int], tuple[str, str]] = {}
        """By kind and charger what was processed last, until its flag is 0."""

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            gateway = await self.site.gateway()
            with suppress(ConnectionError, EOFError):
                self._modbus = await Modbus.connect(gateway)
                with closing(self._modbus):
                    await self._poll(self._modbus)

    def power_cut(self) -> None:
        """The gateway has gone without a word: what was not finished by a flag of 0 is in doubt (docs/modbus-guide)."""
        self.confirmed -= set(self._open.values())
        self.doubtful |= set(self._open.values())
        self._open.clear()
        if self._modbus is not None:
            self._modbus.close()

    async def _poll(self, modbus: Modbus) -> None:
        while True:
            for charger in range(self.site.chargers):
                block = await modbus.read(194 + 2000 * charger, 75)  # 194…268
                for kind, flag in (("start", block[0]), ("stop", block[40])):
                    if not flag:
                        self._open.pop((kind, charger), None)
                if block[0] and not block[20]:
                    await self._start(modbus, charger, block)
                if block[40] and not block[61]:
                    await self._stop(modbus, charger, block)
            await asyncio.sleep(0.001)

    async def _start(self, modbus: Modbus, charger: int, block: list[int]) -> None:
        session = self.by_tag[text(block[2:12])]
        shown = (charger, block[1], real(block[12:14]), epoch(block[15:17]))
        assert shown == (session.charger, session.connector, session.meter_start, session.started)
        if session.tag not in self.wanted:
            self.wanted[session.tag] = next(self._ids) if self.dice.random() < 0.5 else 0
        verdict = self._decide("start", session.tag)
        values = [1, *words_of_text(f"P{session.number}", 10), 0, 0, verdict, self.wanted[session.tag]]
        self.given[session.tag] = await self._answer(modbus, "start", session, 214 + 2000 * charger, values)

    async def _stop(self, modbus: Modbus, charger: int, block: list[int]) -> None:
        session = self.by_tag[text(block[41:51])]
        shown = (charger, block[55], block[56], real(block[51:53]), epoch(block[53:55]))
        assert shown == (session.charger, session.transaction_id, 4, session.meter_stop, session.stopped)
        values = [1, *[0] * 12, self._decide("stop", session.tag)]
        await self._answer(modbus, "stop", session, 255 + 2000 * charger, values)

    def _decide(self, kind: str, tag: str) -> int:
        return self.verdicts.setdefault((kind, tag), self.dice.choice((0, 0, 0, 1, 3)))

    async def _answer(self, modbus: Modbus, kind: str, session: Session, address: int, values: list[int]) -> int:
        key = (kind, session.tag)
        assert key not in self.confirmed, f"{session} is shown again, though its {kind} was processed"
        if key not in self.doubtful:
            self.order.append(key)
            self.doubtful.add(key)
        self.site.event()
        self.unconfirmed += 1
        last = await modbus.answer(address, values)
        self.unconfirmed -= 1
        self.doubtful.discard(key)
        self.confirmed.add(key)
        self._open[kind, session.charger] = key
        self.site.event()
        return last


# The journal as it lies in the state directory


class Journal:
    """A copy: to open the file itself would tidy it up for the next gateway."""

    def __init__(self, state: Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(f"{state}/journal.db{suffix}", directory)
            with closing(sqlite3.connect(Path(directory) / "journal.db")) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                running = db.execute("SELECT charger, connector, id, record FROM running").fetchall()
                pending = db.execute("SELECT charger, message, request FROM pending_stop ORDER BY number").fetchall()
                answered = db.execute("SELECT charger, message, response FROM answered").fetchall()
        self.running = {(charger, id_): (connector, json.loads(record)) for charger, connector, id_, record in running}
        self.pending = [(charger, json.loads(message), json.loads(request)) for charger, message, request in pending]
        self.answered = {
            (charger, *json.loads(message)): json.loads(response) for charger, message, response in answered
        }
        assert len(self.answered) == len(answered)

    def check(self, sessions: list[Session], bms: Bms) -> None:
        """Whatever a peer has been told by now is here, once."""
        stops = [(charger, *message) for charger, message, _ in self.pending]
        assert len(set(stops)) == len(stops)
        assert not set(stops) & set(self.answered)
        for charger, _, request in self.pending:
            session = bms.by_tag[request["idTag"]]
            assert (charger, request) == (f"CP{session.charger}", session.stop)
        for session in sessions:
            self._check_session(session, bms, set(stops))

    def _check_session(self, session: Session, bms: Bms, pending: set[Any]) -> None:
        charger = f"CP{session.charger}"
        start = (charger, "start", session.connector, session.tag, session.meter_start, iso(session.started))
        if ("start", session.tag) in bms.confirmed:
            assert start in self.answered, f"{session}: the BMS's answer is lost"
            info = {"status": VERDICTS[bms.verdicts["start", session.tag]], "parentIdTag": f"P{session.number}"}
            given = bms.given.get(session.tag)
            assert self.answered[start] == {"idTagInfo": info, "transactionId": given}, session
            assert bms.wanted[session.tag] in (0, given)
        if "start" not in session.told:
            return
        assert self.answered.get(start) == session.told["start"], session
        stop = (charger, "stop", session.transaction_id, session.meter_stop, iso(session.stopped))
        known = (stop in pending) + (stop in self.answered)
        running = (charger, session.transaction_id) in self.running
        assert running + known == 1, f"{session}: running {running}, stop known {known}"
        if not session.stop_sent:
            assert running, session
        if "stop" in session.told:
            assert known, session
            assert session.told["stop"] in ({}, self.answered.get(stop)), session
        if ("stop", session.tag) in bms.confirmed:
            assert self.answered.get(stop) == {"idTagInfo": {"status": VERDICTS[bms.verdicts["stop", session.tag]]}}

    async def check_registers(self, gateway: Gateway, chargers: int, connectors: int) -> None:
        """A gateway that has just started shows what the journal held."""
        modbus = await Modbus.connect(gateway)
        with closing(modbus):
            for charger, connector in itertools.product(range(chargers), range(1, connectors + 1)):
                shown = await modbus.read(612 + 2000 * charger + 100 * connector + 86, 14)
                records = [r for (id_, _), (at, r) in self.running.items() if (id_, at) == (f"CP{charger}", connector)]
                expected = [("", 0.0, 0)] + [
                    (record["id_tag"], record["meter_start"], record["started"])
                    for record in records
                    if record.get("accepted", True)
                ]
                assert (text(shown[:10]), real(shown[10:12]), epoch(shown[12:])) == expected[-1]
            for charger in range(chargers):
                block = await modbus.read(194 + 2000 * charger, 56)  # 194…249
                assert block[0] == 0  # a start is there when its charger sends it again
                waiting = [
                    request["transactionId"] for identity, _, request in self.pending if identity == f"CP{charger}"
                ]
                assert (block[40], block[55]) == ((1, waiting[0]) if waiting else (0, 0))
