"""A central system made of websockets and the OCA's JSON schemas: it believes no frame that it has not validated."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft4Validator
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

DEADLINE = 15.0


class Refusal(Exception):
    """Raised by an answer to send a CALLERROR with this code."""


@cache
def validator(name: str) -> Draft4Validator:
    text = files("ocpp.v16").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8-sig")
    return Draft4Validator(json.loads(text, parse_float=Decimal))


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Central:
    """``answers`` holds a function of the payload for each action; ``frames`` all CALLs that came, in order."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.frames: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "Authorize": lambda payload: {"idTagInfo": {"status": "Accepted"}},
            "BootNotification": lambda payload: {"status": "Accepted", "currentTime": now(), "interval": 300},
            "Heartbeat": lambda payload: {"currentTime": now()},
            "StartTransaction": self._start,
        }
        self.silent: set[str] = set()
        """Actions that get no answer."""
        self.violations: list[str] = []
        self.connections = 0
        self.headers: list[Any] = []
        self._transactions = itertools.count(1001)
        self._ids = itertools.count(1)
        self._waiting: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._changed = asyncio.Event()
        self._socket: ServerConnection | None = None
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self._port}/steve/"

    async def __aenter__(self) -> Central:
        await self.open()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()
        assert not self.violations, self.violations

    async def open(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            subprotocols=["ocpp1.6"],
            compression=None,
            process_request=self._asked,
            ssl=self._tls,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Go away: close connections, refuse new ones."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    # Waiting

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            last = [f"{action} {payload}"[:200] for action, payload in self.frames[-8:]]
            raise AssertionError("\n".join(["did not happen; the last frames were:", *last])) from None

    async def seen(self, action: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The payload of the ``count``-th CALL of this action with these fields, once it has come."""
        await self.until(lambda: len(self.all(action, **fields)) >= count)
        return self.all(action, **fields)[count - 1]

    def all(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            payload
            for name, payload in self.frames
            if name == action and all(payload.get(key) == value for key, value in fields.items())
        ]

    def statuses(self, connector: int = 1) -> list[str]:
        return [payload["status"] for payload in self.all("StatusNotification", connectorId=connector)]

    # Talking

    async def call(self, action: str, **payload: Any) -> Any:
        """Ask the charger; its answer's payload, or the error code of its CALLERROR."""
        validator(action).validate(json.loads(json.dumps(payload), parse_float=Decimal))
        assert self._socket is not None
        message_id = f"central-{next(self._ids)}"
        future = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = action, future
        await self._socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(DEADLINE):
            return await future

    def _start(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"transactionId": next(self._transactions), "idTagInfo": {"status": "Accepted"}}

    def _asked(self, connection: ServerConnection, request: Request) -> None:
        self.headers.append(request)
        self._tell()

    async def _serve(self, websocket: ServerConnection) -> None:
        self._socket = websocket
        self.connections += 1
        try:
            async for text in websocket:
                if not isinstance(text, str):
                    self.violations.append(f"not a text frame: {text!r}")
                await self._received(websocket, json.loads(text, parse_float=Decimal))
        except ConnectionClosed:
            pass

    async def _received(self, websocket: ServerConnection, frame: list[Any]) -> None:
        match frame:
            case [2, str(message_id), str(action), dict(payload)]:
                self._validate(action, payload)
                self.frames.append((action, payload))
                if action not in self.silent:
                    await websocket.send(self._reply(message_id, action, payload))
            case [3, str(message_id), dict(payload)]:
                action, future = self._waiting.pop(message_id)
                self._validate(f"{action}Response", payload)
                future.set_result(payload)
            case [4, str(message_id), str(code), str(), dict()]:
                self._waiting.pop(message_id)[1].set_result(code)
            case _:
                self.violations.append(f"not an OCPP-J frame: {frame}")
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _reply(self, message_id: str, action: str, payload: dict[str, Any]) -> str:
        try:
            answer = self.answers.get(action, lambda payload: {})(payload)
        except Refusal as refusal:
            return json.dumps([4, message_id, str(refusal), "", {}])
        validator(f"{action}Response").validate(json.loads(json.dumps(answer), parse_float=Decimal))
        return json.dumps([3, message_id, answer])

    def _validate(self, name: str, payload: dict[str, Any]) -> None:
        for error in validator(name).iter_errors(payload):
            self.violations.append(f"{name}: {error.message} in {payload}")
        for key in ("timestamp", "scheduleStart"):
            if key in payload and datetime.fromisoformat(payload[key]).tzinfo is None:
                self.violations.append(f"{name}: {key} without zone")
