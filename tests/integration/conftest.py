"""Fixtures that start real gateway processes and independent peers, and end them whatever a test does."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers import Bms, Charger, GatewayProcess, RawCharger, config_of
from tests.integration.shared import Place, SharedGateway

StartGateway = Callable[..., Awaitable[GatewayProcess]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a short path: that of a Unix socket has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:
        yield Path(directory)


@pytest.fixture
def start_gateway(tmp_path: Path, state: Path) -> Iterator[StartGateway]:
    """Start a gateway: keywords are those of `config_of`; every gateway must end well."""
    started: list[GatewayProcess] = []

    async def start(
        *, loop: str = "uvloop", board: Path | None = None, config: dict[str, Any] | None = None, **options: Any
    ) -> GatewayProcess:
        settings, directory = config or config_of(**options), tmp_path / str(len(started))
        gateway = GatewayProcess(settings, directory, state, loop=loop, board=board)
        started.append(gateway)
        return await gateway.ready()

    yield start
    try:
        for gateway in started:
            gateway.check_end()
    finally:
        for gateway in started:
            gateway.kill()


@pytest.fixture
async def place(shared: SharedGateway) -> AsyncIterator[Place]:
    """A charger that no other test has used, at the gateway that a module's tests share (its fixture ``shared``)."""
    async with shared.place() as place:
        yield place


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> GatewayProcess:
    """A gateway with one charger of two connectors, CP0, and default settings."""
    return await start_gateway()


@pytest.fixture
async def peers(start_gateway: StartGateway) -> AsyncIterator[AsyncExitStack]:
    """What is entered here is closed before the gateways end."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def plug_in(peers: AsyncExitStack) -> Callable[..., Awaitable[Charger]]:
    """Connect a charge point and boot it."""

    async def connect(gateway: GatewayProcess, identity: str = "CP0", *, boot: bool = True) -> Charger:
        charger = await Charger.connect(gateway.ocpp_port, identity)
        peers.push_async_callback(charger.close)
        if boot:
            await charger.boot()
        return charger

    return connect


@pytest.fixture
def plug_in_raw(peers: AsyncExitStack) -> Callable[..., Awaitable[RawCharger]]:
    """Connect a charge point that sends what the test writes, and boot it."""

    async def connect(gateway: GatewayProcess, identity: str = "CP0", *, boot: bool = True) -> RawCharger:
        charger = await RawCharger.connect(gateway.ocpp_port, identity)
        peers.push_async_callback(charger.close)
        if boot:
            await charger.boot()
        return charger

    return connect


@pytest.fixture
def poll(peers: AsyncExitStack) -> Callable[[GatewayProcess], Awaitable[Bms]]:
    """Connect a BMS."""

    async def connect(gateway: GatewayProcess) -> Bms:
        bms = await Bms.connect(gateway.modbus_port)
        peers.callback(bms.close)
        return bms

    return connect


@pytest.fixture
async def bms(gateway: GatewayProcess, poll: Callable[[GatewayProcess], Awaitable[Bms]]) -> Bms:
    """A BMS at `gateway`."""
    return await poll(gateway)


@pytest.fixture
async def charger(gateway: GatewayProcess, plug_in: Callable[..., Awaitable[Charger]]) -> Charger:
    """The charge point CP0 at `gateway`, booted."""
    return await plug_in(gateway)


@pytest.fixture
async def raw(gateway: GatewayProcess, plug_in_raw: Callable[..., Awaitable[RawCharger]]) -> RawCharger:
    """A charge point CP0 at `gateway` that sends what the test writes, booted."""
    return await plug_in_raw(gateway)
