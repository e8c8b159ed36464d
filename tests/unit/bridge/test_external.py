"""Reading along with an external central system."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ampgate.bridge import signals as signals_module
from ampgate.bridge.external import External, ReadAlong
from ampgate.bridge.policy import Trust
from ampgate.bridge.results import Result
from ampgate.bridge.signals import ChargerSetting
from ampgate.journal import Journal
from ampgate.ocpp import rpc, v16
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.unit

NOON = "2026-01-31T12:00:00Z"
ACCEPTED = {"status": "Accepted"}
BOOT = {"chargePointVendor": "ACME", "chargePointModel": "Two"}
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 1500, "timestamp": NOON}


class Passing:
    """What the bridge uses of a session whose frames pass."""

    address = "192.0.2.7"
    state = "connected"
    has_upstream = True

    def __init__(self) -> None:
        self.last_received = time.monotonic()
        self.asked: list[v16.Message] = []

    async def call(self, request: v16.Message) -> v16.Message:
        self.asked.append(request)
        return v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)


class Bench:
    def __init__(self, journal: Journal | None = None, **options: Any) -> None:
        self.site = Site([ChargerShape(2)], external=True)
        self.journal = journal or Journal(":memory:")
        self.bridge = External(self.site, [ChargerSetting("CP0", "Place", 2)], self.journal, **options)
        self.link = Passing()

    @property
    def charger(self) -> ReadAlong:
        return self.bridge.chargers[0]

    def connect(self) -> None:
        self.bridge.connected("CP0", self.link)  # type: ignore[arg-type]

    def pass_(self, action: Any, payload: Any, *answer: Any, by_upstream: bool = True) -> None:
        """A CALL of the charger passes and, when there is one, its answer."""
        call = rpc.read(json.dumps([2, "1", action, payload]))
        self.charger.called(call)
        if answer:
            kind, *rest = answer if isinstance(answer[0], int) else (3, *answer)
            self.charger.answered(call, rpc.read(json.dumps([kind, "1", *rest])), by_upstream=by_upstream)

    def charger_point(self, key: str) -> Any:
        return self.site.charger(0)[key].get()

    def point(self, key: str, connector: int = 1) -> Any:
        return self.site.connector(0, connector)[key].get()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.connect()
    yield bench
    await bench.bridge.close()
    bench.journal.close()


async def test_online_with_a_charger_and_its_central_system(bench: Bench) -> None:
    assert bench.bridge.online
    bench.link.has_upstream = False
    assert not bench.bridge.online
    bench.link.has_upstream = True
    bench.charger.disconnected()
    assert not bench.bridge.online


async def test_a_boot_is_shown_when_it_is_accepted(bench: Bench) -> None:
    bench.pass_("BootNotification", BOOT, {"status": "Pending", "currentTime": NOON, "interval": 5})
    assert (bench.charger_point("info.vendor"), bench.charger.ready) == ("", False)
    bench.pass_("BootNotification", BOOT, 4, "InternalError", "", {})
    assert not bench.charger.ready
    bench.pass_("BootNotification", BOOT, ACCEPTED | {"currentTime": NOON, "interval": 5})
    assert (bench.charger_point("info.vendor"), bench.charger.ready) == ("ACME", True)
    assert Bench(bench.journal).charger.ready
    bench.pass_("BootNotification", BOOT)  # about to boot again: not to be called until it is answered
    assert not bench.charger.ready


async def test_a_charger_that_upstream_answers_has_booted_before(bench: Bench) -> None:
    bench.pass_("Heartbeat", {}, 4, "SecurityError", "", {})
    assert not bench.charger.ready
    bench.pass_("Heartbeat", {}, {"currentTime": NOON})
    assert bench.charger.ready


async def test_a_transaction(bench: Bench) -> None:
    bench.pass_("StartTransaction", START)
    assert bench.point("transaction.id_tag") == ""
    bench.pass_("StartTransaction", START, {"idTagInfo": ACCEPTED, "transactionId": 7_000_000_000})
    assert bench.point("transaction.id_tag") == "TAG"
    assert bench.point("transaction.meter_start") == 1500
    assert bench.charger_point("charger_state.start_transaction_id") == 7_000_000_000 % (1 << 32)
    assert Bench(bench.journal).point("transaction.id_tag") == "TAG"
    data = [{"timestamp": NOON, "sampledValue": [{"value": "2000"}]}]
    stop = {"transactionId": 7_000_000_000, "meterStop": 2000, "timestamp": NOON, "transactionData": data}
    bench.pass_("StopTransaction", stop)
    assert bench.point("transaction.id_tag") == ""
    assert bench.point("connector.energy_active_import_register") == 2000
    assert Bench(bench.journal).point("transaction.id_tag") == ""


async def test_a_start_that_upstream_refuses_is_not_shown(bench: Bench) -> None:
    bench.pass_("StartTransaction", START, {"idTagInfo": {"status": "Blocked"}, "transactionId": 7})
    assert bench.point("transaction.id_tag") == ""
    bench.pass_("StopTransaction", {"transactionId": -1, "meterStop": 0, "timestamp": NOON})
    assert bench.charger_point("charger_state.stop_transaction_id") == 0xFFFFFFFF


async def test_values_and_notifications(bench: Bench) -> None:
    bench.pass_("StatusNotification", {"connectorId": 2, "errorCode": "GroundFailure", "status": "Faulted"})
    assert (bench.point("connector.status", 2), bench.point("connector.error_code", 2)) == (8, 2)
    value = {"timestamp": NOON, "sampledValue": [{"value": "7.5", "measurand": "SoC", "unit": "Percent"}]}
    bench.pass_("MeterValues", {"connectorId": 1, "meterValue": [value]}, 4, "InternalError", "", {})
    assert bench.point("connector.soc") == 7.5
    bench.pass_("FirmwareStatusNotification", {"status": "Installing"})
    assert bench.charger_point("charger_state.firmware_status") != 0


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("StartTransaction", START, {"transactionId": "many"}),
        ("StartTransaction", {}, {"idTagInfo": ACCEPTED, "transactionId": 1}),
        ("MeterValues", {"connectorId": 9, "meterValue": []}, {}),
        ("StatusNotification", {"connectorId": 9, "errorCode": "NoError", "status": "Available"}, {}),
        ("Vendor.Own", {}, {}),
        (5, {}, {}),
        ("Reset", {"type": "Soft"}, ACCEPTED),
    ],
)
async def test_what_cannot_be_shown_does_not_matter(action: Any, payload: Any, answer: Any, bench: Bench) -> None:
    bench.pass_(action, payload, answer)
    bench.charger.called(rpc.read('[2,"1"]'))
    assert bench.point("transaction.id_tag") == ""


async def test_a_mistake_of_ours_does_not_matter_either(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(bench.journal, "began", full)
    bench.pass_("StartTransaction", START, {"idTagInfo": ACCEPTED, "transactionId": 1})
    assert "StartTransaction is not shown" in caplog.text


async def test_the_16_bits_of_a_transaction_stop_the_one_that_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_module, "QUIET", 0.01)
    bench.pass_("StartTransaction", START, {"idTagInfo": ACCEPTED, "transactionId": 0x12345678})
    points = bench.site.charger(0)
    address = points["remote_stop.flag"].place.address
    points["remote_stop.transaction_id"].set(0x5678)
    bench.site.images[0].write(address, b"\0\1")
    while points["remote_stop.flag"].get():
        await asyncio.sleep(0)
    assert bench.link.asked == [v16.RemoteStopTransactionRequest(transaction_id=0x12345678)]
    assert points["remote_stop.result"].get() == Result.ACCEPTED


async def test_verdicts_of_upstream_are_remembered_and_not_our_own() -> None:
    bench = Bench(hold=True, trust=Trust.KNOWN)
    bench.connect()
    assert bench.charger.stand_in is not None
    bench.pass_("Authorize", {"idTag": "A"}, {"idTagInfo": ACCEPTED})
    bench.pass_("Authorize", {"idTag": "B"}, {"idTagInfo": ACCEPTED}, by_upstream=False)
    stop = {"transactionId": 1, "meterStop": 0, "timestamp": NOON, "idTag": "C"}
    bench.pass_("StopTransaction", stop, {"idTagInfo": {"status": "Blocked"}})
    bench.pass_("StopTransaction", stop | {"idTag": "D"}, {})
    assert [bench.journal.verdict(tag) is not None for tag in "abcd"] == [True, False, True, False]
    await bench.bridge.close()
    bench.journal.close()


async def test_what_is_kept_is_not_forgotten_silently(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(":memory:")
    journal.keep("CP0", "MeterValues", None, "[]", b"{}")
    Bench(journal)
    assert "CP0: 1 messages for its central system are kept" in caplog.text
    journal.close()


async def test_status_and_alarm(bench: Bench) -> None:
    assert bench.bridge.status()["chargers"][0]["upstream"] == {"state": "connected", "kept": 0, "given_up": 0}
    alarms = bench.site.gateway["gateway_state.alarms"]
    bench.bridge.tick()
    assert alarms.get() == 0
    bench.link.has_upstream = False
    bench.charger.upstream_changed()
    bench.bridge.tick()
    assert alarms.get() == 8
    bench.bridge.disconnected("CP0", bench.link)
    bench.charger.upstream_changed()
    bench.bridge.tick()
    assert alarms.get() == 2
    assert bench.bridge.status()["chargers"][0]["upstream"]["state"] == ""
