"""Every handshake of the manual between a charge point and a BMS, through a real gateway process.

The numbers are protocol addresses of the original's register map (configuration guide r1.2, appendix 2) for charger 0,
100 + 0·2000 + offset, and its connector 1, 612 + 0·2000 + 1·100 + offset, unless a comment says otherwise.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import ocpp.exceptions
import pytest
from ocpp.v16 import call, call_result

from tests.integration.conftest import StartGateway
from tests.integration.peers import (
    DEADLINE,
    NOON,
    REFUSED,
    Bms,
    Charger,
    GatewayProcess,
    RawCharger,
    words_of_text,
)
from tests.integration.shared import Place, SharedGateway, shared_gateway

PlugIn = Callable[..., Awaitable[Charger]]
PlugInRaw = Callable[..., Awaitable[RawCharger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]

RESULTS = ["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
"""Authorization result: the values 0…4."""
NOON_WORDS = [0x697D, 0xEEC0]
"""`NOON_EPOCH` in two registers."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    """A gateway with default settings."""
    with shared_gateway(tmp_path_factory.mktemp("gateway"), [f"SE{number:03}" for number in range(160)]) as gateway:
        yield gateway


@pytest.fixture
def bms(place: Place) -> Bms:
    """A BMS that sees this charger as charger 0."""
    return place.bms


@pytest.fixture
async def charger(place: Place, plug_in: PlugIn) -> Charger:
    """The charge point at its place, booted."""
    return await plug_in(place.gateway, place.identity)


@pytest.fixture
async def raw(place: Place, plug_in_raw: PlugInRaw) -> RawCharger:
    """A charge point that sends what the test writes, booted."""
    return await plug_in_raw(place.gateway, place.identity)


def seconds_off(timestamp: str) -> float:
    return abs((datetime.fromisoformat(timestamp) - datetime.now(UTC)).total_seconds())


# Boot and connection


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_boot_fills_the_charger_information(
    loop: str, start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    gateway = await start_gateway(loop=loop, ocpp={"heartbeat_interval": 77})
    bms = await poll(gateway)
    assert await bms.word(100) == 1  # Charger Communication status: error
    charger = await plug_in(gateway, boot=False)
    await bms.until(100, 0)
    answer = await charger.boot(
        "Schneider Electric", "EVlink", charge_box_serial_number="BOX-1", charge_point_serial_number="POINT-22"
    )
    assert answer.interval == 77
    assert answer.current_time.endswith("Z")
    assert seconds_off(answer.current_time) < 5
    assert await bms.text(101, 13) == "BOX-1"
    assert await bms.text(114, 13) == "POINT-22"
    assert await bms.text(127, 10) == "Schneider Electric"
    assert await bms.text(137, 10) == "EVlink"
    await charger.close()
    await bms.until(100, 1)
    assert await bms.text(127, 10) == "Schneider Electric"  # the last values stay


async def test_serial_numbers_longer_than_ocpp_allows_boot_all_the_same(raw: RawCharger, bms: Bms) -> None:
    serial = "3N190123456Y1B1B7B2118000D4001234567"  # an EVlink has 33 to 34 characters, OCPP allows 25
    answer = await raw.ask(
        "BootNotification", chargePointVendor="S", chargePointModel="E", chargeBoxSerialNumber=serial
    )
    assert answer["status"] == "Accepted"
    assert await bms.read(101, 13) == words_of_text(serial[:26], 13)


async def test_nothing_but_a_boot_is_answered_before_the_first_boot(place: Place, plug_in: PlugIn) -> None:
    charger = await plug_in(place.gateway, place.identity, boot=False)
    with pytest.raises(ocpp.exceptions.SecurityError):
        await charger.ask(call.Heartbeat())
    await charger.boot()
    assert seconds_off((await charger.ask(call.Heartbeat())).current_time) < 5


async def test_a_booted_charger_stays_accepted_when_it_reconnects(place: Place, plug_in: PlugIn) -> None:
    await (await plug_in(place.gateway, place.identity)).close()
    charger = await plug_in(place.gateway, place.identity, boot=False)
    await charger.ask(call.Heartbeat())


# Status


async def test_every_status(charger: Charger, bms: Bms) -> None:
    statuses = ["Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing", "Reserved"]
    for number, status in enumerate([*statuses, "Unavailable", "Faulted"]):
        await charger.status(1, status)
        await charger.status(2, statuses[number % 3])
        # Availability, status, errorCode; 6 is NoError. Connector 2 is at 812.
        assert await bms.read(713, 3) == [status != "Unavailable", number, 6]
        assert await bms.read(813, 3) == [1, number % 3, 6]
    await charger.status(0, "Unavailable")
    assert await bms.read(613, 3) == [0, 7, 6]  # connector 0: the charger as a whole
    assert await bms.word(714) == 8


async def test_every_error_code(charger: Charger, bms: Bms) -> None:
    codes = [
        "ConnectorLockFailure",
        "EVCommunicationError",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "LocalListConflict",
        "NoError",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    ]
    assert await bms.word(715) == 6  # before any status: no error
    for number, code in enumerate(codes):
        await charger.status(1, "Faulted", code)
        assert await bms.read(714, 2) == [8, number]
    assert len(codes) == 16


async def test_an_unknown_error_code_is_other_error(raw: RawCharger, bms: Bms) -> None:
    await raw.ask("StatusNotification", connectorId=1, errorCode="Gremlins", status="Faulted")
    assert await bms.read(714, 2) == [8, 7]


async def test_a_connector_that_is_not_configured_is_answered_and_not_shown(charger: Charger, bms: Bms) -> None:
    await charger.status(3, "Charging")
    assert await bms.refusal(912, 0) == 2  # the address of connector 3 does not exist


# Messages that only have to be answered


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (call.DataTransfer(vendor_id="org.example", data="x"), call_result.DataTransfer(status="UnknownVendorId")),
        (call.DiagnosticsStatusNotification(status="Uploaded"), call_result.DiagnosticsStatusNotification()),
        (call.FirmwareStatusNotification(status="Installed"), call_result.FirmwareStatusNotification()),
        (
            call.SecurityEventNotification(type="FirmwareUpdated", timestamp=NOON, tech_info=""),
            call_result.SecurityEventNotification(),
        ),
        (call.LogStatusNotification(status="Idle", request_id=1), call_result.LogStatusNotification()),
        (
            call.SignedFirmwareStatusNotification(status="Idle", request_id=1),
            call_result.SignedFirmwareStatusNotification(),
        ),
        (call.SignCertificate(csr="-----BEGIN"), call_result.SignCertificate(status="Rejected")),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_answered_message(request_: Any, answer: Any, charger: Charger) -> None:
    assert await charger.ask(request_) == answer


async def test_messages_of_a_central_system_are_not_supported(raw: RawCharger) -> None:
    for action, payload in {
        "Reset": {"type": "Soft"},
        "ClearCache": {},
        "RemoteStopTransaction": {"transactionId": 1},
        "TriggerMessage": {"requestedMessage": "Heartbeat"},
        "GetLog": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "ftp://x"}},
    }.items():
        answer = await raw.request(action, **payload)
        assert (await answer)[2] == "NotSupported"


# Authorize


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_authorize_with_every_result(loop: str, start_gateway: StartGateway, plug_in: PlugIn, poll: Poll) -> None:
    gateway = await start_gateway(loop=loop)
    bms, charger = await poll(gateway), await plug_in(gateway)
    for number, result in enumerate(RESULTS):
        asked = asyncio.create_task(charger.ask(call.Authorize(id_tag=f"TAG-{number}")))
        await bms.until(164, 1)
        assert await bms.text(165, 10) == f"TAG-{number}"
        assert await bms.read(175, 16) == [0] * 16  # not used, processed, parent id tag, expiry, result: cleared
        await bms.write_text(178, 10, "FAMILY" if number else "")
        await bms.write(188, *(NOON_WORDS if number else [0, 0]))
        await bms.write(190, number)
        assert not asked.done()
        await bms.write(177, 1)
        info = (await asked).id_tag_info
        await bms.until(164, 0)
        assert await bms.word(177) == 0
        if number:
            assert info == {"status": result, "parent_id_tag": "FAMILY", "expiry_date": NOON}
        else:
            assert info == {"status": "Accepted"}


async def test_answer_and_processed_may_come_in_one_write(charger: Charger, bms: Bms) -> None:
    asked = asyncio.create_task(charger.ask(call.Authorize(id_tag="TAG")))
    await bms.until(164, 1)
    await bms.write(177, 1, *words_of_text("P", 10), 0, 0, 1)  # 177…190: processed first, result last
    assert (await asked).id_tag_info == {"status": "Blocked", "parent_id_tag": "P"}


async def test_a_long_id_tag_is_cut_to_its_registers(raw: RawCharger, bms: Bms) -> None:
    asked = await raw.request("Authorize", idTag="0123456789012345678901234")
    await bms.until(164, 1)
    assert await bms.read(165, 10) == words_of_text("01234567890123456789", 10)
    await bms.write(177, 1)
    assert (await asked)[0] == 3


async def test_several_requests_are_shown_one_after_the_other(raw: RawCharger, bms: Bms) -> None:
    """OCPP allows one CALL at a time; charge points with several connectors do not always keep to it."""
    asked = {tag: await raw.request("Authorize", idTag=tag) for tag in ("A", "B", "C")}
    for number, tag in enumerate(asked):
        await bms.until(164, 1)
        assert await bms.text(165, 10) == tag
        await bms.write(190, number)
        await bms.write(177, 1)
        assert (await asked[tag])[2] == {"idTagInfo": {"status": RESULTS[number]}}
    await bms.until(164, 0)


async def test_starts_of_two_connectors_are_not_mixed_up(raw: RawCharger, bms: Bms) -> None:
    asked = [
        await raw.request(
            "StartTransaction", connectorId=connector, idTag=f"T{connector}", meterStart=0, timestamp=NOON
        )
        for connector in (2, 1)
    ]
    for connector, answer in zip((2, 1), asked, strict=True):
        await bms.until(194, 1, connector)
        await bms.write(228, 100 + connector)
        await bms.write(214, 1)
        assert (await answer)[2] == {"idTagInfo": {"status": "Accepted"}, "transactionId": 100 + connector}
    assert await bms.text(798, 10) == "T1"
    assert await bms.text(898, 10) == "T2"


async def test_a_request_does_not_hold_up_other_messages(raw: RawCharger, bms: Bms) -> None:
    authorized = await raw.request("Authorize", idTag="A")
    await bms.until(164, 1)
    assert "currentTime" in await raw.ask("Heartbeat")
    await raw.ask("StatusNotification", connectorId=1, errorCode="NoError", status="Preparing")
    assert await bms.word(714) == 1
    assert not authorized.done()
    await bms.write(177, 1)
    await authorized


async def test_the_charger_goes_while_its_authorize_waits(raw: RawCharger, bms: Bms) -> None:
    asked = await raw.request("Authorize", idTag="A")
    await bms.until(164, 1)
    await raw.close()
    await bms.until(164, 0)
    await bms.until(100, 1)
    assert not asked.done()


async def test_processed_without_a_request_is_taken_back(raw: RawCharger, bms: Bms) -> None:
    for processed in (177, 214, 255):
        await bms.write(processed, 1)
        assert await bms.word(processed) == 0
    asked = await raw.request("Authorize", idTag="A")
    await bms.until(164, 1)
    assert "currentTime" in await raw.ask("Heartbeat")  # a whole round trip later …
    assert await bms.word(164) == 1  # … nothing that was written before has answered it
    assert not asked.done()
    await bms.write(177, 1)
    await asked


async def test_processed_0_does_not_answer(raw: RawCharger, bms: Bms) -> None:
    asked = await raw.request("Authorize", idTag="A")
    await bms.until(164, 1)
    await bms.write(177, 0)
    await raw.ask("Heartbeat")
    assert not asked.done()
    await bms.write(177, 1)
    assert (await asked)[2]["idTagInfo"]["status"] == "Accepted"


# StartTransaction, local stop, current transaction


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_transaction(loop: str, start_gateway: StartGateway, plug_in: PlugIn, poll: Poll) -> None:
    gateway = await start_gateway(loop=loop)
    bms, charger = await poll(gateway), await plug_in(gateway)
    request = call.StartTransaction(
        connector_id=1, id_tag="DRIVER-7", meter_start=1234567, timestamp=NOON, reservation_id=9
    )
    asked = asyncio.create_task(charger.ask(request))
    await bms.until(194, 1)
    assert await bms.word(195) == 1
    assert await bms.text(196, 10) == "DRIVER-7"
    assert await bms.read(206, 2) == [0x4996, 0xB438]  # 1234567 Wh as float
    assert await bms.word(208) == 9
    assert await bms.read(209, 2) == NOON_WORDS
    assert await bms.read(211, 18) == [0] * 18
    assert await bms.read(798, 14) == [0] * 14  # no current transaction yet
    await bms.write_text(215, 10, "FLEET")
    await bms.write(225, 0x6B36, 0xEC80)  # 2027-01-01T00:00:00Z
    await bms.write(227, 0)
    await bms.write(228, 4711)
    await bms.write(214, 1)
    answer = await asked
    assert answer.transaction_id == 4711
    assert answer.id_tag_info == {
        "status": "Accepted",
        "parent_id_tag": "FLEET",
        "expiry_date": "2027-01-01T00:00:00Z",
    }
    await bms.until(194, 0)
    assert await bms.word(214) == 0
    # Current transaction: id tag, meter value on start, timestamp.
    assert await bms.read(798, 10) == words_of_text("DRIVER-7", 10)
    assert await bms.read(808, 4) == [0x4996, 0xB438, *NOON_WORDS]

    stop = call.StopTransaction(
        meter_stop=1240000, timestamp="2026-01-31T12:00:01Z", transaction_id=4711, id_tag="DRIVER-7", reason="Remote"
    )
    asked = asyncio.create_task(charger.ask(stop))
    await bms.until(234, 1)
    assert await bms.text(235, 10) == "DRIVER-7"
    assert await bms.read(245, 2) == [0x4997, 0x5E00]  # 1240000 Wh
    assert await bms.read(247, 2) == [0x697D, 0xEEC1]
    assert await bms.read(249, 2) == [4711, 8]  # transaction id, reason Remote
    assert await bms.read(798, 14) == [0] * 14
    await bms.write(268, 2)
    await bms.write(255, 1)
    assert (await asked).id_tag_info == {"status": "Expired"}
    await bms.until(234, 0)
    assert await bms.word(255) == 0


@pytest.mark.parametrize("number", range(1, 5))
async def test_a_start_that_the_bms_refuses_shows_no_current_transaction(
    number: int, charger: Charger, bms: Bms
) -> None:
    request = call.StartTransaction(connector_id=2, id_tag="A", meter_start=0, timestamp=NOON)
    asked = asyncio.create_task(charger.ask(request))
    await bms.until(194, 1, 2)
    await bms.write(227, number, 5)
    await bms.write(214, 1)
    answer = await asked
    assert answer.id_tag_info == {"status": RESULTS[number]}
    assert answer.transaction_id == 5
    assert await bms.read(898, 14) == [0] * 14


async def test_transaction_id_0_lets_the_gateway_choose(charger: Charger, bms: Bms) -> None:
    ids = []
    for connector in (1, 2):
        request = call.StartTransaction(connector_id=connector, id_tag="A", meter_start=0, timestamp=NOON)
        asked = asyncio.create_task(charger.ask(request))
        await bms.until(194, 1, connector)
        await bms.write(214, 1)
        ids.append((await asked).transaction_id)
        assert await bms.word(228) == ids[-1]
    assert 0 < ids[0] != ids[1] > 0


async def test_every_stop_reason(charger: Charger, bms: Bms) -> None:
    reasons = [
        "DeAuthorized",
        "EmergencyStop",
        "EVDisconnected",
        "HardReset",
        "Local",
        "Other",
        "PowerLoss",
        "Reboot",
        "Remote",
        "SoftReset",
        "UnlockCommand",
    ]
    for number, reason in enumerate([*reasons, None]):
        stop = call.StopTransaction(meter_stop=number, timestamp=NOON, transaction_id=1, reason=reason)
        asked = asyncio.create_task(charger.ask(stop))
        await bms.until(234, 1)
        assert await bms.word(250) == (4 if reason is None else number)  # left out means Local
        assert await bms.read(235, 10) == [0] * 10  # no id tag was given
        await bms.write(255, 1)
        await asked
        await bms.until(234, 0)


@pytest.mark.parametrize(("transaction_id", "shown"), [(0, 0), (-1, 65535), (4711, 4711)])
async def test_a_stop_of_no_known_transaction_is_shown_and_confirmed(
    transaction_id: int, shown: int, charger: Charger, bms: Bms
) -> None:
    stop = call.StopTransaction(meter_stop=5, timestamp=NOON, transaction_id=transaction_id, id_tag="A")
    asked = asyncio.create_task(charger.ask(stop))
    await bms.until(234, 1)
    assert await bms.word(249) == shown
    await bms.write(255, 1)
    assert (await asked).id_tag_info == {"status": "Accepted"}


async def test_meter_values_of_a_stop_reach_the_connector(charger: Charger, bms: Bms) -> None:
    asked = asyncio.create_task(
        charger.ask(call.StartTransaction(connector_id=1, id_tag="A", meter_start=0, timestamp=NOON))
    )
    await bms.until(194, 1)
    await bms.write(228, 3)
    await bms.write(214, 1)
    await asked
    data = [{"timestamp": NOON, "sampled_value": [{"value": "1234567", "context": "Transaction.End"}]}]
    stop = call.StopTransaction(meter_stop=5, timestamp=NOON, transaction_id=3, transaction_data=data)
    asked = asyncio.create_task(charger.ask(stop))
    await bms.until(234, 1)
    assert await bms.read(740, 3) == [0x4996, 0xB438, 0]  # Energy.Active.Import.Register in Wh
    await bms.write(255, 1)
    await asked


async def test_start_waits_for_the_bms_over_a_lost_connection(place: Place, plug_in_raw: PlugInRaw) -> None:
    start = {"connectorId": 1, "idTag": "A", "meterStart": 7, "timestamp": NOON}
    bms, raw = place.bms, await plug_in_raw(place.gateway, place.identity)
    await raw.request("StartTransaction", **start)
    await bms.until(194, 1)
    await raw.close()
    await bms.until(100, 1)
    assert await bms.read(194, 2) == [1, 1]
    raw = await plug_in_raw(place.gateway, place.identity, boot=False)
    waiting = await raw.request("StartTransaction", **start)  # resent while the BMS still thinks
    await raw.ask("Heartbeat")
    await bms.write(228, 77)
    await bms.write(214, 1)
    assert (await waiting)[2] == {"idTagInfo": {"status": "Accepted"}, "transactionId": 77}
    await bms.until(194, 0)
    # Resent once more, and over another connection: the same answer, and nobody is asked.
    assert (await raw.ask("StartTransaction", **start))["transactionId"] == 77
    await raw.close()
    raw = await plug_in_raw(place.gateway, place.identity, boot=False)
    assert (await raw.ask("StartTransaction", **start))["transactionId"] == 77
    assert await bms.word(194) == 0
    # A start that differs is a new one.
    await raw.request("StartTransaction", **start | {"meterStart": 8})
    await bms.until(194, 1)


async def test_a_resent_stop_gets_the_same_answer_and_is_shown_once(raw: RawCharger, bms: Bms) -> None:
    stop = {"transactionId": 5, "meterStop": 7, "timestamp": NOON, "idTag": "A"}
    first = await raw.request("StopTransaction", **stop)
    await bms.until(234, 1)
    again = await raw.request("StopTransaction", **stop)
    await raw.ask("Heartbeat")
    await bms.write(268, 1)
    await bms.write(255, 1)
    answer = {"idTagInfo": {"status": "Blocked"}}
    assert [(await first)[2], (await again)[2]] == [answer, answer]
    assert await raw.ask("StopTransaction", **stop) == answer
    assert await bms.word(234) == 0


async def test_a_stop_is_confirmed_in_time_and_stays_until_the_bms_has_it(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway(bms={"answer_timeout": 0.2})
    bms, raw = await poll(gateway), await plug_in_raw(gateway)
    for number in (1, 2):
        await raw.ask("StopTransaction", transactionId=number, meterStop=number, timestamp=NOON)
    for number in (1, 2):
        await bms.until(249, number)
        assert await bms.word(234) == 1
        assert await bms.float(245) == number
        assert gateway.status()["chargers"][0]["waiting"] == ["stop_transaction"]
        await bms.write(255, 1)
    await bms.until(234, 0)
    assert await bms.word(255) == 0
    assert gateway.status()["chargers"][0]["waiting"] == []


# A BMS that does not answer


@pytest.mark.parametrize(
    ("policy", "verdicts"),
    [
        ({"policy": "reject"}, {"KNOWN": "Invalid", "OTHER": "Invalid"}),
        ({"policy": "accept"}, {"KNOWN": "Accepted", "OTHER": "Accepted"}),
        ({"policy": "list", "tags": ["known"]}, {"KNOWN": "Accepted", "OTHER": "Invalid"}),
    ],
    ids=["reject", "accept", "list"],
)
async def test_the_policy_decides_when_the_bms_does_not(
    policy: dict[str, Any], verdicts: dict[str, str], start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    gateway = await start_gateway(bms={"answer_timeout": 0.1, **policy})
    bms, charger = await poll(gateway), await plug_in(gateway)
    ids = []
    for connector, (tag, verdict) in enumerate(verdicts.items(), start=1):
        asked = asyncio.create_task(charger.ask(call.Authorize(id_tag=tag)))
        await bms.until(164, 1)
        assert (await asked).id_tag_info == {"status": verdict}
        await bms.until(164, 0)
        start = call.StartTransaction(connector_id=connector, id_tag=tag, meter_start=0, timestamp=NOON)
        answer = await charger.ask(start)  # answered whatever the verdict is, with an id
        assert answer.id_tag_info == {"status": verdict}
        ids.append(answer.transaction_id)
        shown = await bms.text({1: 798, 2: 898}[connector], 10)
        assert shown == (tag if verdict == "Accepted" else "")
    assert 0 < ids[0] != ids[1] > 0


async def test_a_bms_that_stops_its_heartbeat_is_not_waited_for(
    start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    gateway = await start_gateway(bms={"heartbeat_timeout": 0.2, "policy": "accept", "answer_timeout": 600})
    bms, charger = await poll(gateway), await plug_in(gateway)
    await bms.write(0, 1)
    await gateway.logged("has not written its heartbeat")
    async with asyncio.timeout(DEADLINE):
        assert (await charger.ask(call.Authorize(id_tag="A"))).id_tag_info == {"status": "Accepted"}
    await bms.write(0, 1)
    await gateway.logged("writes its heartbeat again")


# Meter values

MEASURANDS = {
    # measurand: registers of the value or of L1, L2, L3; unit register
    "Current.Export": ([716, 718, 720], 722),
    "Current.Import": ([723, 725, 727], 729),
    "Current.Offered": ([730, 732, 734], 736),
    "Energy.Active.Export.Register": ([737], 739),
    "Energy.Active.Import.Register": ([740], 742),
    "Energy.Reactive.Export.Register": ([743], 745),
    "Energy.Reactive.Import.Register": ([746], 748),
    "Energy.Active.Export.Interval": ([749], 751),
    "Energy.Active.Import.Interval": ([752], 754),
    "Energy.Reactive.Export.Interval": ([755], 757),
    "Energy.Reactive.Import.Interval": ([758], 760),
    "Frequency": ([761], 763),
    "Power.Active.Export": ([764], 766),
    "Power.Active.Import": ([767], 769),
    "Power.Factor": ([770], 772),
    "Power.Offered": ([773], 775),
    "Power.Reactive.Export": ([776], 778),
    "Power.Reactive.Import": ([779], 781),
    "RPM": ([782], 784),
    "SoC": ([785], 787),
    "Temperature": ([788], 790),
    "Voltage": ([791, 793, 795], 797),
}
UNITS = [
    "Wh",
    "kWh",
    "varh",
    "kvarh",
    "W",
    "kW",
    "VA",
    "kVA",
    "var",
    "kvar",
    "A",
    "V",
    "Celsius",
    "Fahrenheit",
    "K",
    "Percent",
]
"""Units registers: the values 0…15."""


async def test_l1_current_import_in_raw_registers(charger: Charger, bms: Bms) -> None:
    sample = {"value": "16.25", "measurand": "Current.Import", "phase": "L1", "unit": "A"}
    await charger.ask(call.MeterValues(connector_id=1, meter_value=[{"timestamp": NOON, "sampled_value": [sample]}]))
    assert await bms.read(723, 2) == [0x4182, 0x0000]
    assert await bms.word(729) == 10
    assert await bms.read(716, 7) == [0, 0, 0, 0, 0, 0, 10]  # Current.Export is untouched, its unit is A


async def test_every_measurand_and_phase(charger: Charger, bms: Bms) -> None:
    samples, expected = [], {}
    for number, (measurand, (registers, _)) in enumerate(MEASURANDS.items()):
        for line, register in enumerate(registers, start=1):
            sample: dict[str, Any] = {"value": f"{number}.{line}", "measurand": measurand}
            if len(registers) > 1:
                sample["phase"] = f"L{line}" if number % 2 else f"L{line}-N"
            samples.append(sample)
            expected[register] = float(f"{number}.{line}")
    meter_value = [{"timestamp": NOON, "sampled_value": samples}]
    await charger.ask(call.MeterValues(connector_id=1, meter_value=meter_value))
    block = await bms.read(712, 86)
    got = {
        register: struct.unpack(">f", struct.pack(">2H", *block[register - 712 : register - 710]))[0]
        for register in expected
    }
    assert got == pytest.approx(expected)
    assert len(expected) == 30
    # No unit was sent: those of the standard; 65535 where the map has no word for it.
    assert [block[unit - 712] for _, unit in MEASURANDS.values()] == (
        [10, 10, 10, 0, 0, 2, 2, 0, 0, 2, 2, 65535, 4, 4, 65535, 4, 8, 8, 65535, 15, 12, 11]
    )


async def test_every_unit(charger: Charger, bms: Bms) -> None:
    for number, unit in enumerate(UNITS):
        samples = [{"value": "1", "measurand": measurand, "unit": unit} for measurand in MEASURANDS]
        meter_value = [{"timestamp": NOON, "sampled_value": samples}]
        await charger.ask(call.MeterValues(connector_id=1, meter_value=meter_value))
        block = await bms.read(712, 86)
        assert {block[unit - 712] for _, unit in MEASURANDS.values()} == {number}


# The last charger and its last connector: 100 + 19·2000 = 38100 and 612 + 19·2000 + 7·100 = 39312


async def test_connector_7_of_charger_19(start_gateway: StartGateway, plug_in: PlugIn, poll: Poll) -> None:
    gateway = await start_gateway(chargers=[f"CP{number}" for number in range(20)], connectors=7)
    bms, charger = await poll(gateway), await plug_in(gateway, "CP19", boot=False)
    await bms.until(38100, 0)
    assert await bms.word(100) == 1
    await charger.boot("Last", "One")
    assert await bms.text(38127, 10) == "Last"
    assert await bms.text(38137, 10) == "One"
    await charger.status(7, "Finishing", "WeakSignal")
    assert await bms.read(39312, 4) == [0, 1, 5, 15]  # unlock, availability, status, errorCode
    sample = {"value": "16.25", "measurand": "Current.Import", "phase": "L1"}
    await charger.ask(call.MeterValues(connector_id=7, meter_value=[{"timestamp": NOON, "sampled_value": [sample]}]))
    assert await bms.read(39323, 2) == [0x4182, 0x0000]
    assert await bms.word(39329) == 10

    asked = asyncio.create_task(charger.ask(call.Authorize(id_tag="LAST")))
    await bms.until(38164, 1)
    assert await bms.text(38165, 10) == "LAST"
    await bms.write(38190, 4)
    await bms.write(38177, 1)
    assert (await asked).id_tag_info == {"status": "ConcurrentTx"}

    start = call.StartTransaction(connector_id=7, id_tag="LAST", meter_start=1234567, timestamp=NOON)
    asked = asyncio.create_task(charger.ask(start))
    await bms.until(38194, 1, 7)
    await bms.write(38228, 65535)
    await bms.write(38214, 1)
    assert (await asked).transaction_id == 65535
    assert await bms.read(39398, 10) == words_of_text("LAST", 10)
    assert await bms.read(39408, 4) == [0x4996, 0xB438, *NOON_WORDS]

    await bms.write(38497, 65535)
    await bms.write(38496, 1)
    assert await charger.until_asked("RemoteStopTransaction") == {"transaction_id": 65535}
    await bms.until(38496, 0)
    assert await bms.word(38501) == 0

    asked = asyncio.create_task(
        charger.ask(call.StopTransaction(meter_stop=1240000, timestamp=NOON, transaction_id=65535))
    )
    await bms.until(38234, 1)
    assert await bms.read(38245, 6) == [0x4997, 0x5E00, *NOON_WORDS, 65535, 4]
    await bms.write(38255, 1)
    await asked
    assert await bms.read(39398, 14) == [0] * 14
    assert await bms.refusal(39412, 0) == 2  # behind the last register of the map


# Operations of the BMS

_TAG, _PARENT = words_of_text("TAG-1", 10), words_of_text("FAMILY", 10)

OPERATIONS: dict[str, tuple[dict[int, list[int]], int, dict[str, Any], int, dict[str, int]]] = {
    # action: parameters to write, flag, payload that the charger gets, result register, status to result
    "CancelReservation": ({357: [9]}, 356, {"reservation_id": 9}, 361, {"Accepted": 0, "Rejected": 1}),
    "ClearCache": ({}, 366, {}, 371, {"Accepted": 0, "Rejected": 1}),
    "ClearChargingProfile": (
        {377: [5, 2, 1, 3]},
        376,
        {"id": 5, "connector_id": 2, "charging_profile_purpose": "TxDefaultProfile", "stack_level": 3},
        383,
        {"Accepted": 0, "Unknown": 4},
    ),
    "ReserveNow": (
        {397: [2, *NOON_WORDS, *_TAG, *_PARENT, 11]},
        396,
        {"connector_id": 2, "expiry_date": NOON, "id_tag": "TAG-1", "parent_id_tag": "FAMILY", "reservation_id": 11},
        423,
        {"Accepted": 0, "Rejected": 1, "Faulted": 8, "Occupied": 9, "Unavailable": 10},
    ),
    "Reset": ({}, 426, {"type": "Soft"}, 431, {"Accepted": 0, "Rejected": 1}),
    "TriggerMessage": (
        {467: [4, 2]},
        466,
        {"requested_message": "MeterValues", "connector_id": 2},
        471,
        {"Accepted": 0, "Rejected": 1, "NotImplemented": 11},
    ),
    "RemoteStartTransaction": (
        {477: [2, *_TAG]},
        476,
        {"connector_id": 2, "id_tag": "TAG-1"},
        492,
        {"Accepted": 0, "Rejected": 1},
    ),
    "RemoteStopTransaction": ({497: [99]}, 496, {"transaction_id": 99}, 501, {"Accepted": 0, "Rejected": 1}),
}


@pytest.mark.parametrize("action", OPERATIONS)
async def test_operation(action: str, charger: Charger, bms: Bms) -> None:
    parameters, flag, payload, result, outcomes = OPERATIONS[action]
    for address, values in parameters.items():
        await bms.write(address, *values)
        assert await bms.read(address, len(values)) == values
    for count, (status, number) in enumerate(reversed(outcomes.items()), start=1):
        answer = asyncio.get_running_loop().create_future()
        charger.replies[action] = answer
        await bms.write(flag, 1)
        assert await charger.until_asked(action, count) == payload
        assert await bms.word(flag) == 1
        await bms.write(flag, 0)  # writing 0 to a pending operation's flag is ignored
        assert await bms.word(flag) == 1
        answer.set_result(getattr(call_result, action)(status=status))

        while (block := await bms.read(flag, result - flag + 1))[0]:
            assert block[0] == 1
        assert block[-1] == number  # the result was there before the flag was 0


@pytest.mark.parametrize(
    ("action", "flag", "writes", "payload"),
    [
        ("ClearChargingProfile", 376, {}, {}),  # all parameters at their power-up value 65535: clear all
        ("ClearChargingProfile", 376, {379: [2]}, {"charging_profile_purpose": "TxProfile"}),
        ("ClearChargingProfile", 376, {377: [0]}, {"id": 0}),
        ("TriggerMessage", 466, {467: [0, 0]}, {"requested_message": "BootNotification"}),
        ("TriggerMessage", 466, {467: [1, 0]}, {"requested_message": "DiagnosticsStatusNotification"}),
        ("TriggerMessage", 466, {467: [2, 0]}, {"requested_message": "FirmwareStatusNotification"}),
        ("TriggerMessage", 466, {467: [3, 0]}, {"requested_message": "Heartbeat"}),
        ("TriggerMessage", 466, {467: [5, 1]}, {"requested_message": "StatusNotification", "connector_id": 1}),
        ("RemoteStartTransaction", 476, {477: [0, *_TAG]}, {"id_tag": "TAG-1"}),  # connector 0: left out
        (
            "ReserveNow",
            396,
            {397: [0, *NOON_WORDS, *_TAG]},
            {"connector_id": 0, "expiry_date": NOON, "id_tag": "TAG-1", "reservation_id": 0},
        ),
    ],
)
async def test_operation_with_parameters_left_out(
    action: str, flag: int, writes: dict[int, list[int]], payload: dict[str, Any], *, charger: Charger, bms: Bms
) -> None:
    for address, values in writes.items():
        await bms.write(address, *values)
    await bms.write(flag, 1)
    assert await charger.until_asked(action) == payload
    await bms.until(flag, 0)


async def test_flag_and_parameters_in_one_write(charger: Charger, bms: Bms) -> None:
    await bms.write(476, 1, 1, *_TAG)  # 476…487: the flag comes first
    assert await charger.until_asked("RemoteStartTransaction") == {"connector_id": 1, "id_tag": "TAG-1"}
    await bms.until(476, 0)


async def test_parameters_are_those_of_the_moment_when_the_flag_was_written(charger: Charger, bms: Bms) -> None:
    first = asyncio.get_running_loop().create_future()
    charger.replies["ClearCache"] = first
    await bms.write(366, 1)
    await charger.until_asked("ClearCache")
    await bms.write(497, 5)
    await bms.write(496, 1)  # waits for its turn: the charger gets one CALL at a time
    await bms.write(497, 6)
    assert [action for action, _ in charger.asked] == ["ClearCache"]
    first.set_result(call_result.ClearCache(status="Accepted"))
    assert await charger.until_asked("RemoteStopTransaction") == {"transaction_id": 5}
    await bms.until(496, 0)


async def test_operations_are_sent_in_the_order_of_their_flags(charger: Charger, bms: Bms) -> None:
    first = asyncio.get_running_loop().create_future()
    charger.replies["Reset"] = first
    await bms.write(497, 1)
    for flag in (426, 496, 366, 376, 386):
        await bms.write(flag, 1)
    first.set_result(call_result.Reset(status="Accepted"))
    for flag in (426, 496, 366, 376, 386):
        await bms.until(flag, 0)
    assert [action for action, _ in charger.asked] == [
        "Reset",
        "RemoteStopTransaction",
        "ClearCache",
        "ClearChargingProfile",
        "GetLocalListVersion",
    ]


async def test_hard_reset(charger: Charger, bms: Bms) -> None:
    await bms.write(426, 2)
    assert await charger.until_asked("Reset") == {"type": "Hard"}
    await bms.until(426, 0)


@pytest.mark.parametrize(("version", "shown"), [(0, 0), (42, 42), (-1, 65535)])
async def test_local_list_version(version: int, shown: int, charger: Charger, bms: Bms) -> None:
    charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=version)
    await bms.write(386, 1)
    await charger.until_asked("GetLocalListVersion")
    await bms.until(386, 0)
    assert await bms.word(391) == shown


async def test_an_operation_that_is_running_is_busy(charger: Charger, bms: Bms) -> None:
    answer = asyncio.get_running_loop().create_future()
    charger.replies["ClearCache"] = answer
    await bms.write(366, 1)
    await charger.until_asked("ClearCache")
    assert await bms.refusal(366, 1) == 6
    await bms.write(426, 1)  # another one is welcome
    answer.set_result(call_result.ClearCache(status="Accepted"))
    await bms.until(366, 0)
    await bms.until(426, 0)
    assert [action for action, _ in charger.asked] == ["ClearCache", "Reset"]


async def test_operation_at_a_charger_that_is_not_there(place: Place, plug_in: PlugIn) -> None:
    bms = place.bms
    await bms.write(366, 1)
    await bms.until(366, 0)
    assert await bms.word(371) == 21
    # Nothing is sent before the boot is answered either (OCPP 1.6 errata 3.40).
    charger = await plug_in(place.gateway, place.identity, boot=False)
    await bms.write(376, 1)
    await bms.until(376, 0)
    assert await bms.word(383) == 21
    assert charger.asked == []


async def test_operation_that_ends_with_the_connection(charger: Charger, bms: Bms) -> None:
    charger.replies["ClearCache"] = asyncio.get_running_loop().create_future()
    await bms.write(366, 1)
    await charger.until_asked("ClearCache")
    await charger.websocket.close()
    await bms.until(366, 0)
    assert await bms.word(371) == 21


async def test_operation_that_the_charger_answers_with_a_callerror(charger: Charger, bms: Bms) -> None:
    charger.replies["ClearCache"] = REFUSED
    await bms.write(366, 1)
    await bms.until(366, 0)
    assert await bms.word(371) == 23


async def test_operation_that_the_charger_answers_with_nonsense(raw: RawCharger, bms: Bms) -> None:
    raw.replies["ClearCache"] = {"status": "Perhaps"}
    await bms.write(366, 1)
    await bms.until(366, 0)
    assert await bms.word(371) == 23


async def test_operation_that_the_charger_does_not_answer(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway(ocpp={"call_timeout": 0.2})
    bms, raw = await poll(gateway), await plug_in_raw(gateway)
    await bms.write(366, 1)
    await bms.until(366, 0)
    assert await bms.word(371) == 20
    # The late answer is dropped, the next operation gets its own.
    [late] = raw.calls
    raw.replies["Reset"] = {"status": "Rejected"}
    await raw.send([3, late[1], {"status": "Accepted"}])
    await bms.write(426, 1)
    await bms.until(426, 0)
    assert await bms.word(431) == 1
    assert await bms.word(371) == 20


@pytest.mark.parametrize(
    ("flag", "writes", "result"),
    [
        (476, {477: [1]}, 492),  # remote start without an id tag
        (476, {477: [3, *_TAG]}, 492),  # there is no connector 3
        (496, {497: [0]}, 501),  # remote stop of transaction 0
        (396, {397: [1, 0, 0, *_TAG]}, 423),  # reservation that never expires
        (396, {397: [3, *NOON_WORDS, *_TAG]}, 423),
        (396, {397: [1, *NOON_WORDS]}, 423),
        (376, {379: [3]}, 383),  # purposes are 0…2
        (376, {378: [3]}, 383),
        (466, {467: [5, 3]}, 471),
        (436, {437: [1]}, 463),  # local list entry without an id tag
        (436, {438: _TAG}, 463),  # local list without an operation
    ],
)
async def test_parameters_that_make_no_message(
    flag: int, writes: dict[int, list[int]], result: int, charger: Charger, bms: Bms
) -> None:
    for address, values in writes.items():
        await bms.write(address, *values)
    await bms.write(flag, 1)
    await bms.until(flag, 0)
    assert await bms.word(result) == 22
    assert charger.asked == []


# Unlock and availability words of the connectors


@pytest.mark.parametrize("reply", ["Unlocked", "UnlockFailed", "NotSupported"])
async def test_unlock(reply: str, charger: Charger, bms: Bms) -> None:
    answer = asyncio.get_running_loop().create_future()
    charger.replies["UnlockConnector"] = answer
    await bms.write(812, 1)  # connector 2
    assert await charger.until_asked("UnlockConnector") == {"connector_id": 2}
    assert await bms.word(812) == 1
    assert await bms.refusal(812, 1) == 6
    answer.set_result(call_result.UnlockConnector(status=reply))
    await bms.until(812, 0)
    assert len(charger.asked) == 1


async def test_connector_0_cannot_be_unlocked(charger: Charger, bms: Bms) -> None:
    await bms.write(612, 1)
    await bms.until(612, 0)
    await bms.write(712, 0)  # idle: asks for nothing
    assert charger.asked == []


async def test_availability(charger: Charger, bms: Bms) -> None:
    await charger.status(1, "Available")
    await bms.write(713, 0)
    assert await charger.until_asked("ChangeAvailability") == {"connector_id": 1, "type": "Inoperative"}
    await charger.status(1, "Unavailable")
    assert await bms.read(713, 2) == [0, 7]
    await bms.write(713, 1)
    assert await charger.until_asked("ChangeAvailability", 2) == {"connector_id": 1, "type": "Operative"}
    await charger.status(1, "Available")
    assert await bms.read(713, 2) == [1, 0]
    await bms.write(613, 0)
    assert await charger.until_asked("ChangeAvailability", 3) == {"connector_id": 0, "type": "Inoperative"}


@pytest.mark.parametrize("reply", [call_result.ChangeAvailability(status="Rejected"), REFUSED])
async def test_availability_that_the_charger_refuses_is_put_back(reply: Any, charger: Charger, bms: Bms) -> None:
    answer = asyncio.get_running_loop().create_future()
    charger.replies["ChangeAvailability"] = answer
    await bms.write(713, 0)
    await charger.until_asked("ChangeAvailability")
    assert await bms.word(713) == 0
    answer.set_result(reply)
    await bms.until(713, 1)


async def test_availability_that_is_scheduled_stays(charger: Charger, bms: Bms) -> None:
    charger.replies["ChangeAvailability"] = call_result.ChangeAvailability(status="Scheduled")
    await charger.status(1, "Charging")
    await bms.write(713, 0)
    await charger.until_asked("ChangeAvailability")
    await bms.write(366, 1)
    await bms.until(366, 0)  # a later operation is over, so this one is too
    assert await bms.word(713) == 0


# Local list


async def test_local_list_entry_by_entry(charger: Charger, bms: Bms) -> None:
    charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=7)

    async def edit(*registers: int) -> int:
        await bms.write(437, *registers)
        await bms.write(436, 1)
        await bms.until(436, 0)
        return await bms.word(463)

    # 437 operation, 438–447 id tag, 448–457 parent id tag, 458–459 expiry, 460 status
    assert await edit(1, *_TAG, *_PARENT, *NOON_WORDS, 0) == 0
    info = {"status": "Accepted", "parent_id_tag": "FAMILY", "expiry_date": NOON}
    assert charger.asked == [
        ("GetLocalListVersion", {}),
        (
            "SendLocalList",
            {
                "list_version": 8,
                "update_type": "Differential",
                "local_authorization_list": [{"id_tag": "TAG-1", "id_tag_info": info}],
            },
        ),
    ]
    charger.asked.clear()
    other = words_of_text("TAG-2", 10)
    assert await edit(3, *other, *[0] * 10, 0, 0, 1) == 0
    assert await edit(2, *other, *[0] * 10, 0, 0, 0) == 0
    assert charger.asked == [
        (
            "SendLocalList",
            {
                "list_version": 9,
                "update_type": "Differential",
                "local_authorization_list": [{"id_tag": "TAG-2", "id_tag_info": {"status": "Blocked"}}],
            },
        ),
        (
            "SendLocalList",
            {"list_version": 10, "update_type": "Differential", "local_authorization_list": [{"id_tag": "TAG-2"}]},
        ),
    ]


@pytest.mark.parametrize(("status", "number"), [("Failed", 8), ("VersionMismatch", 12), ("NotSupported", 3)])
async def test_local_list_that_the_charger_refuses(status: str, number: int, charger: Charger, bms: Bms) -> None:
    charger.replies["SendLocalList"] = call_result.SendLocalList(status=status)
    await bms.write(437, 1, *_TAG)
    await bms.write(436, 1)
    await bms.until(436, 0)
    assert await bms.word(463) == number
    kinds = [payload["update_type"] for action, payload in charger.asked if action == "SendLocalList"]
    # A differential update that fails is followed by the whole list (OCPP 1.6 §5.15).
    assert kinds == (["Differential"] if status == "NotSupported" else ["Differential", "Full"])


async def test_local_list_that_the_charger_does_not_have(charger: Charger, bms: Bms) -> None:
    charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=-1)
    await bms.write(437, 1, *_TAG)
    await bms.write(436, 1)
    await bms.until(436, 0)
    assert await bms.word(463) == 3
    assert charger.asked == [("GetLocalListVersion", {})]


# What the map refuses


REFUSALS = {
    # (address, value): exception
    (190, 5): 3,  # Authorization result has 0…4
    (227, 5): 3,
    (460, 5): 3,
    (177, 2): 3,  # processed and flags have 0 and 1
    (214, 2): 3,
    (255, 2): 3,
    (476, 2): 3,
    (426, 3): 3,  # 2 is a hard reset
    (467, 6): 3,
    (437, 0): 3,
    (437, 4): 3,
    (712, 2): 3,
    (713, 2): 3,
    (164, 1): 2,  # read only
    (165, 1): 2,
    (194, 1): 2,
    (501, 1): 2,
    (714, 1): 2,
    (100, 1): 2,
    (147, 1): 2,  # not in the map
    (2100, 1): 2,  # charger 1 is not configured
}


async def test_refused_writes(gateway: GatewayProcess, poll: Poll) -> None:
    bms = await poll(gateway)
    before = await bms.read(164, 30), await bms.read(426, 80), await bms.read(712, 6)
    assert {write: await bms.refusal(*write) for write in REFUSALS} == REFUSALS
    assert (await bms.read(164, 30), await bms.read(426, 80), await bms.read(712, 6)) == before


async def test_a_write_that_is_refused_in_part_does_nothing(charger: Charger, bms: Bms) -> None:
    assert await bms.refusal(436, 1, 9) == 3  # flag 1 with operation 9
    assert await bms.word(436) == 0
    assert charger.asked == []
