"""How a charge point connects: versions, TLS, a link that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from ampgate.simulator.charger import Charger
from tests.unit.simulator.central import DEADLINE, Central


@contextlib.asynccontextmanager
async def running(url: str, told: list[str], **options: Any) -> AsyncIterator[Charger]:
    charger = Charger(url, "CP1", backoff=(0.05, 0.2), listener=lambda event: told.append(event.text), **options)
    work = asyncio.create_task(charger.run())
    try:
        yield charger
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def told(told: list[str], text: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not any(text in line for line in told):
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and its key, and the authority that issued it, in one file."""
    path = tmp_path_factory.mktemp("tls") / "all.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    path.write_bytes(issued.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    return path


async def test_tls_with_a_certificate_that_is_trusted(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with Central(tls) as central:
        assert central.url.startswith("wss:")
        trusted = ssl.create_default_context(cafile=certificate)
        async with running(central.url, [], tls=trusted):
            await central.seen("StatusNotification", connectorId=1)


async def test_tls_with_a_certificate_that_is_not_trusted(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    lines: list[str] = []
    async with Central(tls) as central, running(central.url, lines):
        await told(lines, "certificate verify failed")
        assert not central.frames


async def test_ocpp_1_5_is_offered_and_not_spoken() -> None:
    """A central system that takes 1.5 is told that this is only an offer."""
    heard: list[Any] = []

    async def talk(websocket: ServerConnection) -> None:
        heard.extend([frame async for frame in websocket])

    lines: list[str] = []
    async with serve(talk, "127.0.0.1", 0, subprotocols=["ocpp1.5"]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        async with running(f"ws://127.0.0.1:{port}", lines, settings={"ocppVersion": "1.5"}):
            await told(lines, "the central system chose ocpp1.5, which is not simulated")
    assert heard == []


async def test_a_lost_link_comes_back_when_its_time_is_over() -> None:
    async with Central() as central, running(central.url, []) as charger:
        await central.seen("StatusNotification", connectorId=1)
        charger.connection.lose(3600)
        assert await charger.until(lambda: not charger.online, DEADLINE)
        charger.connection.find()
        await central.seen("StatusNotification", 2, connectorId=1)
        charger.connection.lose(0.1)
        await central.seen("StatusNotification", 3, connectorId=1)
        assert len(central.all("BootNotification")) == 1
