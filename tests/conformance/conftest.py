"""A gateway process that the certification cases of a module share: each case gets a charger of its own.

The cases that any charge point can go through take ``station`` and run with each of `PEERS`. Those in which it has to
say or answer something particular take ``scripted``, the charge point of the ``ocpp`` package.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.octt import PACKAGE, PEERS, PackageStation, SimulatedStation, Station
from tests.integration.shared import SharedGateway, shared_gateway


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    """The gateway of a module."""
    identities = [f"CS{number:03}" for number in range(256)]
    with shared_gateway(tmp_path_factory.mktemp("gateway"), identities) as gateway:
        yield gateway


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    """The kind of charge point."""
    name: str = request.param
    return name


@pytest.fixture
async def station(peer: str, shared: SharedGateway) -> AsyncIterator[Station]:
    """A station that has booted and is available."""
    async with shared.place() as place:
        station = PackageStation(place) if peer == PACKAGE else SimulatedStation(place, peer)
        await station.boot()
        yield station
        await station.close()


@pytest.fixture
async def unplugged(shared: SharedGateway) -> AsyncIterator[PackageStation]:
    """The charge point of the ``ocpp`` package, which has never been connected."""
    async with shared.place() as place:
        station = PackageStation(place)
        yield station
        await station.close()


@pytest.fixture
async def scripted(unplugged: PackageStation) -> PackageStation:
    """The charge point of the ``ocpp`` package, which has booted and is available."""
    await unplugged.boot()
    return unplugged
