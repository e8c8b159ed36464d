"""What the generic kinds of charge points can do, asked for by a central system that validates every frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ampgate.ocpp import v16
from ampgate.simulator.charger import Charger
from ampgate.simulator.clock import Clock
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.quirks import QUIRKS
from ampgate.simulator.site import vehicle
from tests.unit.simulator.central import DEADLINE, Central

CORE_KEYS = {
    "AuthorizeRemoteTxRequests",
    "ClockAlignedDataInterval",
    "ConnectionTimeOut",
    "ConnectorPhaseRotation",
    "GetConfigurationMaxKeys",
    "HeartbeatInterval",
    "LocalAuthorizeOffline",
    "LocalPreAuthorize",
    "MeterValuesAlignedData",
    "MeterValuesSampledData",
    "MeterValueSampleInterval",
    "NumberOfConnectors",
    "ResetRetries",
    "StopTransactionOnEVSideDisconnect",
    "StopTransactionOnInvalidId",
    "StopTxnAlignedData",
    "StopTxnSampledData",
    "SupportedFeatureProfiles",
    "TransactionMessageAttempts",
    "TransactionMessageRetryInterval",
    "UnlockConnectorOnEVSideDisconnect",
}
"""Required in the core profile (OCPP 1.6 §9.1)."""
BEYOND_CORE: list[tuple[str, dict[str, Any]]] = [
    ("CancelReservation", {"reservationId": 1}),
    ("ClearChargingProfile", {}),
    ("GetCompositeSchedule", {"connectorId": 1, "duration": 60}),
    ("GetDiagnostics", {"location": "ftp://example.com/"}),
    ("GetLocalListVersion", {}),
    ("ReserveNow", {"connectorId": 1, "expiryDate": "2999-01-01T00:00:00Z", "idTag": "T", "reservationId": 1}),
    ("SendLocalList", {"listVersion": 1, "updateType": "Full"}),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}),
    ("UpdateFirmware", {"location": "ftp://example.com/x", "retrieveDate": "2026-01-01T00:00:00Z"}),
]


@contextlib.asynccontextmanager
async def charge_point(profile: str, **options: Any) -> AsyncIterator[tuple[Central, Charger]]:
    async with Central() as central:
        options = {"clock": Clock(60), "sample_interval": 0.3} | options
        charger = Charger(central.url, "CP1", profile=PROFILES[profile], **options)
        work = asyncio.create_task(charger.run())
        try:
            await central.seen("StatusNotification", connectorId=len(charger.connectors) - 1)
            yield central, charger
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work


@pytest.mark.parametrize(("action", "payload"), BEYOND_CORE, ids=[action for action, _ in BEYOND_CORE])
async def test_core_does_not_know_and_generic_does(action: str, payload: dict[str, Any]) -> None:
    async with charge_point("core") as (central, _):
        assert await central.call(action, **payload) == "NotImplemented"
    async with charge_point("generic") as (central, _):
        assert isinstance(await central.call(action, **payload), dict)


async def test_core_has_the_keys_of_the_core_profile() -> None:
    async with charge_point("core") as (central, _):
        answer = await central.call("GetConfiguration")
        assert {row["key"] for row in answer["configurationKey"]} == CORE_KEYS
    async with charge_point("generic") as (central, _):
        answer = await central.call("GetConfiguration")
        assert {row["key"] for row in answer["configurationKey"]} > CORE_KEYS


async def test_core_knows_no_cards_while_the_link_is_lost() -> None:
    """It has neither a cache nor a list."""
    async with charge_point("core", backoff=(0.05, 0.2)) as (central, charger):
        assert await charger.present(1, "T")
        await central.close()
        assert await charger.until(lambda: not charger.online, DEADLINE)
        charger.connector(1).id_tag = None
        assert not await charger.present(1, "T")


async def test_dc_has_two_connectors_without_phases() -> None:
    async with charge_point("dc") as (central, charger):
        assert [row["connectorId"] for row in central.all("StatusNotification")] == [0, 1, 2]
        charger.plug_in(2, vehicle(charger.connector(2).supply, 40))
        assert await charger.present(2, "T")
        assert await charger.until(lambda: charger.connector(2).draw.power > 50_000, DEADLINE)
        count = len(central.all("MeterValues"))
        message = await central.seen("MeterValues", count + 1)
        samples = message["meterValue"][0]["sampledValue"]
        assert all("phase" not in sample for sample in samples)
        values = {sample["measurand"]: float(sample["value"]) for sample in samples}
        assert set(values) == {
            "Current.Import", "Voltage", "Power.Active.Import", "Power.Offered", "Energy.Active.Import.Register",
            "SoC", "Temperature", "Current.Offered",
        }  # fmt: skip
        assert 50 < values["Current.Import"] <= 300
        assert 350 < values["Voltage"] < 410
        assert values["Power.Active.Import"] == pytest.approx(values["Current.Import"] * values["Voltage"], rel=0.01)


@pytest.mark.parametrize(("profile", "amperes"), [("generic", 16.0), ("dc", 27.6)])
async def test_a_limit_in_watts(profile: str, amperes: float) -> None:
    """11 040 W are 16 A on three phases of 230 V, and 27.6 A on direct current of 400 V."""
    async with charge_point(profile) as (central, charger):
        schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11040.0}]}
        limit = {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": schedule,
        }
        answer = await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=limit)
        assert answer == {"status": "Accepted"}
        composite = await central.call("GetCompositeSchedule", connectorId=1, duration=60)
        assert float(composite["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]) == pytest.approx(amperes)
        watts = await central.call("GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="W")
        assert float(watts["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]) == pytest.approx(11040)
        charger.plug_in(1, vehicle(charger.connector(1).supply, 40))
        assert await charger.present(1, "T")
        assert await charger.until(lambda: charger.connector(1).offered == pytest.approx(amperes), DEADLINE)


async def test_charging_profiles_can_be_rejected_altogether() -> None:
    async with charge_point("generic", quirks=frozenset({"rejects-profiles"})) as (central, _):
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.0}]}
        limit = {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": schedule,
        }
        answer = await central.call("SetChargingProfile", connectorId=1, csChargingProfiles=limit)
        assert answer == {"status": "Rejected"}


def test_profiles_are_sound() -> None:
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.summary
        assert profile.quirks <= set(QUIRKS)
        assert set(profile.refused) <= set(v16.ACTIONS)
        assert len(profile.vendor) <= 20
        assert len(profile.model) <= 20
        names = [key.name.lower() for key in profile.keys]
        assert len(names) == len(set(names))
        for key in profile.keys:
            assert key.readonly or key.allows(key.value), (name, key.name)
        codes = [fault.name for fault in profile.faults]
        assert len(codes) == len(set(codes))


def test_serial_numbers_keep_to_25_characters() -> None:
    for name in ("generic", "core", "dc"):
        boot = PROFILES[name].boot("x" * 48, longest_serial=None)
        assert len(str(boot.charge_box_serial_number)) <= 25
        assert len(str(boot.charge_point_serial_number)) <= 25
