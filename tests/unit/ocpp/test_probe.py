"""A test connection, step by step; with real TLS and real faults in tests/integration/test_external_tls.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.server import serve

from ampgate.ocpp import probe as module
from ampgate.ocpp.probe import Step, probe
from ampgate.ocpp.upstream import Endpoint

pytestmark = pytest.mark.unit


async def steps(endpoint: Endpoint) -> list[Step]:
    return [step async for step in probe(endpoint, "CP1")]


async def test_all_is_well() -> None:
    async def idle(websocket: Any) -> None:
        await websocket.wait_closed()

    async with serve(idle, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
        done = await steps(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]))
    assert [(step.name, step.ok) for step in done] == [
        ("DNS", True),
        ("TCP", True),
        ("HTTP", True),
        ("subprotocol", True),
    ]
    assert all(0 <= step.seconds < 10 for step in done)


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_silence_is_given_up(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_TIMEOUT", 0.05)
    done = await steps(Endpoint("127.0.0.1", silent))
    assert [(step.name, step.ok, step.text) for step in done[2:]] == [("HTTP", False, "no answer in time")]


async def test_every_address_is_tried(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    monkeypatch.setattr(module, "STEP_TIMEOUT", 0.05)
    loop = asyncio.get_running_loop()

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (("127.0.0.1", 1), good)]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    good = ("127.0.0.1", silent)
    assert (await steps(Endpoint("x", 1)))[1].text == f"127.0.0.1 port {silent} is open"
    good = ("127.0.0.1", 2)
    assert (await steps(Endpoint("x", 1)))[1].text.count("nothing listens on this port") == 2
