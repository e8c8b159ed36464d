"""OCPP 1.6 certification, central system: the core cases, with a BMS that acts through registers alone.

The configuration keys of 019, 021 and 040 go through the extension area; the DataTransfer of 064 comes from the charge
point.

Addresses: see `octt`. Results: 0 Accepted, 1 Rejected, 3 NotSupported, 6 Unlocked, 7 UnlockFailed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ocpp.v16 import call, call_result

from tests.conformance.octt import ACCEPTED, BLOCKED, EXPIRED, INVALID, VALID, PackageStation, Station

pytestmark = pytest.mark.conformance


def seconds_off(timestamp: str) -> float:
    return abs((datetime.fromisoformat(timestamp) - datetime.now(UTC)).total_seconds())


# Booting


async def test_tc_001_csms(unplugged: PackageStation) -> None:
    """TC_001_CSMS: cold boot.

    The boot is accepted with the time and a heartbeat interval; status notifications of the charger and of every
    connector, and heartbeats, are answered; vendor, model, communication and status are in the registers.
    """
    answer = await unplugged.boot()
    assert answer.status == "Accepted"
    assert answer.interval == 300
    assert seconds_off(answer.current_time) < 5
    heartbeat = await unplugged.charger.ask(call.Heartbeat())
    assert seconds_off(heartbeat.current_time) < 5
    assert await unplugged.bms.text(127, 10) == "Vendor"
    assert await unplugged.bms.text(137, 10) == "Model"
    assert [await unplugged.bms.word(status) for status in (614, 714, 814)] == [0, 0, 0]
    assert unplugged.charger.asked == []  # the central system stays silent


# Charging sessions


async def test_tc_003_csms(station: Station) -> None:
    """TC_003_CSMS: regular session, plug in first.

    Authorize and start are accepted, the transaction gets the BMS's id, is shown while it runs and not after its stop.
    """
    await station.status("Preparing")
    assert await station.authorize() == {"status": "Accepted"}
    assert await station.start(301, meter=1200) == {"status": "Accepted"}
    await station.status("Charging")
    assert await station.shows_transaction(VALID)
    assert await station.bms.float(808) == station.meter_start  # Meter Value on Start
    await station.authorize_stop()
    await station.stop(301, "Local", id_tag=VALID, meter=5200)
    assert await station.shows_transaction("")
    await station.status("Finishing")
    await station.status("Available")
    assert station.asked == []


async def test_tc_004_1_csms(station: Station) -> None:
    """TC_004_1_CSMS: regular session, identification first: authorised, then plugged in, started and accepted."""
    await station.charging(302)
    assert await station.shows_transaction(VALID)


async def test_tc_004_2_csms(scripted: PackageStation) -> None:
    """TC_004_2_CSMS: identification first, connection timeout: no start follows, and none is waiting or shown."""
    assert await scripted.authorize() == {"status": "Accepted"}
    await scripted.status("Preparing")
    await scripted.status("Available")
    assert await scripted.bms.word(194) == 0
    assert await scripted.shows_transaction("")


async def test_tc_005_1_csms(station: Station) -> None:
    """TC_005_1_CSMS: the vehicle's plug is pulled: the stop with reason EVDisconnected is answered and shown."""
    await station.charging(303)
    await station.status("SuspendedEV")
    await station.stop(303, "EVDisconnected")
    assert await station.shows_transaction("")
    await station.status("Finishing")
    await station.status("Available")


async def test_tc_007_csms(scripted: PackageStation) -> None:
    """TC_007_CSMS: cached id: a start that no Authorize came before is judged by the BMS and accepted."""
    await scripted.status("Preparing")
    info = await scripted.start(304)
    assert info == {"status": "Accepted"}
    await scripted.status("Charging")
    assert await scripted.shows_transaction(VALID)


async def test_tc_010_csms(station: Station) -> None:
    """TC_010_CSMS: remote start, cable first: connector and id tag of the registers reach the charger, who starts."""
    await station.status("Preparing")
    assert await station.remote_start() == 0
    assert station.asked == [("RemoteStartTransaction", {"connector_id": 1, "id_tag": VALID})]
    await station.authorize_remote_start()
    assert await station.start(305) == {"status": "Accepted"}
    await station.status("Charging")


async def test_tc_011_1_csms(station: Station) -> None:
    """TC_011_1_CSMS: remote start first, then the cable: Authorize and start are accepted."""
    assert await station.remote_start() == 0
    assert station.asked == [("RemoteStartTransaction", {"connector_id": 1, "id_tag": VALID})]
    await station.authorize_remote_start()
    await station.status("Preparing")
    assert await station.start(306) == {"status": "Accepted"}
    await station.status("Charging")


async def test_tc_011_2_csms(scripted: PackageStation) -> None:
    """TC_011_2_CSMS: remote start, no cable in time: accepted, authorised, available again, nothing is left waiting."""
    assert await scripted.remote_start() == 0
    assert await scripted.authorize() == {"status": "Accepted"}
    await scripted.status("Preparing")
    await scripted.status("Available")
    assert await scripted.bms.word(194) == 0
    assert await scripted.shows_transaction("")


async def test_tc_012_csms(station: Station) -> None:
    """TC_012_CSMS: remote stop: the id of the running transaction is sent, the stop with reason Remote is answered."""
    await station.charging(307)
    assert await station.remote_stop(307) == 0
    assert station.asked == [("RemoteStopTransaction", {"transaction_id": 307})]
    await station.stop(307, "Remote")
    await station.status("Finishing")
    await station.status("Available")
    assert await station.shows_transaction("")


# Resetting


async def test_tc_013_csms(station: Station) -> None:
    """TC_013_CSMS: hard reset: Reset with type Hard; the stop before it is answered, the boot after it accepted."""
    await station.charging(308)
    await station.bms.write(426, 2)  # Reset Flag: 2 is hard
    await station.bms.until(426, 0)
    assert await station.bms.word(431) == 0
    assert station.asked == [("Reset", {"type": "Hard"})]
    await station.stop(308, "HardReset")
    await station.restarted()


async def test_tc_014_csms(station: Station) -> None:
    """TC_014_CSMS: soft reset: Reset with type Soft; the stop before it is answered, the boot after it accepted."""
    await station.charging(309)
    assert await station.operate(426, 431) == 0
    assert station.asked == [("Reset", {"type": "Soft"})]
    await station.stop(309, "SoftReset")
    await station.restarted()


# Unlocking: Unlock Connector is 712 for connector 1; its result is at 1496, in the extension area


async def test_tc_017_1_csms(station: Station) -> None:
    """TC_017_1_CSMS: unlock without a session, loose cable: asked once for the right connector, Unlocked."""
    assert await station.operate(712, 1496) == 6
    assert station.asked == [("UnlockConnector", {"connector_id": 1})]


async def test_tc_017_2_csms(scripted: PackageStation) -> None:
    """TC_017_2_CSMS: unlock without a session, fixed cable: NotSupported ends the operation and is shown."""
    scripted.answers("UnlockConnector", "NotSupported")
    assert await scripted.operate(712, 1496) == 3


async def test_tc_018_1_csms(station: Station) -> None:
    """TC_018_1_CSMS: unlock during a session: Unlocked, and the stop with reason UnlockCommand is answered."""
    await station.charging(310)
    assert await station.operate(712, 1496) == 6
    await station.stop(310, "UnlockCommand")
    await station.status("Finishing")
    await station.status("Available")
    assert await station.shows_transaction("")


async def test_tc_030_csms(scripted: PackageStation) -> None:
    """TC_030_CSMS: unlock fails: UnlockFailed ends the operation and is shown."""
    scripted.answers("UnlockConnector", "UnlockFailed")
    assert await scripted.operate(712, 1496) == 7


async def test_tc_031_csms(scripted: PackageStation) -> None:
    """TC_031_CSMS: unlock an unknown connector: the BMS asks for connector 2, which this charger does not have."""
    scripted.answers("UnlockConnector", "NotSupported")
    assert await scripted.operate(812, 1496) == 3
    assert scripted.asked == [("UnlockConnector", {"connector_id": 2})]


# What goes wrong


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        pytest.param(INVALID, "Invalid", id="tc_023_1_csms"),
        pytest.param(EXPIRED, "Expired", id="tc_023_2_csms"),
        pytest.param(BLOCKED, "Blocked", id="tc_023_3_csms"),
    ],
)
async def test_tc_023_csms(verdict: int, status: str, station: Station) -> None:
    """TC_023_1_CSMS, TC_023_2_CSMS, TC_023_3_CSMS: Authorize is answered Invalid, Expired, Blocked as the BMS says."""
    assert await station.authorize("BAD-TAG", verdict) == {"status": status}
    assert await station.bms.word(194) == 0


async def test_tc_024_csms(scripted: PackageStation) -> None:
    """TC_024_CSMS: lock failure: Faulted with ConnectorLockFailure is answered and shown; no transaction begins."""
    assert await scripted.authorize() == {"status": "Accepted"}
    await scripted.status("Preparing")
    await scripted.status("Faulted", error="ConnectorLockFailure")
    assert await scripted.bms.read(714, 2) == [8, 0]  # status Faulted, errorCode ConnectorLockFailure
    assert await scripted.shows_transaction("")


async def test_tc_026_csms(scripted: PackageStation) -> None:
    """TC_026_CSMS: remote start rejected: the result is 1 and no transaction begins."""
    scripted.answers("RemoteStartTransaction", "Rejected")
    assert await scripted.remote_start() == 1
    assert await scripted.shows_transaction("")


async def test_tc_028_csms(station: Station) -> None:
    """TC_028_CSMS: remote stop rejected: the result is 1; the charger's own transaction goes on."""
    await station.charging(311)
    station.answers("RemoteStopTransaction", "Rejected")
    assert await station.remote_stop(312) == 1
    assert station.asked == [("RemoteStopTransaction", {"transaction_id": 312})]
    assert await station.shows_transaction(VALID)


async def test_tc_032_1_csms(scripted: PackageStation) -> None:
    """TC_032_1_CSMS: power failure while charging: boot accepted, statuses and the stop with PowerLoss answered."""
    await scripted.charging(313)
    await scripted.lose_power()
    assert await scripted.shows_transaction(VALID)  # nobody has said that it ended
    await scripted.connect()
    await scripted.charger.boot("Vendor", "Model")
    await scripted.status("Available", 0)
    await scripted.status("Finishing", 1)
    await scripted.status("Available", 2)
    await scripted.stop(313, "PowerLoss")
    assert await scripted.shows_transaction("")


# Charging while the connection is lost: timestamps lie in the past


async def test_tc_037_1_csms(scripted: PackageStation) -> None:
    """TC_037_1_CSMS: start while offline, valid id tag: told afterwards, it is accepted and shown with its own time."""
    await scripted.close()
    await scripted.connect()
    info = await scripted.start(314, timestamp="2026-01-31T09:15:00Z")
    assert info == {"status": "Accepted"}
    await scripted.status("Charging")
    assert await scripted.shows_transaction(VALID)
    assert await scripted.bms.epoch(810) == 1769850900  # Timestamp of the current transaction


async def test_tc_037_3_csms(scripted: PackageStation) -> None:
    """TC_037_3_CSMS: start while offline, invalid id tag: Invalid, with a transaction id; its stop is answered."""
    await scripted.close()
    await scripted.connect()
    info = await scripted.start(315, "BAD-TAG", INVALID)
    assert info == {"status": "Invalid"}
    assert await scripted.shows_transaction("")
    await scripted.stop(315, "DeAuthorized")
    await scripted.status("Finishing")


async def test_tc_039_csms(scripted: PackageStation) -> None:
    """TC_039_CSMS: a whole transaction while offline: start and stop are answered in order, nothing is left shown."""
    await scripted.close()
    await scripted.connect()
    info = await scripted.start(316, meter=100)
    assert info == {"status": "Accepted"}
    await scripted.stop(316, "Local", id_tag=VALID, meter=4100)
    assert await scripted.shows_transaction("")


# Cache and vendor messages


# Configuration keys: flags 1750 (change) and 1751 (get), result 1753, read only 1754, key 1755–1779, value 1805–1899


def configuration(*keys: tuple[str, str, bool], unknown: list[str] | None = None) -> call_result.GetConfiguration:
    known = [{"key": key, "value": value, "readonly": read_only} for key, value, read_only in keys]
    return call_result.GetConfiguration(configuration_key=known, unknown_key=unknown)


async def test_tc_019_1_csms(scripted: PackageStation) -> None:
    """TC_019_1_CSMS: retrieve all configuration keys: asked without a key, the answer is taken and counted."""
    scripted.charger.replies["GetConfiguration"] = configuration(
        ("HeartbeatInterval", "300", False), ("NumberOfConnectors", "2", True)
    )
    await scripted.bms.write_text(1755, 25, "")
    assert await scripted.operate(1751, 1753) == ACCEPTED
    assert scripted.asked == [("GetConfiguration", {})]
    assert await scripted.bms.text(1805, 95) == "2"


async def test_tc_019_2_csms(scripted: PackageStation) -> None:
    """TC_019_2_CSMS: retrieve one key, SupportedFeatureProfiles: key sent, value and read-only shown."""
    profiles = "Core,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
    scripted.charger.replies["GetConfiguration"] = configuration(("SupportedFeatureProfiles", profiles, True))
    await scripted.bms.write_text(1755, 25, "SupportedFeatureProfiles")
    assert await scripted.operate(1751, 1753) == ACCEPTED
    assert scripted.asked == [("GetConfiguration", {"key": ["SupportedFeatureProfiles"]})]
    assert await scripted.bms.text(1805, 95) == profiles
    assert await scripted.bms.word(1754) == 1


async def change(station: Station, key: str, value: str) -> int:
    await station.bms.write_text(1755, 25, key)
    await station.bms.write_text(1805, 95, value)
    return await station.operate(1750, 1753)


async def test_tc_021_csms(station: Station) -> None:
    """TC_021_CSMS: change a configuration key: MeterValueSampleInterval = 60 is sent, its acceptance shown."""
    station.answers("ChangeConfiguration", "Accepted")
    assert await change(station, "MeterValueSampleInterval", "60") == ACCEPTED
    assert station.asked == [("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "60"})]


async def test_tc_040_1_csms(station: Station) -> None:
    """TC_040_1_CSMS: a key that the charger does not have: NotSupported is shown."""
    station.answers("ChangeConfiguration", "NotSupported")
    assert await change(station, "NoSuchKey", "1") == 3


async def test_tc_040_2_csms(station: Station) -> None:
    """TC_040_2_CSMS: a value that is not valid: Rejected is shown."""
    station.answers("ChangeConfiguration", "Rejected")
    assert await change(station, "MeterValueSampleInterval", "-1") == 1


async def test_tc_061_csms(station: Station) -> None:
    """TC_061_CSMS: clear the authorization cache: ClearCache is sent, its acceptance shown."""
    assert await station.operate(366, 371) == ACCEPTED
    assert station.asked == [("ClearCache", {})]


async def test_tc_064_csms(scripted: PackageStation) -> None:
    """TC_064_CSMS: data transfer of an unknown vendor is not accepted: UnknownVendorId."""
    request = call.DataTransfer(vendor_id="com.example.nobody", message_id="hello", data="1")
    assert (await scripted.charger.ask(request)).status == "UnknownVendorId"
