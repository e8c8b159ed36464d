"""Twenty chargers of seven connectors at once, all talking, and one BMS that answers: nothing gets mixed up.

Addresses are written out from the formulas of the manual: charger 100 + 2000·xx + offset, connector
612 + 2000·xx + 100·yy + offset.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.conftest import StartGateway
from tests.integration.peers import NOON, NOON_EPOCH, Bms, GatewayProcess, RawCharger, words_of_text

CHARGERS, CONNECTORS = range(20), range(1, 8)
RESULTS = ["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
STATUSES = ["Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing", "Reserved"]
ERRORS = ["ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature", "InternalError"]


def tag(charger: int, connector: int) -> str:
    return f"TAG-{charger}-{connector}"


def verdict(charger: int, connector: int) -> int:
    return (charger + connector) % 5


def transaction_id(charger: int, connector: int) -> int:
    return 1000 + 10 * charger + connector


def parse_tag(words: list[int]) -> tuple[int, int]:
    text = b"".join(word.to_bytes(2, "big") for word in words).rstrip(b"\0").decode()
    _, charger, connector = text.split("-")
    return int(charger), int(connector)


def f32(value: float) -> list[int]:
    return list(struct.unpack(">2H", struct.pack(">f", value)))


class Desk:
    """A BMS that polls the flags of all chargers, one after the other, and answers each request by its id tag."""

    def __init__(self, bms: Bms) -> None:
        self._bms = bms
        self.answered = {"authorize": 0, "start": 0, "stop": 0}
        self.staffed = True

    async def run(self) -> None:
        while self.staffed:
            for charger in CHARGERS:
                base = 100 + 2000 * charger
                block = await self._bms.read(base + 64, 92)  # 64 authorize flag … 155 stop processed
                if block[0] and not block[77 - 64]:
                    await self._authorize(charger, base, block)
                if block[94 - 64] and not block[114 - 64]:
                    await self._start(charger, base, block)
                if block[134 - 64] and not block[155 - 64]:
                    await self._stop(charger, base, block)

    async def _authorize(self, charger: int, base: int, block: list[int]) -> None:
        who = parse_tag(block[65 - 64 : 75 - 64])
        assert who[0] == charger
        # 77 processed, 78–87 parent id tag, 88–89 expiry, 90 result
        await self._bms.write(base + 77, 1, *words_of_text(f"P-{who[1]}", 10), 0, 0, verdict(*who))
        self.answered["authorize"] += 1

    async def _start(self, charger: int, base: int, block: list[int]) -> None:
        who = parse_tag(block[96 - 64 : 106 - 64])
        assert who == (charger, block[95 - 64])
        assert block[106 - 64 : 108 - 64] == f32(1000 * charger + who[1])
        # 127 result, 128 transaction id
        await self._bms.write(base + 127, 0, transaction_id(*who))
        await self._bms.write(base + 114, 1)
        self.answered["start"] += 1

    async def _stop(self, charger: int, base: int, block: list[int]) -> None:
        who = parse_tag(block[135 - 64 : 145 - 64])
        assert who[0] == charger
        assert block[145 - 64 : 147 - 64] == f32(2000 * charger + who[1])
        assert block[149 - 64 : 151 - 64] == [transaction_id(*who), who[1] + 1]
        await self._bms.write(base + 168, verdict(*who))
        await self._bms.write(base + 155, 1)
        self.answered["stop"] += 1


@asynccontextmanager
async def staffed(bms: Bms) -> AsyncIterator[Desk]:
    desk = Desk(bms)
    work = asyncio.create_task(desk.run())
    try:
        yield desk
    finally:
        desk.staffed = False  # a client of pymodbus cannot be cancelled within a request
        await work


async def together(charger: RawCharger, action: str, payloads: list[dict[str, Any]]) -> list[Any]:
    """Send a message for each connector before the first one is answered."""
    answers = [await charger.request(action, **payload) for payload in payloads]
    frames = await asyncio.gather(*answers)
    assert all(frame[0] == 3 for frame in frames), frames
    return [frame[2] for frame in frames]


def samples(charger: int, connector: int) -> list[dict[str, Any]]:
    return [
        {"timestamp": NOON, "sampledValue": [
            {"value": f"{charger}.{connector}{line}", "measurand": "Current.Import", "phase": f"L{line}"}
            for line in (1, 2, 3)
        ] + [{"value": f"{100 * charger + connector}"}]}
    ]  # fmt: skip


async def begin(charger: RawCharger, xx: int) -> None:
    await charger.boot()
    await together(
        charger,
        "StatusNotification",
        [
            {"connectorId": yy, "errorCode": ERRORS[(xx + yy) % 5], "status": STATUSES[(xx + yy) % 7]}
            for yy in CONNECTORS
        ],
    )
    answers = await together(charger, "Authorize", [{"idTag": tag(xx, yy)} for yy in CONNECTORS])
    assert answers == [
        {"idTagInfo": {"status": RESULTS[verdict(xx, yy)], "parentIdTag": f"P-{yy}"}} for yy in CONNECTORS
    ]
    answers = await together(
        charger,
        "StartTransaction",
        [
            {"connectorId": yy, "idTag": tag(xx, yy), "meterStart": 1000 * xx + yy, "timestamp": NOON}
            for yy in CONNECTORS
        ],
    )
    assert answers == [
        {"idTagInfo": {"status": "Accepted"}, "transactionId": transaction_id(xx, yy)} for yy in CONNECTORS
    ]
    await together(charger, "MeterValues", [{"connectorId": yy, "meterValue": samples(xx, yy)} for yy in CONNECTORS])


REASONS = ["DeAuthorized", "EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss", "Reboot"]


async def end(charger: RawCharger, xx: int) -> None:
    answers = await together(
        charger,
        "StopTransaction",
        [
            {
                "transactionId": transaction_id(xx, yy),
                "idTag": tag(xx, yy),
                "meterStop": 2000 * xx + yy,
                "timestamp": NOON,
                "reason": [*REASONS, "Remote"][yy + 1],
            }
            for yy in CONNECTORS
        ],
    )
    assert answers == [{"idTagInfo": {"status": RESULTS[verdict(xx, yy)]}} for yy in CONNECTORS]


@pytest.mark.timeout(45)
async def test_twenty_chargers_of_seven_connectors(
    start_gateway: StartGateway,
    plug_in_raw: Callable[..., Awaitable[RawCharger]],
    poll: Callable[[GatewayProcess], Awaitable[Bms]],
) -> None:
    gateway = await start_gateway(chargers=[f"CP{xx}" for xx in CHARGERS], connectors=7, bms={"answer_timeout": 600})
    bms, watcher = await poll(gateway), await poll(gateway)
    chargers = await asyncio.gather(*(plug_in_raw(gateway, f"CP{xx}", boot=False) for xx in CHARGERS))
    async with staffed(bms) as desk, asyncio.timeout(30):
        await asyncio.gather(*(begin(charger, xx) for xx, charger in enumerate(chargers)))
        assert desk.answered == {"authorize": 140, "start": 140, "stop": 0}
        for xx in CHARGERS:
            assert await watcher.text(100 + 2000 * xx + 37, 10) == "Raw"
            for yy in CONNECTORS:
                block = await watcher.read(612 + 2000 * xx + 100 * yy, 100)
                assert block[2:4] == [(xx + yy) % 7, (xx + yy) % 5]
                assert block[11:18] == [word for line in (1, 2, 3) for word in f32(float(f"{xx}.{yy}{line}"))] + [10]
                assert block[28:31] == [*f32(100 * xx + yy), 0]
                assert block[86:100] == [
                    *words_of_text(tag(xx, yy), 10),
                    *f32(1000 * xx + yy),
                    NOON_EPOCH >> 16,
                    NOON_EPOCH & 0xFFFF,
                ]
        await asyncio.gather(*(end(charger, xx) for xx, charger in enumerate(chargers)))
        assert desk.answered == {"authorize": 140, "start": 140, "stop": 140}
        for xx in CHARGERS:
            await watcher.until(100 + 2000 * xx + 134, 0)
            for yy in CONNECTORS:
                assert await watcher.read(612 + 2000 * xx + 100 * yy + 86, 14) == [0] * 14
    status = gateway.status()
    assert all(charger["waiting"] == [] for charger in status["chargers"])
    assert status["ocpp"]["connected"] == 20


async def test_operations_of_twenty_chargers_do_not_wait_for_each_other(
    start_gateway: StartGateway,
    plug_in_raw: Callable[..., Awaitable[RawCharger]],
    poll: Callable[[GatewayProcess], Awaitable[Bms]],
) -> None:
    gateway = await start_gateway(chargers=[f"CP{xx}" for xx in CHARGERS], connectors=7)
    bms = await poll(gateway)
    chargers = await asyncio.gather(*(plug_in_raw(gateway, f"CP{xx}") for xx in CHARGERS))
    for xx, charger in enumerate(chargers):
        if xx != 3:  # this one does not answer
            charger.replies["RemoteStartTransaction"] = {"status": ["Accepted", "Rejected"][xx % 2]}
        # 376 flag, 377 connector, 378–387 id tag
        await bms.write(100 + 2000 * xx + 376, 1, 1 + xx % 7, *words_of_text(f"TAG-{xx}", 10))
    for xx, charger in enumerate(chargers):
        if xx == 3:
            continue
        await bms.until(100 + 2000 * xx + 376, 0)
        assert await bms.word(100 + 2000 * xx + 392) == xx % 2
        [call] = charger.calls
        assert call[2:] == ["RemoteStartTransaction", {"connectorId": 1 + xx % 7, "idTag": f"TAG-{xx}"}]
    assert await bms.word(100 + 2000 * 3 + 376) == 1
