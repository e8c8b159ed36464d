"""One charge point: its messages, its registers, and when it may be called.

Registers are protocol addresses of charger 0: 100 + offset, its connector 1: 712 + offset, connector 2: 812 + offset
(configuration guide r1.2, appendix 2); 1412…1498 are the extension area, 100 + 1312 and on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from ampgate.bridge import signals as signals_module
from ampgate.bridge.results import StatusOrder
from ampgate.journal import Journal
from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError
from tests.integration.peers import DEADLINE, until
from tests.unit.bridge.bench import NOON, Bench, benches


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    async with benches() as make:
        yield make


@pytest.fixture
async def bench(make: Callable[..., Bench]) -> Bench:
    return make()


# Boot


async def test_boot(bench: Bench) -> None:
    bench.connect()
    answer = await bench.boot(
        chargeBoxSerialNumber="BOX", chargePointSerialNumber="POINT", firmwareVersion="3.4.0.10", iccid="8934"
    )
    assert (answer["status"], answer["interval"]) == ("Accepted", 300)
    assert answer["currentTime"].endswith("Z")
    assert bench.text(101, 13) == "BOX"
    assert bench.text(114, 13) == "POINT"
    assert bench.text(127, 10) == "ACME"
    assert bench.text(137, 10) == "Two"
    assert bench.text(1412, 25) == "3.4.0.10"
    assert (bench.charger.vendor, bench.charger.model) == ("ACME", "Two")


async def test_a_second_boot_clears_what_it_does_not_say(bench: Bench) -> None:
    bench.connect()
    await bench.boot(chargeBoxSerialNumber="BOX")
    await bench.boot(chargePointVendor="Other")
    assert bench.text(101, 13) == ""
    assert bench.text(127, 10) == "Other"


async def test_texts_longer_than_ocpp_allows(bench: Bench) -> None:
    bench.connect()
    await bench.boot(chargeBoxSerialNumber="B" * 34, chargePointVendor=12345)
    assert bench.text(101, 13) == "B" * 26
    assert bench.text(127, 10) == "12345"


async def test_before_the_boot_nothing_else_is_answered(bench: Bench) -> None:
    bench.connect()
    for action, payload in (
        ("Heartbeat", {}),
        ("Authorize", {"idTag": "A"}),
        ("FirmwareStatusNotification", {"status": "Idle"}),
    ):
        with pytest.raises(CallError) as refused:
            await bench.send(action, **payload)
        assert refused.value.code == "SecurityError"
    assert (bench.charger.vendor, bench.charger.model) == ("", "")


async def test_what_is_not_for_a_central_system(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    central = [name for name, action in v16.ACTIONS.items() if action.sender == "central_system"]
    assert len(central) == 25
    for name in central:
        kind = v16.ACTIONS[name].request
        request = kind(**{field.name: None for field in msgspec.structs.fields(kind) if field.required})
        with pytest.raises(CallError) as refused:
            bench.charger.handle(request)
        assert refused.value.code == "NotSupported"


async def test_every_message_of_a_charge_point_has_an_answer(bench: Bench) -> None:
    payloads: dict[str, dict[str, Any]] = {
        "BootNotification": {"chargePointVendor": "A", "chargePointModel": "B"},
        "Heartbeat": {},
        "StatusNotification": {"connectorId": 1, "errorCode": "NoError", "status": "Available"},
        "MeterValues": {"connectorId": 1, "meterValue": [{"timestamp": NOON, "sampledValue": [{"value": "1"}]}]},
        "DataTransfer": {"vendorId": "x"},
        "DiagnosticsStatusNotification": {"status": "Idle"},
        "FirmwareStatusNotification": {"status": "Idle"},
        "SecurityEventNotification": {"type": "x", "timestamp": NOON},
        "SignCertificate": {"csr": "x"},
        "LogStatusNotification": {"status": "Idle", "requestId": 1},
        "SignedFirmwareStatusNotification": {"status": "Idle", "requestId": 1},
    }
    waiting = {"Authorize", "StartTransaction", "StopTransaction"}  # for the BMS: see test_sessions
    senders = {name for name, action in v16.ACTIONS.items() if action.sender in ("charge_point", "both")}
    assert set(payloads) | waiting == senders
    bench.connect()
    answers = {action: await bench.send(action, **payload) for action, payload in payloads.items()}
    assert answers["DataTransfer"] == {"status": "UnknownVendorId"}
    assert answers["SignCertificate"] == {"status": "Rejected"}
    assert set(answers["Heartbeat"]) == {"currentTime"}
    assert all(answers[action] == {} for action in payloads if action.endswith("Notification") and action[:4] != "Boot")


# Connection


async def test_communication_status(bench: Bench) -> None:
    assert bench.word(100) == 1
    bench.connect()
    assert bench.word(100) == 0
    assert abs(bench.words(1491, 2)[0] * 65536 + bench.words(1491, 2)[1] - time.time()) < 5  # online since
    await bench.boot()
    bench.disconnect()
    assert bench.word(100) == 1
    assert bench.words(1491, 2) == [0, 0]
    assert bench.text(127, 10) == "ACME"  # the last values stay


async def test_the_age_of_the_last_message(bench: Bench) -> None:
    def age() -> int:
        bench.charger.show_age()
        return bench.word(1493)

    assert age() == 65535
    link = bench.connect()
    link.last_received = time.monotonic() - 17.5
    assert age() == 17
    bench.disconnect()
    assert age() == 17
    link = bench.connect()
    link.last_received = time.monotonic() - 100000
    assert age() == 65535


async def test_a_boot_of_before_a_restart_counts(make: Callable[..., Bench], tmp_path: Any) -> None:
    first = make(journal=Journal(tmp_path / "journal.db"))
    first.connect()
    await first.boot(firmwareVersion="1.0")
    await first.close()
    second = make(journal=Journal(tmp_path / "journal.db"))
    assert second.text(127, 10) == "ACME"
    assert second.text(1412, 25) == "1.0"
    link = second.connect()
    assert "currentTime" in await second.send("Heartbeat")  # without a new boot
    # It may not tell its status again by itself, so it is asked for it, once.
    await until(lambda: link.asked, "TriggerMessage")
    await second.send("Heartbeat")
    [request] = link.asked
    assert isinstance(request, v16.TriggerMessageRequest)
    assert request.requested_message == "StatusNotification"


async def test_a_charger_that_boots_tells_its_status_by_itself(make: Callable[..., Bench], tmp_path: Any) -> None:
    first = make(journal=Journal(tmp_path / "journal.db"))
    first.connect()
    await first.boot()
    await first.close()
    second = make(journal=Journal(tmp_path / "journal.db"))
    link = second.connect()
    await second.boot()
    second.write(366, 1)
    await until(lambda: second.word(366) == 0, "the end of an operation")
    assert [type(request) for request in link.asked] == [v16.ClearCacheRequest]


# Calls


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A charger that has not spoken is not called for as long as a test lasts."""
    monkeypatch.setattr(signals_module, "QUIET", 600)
    yield


async def test_nobody_is_called_before_the_boot(bench: Bench) -> None:
    with pytest.raises(ConnectionError):
        await bench.charger.call(v16.ClearCacheRequest())
    link = bench.connect()
    with pytest.raises(ConnectionError):
        await bench.charger.call(v16.ClearCacheRequest())
    assert link.asked == []
    await bench.boot()
    await bench.charger.call(v16.ClearCacheRequest())
    assert link.asked == [v16.ClearCacheRequest()]


@pytest.mark.usefixtures("patient")
async def test_a_call_waits_until_the_boot_is_answered(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    bench.disconnect()
    link = bench.connect()
    call = asyncio.create_task(bench.charger.call(v16.ClearCacheRequest()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert link.asked == []  # it may be about to boot
    request = v16.BootNotificationRequest(charge_point_vendor="A", charge_point_model="B")
    bench.charger.handle(request)
    assert link.asked == []  # the answer has not been sent
    async with asyncio.timeout(DEADLINE):
        await call
    assert link.asked == [v16.ClearCacheRequest()]


async def test_a_charger_that_stays_quiet_is_called_after_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_module, "QUIET", 0.01)
    bench.connect()
    await bench.boot()
    bench.disconnect()
    link = bench.connect()
    await bench.charger.call(v16.ClearCacheRequest())
    assert len(link.asked) == 1


@pytest.mark.usefixtures("patient")
async def test_a_call_that_waits_ends_with_the_connection(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    bench.disconnect()
    bench.connect()
    call = asyncio.create_task(bench.charger.call(v16.ClearCacheRequest()))
    await asyncio.sleep(0)
    bench.disconnect()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionError):
            await call


@pytest.mark.usefixtures("patient")
async def test_a_call_that_waits_does_not_slip_into_the_next_connection(bench: Bench) -> None:
    """When a dead connection is replaced the charger is about to boot: nothing before that (errata 3.40)."""
    bench.connect()
    await bench.boot()
    bench.disconnect()
    bench.connect()
    call = asyncio.create_task(bench.charger.call(v16.ClearCacheRequest()))
    await asyncio.sleep(0)
    bench.disconnect()
    link = bench.connect()
    for _ in range(5):
        await asyncio.sleep(0)
    assert link.asked == []
    await bench.boot()
    async with asyncio.timeout(DEADLINE):
        await call
    assert link.asked == [v16.ClearCacheRequest()]


# Status


async def status(bench: Bench, connector: int, status: str, error: str = "NoError", **more: Any) -> None:
    await bench.send("StatusNotification", connectorId=connector, errorCode=error, status=status, **more)


async def test_status(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    assert bench.words(712, 4) == [0, 1, 0, 6]
    await status(bench, 1, "Charging")
    await status(bench, 2, "Faulted", "GroundFailure", vendorErrorCode="E-17", info="door open")
    assert bench.words(712, 4) == [0, 1, 2, 6]
    assert bench.words(812, 4) == [0, 1, 8, 2]
    assert bench.text(1437, 25) == "E-17"
    assert bench.text(1462, 25) == "door open"
    await status(bench, 0, "Unavailable")
    assert bench.words(612, 4) == [0, 0, 7, 6]
    assert bench.text(1437, 25) == ""


@pytest.mark.parametrize(("order", "expected"), [(StatusOrder.MANUAL, [3, 4]), (StatusOrder.NORTH, [4, 3])])
async def test_order_of_the_suspended_states(
    order: StatusOrder, expected: list[int], make: Callable[..., Bench]
) -> None:
    bench = make(status_order=order)
    bench.connect()
    await bench.boot()
    shown = []
    for word in ("SuspendedEVSE", "SuspendedEV"):
        await status(bench, 1, word)
        shown.append(bench.word(714))
    assert shown == expected


async def test_an_error_code_of_a_vendor(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    await status(bench, 1, "Faulted", "Gremlins")
    assert bench.word(715) == 7
    assert [event.text for event in bench.bridge.activity.events][-1] == "connector 1: Faulted, Gremlins"


async def test_only_changes_are_told(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    told = len(bench.bridge.activity.events)
    for word in ("Available", "Available", "Preparing"):
        await status(bench, 1, word)
    assert [event.text for event in bench.bridge.activity.events][told:] == [
        "connector 1: Available",
        "connector 1: Preparing",
    ]


async def test_connectors_that_are_not_configured(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    await bench.boot()
    await status(bench, 3, "Charging")
    await bench.send("MeterValues", connectorId=9, meterValue=[{"timestamp": NOON, "sampledValue": [{"value": "1"}]}])
    assert "StatusNotification of connector 3, but connectors = 2" in caplog.text
    assert "MeterValues of connector 9, but connectors = 2" in caplog.text


@pytest.mark.parametrize(
    ("action", "register", "statuses"),
    [
        ("DiagnosticsStatusNotification", 1494, ["Idle", "Uploading", "Uploaded", "UploadFailed"]),
        (
            "FirmwareStatusNotification",
            1495,
            ["Idle", "Downloading", "Downloaded", "DownloadFailed", "Installing", "Installed", "InstallationFailed"],
        ),
    ],
)
async def test_progress(action: str, register: int, statuses: list[str], bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    for number, word in enumerate(statuses):
        await bench.send(action, status=word)
        assert bench.word(register) == number
        assert bench.bridge.activity.events[-1].text == f"{action}: {word}"


# Meter values and transactions


async def test_meter_values_reach_their_connector(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    for connector in (0, 1, 2):
        sample = {"timestamp": NOON, "sampledValue": [{"value": f"{10 + connector}"}]}
        await bench.send("MeterValues", connectorId=connector, meterValue=[sample])
    assert [bench.float(address) for address in (640, 740, 840)] == [10, 11, 12]


async def test_after_a_boot_older_readings_count_again(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    for timestamp, value in ((NOON, "10"), ("2020-01-01T00:00:00Z", "5")):
        sample = {"timestamp": timestamp, "sampledValue": [{"value": value}]}
        await bench.send("MeterValues", connectorId=1, meterValue=[sample])
        assert bench.float(740) == 10
    await bench.boot()
    await bench.send("MeterValues", connectorId=1, meterValue=[sample])
    assert bench.float(740) == 5


async def test_a_transaction_from_start_to_stop(bench: Bench) -> None:
    bench.connect()
    await bench.boot()
    start = asyncio.create_task(
        bench.send("StartTransaction", connectorId=2, idTag="TAG", meterStart=100, timestamp=NOON)
    )
    await until(lambda: bench.word(194), "the start")
    bench.write(228, 7)
    bench.write(214, 1)
    assert await start == {"idTagInfo": {"status": "Accepted"}, "transactionId": 7}
    assert bench.text(898, 10) == "TAG"
    assert bench.float(908) == 100
    assert bench.words(910, 2) == [0x697D, 0xEEC0]
    assert bench.words(798, 14) == [0] * 14
    data = [{"timestamp": NOON, "sampledValue": [{"value": "250"}]}]
    stop = asyncio.create_task(
        bench.send("StopTransaction", transactionId=7, meterStop=250, timestamp=NOON, transactionData=data)
    )
    await until(lambda: bench.word(234), "the stop")
    assert bench.words(898, 14) == [0] * 14
    assert bench.float(840) == 250
    bench.write(255, 1)
    await stop


async def test_a_remote_stop_finds_the_whole_id(bench: Bench) -> None:
    """The map shows 16 bits; a transaction that runs under a longer id is the one that is meant."""
    link = bench.connect()
    await bench.boot()
    assert bench.charger._full_transaction_id(5) == 5
    bench.charger.sessions.running[65536 + 5] = None  # type: ignore[assignment]
    assert bench.charger._full_transaction_id(5) == 65541
    bench.write(496, 1, 5)
    await until(lambda: link.asked, "the call")
    assert link.asked == [v16.RemoteStopTransactionRequest(transaction_id=65541)]
    bench.charger.sessions.running.clear()


async def test_availability_that_is_refused_shows_the_charger_again(bench: Bench) -> None:
    link = bench.connect()
    await bench.boot()
    await status(bench, 1, "Available")
    link.reply = v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.REJECTED)
    bench.write(713, 0)
    await until(lambda: bench.word(713) == 1, "availability is back")
    await status(bench, 1, "Unavailable")
    bench.write(713, 1)
    await until(lambda: bench.word(713) == 0, "availability is back")
