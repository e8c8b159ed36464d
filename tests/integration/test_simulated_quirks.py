"""A whole session with a simulated charger for each of its bad manners: the gateway puts up with it.

The trace of the gateway proves that the charger really behaved so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ampgate import control
from ampgate.simulator.operations import SLOW
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.quirks import QUIRKS
from ampgate.simulator.vehicle import Vehicle
from tests.integration.peers import DEADLINE, until
from tests.integration.shared import Place, SharedGateway, shared_gateway
from tests.integration.simulated import at, connected


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    identities = [f"RA{number:02}" for number in range(40)]
    tables: dict[str, Any] = {
        "bms": {"policy": "accept", "answer_timeout": 0.05},
        "ocpp": {"call_timeout": 1 + int(SLOW)},
    }
    with shared_gateway(tmp_path_factory.mktemp("gateway"), identities, **tables) as gateway:
        yield gateway


def said(place: Place) -> list[str]:
    """What the gateway got of the charger of this place, as it came over the wire."""
    frames = control.ask(place.gateway.state / "control.sock", "trace", count=10_000)
    return [frame["data"] for frame in frames if frame["peer"] == f"ocpp {place.identity}" and not frame["sent"]]


def some(pattern: str, times: int = 1) -> Callable[[list[str]], bool]:
    return lambda frames: sum(bool(re.search(pattern, frame)) for frame in frames) >= times


def none(pattern: str) -> Callable[[list[str]], bool]:
    return lambda frames: not some(pattern)(frames)


def all_of(action: str, *patterns: str) -> Callable[[list[str]], bool]:
    """Every frame of this action has these patterns."""

    def found(frames: list[str]) -> bool:
        chosen = [frame for frame in frames if f'"{action}"' in frame]
        return bool(chosen) and all(re.search(pattern, frame) for frame in chosen for pattern in patterns)

    return found


SEEN: dict[str, Callable[[list[str]], bool]] = {
    "no-connector-0": none(r'"StatusNotification",{"connectorId":0'),
    "long-serials": all_of("BootNotification", r'Serial\w*":"\d{34}"'),
    "long-texts": all_of("StatusNotification", r'"info":"[^"]{78}'),
    "own-codes": all_of("StatusNotification", '"errorCode":"Gremlins"'),
    "extra-fields": all_of("StartTransaction", r'"vendorSays":{"mood":"fine"}'),
    "no-timezone": all_of("StartTransaction", r'"timestamp":"[\dT:-]{19}"'),
    "short-timezone": all_of("StartTransaction", r'"timestamp":"[\dT:-]{19}\+02"'),
    "no-timestamp": all_of("StartTransaction", '"timestamp":""'),
    "numbers": all_of("MeterValues", r'"value":\d'),
    "decimal-comma": all_of("MeterValues", r'"value":" [\d]+,\d"'),
    "no-units": all_of("MeterValues", r'"value":"[^}]*"phase":"L1"}'),
    "phases-to-neutral": all_of("MeterValues", r'Current.Import","unit":"A","phase":"L1-N"|"phase":"L1-N","unit":"A"'),
    "celcius": all_of("MeterValues", '"Celcius"'),
    "repeated-begin": all_of("MeterValues", '"value":"0","context":"Transaction.Begin"'),
    "no-reason": all_of("StopTransaction", r"^(?!.*reason)"),
    "lost-transaction": all_of("StopTransaction", '"transactionId":-1'),
    "broken-json": all_of("MeterValues", r'"sampledValue":\[,'),
    "number-ids": all_of("StartTransaction", r"^\[2, ?\d+,"),
    "resend": some('"StartTransaction"', 2),
    "unasked-answers": some("nobody-asked", 3),
    "binary-frames": some('"StartTransaction"'),  # the opcode is not in the trace
    "no-subprotocol": some('"StartTransaction"'),
    "no-upgrade-header": some('"StartTransaction"'),
    "no-boot": lambda frames: '"BootNotification"' not in frames[0],
    "mute": some('"StartTransaction"'),
    "slow": some('"StartTransaction"'),
    "rejects-profiles": some('"StartTransaction"'),
}
"""How each bad manner shows in what the gateway gets."""


async def session(shared: SharedGateway, profile: str, quirks: frozenset[str]) -> list[str]:
    """A session by card; the BMS sees status, measurements, and the stop. Returns what the charger said."""
    async with connected(shared, profile, quirks=quirks) as (place, charger):
        bms = place.bms
        charger.plug_in(1, Vehicle(soc=30))
        assert await charger.present(1, "CARD")
        await bms.until(714, 2)  # Charging
        energy = charger.connector(1).meter

        async def metered() -> bool:
            return await bms.float(740) > energy and await bms.float(723) > 5  # Wh; A on L1

        await until(metered, "energy and current in the registers")
        charger.unplug(1)
        await bms.until(234, 1)  # Stop Transaction Flag
        assert await bms.float(245) == charger.connector(1).meter
        while await bms.word(234):  # resent ones are shown once, so this ends
            await bms.write(255, 1)
            await bms.until(255, 0)
        await bms.until(714, 0)  # Available
        return said(place)


def test_every_quirk_is_looked_for() -> None:
    assert set(SEEN) == set(QUIRKS)


@pytest.mark.parametrize("quirk", SEEN)
async def test_a_session_with_a_quirk(quirk: str, shared: SharedGateway) -> None:
    frames = await session(shared, "generic", frozenset({quirk}))
    assert SEEN[quirk](frames), "\n".join(frame[:400] for frame in frames)


async def test_a_session_with_all_that_the_rascal_does(shared: SharedGateway) -> None:
    frames = await session(shared, "misbehaving", frozenset())
    text = "\n".join(frame[:400] for frame in frames)
    assert PROFILES["misbehaving"].quirks
    for quirk in PROFILES["misbehaving"].quirks - {"number-ids"}:
        assert SEEN[quirk](frames), f"{quirk}\n{text}"
    assert all(isinstance(json.loads(frame)[1], int) for frame in frames if '"StartTransaction"' in frame)


async def clear_cache(place: Place) -> int:
    await place.bms.write(366, 1)
    await place.bms.until(366, 0)
    return await place.bms.word(371)


async def test_a_mute_charger_is_a_timeout(shared: SharedGateway) -> None:
    async with connected(shared, "generic", quirks=frozenset({"mute"})) as (place, _):
        assert await clear_cache(place) == 20


async def test_a_slow_charger_is_waited_for(shared: SharedGateway) -> None:
    async with connected(shared, "generic", quirks=frozenset({"slow"})) as (place, _):
        assert await clear_cache(place) == 0


async def test_a_charger_without_manners_in_the_handshake_connects(shared: SharedGateway) -> None:
    """What goes into the handshake is in the headers: the library's own request proves that they are missing."""
    quirks = frozenset({"no-subprotocol", "no-upgrade-header"})
    async with shared.place() as place, at(place, "generic", quirks=quirks) as charger:
        assert await charger.until(lambda: charger.online, DEADLINE)
        link = charger.connection._link
        assert link is not None
        headers = link._websocket.request.headers  # type: ignore[union-attr]
        assert "Connection" not in headers
        assert "Sec-WebSocket-Protocol" not in headers
