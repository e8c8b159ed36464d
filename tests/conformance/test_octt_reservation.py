"""OCPP 1.6 certification, central system: reservations, with a BMS that acts through registers alone.

Addresses (see `octt`): Reserve Now flag 396, connector 397, expiry 398–399, id tag 400–409, parent id tag 410–419,
reservation id 420, result 423; Cancel Reservation flag 356, reservation id 357, result 361.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.octt import PEERS, VALID, PackageStation, Station
from tests.integration.peers import words_of_text

pytestmark = pytest.mark.conformance
who_can_reserve = pytest.mark.parametrize("peer", [peer for peer in PEERS if peer != "core"])

EXPIRY = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)


async def reserve(station: Station, reservation: int, *, connector: int = 1, parent: str = "") -> int:
    """Reserve for an hour; checks what the charge point gets and returns the result."""
    expiry = divmod(int(EXPIRY.timestamp()), 0x10000)
    tags = words_of_text(VALID, 10) + words_of_text(parent, 10)
    await station.bms.write(397, connector, *expiry, *tags, reservation)
    result = await station.operate(396, 423)
    payload = {
        "connector_id": connector,
        "expiry_date": f"{EXPIRY:%Y-%m-%dT%H:%M:%SZ}",
        "id_tag": VALID,
        "reservation_id": reservation,
    }
    assert station.asked == [("ReserveNow", payload | ({"parent_id_tag": parent} if parent else {}))]
    station.forget()
    return result


async def cancel(station: Station, reservation: int) -> int:
    await station.bms.write(357, reservation)
    result = await station.operate(356, 361)
    assert station.asked == [("CancelReservation", {"reservation_id": reservation})]
    return result


@who_can_reserve
async def test_tc_046_csms(station: Station) -> None:
    """TC_046_CSMS: a reserved connector is used by its id tag: the start names the reservation and is accepted."""
    assert await reserve(station, 46) == 0
    await station.status("Reserved")
    assert await station.authorize() == {"status": "Accepted"}
    await station.status("Preparing")
    info = await station.start(461, reservation=46)
    assert info == {"status": "Accepted"}
    await station.status("Charging")
    assert await station.shows_transaction(VALID)


async def test_tc_047_csms(scripted: PackageStation) -> None:
    """TC_047_CSMS: a reservation expires: Reserved, then Available, is answered and shown; nothing more is sent."""
    assert await reserve(scripted, 47) == 0
    await scripted.status("Reserved")
    await scripted.status("Available")
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("status", "result"),
    [
        pytest.param("Faulted", 8, id="tc_048_1_csms"),
        pytest.param("Occupied", 9, id="tc_048_2_csms"),
        pytest.param("Unavailable", 10, id="tc_048_3_csms"),
        pytest.param("Rejected", 1, id="tc_048_4_csms"),
    ],
)
async def test_tc_048_csms(status: str, result: int, scripted: PackageStation) -> None:
    """TC_048_1_CSMS … TC_048_4_CSMS: the reservation is refused as Faulted, Occupied, Unavailable, Rejected: shown."""
    scripted.answers("ReserveNow", status)
    assert await reserve(scripted, 48) == result


async def test_tc_049_csms(scripted: PackageStation) -> None:
    """TC_049_CSMS: the charger as a whole is reserved: connector 0 is sent; any connector serves the reservation."""
    assert await reserve(scripted, 49, connector=0) == 0
    await scripted.status("Reserved", 0)
    assert await scripted.authorize() == {"status": "Accepted"}
    info = await scripted.start(491, connector=2, reservation=49)
    assert info == {"status": "Accepted"}
    assert await scripted.shows_transaction(VALID, connector=2)


@who_can_reserve
async def test_tc_051_csms(station: Station) -> None:
    """TC_051_CSMS: a reservation is cancelled: with the same id, Accepted, and the connector is available again."""
    assert await reserve(station, 51) == 0
    await station.status("Reserved")
    assert await cancel(station, 51) == 0
    await station.status("Available")


@who_can_reserve
async def test_tc_052_csms(station: Station) -> None:
    """TC_052_CSMS: cancelling a reservation is rejected: the result is 1, the connector stays reserved."""
    assert await reserve(station, 52) == 0
    await station.status("Reserved")
    station.answers("CancelReservation", "Rejected")
    assert await cancel(station, 53) == 1
    assert await station.bms.word(714) == 6


@who_can_reserve
async def test_tc_053_csms(station: Station) -> None:
    """TC_053_CSMS: a reservation is used by another id tag of the same parent.

    The parent id tag goes out with the reservation and with the Authorize of the other tag; the start is accepted.
    """
    assert await reserve(station, 53, parent="FAMILY") == 0
    await station.status("Reserved")
    info = await station.authorize("VALID-TAG-2", parent="FAMILY")
    assert info == {"status": "Accepted", "parent_id_tag": "FAMILY"}
    await station.status("Preparing")
    info = await station.start(531, "VALID-TAG-2", reservation=53)
    assert info == {"status": "Accepted"}
    await station.status("Charging")
