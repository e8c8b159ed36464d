"""Every kind of simulated charger at a real gateway process: what a BMS sees of a session, and over a restart.

Addresses are those of the original's map for charger 0 and its connector 1. The certification cases run against the
same chargers in tests/conformance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import vehicle
from tests.integration.conftest import StartGateway
from tests.integration.peers import DEADLINE, Bms, GatewayProcess, until, words_of_text
from tests.integration.shared import Place, SharedGateway, shared_gateway
from tests.integration.simulated import at, connected

Poll = Callable[[GatewayProcess], Awaitable[Bms]]
every_profile = pytest.mark.parametrize("profile", PROFILES)

IDENTITY = {
    "generic": ("ampgate", "Simulated AC-22"),
    "core": ("ampgate", "Simulated AC-22 Core"),
    "dc": ("ampgate", "Simulated DC-120"),
    "misbehaving": ("ampgate", "Simulated Rascal"),
    "evlink": ("Schneider Electric", "EVlink Smart Wallbox"),
    "evlink-parking": ("Schneider Electric", "EVlink Parking"),
    "evlink-city": ("Schneider Electric", "EVlink City"),
}
PHASED = ("generic", "core", "misbehaving")
"""Those that send a current for each phase by default; the others send one, or none."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    identities = [f"PR{number:02}" for number in range(24)]
    bms = {"policy": "accept", "answer_timeout": 0.05}
    with shared_gateway(tmp_path_factory.mktemp("gateway"), identities, bms=bms) as gateway:
        yield gateway


async def confirm_stop(place: Place | Bms) -> None:
    bms = place.bms if isinstance(place, Place) else place
    await bms.until(234, 1)  # Stop Transaction Flag
    await bms.write(255, 1)  # processed
    await bms.until(234, 0)


@every_profile
async def test_a_session(profile: str, shared: SharedGateway) -> None:
    async with connected(shared, profile) as (place, charger):
        bms, connector = place.bms, charger.connector(1)
        vendor, model = IDENTITY[profile]
        assert await bms.text(127, 10) == vendor
        assert await bms.text(137, 10) == model
        charger.plug_in(1, vehicle(connector.supply, 40))
        assert await charger.present(1, "CARD")
        await bms.until(714, 2)  # Charging
        assert await bms.text(798, 10) == "CARD"  # Id Tag of the current transaction
        start = await bms.float(808)

        async def metered() -> bool:
            return await bms.float(740) > start

        await until(metered, "energy")
        if profile in PHASED:
            await until(lambda: _currents(bms, 15), "current on each phase")
        assert connector.transaction is not None
        assert connector.transaction.id is not None
        await bms.write(496, 1, connector.transaction.id)  # Remote Stop Flag, Transaction Id
        await bms.until(496, 0)
        assert await bms.word(501) == 0  # Accepted
        await bms.until(234, 1)
        assert await bms.float(245) == connector.meter
        # without a reason it is Local; all others say Remote
        assert await bms.word(250) == (4 if profile == "misbehaving" else 8)
        await confirm_stop(place)
        charger.unplug(1)
        await bms.until(714, 0)  # Available


async def _currents(bms: Bms, least: float) -> bool:
    return all([await bms.float(address) > least for address in (723, 725, 727)])


@every_profile
async def test_a_session_goes_on_over_a_restart_of_the_gateway(
    profile: str, start_gateway: StartGateway, poll: Poll
) -> None:
    options = {"bms": {"policy": "accept", "answer_timeout": 0.05}}
    gateway = await start_gateway(**options)
    ports = {"ocpp": {"port": gateway.ocpp_port}}
    bms = await poll(gateway)
    async with at(Place(gateway, "CP0", bms), profile) as charger:  # type: ignore[arg-type]
        charger.plug_in(1, vehicle(charger.connector(1).supply, 40))
        assert await charger.until(lambda: charger.online, DEADLINE)
        assert await charger.present(1, "CARD")
        await bms.until(714, 2)  # Charging
        gateway.kill()
        assert await charger.until(lambda: not charger.online, DEADLINE)
        gateway = await start_gateway(**(options | {"ocpp": {"host": "127.0.0.1"} | ports["ocpp"]}))
        bms = await poll(gateway)
        await bms.until(100, 0)  # Charger Communication status
        await bms.until(714, 2)
        assert await bms.read(798, 10) == words_of_text("CARD", 10)
        charger.unplug(1)
        await confirm_stop(bms)
        await bms.until(714, 0)


async def test_both_connectors_of_a_dc_charger(shared: SharedGateway) -> None:
    async with connected(shared, "dc") as (place, charger):
        for connector in (1, 2):
            charger.plug_in(connector, vehicle(charger.connector(connector).supply, 30))
        await asyncio.gather(*(charger.present(connector, f"CARD-{connector}") for connector in (1, 2)))
        await place.bms.until(714, 2)
        await place.bms.until(814, 2)

        async def powerful() -> bool:
            return await place.bms.float(723) > 100 and await place.bms.float(823) > 100  # A

        await until(powerful, "more than 100 A on both")
