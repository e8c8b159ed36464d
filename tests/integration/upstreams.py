"""Central systems that are independent of the gateway: of the ``ocpp`` package, of npm's ocpp-rpc, and a bare one.

All of them serve ``…/<charger id>``, so that a gateway can be pointed at each.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.integration.peers import NOON, SUBPROTOCOL, until
from tests.tools import unavailable

ROOT = Path(__file__).parents[2]


class Upstream(ChargePoint):  # type: ignore[misc]
    """One connection of a charger, at a central system of the ``ocpp`` package: it checks against the OCA schemas."""

    def __init__(self, identity: str, websocket: ServerConnection, central: OcppCentral) -> None:
        super().__init__(identity, websocket, response_timeout=30)
        self.websocket = websocket
        self.central = central

    def _take(self, action: str, payload: dict[str, Any]) -> None:
        self.central.got.append((self.id, action, payload))

    @on(Action.boot_notification)  # type: ignore[untyped-decorator]
    async def on_boot(self, **payload: Any) -> Any:
        self._take("BootNotification", payload)
        return call_result.BootNotification(current_time=NOON, interval=77, status=self.central.boot_status)

    @on(Action.heartbeat)  # type: ignore[untyped-decorator]
    async def on_heartbeat(self) -> Any:
        self._take("Heartbeat", {})
        return call_result.Heartbeat(current_time=NOON)

    @on(Action.authorize)  # type: ignore[untyped-decorator]
    async def on_authorize(self, **payload: Any) -> Any:
        self._take("Authorize", payload)
        return call_result.Authorize(id_tag_info=self.central.verdict(payload["id_tag"]))

    @on(Action.start_transaction)  # type: ignore[untyped-decorator]
    async def on_start(self, **payload: Any) -> Any:
        self._take("StartTransaction", payload)
        return call_result.StartTransaction(
            transaction_id=next(self.central.transaction_ids), id_tag_info=self.central.verdict(payload["id_tag"])
        )

    @on(Action.stop_transaction)  # type: ignore[untyped-decorator]
    async def on_stop(self, **payload: Any) -> Any:
        self._take("StopTransaction", payload)
        return call_result.StopTransaction()

    @on(Action.meter_values)  # type: ignore[untyped-decorator]
    async def on_meter_values(self, **payload: Any) -> Any:
        self._take("MeterValues", payload)
        return call_result.MeterValues()

    @on(Action.status_notification)  # type: ignore[untyped-decorator]
    async def on_status(self, **payload: Any) -> Any:
        self._take("StatusNotification", payload)
        return call_result.StatusNotification()

    @on(Action.data_transfer)  # type: ignore[untyped-decorator]
    async def on_data_transfer(self, **payload: Any) -> Any:
        self._take("DataTransfer", payload)
        return call_result.DataTransfer(status="Accepted", data="from upstream")


class OcppCentral:
    """A central system of the ``ocpp`` package, which can go away and come back at the same port."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        """CALLs of chargers: id, action and payload in snake case."""
        self.connections: dict[str, Upstream] = {}
        self.boot_status = "Accepted"
        self.blocked: set[str] = set()
        self.transaction_ids = itertools.count(1_000_001)
        self._stack = contextlib.AsyncExitStack()

    def verdict(self, id_tag: str) -> dict[str, str]:
        return {"status": "Blocked" if id_tag in self.blocked else "Accepted"}

    async def __aenter__(self) -> Self:
        server = await self._stack.enter_async_context(
            serve(self._serve, "127.0.0.1", self.port, subprotocols=[SUBPROTOCOL], compression=None)  # type: ignore[list-item]
        )
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._stack = contextlib.AsyncExitStack()

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        identity = websocket.request.path.rpartition("/")[2]
        connection = self.connections[identity] = Upstream(identity, websocket, self)
        with contextlib.suppress(ConnectionClosed):
            await connection.start()

    def cut(self) -> None:
        """Lose every connection as a broken line does."""
        for connection in self.connections.values():
            connection.websocket.transport.abort()

    def actions(self, identity: str = "CP0") -> list[str]:
        return [action for name, action, _ in self.got if name == identity]

    async def until_got(self, action: str, count: int = 1, identity: str = "CP0") -> dict[str, Any]:
        """The payload of the ``count``-th CALL of this kind."""

        def found() -> list[dict[str, Any]]:
            return [payload for name, what, payload in self.got if (name, what) == (identity, action)][count - 1 :]

        payloads: list[dict[str, Any]] = await until(found, f"{action} number {count} upstream", 20)
        return payloads[0]


class BareCentral:
    """A websocket server that does what the test says with each connection."""

    def __init__(
        self,
        talk: Callable[[ServerConnection], Any] | None = None,
        *,
        port: int = 0,
        subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self.port = port
        self._talk = talk or self._listen
        self._options = {"subprotocols": list(subprotocols) or None, "ssl": tls, "compression": None} | options
        self.connections: list[ServerConnection] = []
        self.frames: list[Any] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        server = await self._stack.enter_async_context(serve(self._serve, "127.0.0.1", self.port, **self._options))
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._stack = contextlib.AsyncExitStack()

    async def _serve(self, websocket: ServerConnection) -> None:
        self.connections.append(websocket)
        with contextlib.suppress(ConnectionClosed):
            await self._talk(websocket)

    async def _listen(self, websocket: ServerConnection) -> None:
        async for frame in websocket:
            self.frames.append(frame)

    async def until_connected(self, count: int = 1) -> ServerConnection:
        """The ``count``-th connection."""
        await until(lambda: len(self.connections) >= count, f"connection number {count} upstream")
        return self.connections[count - 1]

    async def until_frames(self, count: int) -> list[Any]:
        """The frames, when there are so many."""
        await until(lambda: len(self.frames) >= count, f"{count} frames upstream")
        return self.frames


# npm's ocpp-rpc

NPM = Path(__file__).parent / "npm"
INSTALLED = ROOT / "build" / "npm"


def npm_missing() -> str:
    """Why the central system of npm cannot run here; empty when it can. Installs it the first time."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed (Debian: apt install nodejs npm)"
    lock = (NPM / "package-lock.json").read_bytes()
    stamp = INSTALLED / "installed.json"
    if stamp.exists() and stamp.read_bytes() == lock:
        return ""
    staging = INSTALLED.with_name(f"npm.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM / name, staging)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=staging,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(staging, ignore_errors=True)
        return f"npm ci failed: {done.stderr.strip()[-300:]}"
    (staging / "installed.json").write_bytes(lock)
    shutil.rmtree(INSTALLED, ignore_errors=True)
    with contextlib.suppress(OSError):  # another test process was faster
        staging.rename(INSTALLED)
    return ""


def need_npm() -> None:
    """Skip the test without npm's central system, or fail where that is not allowed."""
    missing = npm_missing()
    if missing:
        unavailable(missing)


class NpmCentral:
    """The central system of npm's ocpp-rpc, which validates against the OCA schemas in its own way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []
        self.port = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            self.port = event.get("port", self.port)
            self.events.append(event)

    async def call(self, identity: str, action: str, **payload: Any) -> dict[str, Any]:
        """Let it call a charger; returns what it was answered."""
        assert self._process.stdin is not None
        count = len(self.of("answer"))
        self._process.stdin.write(
            json.dumps({"identity": identity, "action": action, "payload": payload}).encode() + b"\n"
        )
        await self._process.stdin.drain()
        await until(lambda: len(self.of("answer")) > count, f"the answer to {action}")
        return self.of("answer")[count]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        return [event for event in self.events if event["kind"] == kind]

    async def until_got(self, action: str, count: int = 1) -> dict[str, Any]:
        """The payload of the ``count``-th CALL of this kind."""

        def found() -> list[dict[str, Any]]:
            return [event["payload"] for event in self.of("call") if event["action"] == action][count - 1 :]

        payloads: list[dict[str, Any]] = await until(found, f"{action} number {count} upstream", 20)
        return payloads[0]


@contextlib.asynccontextmanager
async def npm_central(**options: Any) -> AsyncIterator[NpmCentral]:
    """Run it; options are ``password``, ``cert``, ``key`` and ``ca``."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(NPM / "central.cjs"),
        json.dumps(options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"NODE_PATH": str(INSTALLED / "node_modules")},
    )
    central = NpmCentral(process)
    try:
        await until(lambda: central.port, "the central system of npm listens", 20)
        yield central
    finally:
        process.kill()
        await process.wait()
        await central._reader
