"""OCPP 1.6 certification, central system: remote trigger, and what of smart charging needs ClearChargingProfile alone.

Not here, as they need registers of the extension area that this version does not have: TC_056_CSMS, TC_057_CSMS
(SetChargingProfile), TC_059_CSMS (remote start with a profile), TC_066_CSMS (GetCompositeSchedule) and the first part
of TC_067_CSMS, which sets the profiles that its second part clears.

Addresses (see `octt`): Trigger Message flag 466, message 467, connector 468, result 471; Clear Charging Profile flag
376, profile id 377, connector 378, purpose 379, stack level 380, result 383.
"""

from __future__ import annotations

from typing import Any

import pytest
from ocpp.v16 import call

from tests.conformance.octt import PackageStation
from tests.integration.peers import NOON

pytestmark = pytest.mark.conformance

LEFT_OUT = 65535
"""Power-up value of the parameters of Clear Charging Profile."""


async def trigger(station: PackageStation, message: int, connector: int = 0) -> int:
    await station.bms.write(467, message, connector)
    return await station.operate(466, 471)


async def test_tc_054_csms(scripted: PackageStation) -> None:
    """TC_054_CSMS: every message is triggered, and answered when it comes; what it says is in the registers."""
    requests: dict[str, tuple[int, Any]] = {
        "MeterValues": (
            4,
            call.MeterValues(connector_id=1, meter_value=[{"timestamp": NOON, "sampled_value": [{"value": "1500"}]}]),
        ),
        "Heartbeat": (3, call.Heartbeat()),
        "StatusNotification": (
            5,
            call.StatusNotification(connector_id=1, error_code="NoError", status="Unavailable"),
        ),
        "DiagnosticsStatusNotification": (1, call.DiagnosticsStatusNotification(status="Idle")),
        "FirmwareStatusNotification": (2, call.FirmwareStatusNotification(status="Installed")),
        "BootNotification": (0, call.BootNotification(charge_point_vendor="Vendor", charge_point_model="Newer")),
    }
    for name, (number, request) in requests.items():
        connector = 1 if name in ("MeterValues", "StatusNotification") else 0
        scripted.forget()
        assert await trigger(scripted, number, connector) == 0
        expected = {"requested_message": name} | ({"connector_id": connector} if connector else {})
        assert scripted.asked == [("TriggerMessage", expected)]
        await scripted.charger.ask(request)
    assert await scripted.bms.float(740) == 1500  # Energy.Active.Import.Register
    assert await scripted.bms.read(713, 2) == [0, 7]  # availability, status Unavailable
    assert await scripted.bms.read(1494, 2) == [0, 5]  # diagnostics Idle, firmware Installed
    assert await scripted.bms.text(137, 10) == "Newer"


async def test_tc_055_csms(scripted: PackageStation) -> None:
    """TC_055_CSMS: MeterValues is triggered and rejected: the result is 1, nothing is sent again."""
    scripted.answers("TriggerMessage", "Rejected")
    assert await trigger(scripted, 4, 1) == 1
    assert scripted.asked == [("TriggerMessage", {"requested_message": "MeterValues", "connector_id": 1})]


async def test_tc_067_csms_clearing(scripted: PackageStation) -> None:
    """TC_067_CSMS, second part: profiles are cleared by id, by criteria, all; Unknown is shown when there is none.

    Criteria that the BMS leaves at 65535 are not sent.
    """

    async def clear(profile: int, connector: int, purpose: int, stack_level: int) -> int:
        scripted.forget()
        await scripted.bms.write(377, profile, connector, purpose, stack_level)
        return await scripted.operate(376, 383)

    await scripted.charging(670)
    assert await clear(1, LEFT_OUT, LEFT_OUT, LEFT_OUT) == 0
    assert scripted.asked == [("ClearChargingProfile", {"id": 1})]
    assert await clear(LEFT_OUT, 1, 1, 0) == 0
    criteria = {"connector_id": 1, "charging_profile_purpose": "TxDefaultProfile", "stack_level": 0}
    assert scripted.asked == [("ClearChargingProfile", criteria)]
    assert await clear(LEFT_OUT, LEFT_OUT, LEFT_OUT, LEFT_OUT) == 0
    assert scripted.asked == [("ClearChargingProfile", {})]
    scripted.answers("ClearChargingProfile", "Unknown")
    assert await clear(LEFT_OUT, LEFT_OUT, LEFT_OUT, LEFT_OUT) == 4
