"""A gateway process that the certification cases of a module share: each case gets a charger of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.octt import Station
from tests.integration.shared import SharedGateway, shared_gateway


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    """The gateway of a module."""
    identities = [f"CS{number:02}" for number in range(48)]
    with shared_gateway(tmp_path_factory.mktemp("gateway"), identities) as gateway:
        yield gateway


@pytest.fixture
async def unplugged(shared: SharedGateway) -> AsyncIterator[Station]:
    """A station that has never been connected."""
    async with shared.place() as place:
        station = Station(place)
        yield station
        await station.close()


@pytest.fixture
async def station(unplugged: Station) -> Station:
    """A station that has booted and is available."""
    await unplugged.boot()
    return unplugged
