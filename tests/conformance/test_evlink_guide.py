"""The simulated EVlink against the EVlink OCPP guide 1.2: its tables, typed off by hand, asked for over the websocket.

The other end is a central system that validates every frame against the OCA's schemas. Products: P Parking, C City,
W Smart Wallbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ampgate.simulator.charger import Charger
from ampgate.simulator.clock import Clock
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.vehicle import Vehicle
from tests.unit.simulator.central import DEADLINE, Central

pytestmark = pytest.mark.conformance

PRODUCTS = {"P": "evlink-parking", "C": "evlink-city", "W": "evlink"}
TRUNCATED = {"truncateBootNotificationsSerialNumbers": "true"}
"""The schemas allow 25 characters of a serial number."""


@contextlib.asynccontextmanager
async def station(product: str = "W", **options: Any) -> AsyncIterator[tuple[Central, Charger]]:
    """A station that has booted at a central system."""
    async with Central() as central:
        options = {"clock": Clock(60), "backoff": (0.05, 0.2), "settings": TRUNCATED, "sample_interval": 0.3} | options
        charger = Charger(central.url, "EV1", profile=PROFILES[PRODUCTS[product]], **options)
        running = asyncio.create_task(charger.run())
        try:
            last = len(charger.connectors) - 1
            await central.seen("StatusNotification", connectorId=last)
            yield central, charger
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def charging(central: Central, charger: Charger) -> int:
    """The transaction id of a session that has begun."""
    charger.plug_in(1, Vehicle(soc=30))
    assert await charger.present(1, "T")
    assert await charger.until(lambda: charger.connector(1).status == "Charging", DEADLINE)
    transaction = charger.connector(1).transaction
    assert transaction is not None
    assert transaction.id is not None
    return transaction.id


DAY = 86400
"""Seconds; the times of the tables are those of their import, long before the last test runs."""


def later(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


# §3.1: messages of release R7, v3.3.0.7


def schedule(unit: str = "A", **fields: Any) -> dict[str, Any]:
    return {"chargingRateUnit": unit, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.0}]} | fields


def profile(**fields: Any) -> dict[str, Any]:
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule(),
    } | fields


DOWN: list[tuple[str, dict[str, Any], Any]] = [
    ("RemoteStartTransaction", {"idTag": "T", "connectorId": 1}, {"status": "Accepted"}),
    ("RemoteStopTransaction", {"transactionId": 4711}, {"status": "Rejected"}),  # there is none
    (
        "ReserveNow",
        {"connectorId": 1, "expiryDate": later(DAY), "idTag": "T", "reservationId": 1},
        {"status": "Accepted"},
    ),
    (
        "ReserveNow",
        {"connectorId": 0, "expiryDate": later(DAY), "idTag": "T", "reservationId": 1},
        {"status": "Rejected"},  # ReserveConnectorZeroSupported, whose value the guide does not print, is false here
    ),
    ("CancelReservation", {"reservationId": 9}, {"status": "Rejected"}),  # there is none
    ("ChangeConfiguration", {"key": "stationName", "value": "Garage"}, {"status": "Accepted"}),
    (
        "GetConfiguration",
        {"key": ["ResetRetries"]},
        {"configurationKey": [{"key": "ResetRetries", "readonly": True, "value": "0"}]},
    ),
    ("UpdateFirmware", {"location": "ftp://example.com/x", "retrieveDate": later(0)}, {}),
    ("GetDiagnostics", {"location": "ftp://example.com/"}, {"fileName": "EV1.zip"}),
    ("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Accepted"}),
    ("ClearCache", {}, {"status": "Accepted"}),
    ("Reset", {"type": "Soft"}, {"status": "Accepted"}),
    ("UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"}),
    (
        "SendLocalList",
        {"listVersion": 1, "updateType": "Full", "localAuthorizationList": []},
        "NotSupported",
    ),
    ("GetLocalListVersion", {}, "NotSupported"),
    ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile()}, {"status": "Accepted"}),
    ("ClearChargingProfile", {}, {"status": "Unknown"}),  # there is none
    ("DataTransfer", {"vendorId": "org.example"}, {"status": "UnknownVendorId"}),
    ("TriggerMessage", {"requestedMessage": "StatusNotification"}, {"status": "Accepted"}),
    # what the guide does not list came after it
    ("GetLog", {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "ftp://x"}}, "NotImplemented"),
    ("ExtendedTriggerMessage", {"requestedMessage": "Heartbeat"}, "NotImplemented"),
]
"""What the central system sends, and the answer: a payload, or the code of a CALLERROR."""


@pytest.mark.parametrize(("action", "payload", "answer"), DOWN, ids=[action for action, *_ in DOWN])
async def test_message_of_the_central_system(action: str, payload: dict[str, Any], answer: Any) -> None:
    async with station() as (central, _):
        assert await central.call(action, **payload) == answer


async def test_composite_schedule() -> None:
    """§4.1: supported with the restriction connectorId > 0; amperes only."""
    async with station() as (central, _):
        answer = await central.call("GetCompositeSchedule", connectorId=1, duration=60)
        assert answer["status"] == "Accepted"
        assert answer["chargingSchedule"]["chargingRateUnit"] == "A"
        assert [period["limit"] for period in answer["chargingSchedule"]["chargingSchedulePeriod"]] == [32]
        assert await central.call("GetCompositeSchedule", connectorId=0, duration=60) == {"status": "Rejected"}
        watts = await central.call("GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="W")
        assert watts == {"status": "Rejected"}


UP = ["BootNotification", "StatusNotification", "Heartbeat", "Authorize", "StartTransaction", "MeterValues"]
UP += ["StopTransaction", "FirmwareStatusNotification", "DiagnosticsStatusNotification"]


async def test_every_message_of_the_station_comes() -> None:
    """All of §3.1 that goes up but DataTransfer, which only City sends, to detect cars."""
    async with station() as (central, charger):
        await charging(central, charger)
        await central.seen("MeterValues")
        charger.unplug(1)
        await central.call("TriggerMessage", requestedMessage="Heartbeat")
        await central.call("GetDiagnostics", location="ftp://example.com/")
        await central.call("UpdateFirmware", location="ftp://example.com/", retrieveDate=later(0))
        for action in UP:
            await central.seen(action)


@pytest.mark.parametrize(
    ("message", "idle", "in_a_session"),
    [
        ("StatusNotification", "Accepted", "Accepted"),
        ("Heartbeat", "Accepted", "Accepted"),
        ("MeterValues", "Rejected", "Accepted"),  # only during a load
        ("BootNotification", "NotImplemented", "NotImplemented"),
        ("DiagnosticsStatusNotification", "NotImplemented", "NotImplemented"),
        ("FirmwareStatusNotification", "NotImplemented", "NotImplemented"),
    ],
)
async def test_trigger(message: str, idle: str, in_a_session: str) -> None:
    async with station(sample_interval=900.0) as (central, charger):
        assert await central.call("TriggerMessage", requestedMessage=message) == {"status": idle}
        await charging(central, charger)
        central.frames.clear()
        assert await central.call("TriggerMessage", requestedMessage=message) == {"status": in_a_session}
        if in_a_session == "Accepted":
            await central.seen(message)


# §4.1: SetChargingProfile and the profile of RemoteStartTransaction


def period(**fields: Any) -> dict[str, Any]:
    return schedule(chargingSchedulePeriod=[{"startPeriod": 0, "limit": 10.0} | fields])


RESTRICTIONS: list[tuple[str, dict[str, Any], int, str]] = [
    ("chargingProfileId", {"chargingProfileId": 7}, 1, "Accepted"),
    ("stackLevel", {"stackLevel": 999}, 1, "Accepted"),  # ChargeProfileMaxStackLevel, §8
    ("stackLevel above", {"stackLevel": 1000}, 1, "Rejected"),
    ("TxDefaultProfile", {"chargingProfilePurpose": "TxDefaultProfile"}, 1, "Accepted"),
    ("ChargePointMaxProfile", {"chargingProfilePurpose": "ChargePointMaxProfile"}, 0, "Accepted"),
    ("Absolute", {"chargingProfileKind": "Absolute"}, 1, "Accepted"),
    ("Relative", {"chargingProfileKind": "Relative"}, 1, "Accepted"),
    ("recurrencyKind", {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily"}, 1, "Accepted"),
    ("validFrom/validTo", {"validFrom": later(0), "validTo": later(DAY)}, 1, "Accepted"),
    ("duration", {"chargingSchedule": schedule(duration=60)}, 1, "Accepted"),
    ("startSchedule", {"chargingSchedule": schedule(startSchedule=later(0))}, 1, "Accepted"),
    ("chargingRateUnit A", {"chargingSchedule": schedule("A")}, 1, "Accepted"),
    ("chargingRateUnit W", {"chargingSchedule": schedule("W")}, 1, "Rejected"),
    ("minChargingRate", {"chargingSchedule": schedule(minChargingRate=6.0)}, 1, "Rejected"),
    ("startPeriod, limit", {"chargingSchedule": period(limit=6.5)}, 1, "Accepted"),
    ("numberPhases", {"chargingSchedule": period(numberPhases=3)}, 1, "Rejected"),
]
"""Parameter, what of a profile to change, connector, answer."""


@pytest.mark.parametrize(
    ("fields", "connector", "answer"), [row[1:] for row in RESTRICTIONS], ids=[row[0] for row in RESTRICTIONS]
)
async def test_parameter_of_a_charging_profile(fields: dict[str, Any], connector: int, answer: str) -> None:
    async with station() as (central, _):
        result = await central.call("SetChargingProfile", connectorId=connector, csChargingProfiles=profile(**fields))
        assert result == {"status": answer}


async def test_a_tx_profile_names_the_transaction_and_limits_the_car() -> None:
    async with station() as (central, charger):
        transaction = await charging(central, charger)
        wanted = profile(chargingProfilePurpose="TxProfile", transactionId=transaction)
        result = await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=wanted)
        assert result == {"status": "Accepted"}
        assert await charger.until(lambda: charger.connector(1).offered == 10.0, DEADLINE)


@pytest.mark.parametrize(("unit", "answer"), [("A", "Accepted"), ("W", "Rejected")])
async def test_remote_start_with_a_profile_has_the_same_restrictions(unit: str, answer: str) -> None:
    async with station() as (central, _):
        wanted = profile(chargingProfilePurpose="TxProfile", chargingSchedule=schedule(unit))
        result = await central.call("RemoteStartTransaction", idTag="T", connectorId=1, chargingProfile=wanted)
        assert result == {"status": answer}


async def test_99_profiles_and_no_more() -> None:
    """MaxChargingProfilesInstalled, §8."""
    async with station() as (central, _):
        for number in range(100):
            wanted = profile(chargingProfileId=number, stackLevel=number)
            result = await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=wanted)
            assert result == {"status": "Accepted" if number < 99 else "Rejected"}, number


# §8: parameters that the supervision can reach

IMAX_CARD, IMAX_STATION = 32, 64
"""The guide says "Imax" of the card and of the station: 32 A, and two sockets of it."""
FREE, BOOLEAN = None, (False, True)
SAMPLED = (
    "Energy.Active.Import.Register,Current.Import,Current.Offered,Current.Import.L1,Current.Import.L2,"
    "Current.Import.L3,Voltage,Voltage.L1,Voltage.L2,Voltage.L3,Voltage.L1-L2,Voltage.L2-L3,Voltage.L3-L1,"
    "Voltage.L1-N,Voltage.L2-N,Voltage.L3-N"
)
"""The guide's full example of MeterValuesSampledData."""

# key, limits, unit, products, and what becomes of a number out of its limits: rejected, or the number that is taken
WRITABLE: list[tuple[str, Any, str, str, str]] = [
    ("operatingMode", (0, 5), "", "PCW", "Rejected"),
    ("allowPluggedCable", BOOLEAN, "", "C", "Rejected"),
    ("enableEvDetection", BOOLEAN, "", "W", "Rejected"),
    ("loadSheddingSetPoint", (0, IMAX_CARD), "A", "PCW", "Rejected"),
    ("stationName", FREE, "", "PCW", ""),
    ("voltageReference", (0, 400), "V", "PCW", "Rejected"),
    ("maxIntensityStation", (0, IMAX_STATION), "A", "CW", "Rejected"),
    ("maxIntensitySocket", (0, IMAX_CARD), "A", "PCW", "Rejected"),
    ("EnableSuspendChargeByButton", BOOLEAN, "", "P", "Rejected"),
    ("monophasedLoadSheddingFloorValue", (6, 20), "A", "PCW", "Rejected"),
    ("triphasedLoadSheddingFloorValue", (6, 20), "A", "PCW", "Rejected"),
    ("EMsetting", (0, 3), "", "PCW", "Rejected"),
    ("loadSheddingPriority", (0, 1), "", "PCW", "Rejected"),
    ("AllowOfflineTxForUnknownId", BOOLEAN, "", "PCW", "Rejected"),  # the name of enableUnknown in OCPP
    ("authenticationManager", (0, 3), "", "PCW", "Rejected"),
    ("ControlChargeByRemoteCommand", BOOLEAN, "", "PCW", "Rejected"),
    ("rfidStatusTimeout", (0, 65535), "s", "PCW", "Rejected"),
    ("ocppVersion", ("1.5", "1.6"), "", "PCW", "Rejected"),
    ("ocppCentralAddress", FREE, "", "PCW", ""),
    ("ocppBoxLocalPort", (1, 65535), "", "PCW", "Rejected"),
    ("ocppBoxPublicPort", (1, 65535), "", "PCW", "Rejected"),
    ("ocppDefaultBoxAddrPublic", (1, 65535), "", "PCW", "Rejected"),
    ("ocppConfModemAddress", FREE, "", "PCW", ""),
    ("ocppConfSimModemAddress", FREE, "", "PCW", ""),
    ("confModemRetryInterval", (15, 60), "s", "PCW", "0"),  # 0 means the default of 30 s
    ("boxIdentity", FREE, "", "PCW", ""),
    ("defaultIdTag", FREE, "", "PCW", ""),
    ("MeterValuesSampledData", ("Energy.Active.Import.Register", SAMPLED), "", "PCW", "Rejected"),
    ("meterValueSampleInterval", (15, 7200), "s", "PCW", "Rejected"),
    ("ocppConnectTimeOut", (2, 60), "s", "PCW", "60"),
    ("MinimumStatusDuration", (0, 999_999_999), "s", "PCW", "Rejected"),
    ("TransactionMessageRetryInterval", (0, 999_999_999), "s", "PCW", "Rejected"),
    ("TransactionMessageAttempts", (0, 999_999_999), "", "PCW", "Rejected"),
    ("truncateBootNotificationsSerialNumbers", BOOLEAN, "", "PCW", "Rejected"),
    ("cacheListEnabled", BOOLEAN, "", "PCW", "Rejected"),
    ("compressDiagnostic", BOOLEAN, "", "PCW", "Rejected"),
]
RESTART = {
    "ocppVersion",
    "ocppCentralAddress",
    "ocppBoxLocalPort",
    "ocppBoxPublicPort",
    "ocppDefaultBoxAddrPublic",
    "ocppConfModemAddress",
    "ocppConfSimModemAddress",
    "boxIdentity",
}
"""Those of the connection take effect with the next start (chosen here: the guide does not tell)."""

# key and the value that the guide prints, None where it prints none
READ_ONLY: list[tuple[str, str | None]] = [
    ("WebSocketPingInterval", None),
    ("NumberOfConnectors", "1"),  # a Smart Wallbox
    ("HeartBeatInterval", "300"),  # what the central system of this test wishes
    ("AuthorizeRemoteTxRequests", "false"),
    ("ConnectionTimeOut", "30"),
    ("GetConfigurationMaxKeys", "200"),
    ("ResetRetries", "0"),
    ("ConnectorPhaseRotation", None),
    ("ConnectorPhaseRotationMaxLength", None),
    ("StopTransactionOnEVSideDisconnect", "true"),
    ("StopTransactionOnInvalidId", "true"),
    ("StopTxnAlignedData", None),
    ("StopTxnAlignedDataMaxLength", "0"),
    ("StopTxnSampledData", None),
    ("StopTxnSampledDataMaxLength", "0"),
    ("SupportedFeatureProfiles", "Core,FirmwareManagement,Reservation,SmartCharging"),
    ("SupportedFeatureProfilesMaxLength", "4"),
    ("ReserveConnectorZeroSupported", None),
    ("UnlockConnectorOnEVSideDisconnect", "true"),
    ("ChargeProfileMaxStackLevel", "999"),
    ("ChargingScheduleAllowedChargingRateUnit", "Current"),
    ("ChargingScheduleMaxPeriods", None),
    ("ConnectorSwitch3to1PhaseSupported", "false"),
    ("MaxChargingProfilesInstalled", "99"),
]
# factory settings that the guide prints, here or on the pages of the station's web server (§6)
PRINTED = {
    "rfidStatusTimeout": "10",
    "confModemRetryInterval": "30",
    "ocppConnectTimeOut": "60",
    "compressDiagnostic": "true",
    "truncateBootNotificationsSerialNumbers": "false",
    "MeterValuesSampledData": "Energy.Active.Import.Register",
    "cacheListEnabled": "true",
    "meterValueSampleInterval": "900",
    "defaultIdTag": "UNDEFINED",
}


async def value_of(central: Central, key: str) -> str:
    answer = await central.call("GetConfiguration", key=[key])
    value: str = answer["configurationKey"][0]["value"]
    return value


async def change(central: Central, key: str, value: str) -> str:
    answer = await central.call("ChangeConfiguration", key=key, value=value)
    status: str = answer["status"]
    return status


@pytest.mark.parametrize(("key", "limits", "unit", "products", "outside"), WRITABLE, ids=[row[0] for row in WRITABLE])
async def test_writable_parameter(key: str, limits: Any, unit: str, products: str, outside: str) -> None:
    [row] = [row for row in PROFILES[PRODUCTS[products[0]]].keys if row.name == key]
    assert row.unit == unit
    async with station(products[0]) as (central, _):
        [shown] = (await central.call("GetConfiguration", key=[key]))["configurationKey"]
        assert shown["readonly"] is False
        done = "RebootRequired" if key in RESTART else "Accepted"
        values = ("", "x" * 500) if limits is FREE else [str(limit).lower() for limit in limits]
        if key == "MeterValuesSampledData":
            values = list(limits)
        for value in values:
            assert await change(central, key, value) == done, value
            assert await value_of(central, key) == value
        last = values[-1]
        for wrong in wrong_values(limits):
            result = await change(central, key, wrong)
            number = wrong.removeprefix("-").isdigit()
            if outside.isdigit() and number:
                assert result == done, wrong
                assert await value_of(central, key) == outside
            else:
                assert result == "Rejected", wrong
                assert await value_of(central, key) in (last, outside)


def wrong_values(limits: Any) -> list[str]:
    if limits is FREE:
        return []  # OCPP itself allows 500 characters
    if limits == BOOLEAN:
        return ["2", "yes", ""]
    if isinstance(limits[0], str):
        return ["2.0", "Power.Active.Import", SAMPLED + ",SoC"]
    return [str(limits[0] - 1), str(limits[1] + 1), "much"]


@pytest.mark.parametrize(("key", "value"), READ_ONLY, ids=[key for key, _ in READ_ONLY])
async def test_read_only_parameter(key: str, value: str | None) -> None:
    async with station() as (central, _):
        [shown] = (await central.call("GetConfiguration", key=[key]))["configurationKey"]
        assert shown["readonly"] is True
        assert value is None or shown["value"] == value
        for new in ("1", "-1", "true"):
            assert await change(central, key, new) == "Rejected"
        assert await value_of(central, key) == shown["value"]


@pytest.mark.parametrize("product", PRODUCTS)
async def test_a_product_has_its_parameters_and_no_others(product: str) -> None:
    own = {key for key, _, _, products, _ in WRITABLE if product in products} | {key for key, _ in READ_ONLY}
    async with station(product) as (central, _):
        answer = await central.call("GetConfiguration")
        assert {row["key"] for row in answer["configurationKey"]} == own
        foreign = [key for key, _, _, products, _ in WRITABLE if product not in products]
        answer = await central.call("GetConfiguration", key=foreign)
        assert answer["unknownKey"] == foreign
        assert await change(central, foreign[0], "1") == "NotSupported"


def test_there_are_60_parameters() -> None:
    assert (len(WRITABLE), len(READ_ONLY)) == (36, 24)


async def test_factory_settings() -> None:
    async with station(settings={}, sample_interval=None) as (central, charger):
        for key, value in PRINTED.items():
            wanted = "15" if key == "meterValueSampleInterval" else value  # the simulator asks for its lowest
            assert await value_of(central, key) == wanted, key
        keys = {key.name: key.value for key in charger.profile.keys}
        assert {key: keys[key] for key in PRINTED} == PRINTED
        central.violations.clear()  # the serial numbers of the boot


# What parameters do


async def test_serial_numbers_are_too_long_until_they_are_truncated() -> None:
    async with station(settings={}) as (central, _):
        boot = central.all("BootNotification")[0]
        assert len(boot["chargeBoxSerialNumber"]) == 34
        assert len(boot["chargePointSerialNumber"]) == 26
        assert len(central.violations) == 2
        central.violations.clear()
        assert await change(central, "truncateBootNotificationsSerialNumbers", "true") == "Accepted"
        await central.call("Reset", type="Soft")
        again = await central.seen("BootNotification", 2)
        assert again["chargeBoxSerialNumber"] == boot["chargeBoxSerialNumber"][:25]
        assert again["chargePointSerialNumber"] == boot["chargePointSerialNumber"][:25]


async def test_sampled_values_are_those_of_the_list_and_phases_are_named() -> None:
    async with station() as (central, charger):
        assert await change(central, "MeterValuesSampledData", SAMPLED) == "Accepted"
        await charging(central, charger)
        message = await central.seen("MeterValues", 3)
        samples = message["meterValue"][0]["sampledValue"]
        names = {sample["measurand"] + (f".{sample['phase']}" if "phase" in sample else "") for sample in samples}
        assert names == set(SAMPLED.split(","))
        values = {(sample["measurand"], sample.get("phase")): float(sample["value"]) for sample in samples}
        assert values["Voltage", "L1-L2"] == pytest.approx(values["Voltage", "L1-N"] * 1.732, abs=2)
        assert values["Current.Import", None] == pytest.approx(values["Current.Import", "L2"], abs=0.2)


async def test_energy_is_all_that_is_sampled_at_first() -> None:
    async with station() as (central, charger):
        await charging(central, charger)
        message = await central.seen("MeterValues")
        assert [sample["measurand"] for sample in message["meterValue"][0]["sampledValue"]] == [
            "Energy.Active.Import.Register"
        ]


async def test_a_stop_has_no_meter_values() -> None:
    """StopTxnSampledDataMaxLength and StopTxnAlignedDataMaxLength are 0."""
    async with station() as (central, charger):
        await charging(central, charger)
        charger.unplug(1)
        assert "transactionData" not in await central.seen("StopTransaction")


async def test_the_socket_gives_no_more_than_max_intensity_socket() -> None:
    async with station() as (central, charger):
        assert await change(central, "maxIntensitySocket", "13") == "Accepted"
        await charging(central, charger)
        assert charger.connector(1).offered == 13


async def test_a_card_is_given_up_after_rfid_status_timeout() -> None:
    async with station() as (central, charger):
        assert await change(central, "rfidStatusTimeout", "1") == "Accepted"
        central.silent.add("Authorize")
        began = asyncio.get_running_loop().time()
        assert not await charger.present(1, "T")
        assert 0.9 < asyncio.get_running_loop().time() - began < DEADLINE
        assert central.all("Authorize") == [{"idTag": "T"}]


async def test_a_silent_central_system_is_lost_after_connect_time_out() -> None:
    async with station() as (central, _):
        assert await change(central, "ocppConnectTimeOut", "2") == "Accepted"
        await central.seen("StatusNotification", 2, connectorId=1)
        assert central.connections == 2
        assert len(central.all("BootNotification")) == 1


@pytest.mark.parametrize(
    ("allow", "cache", "known", "unknown"),
    [
        ("false", "false", False, False),  # Reject all badges
        ("false", "true", True, False),
        ("true", "false", True, True),  # Allow all badges
        ("true", "true", True, True),
    ],
)
async def test_who_may_charge_while_the_link_is_lost(allow: str, cache: str, known: bool, unknown: bool) -> None:
    async with station("P") as (central, charger):
        await change(central, "AllowOfflineTxForUnknownId", allow)
        await change(central, "cacheListEnabled", cache)
        assert await charger.present(1, "KNOWN")
        await central.close()
        assert await charger.until(lambda: not charger.online, DEADLINE)
        charger.connector(1).id_tag = None
        assert await charger.present(1, "KNOWN") == known
        assert await charger.present(2, "UNKNOWN") == unknown


async def test_ocpp_1_5_is_offered_after_a_restart() -> None:
    async with station() as (central, _):
        assert central.headers[0].headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
        assert await change(central, "ocppVersion", "1.5") == "RebootRequired"
        await central.call("Reset", type="Soft")
        await central.until(lambda: len(central.headers) > 1)
        assert central.headers[1].headers["Sec-WebSocket-Protocol"] == "ocpp1.5"
