"""Simulated EVlink stations at a real gateway process, as a BMS sees them in registers.

Addresses are those of the original's map for charger 0, and of the extension area: last vendor error code 1437–1461,
last status info 1462–1486.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.vehicle import Vehicle
from tests.integration.peers import DEADLINE, until, words_of_text
from tests.integration.shared import SharedGateway, shared_gateway
from tests.integration.simulated import at, connected

PRODUCTS = {"P": "evlink-parking", "C": "evlink-city", "W": "evlink"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    identities = [f"EV{number:02}" for number in range(48)]
    bms = {"policy": "accept", "answer_timeout": 0.05}
    with shared_gateway(tmp_path_factory.mktemp("gateway"), identities, bms=bms) as gateway:
        yield gateway


# §7.1 of the guide: code, name and products are its columns; errorCode (as the register shows it) and whether the
# station is faulted are chosen to fit. P Parking, C City, W Smart Wallbox.

ERRORS = [
    (1, "Rfid Status", "PCW", 12, False),  # ReaderFailure
    (3, "Internal Communication", "PC", 4, True),  # InternalError
    (4, "Outlet Lock", "PCW", 0, True),  # ConnectorLockFailure
    (5, "Contactor State", "PCW", 11, True),  # PowerSwitchFailure
    (6, "Surge Arrestor", "PC", 7, True),  # OtherError
    (7, "Anti-intrusion", "PC", 7, True),
    (8, "Software Configuration", "CW", 4, True),  # InternalError
    (9, "Hardware Configuration", "PCW", 4, True),
    (10, "Flap Sensor", "PC", 7, True),
    (11, "Upstream Protection Devices", "PCW", 7, True),
    (12, "Power Meter Communication", "PCW", 10, False),  # PowerMeterFailure
    (13, "Remote Authentication Communication", "PCW", 12, False),  # ReaderFailure
    (14, "[Un]Plug Process", "PCW", 7, True),
    (15, "Load tri-phase compliancy", "PC", 7, True),
    (16, "Plc Communication", "PCW", 7, False),
    (17, "Control Pilot (CP) Signal conformity", "PCW", 1, True),  # EVCommunicationError
    (18, "Plug Presence (PP) conformity", "PCW", 1, True),
    (19, "Charge Alarm EV Disconnected", "PCW", 1, True),
    (20, "Charge Alarm ShortCut", "PCW", 1, True),
    (21, "Charge Alarm Overload", "PCW", 8, True),  # OverCurrentFailure
    (22, "Charge Alarm Ventilation Not Allowed", "PCW", 7, True),
    (24, "Modem Communication", "PCW", 15, False),  # WeakSignal
    (25, "Energy Reserve", "W", 0, True),  # ConnectorLockFailure
    (29, "Remote EM Communication", "PCW", 7, False),
    (30, "Supervision communication", "PCW", 7, False),
    (31, "NTP Server Communication", "PCW", 7, False),
]


@pytest.mark.parametrize(("code", "name", "products", "shown"), [(*row[:3], row[3:]) for row in ERRORS])
async def test_vendor_error(
    code: int, name: str, products: str, shown: tuple[int, bool], shared: SharedGateway
) -> None:
    error, faulted = shown
    for product in PRODUCTS:
        assert (PROFILES[PRODUCTS[product]].fault(str(code)) is not None) == (product in products)
    async with connected(shared, PRODUCTS[products[-1]]) as (place, charger):
        fault = charger.profile.fault(str(code))
        assert fault is not None
        charger.fail(1, fault)
        await place.bms.until(1437, *words_of_text(str(code), 25))
        assert await place.bms.read(714, 2) == [8 if faulted else 0, error]  # Faulted or Available, errorCode
        assert await place.bms.text(1462, 25) == name
        charger.mend(1)
        await place.bms.until(714, 0, 6)  # Available, NoError
        assert await place.bms.text(1437, 25) == ""


def test_there_are_26_vendor_errors() -> None:
    """1 to 31 without 2, 23 and 26 to 28, which the guide does not have."""
    assert [row[0] for row in ERRORS] == [number for number in range(1, 32) if number not in (2, 23, 26, 27, 28)]


async def test_a_fault_ends_the_session_and_keeps_cars_from_charging(shared: SharedGateway) -> None:
    async with connected(shared, "evlink") as (place, charger):
        charger.plug_in(1, Vehicle(soc=30))
        assert await charger.present(1, "CARD")
        await place.bms.until(714, 2)  # Charging
        fault = charger.profile.fault("21")
        assert fault is not None
        charger.fail(1, fault)
        await place.bms.until(234, 1)  # Stop Transaction Flag
        assert await place.bms.word(250) == 5  # reason Other
        await place.bms.until(714, 8, 8)  # Faulted, OverCurrentFailure
        assert not await charger.present(1, "CARD")
        charger.mend(1)
        await place.bms.until(714, 5, 6)  # Finishing


async def test_the_energy_reserve_comes_back_by_itself(shared: SharedGateway) -> None:
    async with connected(shared, "evlink") as (place, charger):
        fault = charger.profile.fault("25")
        assert fault is not None
        charger.fail(1, fault._replace(passes=0.5))
        await place.bms.until(714, 8, 0)
        await place.bms.until(714, 0, 6)
        assert fault.passes == 5  # "after few seconds"


async def test_long_and_truncated_serial_numbers(shared: SharedGateway) -> None:
    async with connected(shared, "evlink") as (place, charger):
        box, point = charger.boot().charge_box_serial_number, charger.boot().charge_point_serial_number
        assert (len(str(box)), len(str(point))) == (34, 26)
        assert await place.bms.text(101, 13) == str(box)[:26]
        assert await place.bms.text(114, 13) == point
        assert await place.bms.text(127, 10) == "Schneider Electric"
        assert await place.bms.text(137, 10) == "EVlink Smart Wallbox"
        charger.configure("truncateBootNotificationsSerialNumbers", "true")
        await place.bms.write(426, 1)  # Reset Flag
        await place.bms.until(101, *words_of_text(str(box)[:25], 13))


@pytest.mark.parametrize(
    ("flag", "parameters", "result", "meaning"),
    [
        (386, [], 1498, [23]),  # Get Local List Version: CALLERROR
        (436, [1, *words_of_text("TAG", 10), *[0] * 13], 463, [23]),  # Send Local List: CALLERROR
        (466, [0, 0], 471, [11]),  # Trigger BootNotification: NotImplemented
        (466, [3, 0], 471, [0]),  # Trigger Heartbeat
        (466, [4, 1], 471, [1]),  # Trigger MeterValues outside of a session: Rejected
        (466, [5, 1], 471, [0]),  # Trigger StatusNotification
        (376, [65535] * 4, 383, [4]),  # Clear Charging Profile: Unknown, there is none
    ],
)
async def test_operation(
    flag: int, parameters: list[int], result: int, meaning: list[int], shared: SharedGateway
) -> None:
    async with connected(shared, "evlink") as (place, _):
        if parameters:
            await place.bms.write(flag + 1, *parameters)
        await place.bms.write(flag, 1)
        await place.bms.until(flag, 0)
        assert await place.bms.read(result) == meaning


async def test_availability_and_unlocking(shared: SharedGateway) -> None:
    async with connected(shared, "evlink") as (place, _):
        await place.bms.write(713, 0)  # Availability
        await place.bms.until(714, 7)  # Unavailable
        await place.bms.write(713, 1)
        await place.bms.until(714, 0)
        await place.bms.write(712, 1)  # Unlock Connector
        await place.bms.until(712, 0)
        assert await place.bms.word(1496) == 6  # Unlocked


async def test_a_session_while_the_link_is_lost_is_told_afterwards(shared: SharedGateway) -> None:
    async with connected(shared, "evlink", settings={"AllowOfflineTxForUnknownId": "true"}) as (place, charger):
        charger.connection.lose(3600)
        await place.bms.until(100, 1)  # Charger Communication status: error
        charger.plug_in(1, Vehicle(soc=30))
        assert await charger.present(1, "ANYBODY")
        assert await charger.until(lambda: charger.connector(1).draw.power > 1000, DEADLINE)
        charger.unplug(1)
        charger.connection.find()
        await place.bms.until(234, 1)  # Stop Transaction Flag
        assert await place.bms.float(245) == charger.connector(1).meter
        assert await place.bms.word(250) == 2  # reason EVDisconnected


async def test_ocpp_1_5_is_refused_and_the_log_says_why(shared: SharedGateway) -> None:
    """The station comes with version 1.5; only 1.6 is spoken here."""
    told: list[str] = []
    async with shared.place() as place:
        async with at(place, "evlink", settings={"ocppVersion": "1.5"}, listener=lambda event: told.append(event.text)):
            await place.gateway.logged(
                f"charger {place.identity!r} refused with 400: the subprotocol must be ocpp1.6; offered: ocpp1.5"
            )
            assert await place.bms.word(100) == 1  # Charger Communication status: error
            await until(
                lambda: any("HTTP 400" in text and "must be ocpp1.6" in text for text in told), "why it is refused"
            )
        async with at(place, "evlink", settings={"ocppVersion": "1.6"}):
            await place.bms.until(100, 0)
