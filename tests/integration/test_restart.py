"""The gateway ends in every state of a session and starts again with the same state directory.

It ends by SIGKILL, at which nothing is put in order, or by SIGTERM as on an update. Registers are protocol addresses of
charger 0 (100 + offset) and of its connectors 1 and 2 (712 + offset, 812 + offset); the current transaction of a
connector has offsets 86…99: id tag 798–807, meter value on start 808–809, timestamp 810–811 for connector 1.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import SecurityError
from ocpp.v16 import call, call_result

from ampgate.journal import SCHEMA
from tests.integration.conftest import StartGateway
from tests.integration.peers import Bms, Charger, GatewayProcess, RawCharger, words_of_text

PlugIn = Callable[..., Awaitable[Charger]]
PlugInRaw = Callable[..., Awaitable[RawCharger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]
End = Callable[[GatewayProcess], object]

START = {"connectorId": 1, "idTag": "DRIVER-7", "meterStart": 1234567, "timestamp": "2026-01-31T12:00:00Z"}
STOP = {
    "transactionId": 4711,
    "idTag": "DRIVER-7",
    "meterStop": 1240000,
    "timestamp": "2026-01-31T12:30:00Z",
    "reason": "EVDisconnected",
}
CURRENT = [
    *words_of_text("DRIVER-7", 10),
    *(0x4996, 0xB438),  # 1234567.0
    *(0x697D, 0xEEC0),  # 1769860800
]
SHOWN_STOP = [
    1,
    *words_of_text("DRIVER-7", 10),
    *(0x4997, 0x5E00),  # 1240000.0
    *(0x697D, 0xF5C8),  # 1769862600
    4711,
    2,  # EVDisconnected
]
"""Registers 234…250."""
NOTHING = [0] * 14


@pytest.fixture(params=["kill", "terminate"])
def end(request: pytest.FixtureRequest) -> End:
    """End a gateway."""
    return GatewayProcess.kill if request.param == "kill" else GatewayProcess.terminate


async def begin(charger: RawCharger, bms: Bms, transaction_id: int = 4711, **changes: Any) -> None:
    """A transaction that the BMS accepts."""
    asked = await charger.request("StartTransaction", **START | changes)
    await bms.until(194, 1)
    await bms.write(228, transaction_id)
    await bms.write(214, 1)
    assert (await asked)[2] == {"idTagInfo": {"status": "Accepted"}, "transactionId": transaction_id}
    await bms.until(194, 0)


async def test_start_pending(start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    asked = await charger.request("StartTransaction", **START)
    await bms.until(194, 1)
    await bms.write(228, 4711)  # written, but not processed
    end(gateway)
    assert not asked.done()

    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=False)
    assert await bms.word(194) == 0
    assert await bms.read(798, 14) == NOTHING
    await begin(charger, bms)
    assert await bms.read(798, 14) == CURRENT


async def test_start_processed_and_not_answered(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End
) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    asked = await charger.request("StartTransaction", **START)
    await bms.until(194, 1)
    await charger.close()  # so that the answer cannot reach it
    await bms.until(100, 1)
    await bms.write(215, *words_of_text("FLEET", 10))
    await bms.write(228, 4711)
    await bms.write(214, 1)  # confirmed
    end(gateway)
    assert not asked.done()

    gateway = await start_gateway()
    bms = await poll(gateway)
    assert await bms.read(798, 14) == CURRENT
    assert await bms.read(194, 21) == [0] * 21  # the BMS is not asked again: not now …
    charger = await plug_in_raw(gateway, boot=False)
    for _ in range(2):
        assert await charger.ask("StartTransaction", **START) == {
            "idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET"},
            "transactionId": 4711,
        }
        assert await bms.word(194) == 0  # … and not when the charger comes back
    assert await bms.read(798, 14) == CURRENT


async def test_running(start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End) -> None:
    for cycle in range(3):
        gateway = await start_gateway()
        bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=cycle == 0)
        if cycle == 0:
            await begin(charger, bms)
        assert await bms.read(798, 14) == CURRENT
        assert await bms.read(898, 14) == NOTHING  # connector 2
        status = gateway.status()["chargers"][0]["connectors"][0]
        assert (status["transaction_id"], status["id_tag"]) == (4711, "DRIVER-7")
        end(gateway)

    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=False)
    asked = await charger.request("StopTransaction", **STOP)
    await bms.until(234, *SHOWN_STOP)
    assert await bms.read(798, 14) == NOTHING
    await bms.write(255, 1)
    assert (await asked)[2] == {"idTagInfo": {"status": "Accepted"}}
    end(gateway)

    gateway = await start_gateway()
    bms = await poll(gateway)
    assert await bms.read(798, 14) == NOTHING
    assert await bms.word(234) == 0


async def test_a_refused_start_is_not_shown_after_a_restart_either(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    asked = await charger.request("StartTransaction", **START)
    await bms.until(194, 1)
    await bms.write(227, 1, 9)
    await bms.write(214, 1)
    refused = {"idTagInfo": {"status": "Blocked"}, "transactionId": 9}
    assert (await asked)[2] == refused
    gateway.kill()
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=False)
    assert await bms.read(798, 14) == NOTHING
    assert await charger.ask("StartTransaction", **START) == refused


async def test_stop_pending(start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    await begin(charger, bms)
    asked = await charger.request("StopTransaction", **STOP)
    await bms.until(234, 1)
    end(gateway)
    assert not asked.done()

    gateway = await start_gateway()
    bms = await poll(gateway)
    await bms.until(234, *SHOWN_STOP)  # without the charger
    assert await bms.read(798, 14) == NOTHING
    charger = await plug_in_raw(gateway, boot=False)
    assert await charger.ask("StopTransaction", **STOP) == {}  # known, so it is not held up by the BMS
    assert await bms.read(234, 17) == SHOWN_STOP
    await bms.write(268, 1)
    await bms.write(255, 1)
    await bms.until(234, 0)
    assert await charger.ask("StopTransaction", **STOP) == {"idTagInfo": {"status": "Blocked"}}
    assert await bms.word(234) == 0


async def test_stop_processed_and_not_answered(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End
) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    await begin(charger, bms)
    await charger.request("StopTransaction", **STOP)
    await bms.until(234, 1)
    await charger.close()
    await bms.until(100, 1)
    await bms.write(268, 2)
    await bms.write(255, 1)  # confirmed
    end(gateway)

    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=False)
    assert await bms.word(234) == 0
    assert await charger.ask("StopTransaction", **STOP) == {"idTagInfo": {"status": "Expired"}}
    assert await bms.word(234) == 0
    assert await bms.read(798, 14) == NOTHING


async def test_stops_of_several_connectors_and_chargers_reappear_in_order(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End
) -> None:
    options: dict[str, Any] = {"chargers": ["CP0", "CP1"], "connectors": 3, "bms": {"answer_timeout": 0.1}}
    stops = [(3, 60000, 5), (1, 61000, 6), (2, 9, 7)]  # connector, transaction id, Wh
    gateway = await start_gateway(**options)
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    other = await plug_in_raw(gateway, "CP1")
    for connector, transaction_id, _ in stops:
        # The BMS has 0.1 s; when this computer is too slow for that the gateway takes an id of its own.
        asked = await charger.request("StartTransaction", **START | {"connectorId": connector})
        await bms.until(194, 1, connector)
        await bms.write(228, transaction_id, *[0] * 5)
        await bms.write(214, 1)
        await asked
        await bms.until(194, 0)
    for _, transaction_id, energy in stops:
        stop = STOP | {"transactionId": transaction_id, "meterStop": energy}
        assert await charger.ask("StopTransaction", **stop) == {}
    assert await other.ask("StopTransaction", **STOP | {"transactionId": 1, "meterStop": 8}) == {}
    await bms.until(234, 1)

    for done, (_, transaction_id, energy) in enumerate(stops):
        end(gateway)
        gateway = await start_gateway(**options)
        bms = await poll(gateway)
        for _, waiting, energy_ in stops[done : done + 1]:
            await bms.until(234, 1)
            assert await bms.word(249) == waiting == transaction_id
            assert await bms.float(245) == energy_ == energy
        await bms.until(2234, 1)  # of charger 1, all the time
        assert await bms.float(2245) == 8.0
        await bms.write(255, 1)
    await bms.until(234, 0)
    end(gateway)
    gateway = await start_gateway(**options)
    bms = await poll(gateway)
    await bms.until(2234, 1)
    assert await bms.word(234) == 0
    for connector in (1, 2, 3):
        assert await bms.read(698 + 100 * connector, 14) == NOTHING


async def test_transaction_ids_go_on(start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, end: End) -> None:
    given: list[int] = []
    for cycle, wanted in enumerate((0, 0, 500, 0, 3, 0)):
        gateway = await start_gateway()
        bms, charger = await poll(gateway), await plug_in_raw(gateway, boot=cycle == 0)
        asked = await charger.request("StartTransaction", **START | {"meterStart": cycle})
        await bms.until(194, 1)
        await bms.write(228, wanted)
        await bms.write(214, 1)
        given.append((await asked)[2]["transactionId"])
        assert await bms.word(228) == given[-1]
        end(gateway)
    assert given == [1, 2, 500, 501, 3, 502]


async def test_accepted_boots_are_kept(start_gateway: StartGateway, plug_in: PlugIn, poll: Poll, end: End) -> None:
    gateway = await start_gateway(chargers=["CP0", "CP1"])
    charger = await plug_in(gateway, boot=False)
    await charger.boot("Schneider Electric", "EVlink", charge_point_serial_number="POINT-22")
    end(gateway)

    gateway = await start_gateway(chargers=["CP0", "CP1"])
    bms = await poll(gateway)
    assert await bms.read(100, 14) == [1] + [0] * 13  # not connected, no box serial number
    assert await bms.text(114, 13) == "POINT-22"
    assert await bms.text(127, 10) == "Schneider Electric"
    assert await bms.text(137, 10) == "EVlink"
    charger = await plug_in(gateway, boot=False)
    await charger.ask(call.Heartbeat())
    await bms.until(100, 0)
    await charger.status(1, "Available")
    await bms.write(366, 1)  # ClearCache: the gateway calls it, too
    await charger.until_asked("ClearCache")
    stranger = await plug_in(gateway, "CP1", boot=False)
    with pytest.raises(SecurityError):
        await stranger.ask(call.Heartbeat())


async def test_local_lists_are_kept(start_gateway: StartGateway, plug_in: PlugIn, poll: Poll, end: End) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in(gateway)
    charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=7)
    await bms.write(437, 1, *words_of_text("TAG-1", 10))
    await bms.write(436, 1)
    await bms.until(436, 0)
    end(gateway)

    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in(gateway, boot=False)
    await charger.ask(call.Heartbeat())
    charger.replies["SendLocalList"] = call_result.SendLocalList(status="VersionMismatch")
    await bms.write(437, 1, *words_of_text("TAG-2", 10))
    await bms.write(436, 1)
    await bms.until(436, 0)
    sent = [
        (payload["list_version"], payload["update_type"], [e["id_tag"] for e in payload["local_authorization_list"]])
        for action, payload in charger.asked
        if action == "SendLocalList"
    ]
    assert sent == [(9, "Differential", ["TAG-2"]), (9, "Full", ["TAG-1", "TAG-2"])]
    assert "GetLocalListVersion" not in dict(charger.asked)


# The file


async def test_a_damaged_journal_does_not_keep_the_gateway_from_working(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll, state: Path
) -> None:
    file = state / "journal.db"
    file.write_bytes(b"\xff" * 20000)
    gateway = await start_gateway()
    gateway.troubles_expected.append("journal.db is damaged")
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    await begin(charger, bms)
    assert f"{file} is damaged (file is not a database): moved to {file}.damaged-" in gateway.log
    gateway.kill()
    gateway = await start_gateway()
    assert await (await poll(gateway)).read(798, 14) == CURRENT


async def test_the_journal_of_a_newer_version_is_refused(state: Path, start_gateway: StartGateway) -> None:
    with closing(sqlite3.connect(state / "journal.db")) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(AssertionError, match=rf"has schema 99, this version of ampgate reads {SCHEMA}"):
        await start_gateway()


async def test_a_second_gateway_on_the_same_state_is_refused_and_disturbs_nothing(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway()
    bms, charger = await poll(gateway), await plug_in_raw(gateway)
    await begin(charger, bms)
    asked = await charger.request("StopTransaction", **STOP)
    await bms.until(234, 1)
    second = GatewayProcess(
        {"modbus": {"tcp": {"port": 0}}, "ocpp": {"port": 0}, "charger": [{"id": "CP0"}]},
        gateway.log_path.parent / "second",
        gateway.state,
    )
    assert second.process.wait(10) == 1
    assert "another gateway is running" in second.log
    await bms.write(255, 1)
    assert (await asked)[2] == {"idTagInfo": {"status": "Accepted"}}
    gateway.kill()
    gateway = await start_gateway()
    assert await (await poll(gateway)).word(234) == 0
