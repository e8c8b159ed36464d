"""The simulated charge point against a central system that validates every frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ampgate.simulator.charger import Charger
from ampgate.simulator.clock import Clock
from ampgate.simulator.vehicle import Vehicle
from tests.unit.simulator.central import DEADLINE, Central, Refusal, now


@contextlib.asynccontextmanager
async def charge_point(central: Central, **options) -> AsyncIterator[Charger]:
    options = {"connectors": 2, "sample_interval": 0.3, "clock": Clock(60), "backoff": (0.05, 0.2)} | options
    charger = Charger(central.url, "CP 1", **options)
    running = asyncio.create_task(charger.run())
    try:
        yield charger
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def central():
    async with Central() as central:
        yield central


@pytest.fixture
async def charger(central):
    async with charge_point(central) as charger:
        await central.seen("StatusNotification", connectorId=2)
        yield charger


def car(**changes) -> Vehicle:
    return Vehicle(**({"soc": 40, "max_current": 16} | changes))


async def start(central: Central, charger: Charger, **changes) -> int:
    """A running session of tag T on connector 1; returns its transaction id."""
    charger.plug_in(1, car(**changes))
    assert await charger.present(1, "T")
    assert await charger.until(lambda: charger.connector(1).status == "Charging", DEADLINE)
    return charger.connector(1).transaction.id


def values(meter_value: dict) -> dict[tuple[str, str | None], Decimal]:
    return {
        (sample["measurand"], sample.get("phase")): Decimal(sample["value"]) for sample in meter_value["sampledValue"]
    }


def in_a_while(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# Connecting


async def test_it_boots_and_reports_every_connector(central, charger):
    assert central.headers[0].path == "/steve/CP%201"
    assert central.headers[0].headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
    assert "Sec-WebSocket-Extensions" not in central.headers[0].headers
    actions = [action for action, _ in central.frames]
    assert actions == ["BootNotification", *["StatusNotification"] * 3]
    assert [payload["connectorId"] for payload in central.all("StatusNotification")] == [0, 1, 2]
    assert {payload["status"] for payload in central.all("StatusNotification")} == {"Available"}


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
async def test_it_asks_again_after_the_interval_and_says_nothing_else_before(central, status):
    asked = []

    def boot(payload):
        asked.append(asyncio.get_running_loop().time())
        return {"status": status if len(asked) == 1 else "Accepted", "currentTime": now(), "interval": 1}

    central.answers["BootNotification"] = boot
    async with charge_point(central):
        await central.seen("StatusNotification")
        assert [action for action, _ in central.frames][:3] == ["BootNotification"] * 2 + ["StatusNotification"]
        assert asked[1] - asked[0] >= 0.95


async def test_heartbeats_follow_the_interval(central):
    central.answers["BootNotification"] = lambda _: {"status": "Accepted", "currentTime": now(), "interval": 1}
    async with charge_point(central):
        await central.seen("Heartbeat", 2)


async def test_a_reconnect_reports_status_and_needs_no_boot(central, charger):
    await central.close()
    await charger.until(lambda: not charger.online)
    central.frames.clear()
    await central.open()
    await central.seen("StatusNotification", connectorId=2)
    assert not central.all("BootNotification")


async def test_who_is_answered_security_error_boots_again(central, charger):
    answers = iter([True, False])

    def refuse_once(payload):
        if next(answers, False):
            raise Refusal("SecurityError")
        return {}

    central.answers["StatusNotification"] = refuse_once
    charger.plug_in(1, car())
    await central.seen("BootNotification", 2)
    await central.until(lambda: central.statuses()[-1] == "Preparing")


# Sessions


async def test_a_whole_session(central, charger):
    transaction = await start(central, charger, soc=97, capacity=6_000)
    await central.until(lambda: "SuspendedEV" in central.statuses())
    assert await charger.present(1, "t")  # id tags have no case
    charger_session = await central.seen("StopTransaction")
    await charger.until(lambda: charger.connector(1).status == "Finishing")
    charger.unplug(1)
    await central.until(lambda: central.statuses()[-1] == "Available")

    expected = ["Available", "Preparing", "Charging", "SuspendedEV", "Finishing", "Available"]
    assert central.statuses() == expected
    assert central.statuses(2) == ["Available"]
    actions = [action for action, _ in central.frames if action not in ("StatusNotification", "MeterValues")]
    assert actions == ["BootNotification", "Authorize", "StartTransaction", "StopTransaction"]

    begun = central.all("StartTransaction")[0]
    assert (begun["connectorId"], begun["idTag"]) == (1, "T")
    assert charger_session["transactionId"] == transaction
    assert charger_session["reason"] == "Local"
    assert charger_session["idTag"] == "t"
    # 3 % of 6 kWh at 92 %: the meter counts what goes into the car.
    assert charger_session["meterStop"] - begun["meterStart"] == pytest.approx(180 / 0.92, abs=2)
    first, last = charger_session["transactionData"]
    assert values(first)["Energy.Active.Import.Register", None] == begun["meterStart"]
    assert values(last)["Energy.Active.Import.Register", None] == charger_session["meterStop"]
    assert values(last)["Power.Active.Import", None] == 0, "read after the contactor has opened"
    assert {sample["context"] for sample in first["sampledValue"]} == {"Transaction.Begin"}
    assert {sample["context"] for sample in last["sampledValue"]} == {"Transaction.End"}


async def test_meter_values_are_complete_and_fit_together(central, charger):
    transaction = await start(central, charger)
    message = await central.seen("MeterValues", 4)
    assert (message["connectorId"], message["transactionId"]) == (1, transaction)
    sample = values(message["meterValue"][0])
    phases = ("L1", "L2", "L3")
    measurands = {measurand for measurand, _ in sample}
    assert measurands == {
        "Current.Import", "Voltage", "Power.Active.Import", "Energy.Active.Import.Register", "SoC", "Temperature",
        "Current.Offered", "Frequency",
    }  # fmt: skip
    product = sum(sample["Current.Import", phase] * sample["Voltage", f"{phase}-N"] for phase in phases)
    assert float(sample["Power.Active.Import", None]) == pytest.approx(float(product), rel=0.01)
    assert all(15 <= sample["Current.Import", phase] <= 16 for phase in phases)
    assert sample["Current.Offered", None] == 32
    stamp = datetime.fromisoformat(message["meterValue"][0]["timestamp"])
    assert abs(datetime.now(UTC) - stamp) < timedelta(seconds=10)


@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
async def test_a_declined_tag_starts_nothing(central, charger, status):
    central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": status}}
    assert not await charger.present(1, "T")
    await central.until(lambda: central.statuses() == ["Available", "Preparing", "Available"])
    charger.plug_in(1, car())
    assert not await charger.present(1, "T")
    assert charger.connector(1).status == "Preparing"
    assert charger.connector(1).draw.power == 0
    assert not central.all("StartTransaction")


async def test_a_start_that_is_not_accepted_ends_as_deauthorized_without_charging(central, charger):
    central.answers["StartTransaction"] = lambda _: {"transactionId": 7, "idTagInfo": {"status": "Blocked"}}
    charger.plug_in(1, car())
    await charger.present(1, "T")
    stop = await central.seen("StopTransaction")
    assert (stop["transactionId"], stop["reason"]) == (7, "DeAuthorized")
    assert stop["meterStop"] == central.all("StartTransaction")[0]["meterStart"]
    await central.until(lambda: central.statuses()[-1] == "Finishing")
    assert "Charging" not in central.statuses()


async def test_another_tag_does_not_stop_a_session(central, charger):
    await start(central, charger)
    assert not await charger.present(1, "OTHER")
    assert charger.connector(1).transaction is not None


async def test_pulling_the_plug_ends_the_session(central, charger):
    await start(central, charger)
    charger.unplug(1)
    assert (await central.seen("StopTransaction"))["reason"] == "EVDisconnected"
    await central.until(lambda: central.statuses()[-1] == "Available")


async def test_a_start_that_is_refused_for_good_goes_on_as_minus_one(central, charger):
    def refuse(payload):
        raise Refusal("InternalError")

    central.answers["StartTransaction"] = refuse
    for key, value in (("TransactionMessageAttempts", "2"), ("TransactionMessageRetryInterval", "0")):
        assert await central.call("ChangeConfiguration", key=key, value=value) == {"status": "Accepted"}
    await start(central, charger)
    charger.unplug(1)
    assert (await central.seen("StopTransaction"))["transactionId"] == -1
    starts = central.all("StartTransaction")
    assert len(starts) == 2
    assert starts[0] == starts[1]


# Offline


async def test_transactions_of_an_offline_time_arrive_in_order_afterwards(central, charger):
    transaction = await start(central, charger)
    await central.close()
    assert await charger.until(lambda: not charger.online, DEADLINE)
    central.frames.clear()
    charger.unplug(1)
    charger.plug_in(1, car())
    assert await charger.present(1, "T"), "the cache knows the tag"
    assert charger.connector(1).status == "Charging"
    assert await charger.until(lambda: charger.connector(1).draw.power > 1000, DEADLINE)
    charger.unplug(1)
    await central.open()
    await central.seen("StopTransaction", 2)

    assert not central.all("BootNotification")
    assert not central.all("Authorize")
    stops, starts = central.all("StopTransaction"), central.all("StartTransaction")
    assert (stops[0]["transactionId"], stops[0]["reason"]) == (transaction, "EVDisconnected")
    assert stops[1]["transactionId"] == transaction + 1
    assert stops[1]["meterStop"] > starts[0]["meterStart"]
    actions = [action for action, payload in central.frames if "ransaction" in action]
    assert actions == ["StopTransaction", "StartTransaction", "StopTransaction"]
    assert {payload["transactionId"] for payload in central.all("MeterValues")} <= {transaction, transaction + 1}


async def test_an_unknown_tag_does_not_charge_offline(central, charger):
    await central.close()
    assert await charger.until(lambda: not charger.online, DEADLINE)
    charger.plug_in(1, car())
    assert not await charger.present(1, "UNKNOWN")
    assert charger.connector(1).transaction is None


# Remote control


async def test_remote_start_with_a_car(central, charger):
    charger.plug_in(2, car())
    assert await central.call("RemoteStartTransaction", idTag="REMOTE") == {"status": "Accepted"}
    begun = await central.seen("StartTransaction")
    assert (begun["connectorId"], begun["idTag"]) == (2, "REMOTE")
    assert not central.all("Authorize")


async def test_remote_start_authorises_first_when_configured_to(central, charger):
    await central.call("ChangeConfiguration", key="AuthorizeRemoteTxRequests", value="true")
    charger.plug_in(1, car())
    await central.call("RemoteStartTransaction", idTag="REMOTE", connectorId=1)
    await central.seen("StartTransaction")
    assert central.all("Authorize") == [{"idTag": "REMOTE"}]


async def test_remote_start_waits_for_a_car(central, charger):
    answer = await central.call("RemoteStartTransaction", idTag="REMOTE", connectorId=1)
    assert answer == {"status": "Accepted"}
    await central.until(lambda: central.statuses() == ["Available", "Preparing"])
    assert not central.all("StartTransaction")
    charger.plug_in(1, car())
    await central.seen("StartTransaction", idTag="REMOTE")


async def test_remote_start_lapses_without_a_car(central, charger):
    await central.call("ChangeConfiguration", key="ConnectionTimeOut", value="1")
    await central.call("RemoteStartTransaction", idTag="REMOTE", connectorId=1)
    await central.until(lambda: central.statuses() == ["Available", "Preparing", "Available"])
    charger.plug_in(1, car())
    await central.until(lambda: central.statuses()[-1] == "Preparing")
    assert not central.all("StartTransaction")


async def test_remote_start_is_rejected_where_it_cannot_be(central, charger):
    await start(central, charger)
    rejected = {"status": "Rejected"}
    assert await central.call("RemoteStartTransaction", idTag="REMOTE", connectorId=1) == rejected
    assert await central.call("RemoteStartTransaction", idTag="REMOTE", connectorId=9) == rejected


async def test_remote_stop(central, charger):
    transaction = await start(central, charger)
    assert await central.call("RemoteStopTransaction", transactionId=transaction + 1) == {"status": "Rejected"}
    assert await central.call("RemoteStopTransaction", transactionId=transaction) == {"status": "Accepted"}
    stop = await central.seen("StopTransaction")
    assert (stop["transactionId"], stop["reason"]) == (transaction, "Remote")


async def test_unlock_ends_the_session(central, charger):
    await start(central, charger)
    assert await central.call("UnlockConnector", connectorId=1) == {"status": "Unlocked"}
    assert (await central.seen("StopTransaction"))["reason"] == "UnlockCommand"
    assert await central.call("UnlockConnector", connectorId=3) == {"status": "NotSupported"}


@pytest.mark.parametrize(("kind", "reason"), [("Soft", "SoftReset"), ("Hard", "HardReset")])
async def test_reset_stops_sessions_and_boots(central, charger, kind, reason):
    await start(central, charger)
    assert await central.call("Reset", type=kind) == {"status": "Accepted"}
    assert (await central.seen("StopTransaction"))["reason"] == reason
    await central.seen("BootNotification", 2)
    await central.seen("StatusNotification", 2, connectorId=2)
    assert central.connections == 2


async def test_availability_waits_for_the_end_of_the_session(central, charger):
    change = "ChangeAvailability"
    transaction = await start(central, charger)
    assert await central.call(change, connectorId=1, type="Inoperative") == {"status": "Scheduled"}
    await central.call("RemoteStopTransaction", transactionId=transaction)
    await central.until(lambda: central.statuses()[-1] == "Unavailable")
    charger.unplug(1)
    assert await central.call("RemoteStartTransaction", idTag="X", connectorId=1) == {"status": "Rejected"}
    assert await central.call(change, connectorId=0, type="Inoperative") == {"status": "Accepted"}
    await central.until(lambda: central.statuses(2)[-1] == central.statuses(0)[-1] == "Unavailable")
    assert await central.call(change, connectorId=0, type="Operative") == {"status": "Accepted"}
    await central.until(lambda: {central.statuses(number)[-1] for number in (0, 1, 2)} == {"Available"})
    assert await central.call(change, connectorId=3, type="Operative") == {"status": "Rejected"}


# Reservations


async def test_a_reservation_keeps_the_connector_for_its_tag(central, charger):
    reserve = {"idTag": "MINE", "expiryDate": in_a_while(60)}
    answer = await central.call("ReserveNow", connectorId=1, reservationId=5, **reserve)
    assert answer == {"status": "Accepted"}
    await central.until(lambda: central.statuses()[-1] == "Reserved")
    assert await central.call("ReserveNow", connectorId=1, reservationId=6, **reserve) == {"status": "Occupied"}
    assert await central.call("RemoteStartTransaction", idTag="OTHER", connectorId=1) == {"status": "Rejected"}
    assert not await charger.present(1, "OTHER")
    charger.plug_in(1, car())
    assert await charger.present(1, "mine")
    assert (await central.seen("StartTransaction"))["reservationId"] == 5
    assert await central.call("CancelReservation", reservationId=5) == {"status": "Rejected"}


async def test_a_parent_tag_opens_a_reservation(central, charger):
    reserve = {"idTag": "MINE", "parentIdTag": "FAMILY", "expiryDate": in_a_while(60)}
    await central.call("ReserveNow", connectorId=1, reservationId=5, **reserve)
    charger.plug_in(1, car())
    central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": "Accepted", "parentIdTag": "NEIGHBOURS"}}
    assert not await charger.present(1, "SISTER")
    central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}}
    assert await charger.present(1, "SISTER")


async def test_reservations_end(central, charger):
    await central.call("ReserveNow", connectorId=1, reservationId=5, idTag="MINE", expiryDate=in_a_while(2))
    await central.until(lambda: central.statuses() == ["Available", "Reserved", "Available"])
    await central.call("ReserveNow", connectorId=1, reservationId=6, idTag="MINE", expiryDate=in_a_while(60))
    assert await central.call("CancelReservation", reservationId=6) == {"status": "Accepted"}
    await central.until(lambda: central.statuses()[-2:] == ["Reserved", "Available"])


async def test_connector_zero_keeps_one_place_free(central, charger):
    reserve = {"connectorId": 0, "idTag": "MINE", "expiryDate": in_a_while(60)}
    assert await central.call("ReserveNow", reservationId=5, **reserve) == {"status": "Accepted"}
    charger.plug_in(1, car())
    assert await charger.present(1, "OTHER")
    charger.plug_in(2, car())
    assert not await charger.present(2, "OTHER-2")
    assert await charger.present(2, "MINE")
    assert (await central.seen("StartTransaction", idTag="MINE"))["reservationId"] == 5


async def test_what_is_not_free_cannot_be_reserved(central, charger):
    charger.plug_in(1, car())
    await central.call("ChangeAvailability", connectorId=2, type="Inoperative")
    expected = {1: "Occupied", 2: "Unavailable", 3: "Rejected"}
    for connector, status in expected.items():
        reserve = {"connectorId": connector, "idTag": "X", "expiryDate": in_a_while(60), "reservationId": 1}
        assert await central.call("ReserveNow", **reserve) == {"status": status}


# Id tags


async def test_local_list(central, charger):
    accepted = {"status": "Accepted"}
    entry = {"idTag": "LISTED", "idTagInfo": accepted}
    send = "SendLocalList"
    assert await central.call("GetLocalListVersion") == {"listVersion": 0}
    full = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": [entry]}
    assert await central.call(send, **full) == accepted
    assert await central.call("GetLocalListVersion") == {"listVersion": 3}
    old = {"listVersion": 3, "updateType": "Differential", "localAuthorizationList": []}
    assert await central.call(send, **old) == {"status": "VersionMismatch"}
    await central.close()
    assert await charger.until(lambda: not charger.online, DEADLINE)
    charger.plug_in(1, car())
    assert await charger.present(1, "listed")
    await central.open()
    await central.seen("StartTransaction")
    remove = {"listVersion": 4, "updateType": "Differential", "localAuthorizationList": [{"idTag": "LISTED"}]}
    assert await central.call(send, **remove) == accepted
    assert await central.call("ChangeConfiguration", key="LocalAuthListEnabled", value="false") == accepted
    assert await central.call("GetLocalListVersion") == {"listVersion": -1}
    assert await central.call(send, **full) == {"status": "NotSupported"}


async def test_clear_cache_forgets_who_was_accepted(central, charger):
    await start(central, charger)
    charger.unplug(1)
    assert await central.call("ClearCache") == {"status": "Accepted"}
    await central.close()
    assert await charger.until(lambda: not charger.online, DEADLINE)
    charger.plug_in(1, car())
    assert not await charger.present(1, "T")


# Smart charging


def profile(limit: float, **changes) -> dict:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule | changes.pop("schedule", {}),
    } | changes


def offer(message: dict) -> Decimal:
    return values(message["meterValue"][0])["Current.Offered", None]


async def test_a_profile_limits_what_is_offered_until_it_is_cleared(central, charger):
    connector = charger.connector(1)
    await start(central, charger)
    answer = await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=profile(10.0))
    assert answer == {"status": "Accepted"}
    await central.until(lambda: 10 in [offer(message) for message in central.all("MeterValues")])
    assert max(connector.draw.currents) <= 10
    await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=profile(0.0))
    await central.until(lambda: central.statuses()[-1] == "SuspendedEVSE")
    assert await central.call("ClearChargingProfile", id=1) == {"status": "Accepted"}
    await central.until(lambda: central.statuses()[-1] == "Charging")
    assert await central.call("ClearChargingProfile") == {"status": "Unknown"}


async def test_tx_profiles_belong_to_a_transaction(central, charger):
    mine = profile(8.0, chargingProfilePurpose="TxProfile")
    send = "SetChargingProfile"
    assert await central.call(send, connectorId=1, csChargingProfiles=mine) == {"status": "Rejected"}
    transaction = await start(central, charger)
    other = mine | {"transactionId": transaction + 1}
    assert await central.call(send, connectorId=1, csChargingProfiles=other) == {"status": "Rejected"}
    right = mine | {"transactionId": transaction}
    assert await central.call(send, connectorId=1, csChargingProfiles=right) == {"status": "Accepted"}
    assert await charger.until(lambda: charger.connector(1).offered == 8, DEADLINE)
    await central.call("RemoteStopTransaction", transactionId=transaction)
    assert await central.call("ClearChargingProfile") == {"status": "Unknown"}


async def test_remote_start_brings_its_own_profile(central, charger):
    charger.plug_in(1, car())
    mine = profile(9.0, chargingProfilePurpose="TxProfile")
    wrong = profile(9.0)
    start_ = "RemoteStartTransaction"
    assert await central.call(start_, idTag="R", connectorId=1, chargingProfile=wrong) == {"status": "Rejected"}
    assert await central.call(start_, idTag="R", connectorId=1, chargingProfile=mine) == {"status": "Accepted"}
    assert await charger.until(lambda: charger.connector(1).offered == 9, DEADLINE)


async def test_the_limit_of_the_charge_point_is_shared(central, charger):
    whole = profile(20.0, chargingProfilePurpose="ChargePointMaxProfile")
    answer = await central.call("SetChargingProfile", connectorId=0, csChargingProfiles=whole)
    assert answer == {"status": "Accepted"}
    await start(central, charger)
    assert await charger.until(lambda: charger.connector(1).offered == 20, DEADLINE)
    charger.plug_in(2, car())
    await charger.present(2, "U")
    assert await charger.until(lambda: charger.connector(1).offered == charger.connector(2).offered == 10, DEADLINE)


async def test_composite_schedule(central, charger):
    steps = [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 300, "limit": 6.0}]
    dead_man = profile(0.0, schedule={"chargingSchedulePeriod": steps, "startSchedule": now()})
    await central.call("SetChargingProfile", connectorId=0, csChargingProfiles=dead_man)
    answer = await central.call("GetCompositeSchedule", connectorId=1, duration=600)
    assert answer["status"] == "Accepted"
    periods = answer["chargingSchedule"]["chargingSchedulePeriod"]
    assert [period["limit"] for period in periods] == [16, 6]
    assert periods[0]["startPeriod"] == 0
    assert 295 <= periods[1]["startPeriod"] <= 300
    watts = await central.call("GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="W")
    assert watts["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 16 * 690}]
    assert await central.call("GetCompositeSchedule", connectorId=9, duration=60) == {"status": "Rejected"}


# Configuration and triggers


async def test_get_configuration(central, charger):
    everything = await central.call("GetConfiguration")
    keys = {entry["key"]: entry for entry in everything["configurationKey"]}
    assert keys["NumberOfConnectors"] == {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
    core = {
        "AuthorizeRemoteTxRequests", "ClockAlignedDataInterval", "ConnectionTimeOut", "ConnectorPhaseRotation",
        "GetConfigurationMaxKeys", "HeartbeatInterval", "LocalAuthorizeOffline", "LocalPreAuthorize",
        "MeterValuesAlignedData", "MeterValuesSampledData", "MeterValueSampleInterval", "NumberOfConnectors",
        "ResetRetries", "StopTransactionOnEVSideDisconnect", "StopTransactionOnInvalidId", "StopTxnAlignedData",
        "StopTxnSampledData", "SupportedFeatureProfiles", "TransactionMessageAttempts",
        "TransactionMessageRetryInterval", "UnlockConnectorOnEVSideDisconnect",
    }  # fmt: skip
    assert core <= keys.keys()
    some = await central.call("GetConfiguration", key=["heartbeatinterval", "Nonsense"])
    assert [entry["key"] for entry in some["configurationKey"]] == ["HeartbeatInterval"]
    assert some["unknownKey"] == ["Nonsense"]
    none = await central.call("GetConfiguration", key=["Nonsense"])
    assert none == {"unknownKey": ["Nonsense"]}


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("MeterValueSampleInterval", "60", "Accepted"),
        ("MeterValueSampleInterval", "-1", "Rejected"),
        ("MeterValuesSampledData", "Voltage,SoC", "Accepted"),
        ("MeterValuesSampledData", "Voltage,Nonsense", "Rejected"),
        ("LocalPreAuthorize", "yes", "Rejected"),
        ("NumberOfConnectors", "7", "Rejected"),
        ("Nonsense", "1", "NotSupported"),
    ],
)
async def test_change_configuration(central, charger, key, value, status):
    assert await central.call("ChangeConfiguration", key=key, value=value) == {"status": status}


async def test_the_sampled_measurands_are_those_configured(central, charger):
    await central.call("ChangeConfiguration", key="MeterValuesSampledData", value="Voltage,SoC")
    await start(central, charger)
    message = await central.seen("MeterValues")
    assert {measurand for measurand, _ in values(message["meterValue"][0])} == {"Voltage", "SoC"}


async def test_clock_aligned_readings_come_from_all_connectors(central, charger):
    await central.call("ChangeConfiguration", key="ClockAlignedDataInterval", value="1")
    for connector in (1, 2):
        message = await central.seen("MeterValues", connectorId=connector)
        assert "transactionId" not in message
        assert {sample["context"] for sample in message["meterValue"][0]["sampledValue"]} == {"Sample.Clock"}


@pytest.mark.parametrize(
    "action",
    [
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "StatusNotification",
    ],
)
async def test_triggered_messages_come(central, charger, action):
    central.frames.clear()
    assert await central.call("TriggerMessage", requestedMessage=action, connectorId=1) == {"status": "Accepted"}
    await central.seen(action)


async def test_triggers_for_a_connector_that_is_not_there(central, charger):
    answer = await central.call("TriggerMessage", requestedMessage="MeterValues", connectorId=3)
    assert answer == {"status": "Rejected"}


async def test_diagnostics_and_firmware_are_told_step_by_step(central, charger):
    assert await central.call("GetDiagnostics", location="ftp://example.com/") == {"fileName": "CP 1.zip"}
    await central.seen("DiagnosticsStatusNotification", status="Uploaded")
    assert await central.call("UpdateFirmware", location="ftp://example.com/x", retrieveDate=now()) == {}
    await central.seen("FirmwareStatusNotification", status="Installed")
    steps = [
        payload["status"]
        for action in ("DiagnosticsStatusNotification", "FirmwareStatusNotification")
        for payload in central.all(action)
    ]
    assert steps == ["Uploading", "Uploaded", "Downloading", "Downloaded", "Installing", "Installed"]


async def test_what_it_cannot_do_is_not_supported(central, charger):
    assert await central.call("GetLog", logType="SecurityLog", requestId=1, log={"remoteLocation": "ftp://x"}) == (
        "NotSupported"
    )
    assert await central.call("DataTransfer", vendorId="x") == {"status": "UnknownVendorId"}
