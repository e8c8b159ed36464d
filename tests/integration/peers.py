"""Independent peers of a real gateway process: charge points, a Modbus client, and the process itself.

The charge point is that of the ``ocpp`` package, the Modbus client that of pymodbus; neither shares a line with the
gateway. Waiting always means: until a condition holds, at most until a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Self

import ocpp.exceptions
import tomli_w
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action
from pymodbus.client import AsyncModbusTcpClient, ModbusBaseClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ampgate import control

DEADLINE = 30.0
"""Seconds in which everything that is waited for has to happen, on a busy machine too."""
_POLL = 0.004
SUBPROTOCOL = "ocpp1.6"
NOON = "2026-01-31T12:00:00Z"
NOON_EPOCH = 1769860800
"""`NOON` as Unix time: 0x697DEEC0."""


async def until(condition: Callable[[], Any], what: str, deadline: float | None = None) -> Any:
    """Wait until ``condition`` (or what it awaits) is true and return it."""
    deadline = DEADLINE if deadline is None else deadline
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        await asyncio.sleep(_POLL)


@contextlib.asynccontextmanager
async def again_and_again(work: Callable[[], Awaitable[Any]]) -> AsyncIterator[None]:
    """Do this all the time; it is not cancelled at the end, as pymodbus may take that for a lost answer."""
    over = asyncio.Event()

    async def repeat() -> None:
        while not over.is_set():
            await work()

    repeating = asyncio.create_task(repeat())
    try:
        yield
    finally:
        over.set()
        await repeating


# The gateway process

_COMMAND = (sys.executable, "-m", "ampgate", "gateway", "--log", "text")


class GatewayProcess:
    """``ampgate gateway`` as a user starts it."""

    host = "127.0.0.1"

    def __init__(
        self, config: dict[str, Any], directory: Path, state: Path, *, loop: str = "uvloop", board: Path | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config_path = directory / "ampgate.toml"
        self.config_path.write_bytes(tomli_w.dumps(config).encode())
        self.state = state
        self.log_path = directory / "gateway.log"
        self.troubles_expected: list[str] = []
        """Texts of log lines that a test provokes: those lines may be errors."""
        options = ["--loop", loop, "--config", str(self.config_path), "--state", str(state)]
        if board is not None:
            options += ["--board", str(board)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*_COMMAND, *options],
                stdin=subprocess.DEVNULL,  # not the pipe of a test worker
                stderr=log,
                stdout=log,
                cwd=directory,
            )
        self.modbus_port = self.ocpp_port = 0

    async def ready(self) -> Self:
        """Wait until all ports are open."""

        def listening() -> bool:
            assert self.process.poll() is None, f"the gateway ended:\n{self.log}"
            try:
                status = self.status()
            except control.ControlError:
                return False
            self.modbus_port, self.ocpp_port = status["modbus"]["tcp"]["port"], status["ocpp"]["port"]
            return bool(self.modbus_port and self.ocpp_port)

        await until(listening, "the gateway listens", 30)  # a start takes long when others use the computer
        return self

    def status(self) -> dict[str, Any]:
        """What ``ampgate status --json`` prints."""
        answer: dict[str, Any] = control.ask(self.state / "control.sock", "status")
        return answer

    @property
    def log(self) -> str:
        """Everything that the process has printed."""
        return self.log_path.read_text(encoding="utf-8")

    async def logged(self, text: str) -> None:
        """Wait until the log holds ``text``."""
        await until(lambda: text in self.log, f"{text!r} in the log")

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def terminate(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def check_end(self) -> None:
        """The process must end well and must have had no trouble."""
        if self.process.poll() is None:
            code = self.terminate()
            assert code == 0, f"exit code {code}\n{self.log}"
        troubles = [
            line
            for line in self.log.splitlines()
            if ("ERROR" in line or "Traceback" in line or "Warning:" in line)
            and not any(text in line for text in self.troubles_expected)
        ]
        assert not troubles, f"{troubles}\n{self.log}"


# The charge point


_ACCEPTED: dict[Action, Any] = {
    Action.cancel_reservation: call_result.CancelReservation(status="Accepted"),
    Action.change_availability: call_result.ChangeAvailability(status="Accepted"),
    Action.change_configuration: call_result.ChangeConfiguration(status="Accepted"),
    Action.clear_cache: call_result.ClearCache(status="Accepted"),
    Action.clear_charging_profile: call_result.ClearChargingProfile(status="Accepted"),
    Action.data_transfer: call_result.DataTransfer(status="Accepted"),
    Action.get_configuration: call_result.GetConfiguration(configuration_key=[]),
    Action.get_local_list_version: call_result.GetLocalListVersion(list_version=0),
    Action.remote_start_transaction: call_result.RemoteStartTransaction(status="Accepted"),
    Action.remote_stop_transaction: call_result.RemoteStopTransaction(status="Accepted"),
    Action.reserve_now: call_result.ReserveNow(status="Accepted"),
    Action.reset: call_result.Reset(status="Accepted"),
    Action.send_local_list: call_result.SendLocalList(status="Accepted"),
    Action.trigger_message: call_result.TriggerMessage(status="Accepted"),
    Action.unlock_connector: call_result.UnlockConnector(status="Unlocked"),
}


class Charger(ChargePoint):  # type: ignore[misc]
    """A charge point of the ``ocpp`` package; it checks every message against the OCA schemas."""

    def __init__(self, identity: str, websocket: ClientConnection) -> None:
        super().__init__(identity, websocket, response_timeout=30)
        self.websocket = websocket
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Operations that the gateway has sent: action and payload in snake case."""
        self.replies: dict[str, Any] = {str(action): reply for action, reply in _ACCEPTED.items()}
        """What operations are answered with: a result, an exception, or something to await first."""
        self._running = asyncio.create_task(self._run())

    @classmethod
    async def connect(cls, port: int, identity: str, *, path: str = "/", host: str = "127.0.0.1") -> Self:
        """Open the websocket; nothing is said yet."""
        url = f"ws://{host}:{port}{path}{identity}"
        return cls(identity, await connect(url, subprotocols=[SUBPROTOCOL], compression=None))

    async def _run(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.start()

    async def close(self) -> None:
        """Close the websocket and wait for the end of it."""
        await self.websocket.close()
        self._running.cancel()  # it may wait for a reply
        await asyncio.gather(self._running, return_exceptions=True)

    async def boot(self, vendor: str = "ACME", model: str = "Two", **fields: str) -> call_result.BootNotification:
        """BootNotification, which must be accepted."""
        answer = await self.ask(call.BootNotification(charge_point_vendor=vendor, charge_point_model=model, **fields))
        assert answer.status == "Accepted"
        return answer

    async def ask(self, request: Any) -> Any:
        """Send a request; a CALLERROR is raised."""
        return await self.call(request, suppress=False)

    async def status(self, connector: int, status: str, error: str = "NoError") -> None:
        """StatusNotification."""
        await self.ask(call.StatusNotification(connector_id=connector, error_code=error, status=status))

    async def until_asked(self, action: str, count: int = 1) -> dict[str, Any]:
        """The payload of the ``count``-th operation of this kind that the gateway has sent."""

        def found() -> list[dict[str, Any]]:
            payloads = [payload for name, payload in self.asked if name == action]
            return payloads[count - 1 :]

        payloads: list[dict[str, Any]] = await until(found, f"{action} number {count}")
        return payloads[0]

    async def _reply(self, action: str, payload: dict[str, Any]) -> Any:
        self.asked.append((action, payload))
        reply = self.replies[action]
        if isinstance(reply, asyncio.Future):
            reply = await reply
        if isinstance(reply, Exception):
            raise reply
        return reply


def _handler(action: Action) -> Callable[..., Awaitable[Any]]:
    async def handle(self: Charger, **payload: Any) -> Any:
        return await self._reply(str(action), payload)

    handle.__name__ = f"on_{action.name}"  # by which the package finds it
    return on(action)(handle)  # type: ignore[no-any-return]


for _action in _ACCEPTED:
    setattr(Charger, f"on_{_action.name}", _handler(_action))

REFUSED = ocpp.exceptions.InternalError("no")
"""A CALLERROR."""


class RawCharger:
    """A websocket with JSON frames: for what a well-behaved charge point would not send, or not at once."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[list[Any]]] = {}
        self.calls: list[list[Any]] = []
        """CALLs of the gateway, which are left without an answer unless ``replies`` has one."""
        self.replies: dict[str, dict[str, Any]] = {}
        """Action to the payload of its CALLRESULT."""
        self._running = asyncio.create_task(self._run())

    @classmethod
    async def connect(cls, port: int, identity: str, **options: Any) -> Self:
        """Open the websocket."""
        options.setdefault("subprotocols", [SUBPROTOCOL])
        return cls(await connect(f"ws://127.0.0.1:{port}/{identity}", compression=None, **options))

    async def _run(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.websocket:
                frame = json.loads(text)
                if frame[0] == 2:
                    self.calls.append(frame)
                    if frame[2] in self.replies:
                        await self.send([3, frame[1], self.replies[frame[2]]])
                elif (answer := self._answers.pop(frame[1], None)) is not None:
                    answer.set_result(frame)

    async def send(self, frame: Any) -> None:
        """Send JSON, or text and bytes as they are."""
        await self.websocket.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))

    async def request(self, action: str, **payload: Any) -> asyncio.Future[list[Any]]:
        """Send a CALL and return the future of its answer, a whole frame."""
        message_id = f"m{next(self._ids)}"
        answer = self._answers[message_id] = asyncio.get_running_loop().create_future()
        await self.send([2, message_id, action, payload])
        return answer

    async def ask(self, action: str, **payload: Any) -> Any:
        """Send a CALL and return the payload of its CALLRESULT."""
        async with asyncio.timeout(DEADLINE):
            frame = await (await self.request(action, **payload))
        assert frame[0] == 3, frame
        return frame[2]

    async def boot(self) -> None:
        """BootNotification, which must be accepted."""
        answer = await self.ask("BootNotification", chargePointVendor="ACME", chargePointModel="Raw")
        assert answer["status"] == "Accepted"

    async def close(self) -> None:
        """Close the websocket and wait for the end of it."""
        await self.websocket.close()
        await self._running


# The BMS


class Bms:
    """A Modbus client of pymodbus: numbers in, numbers out, addresses as the manual counts them from 0."""

    def __init__(self, client: ModbusBaseClient) -> None:
        self.client = client

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Self:
        """Connect to a gateway, usually on this computer."""
        client = AsyncModbusTcpClient(host, port=port, timeout=DEADLINE, retries=0)
        assert await client.connect()
        return cls(client)

    async def read(self, address: int, count: int = 1) -> list[int]:
        """Registers by function 03."""
        response = await self.client.read_holding_registers(address, count=count)
        assert not response.isError(), response
        return list(response.registers)

    async def word(self, address: int) -> int:
        """One register."""
        return (await self.read(address))[0]

    async def text(self, address: int, count: int) -> str:
        """Two characters a register, high byte first, NUL padded."""
        data = b"".join(word.to_bytes(2, "big") for word in await self.read(address, count))
        content, _, padding = data.partition(b"\0")
        assert not padding.strip(b"\0"), f"not padded with NUL: {data!r}"
        return content.decode("iso-8859-1")

    async def float(self, address: int) -> float:
        """IEEE 754 single in two registers, high word first."""
        return float(struct.unpack(">f", struct.pack(">2H", *await self.read(address, 2)))[0])

    async def epoch(self, address: int) -> int:
        """Unix time in two registers, high word first."""
        return int(struct.unpack(">I", struct.pack(">2H", *await self.read(address, 2)))[0])

    async def write(self, address: int, *values: int) -> None:
        """Function 06 for one register, 16 for several."""
        assert await self.refusal(address, *values) == 0

    async def write_text(self, address: int, count: int, value: str) -> None:
        """A text, filled up with NUL."""
        await self.write(address, *words_of_text(value, count))

    async def refusal(self, address: int, *values: int) -> int:
        """The exception code of a write, 0 when it was taken."""
        if len(values) == 1:
            response = await self.client.write_register(address, values[0])
        else:
            response = await self.client.write_registers(address, list(values))
        return response.exception_code if response.isError() else 0

    async def until(self, address: int, *values: int) -> None:
        """Poll registers until they hold these values."""
        last: list[int] = []

        async def equal() -> bool:
            last[:] = await self.read(address, len(values))
            return last == list(values)

        try:
            await until(equal, "")
        except AssertionError:
            raise AssertionError(f"registers {address}…: {last} instead of {list(values)}") from None

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def words_of_text(value: str, count: int) -> list[int]:
    """A text as registers."""
    data = value.encode("iso-8859-1").ljust(2 * count, b"\0")
    return list(struct.unpack(f">{count}H", data))


def config_of(chargers: Iterable[str] = ("CP0",), *, connectors: int = 2, **tables: dict[str, Any]) -> dict[str, Any]:
    """A configuration on free ports of this computer."""
    return {
        "modbus": {"tcp": {"host": "127.0.0.1", "port": 0}} | tables.get("modbus", {}),
        "ocpp": {"host": "127.0.0.1", "port": 0} | tables.get("ocpp", {}),
        "bms": tables.get("bms", {}),
        "gateway": tables.get("gateway", {}),
        "charger": [{"id": identity, "connectors": connectors} for identity in chargers],
    }
