"""What real chargers say other than the standard has it: each test sends the literal frames.

Quirks of handshakes and connections are in `test_quirks_connection`. Known troubles between chargers and central
systems that do not concern this version, as it sends no message of the kind:

- the last limit stays in force when the central system is gone, "load balancer is disabled", and which purpose, kind,
  stack level and unit of a profile a charger takes: smart charging, there is no SetChargingProfile yet;
- lists of measurands that are too long, and wrong types in answers to GetConfiguration: the gateway does not configure
  chargers; `docs/charger-notes.md` says what to set there.

Numbers are addresses of the original's map (configuration guide r1.2, appendix 2) for charger 0, 100 + offset, and its
connector 1, 712 + offset, of connector 2 812 + offset.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.conftest import StartGateway
from tests.integration.peers import DEADLINE, NOON_EPOCH, Bms, RawCharger, until, words_of_text
from tests.integration.shared import Place, Registers, SharedGateway, shared_gateway


class Literal(RawCharger):
    """A charge point that sends frames as they are written."""

    async def frame(self, text: str) -> asyncio.Future[list[Any]]:
        """Send a CALL; the future of its answer, a whole frame."""
        found = re.match(r'\s*\[\s*2\s*,\s*"([^"]*)"', text)
        assert found is not None
        answer = self._answers[found[1]] = asyncio.get_running_loop().create_future()
        await self.send(text)
        return answer

    async def answered(self, text: str) -> Any:
        """Send a CALL and return the payload of its CALLRESULT."""
        async with asyncio.timeout(DEADLINE):
            kind, _, *rest = await (await self.frame(text))
        assert kind == 3, rest
        return rest[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    chargers = [f"EV{number:02}" for number in range(64)]
    with shared_gateway(tmp_path_factory.mktemp("gateway"), chargers) as gateway:
        yield gateway


@pytest.fixture
def bms(place: Place) -> Registers:
    return place.bms


@pytest.fixture
async def unbooted(place: Place) -> AsyncIterator[Literal]:
    charger = await Literal.connect(place.gateway.ocpp_port, place.identity)
    yield charger
    await charger.close()


@pytest.fixture
async def charger(unbooted: Literal) -> Literal:
    await unbooted.boot()
    return unbooted


async def start(charger: Literal, bms: Bms, transaction_id: int, frame: str) -> Any:
    """A start that the BMS accepts with this transaction id; the payload of its answer."""
    answer = await charger.frame(frame)
    await bms.until(194, 1)
    await bms.write(227, 0, transaction_id)
    await bms.write(214, 1)
    return (await answer)[2]


async def stop(charger: Literal, bms: Bms, frame: str) -> Any:
    """A stop that the BMS processes; the payload of its answer."""
    answer = await charger.frame(frame)
    await bms.until(234, 1)
    shown = await bms.read(234, 35)
    await bms.write(255, 1)
    kind, _, payload = (await answer)[:3]
    assert kind == 3, payload
    await bms.until(234, 0)
    return shown


# Booting


async def test_evlink_serial_numbers_of_33_and_26_characters(unbooted: Literal, bms: Bms) -> None:
    """Elsewhere: the boot is refused as too long, or its handler fails, and the charger boots for ever."""
    box, point = "EVB1A22P4RI3N1915407003C000000000", "3N191540700B1B1B7B21180004"
    assert (len(box), len(point)) == (33, 26)
    answer = await unbooted.answered(
        '[2,"1","BootNotification",{"chargePointVendor":"Schneider Electric","chargePointModel":"MONOBLOCK",'
        f'"chargeBoxSerialNumber":"{box}","chargePointSerialNumber":"{point}","firmwareVersion":"3.3.0.7"}}]'
    )
    assert answer["status"] == "Accepted"
    assert await bms.text(101, 13) == "EVB1A22P4RI3N1915407003C00"  # what 13 registers hold
    assert await bms.text(114, 13) == point
    assert await bms.text(127, 10) == "Schneider Electric"


async def test_over_long_vendor_model_and_firmware(unbooted: Literal, bms: Bms) -> None:
    """Elsewhere: PropertyConstraintViolation, and the charger never gets past its boot."""
    answer = await unbooted.answered(
        '[2,"1","BootNotification",{"chargePointVendor":"A Vendor with a Very Long Name Ltd.",'
        '"chargePointModel":"Model 22 kW Type 2 Socket with Meter","firmwareVersion":"' + "9." * 40 + '",'
        '"iccid":"8934071100276980483612345","imsi":"","meterSerialNumber":null,"meterType":"' + "m" * 60 + '"}]'
    )
    assert answer["status"] == "Accepted"
    assert await bms.text(127, 10) == "A Vendor with a Very"
    assert await bms.text(137, 10) == "Model 22 kW Type 2 S"
    assert await bms.text(1412, 25) == "9." * 25  # firmware version, in the extension area


async def test_boot_with_a_number_for_a_text(unbooted: Literal, bms: Bms) -> None:
    """Elsewhere: TypeConstraintViolation, and the charger never gets past its boot."""
    answer = await unbooted.answered(
        '[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":22,"chargeBoxSerialNumber":4711}]'
    )
    assert answer["status"] == "Accepted"
    assert await bms.text(137, 10) == "22"
    assert await bms.text(101, 13) == "4711"


# Broken JSON


async def test_transaction_id_without_a_value(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the frame is no JSON, is dropped, and there are no meter values outside of transactions."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
        '"sampledValue":[{"value":"1234567"}]}]}]'
    )
    assert await bms.read(740, 3) == [0x4996, 0xB438, 0]  # 1234567 Wh as float, unit Wh


async def test_leading_comma_in_arrays(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the frame is no JSON, and a charger that waits for its answer sends it again and again."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[,{"timestamp":"2026-01-31T12:00:00Z",'
        '"sampledValue":[,{"value":"16.25","measurand":"Current.Import","phase":"L1","unit":"A"}]}]}]'
    )
    assert await bms.read(723, 2) == [0x4182, 0x0000]


async def test_broken_frames_do_not_close_the_connection(charger: Literal) -> None:
    """Elsewhere: an exception ends the connection, the charger comes back and sends the same frame."""
    for garbage in ("", "{}", "[]", "[2]", '[2,"1"', '[2,{},"Heartbeat",{}]', "null", b"\xff\xfe"):
        await charger.send(garbage)
    assert "currentTime" in await charger.answered('[2,"1","Heartbeat",{}]')


# Types


async def test_numbers_and_texts_exchanged(charger: Literal, bms: Bms) -> None:
    """Elsewhere: TypeConstraintViolation; the BMS sees neither status nor current."""
    await charger.answered(
        '[2,"1","StatusNotification",{"connectorId":"1","errorCode":"NoError","status":"Charging","info":0,'
        '"vendorErrorCode":0,"vendorId":null,"timestamp":null}]'
    )
    assert await bms.word(714) == 2
    await charger.answered(
        '[2,"2","MeterValues",{"connectorId":"1","meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        '{"value":16.25,"measurand":"Current.Import","phase":"L1"},{"value":" 17.5 ","measurand":"Current.Import",'
        '"phase":"L2"},{"value":"18,75","measurand":"Current.Import","phase":"L3"}]}]}]'
    )
    assert await bms.read(723, 6) == [0x4182, 0, 0x418C, 0, 0x4196, 0]  # 16.25, 17.5, 18.75


async def test_values_that_are_no_numbers(charger: Literal, bms: Bms) -> None:
    """Elsewhere: one NaN or null spoils all readings of the message, or reaches the BMS as a value."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        '{"value":"230","measurand":"Voltage","phase":"L1"}]}]}]'
    )
    bad = ",".join(
        f'{{"value":{value},"measurand":"Voltage","phase":"L1"}}'
        for value in ('"NaN"', '"nan"', '"inf"', "null", '""', '"n/a"', '"1.2.3"')
    )
    await charger.answered(
        '[2,"2","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:01Z","sampledValue":['
        f'{bad},{{"value":"50","measurand":"Frequency"}}]}}]}}]'
    )
    assert await bms.read(791, 2) == [0x4366, 0x0000]  # 230 V stays
    assert await bms.float(761) == 50


async def test_measurands_that_do_not_exist(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the schema has them not, and the readings beside them are lost."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        '{"value":"3","measurand":"Current.Import.L1"},{"value":"1","measurand":"Vendor.Quality","unit":"dB"},'
        '{"value":"80","measurand":"SoC","unit":"Percent","location":"EV","context":"Sample.Periodic"},'
        '{"value":"5","measurand":"Temperature","unit":"Celcius","location":"Cabinet","context":"Other.Vendor"}]}]}]'
    )
    assert await bms.read(785, 6) == [0x42A0, 0, 15, 0x40A0, 0, 12]  # SoC 80 Percent, Temperature 5 Celsius
    assert await bms.read(723, 6) == [0] * 6


async def test_fractional_meter_readings(charger: Literal, bms: Bms) -> None:
    """Elsewhere: meterStart is no integer, the start is refused, and so is every one that the charger sends again."""
    answer = await start(
        charger,
        bms,
        11,
        '[2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":1234.5,"timestamp":"2026-01-31T12:00:00Z"}]',
    )
    assert answer == {"idTagInfo": {"status": "Accepted"}, "transactionId": 11}
    assert await bms.float(206) == 1234.5
    shown = await stop(
        charger,
        bms,
        '[2,"2","StopTransaction",{"transactionId":"11","meterStop":"2234.5","timestamp":"2026-01-31T12:00:00Z"}]',
    )
    assert shown[15] == 11
    assert await bms.float(245) == 2234.5


async def test_id_tag_as_a_number(charger: Literal, bms: Bms) -> None:
    """Elsewhere: TypeConstraintViolation, and nobody with a numeric card can charge."""
    answer = await charger.frame('[2,"1","Authorize",{"idTag":1234567890}]')
    await bms.until(164, 1)
    assert await bms.text(165, 10) == "1234567890"
    await bms.write(177, 1)
    assert (await answer)[2] == {"idTagInfo": {"status": "Accepted"}}


async def test_id_tag_of_more_than_20_characters(charger: Literal, bms: Bms) -> None:
    """Elsewhere: PropertyConstraintViolation. Cards and apps have longer tags; the BMS sees their first 20."""
    tag = "04E1F2A3B4C5D6E7F8091A2B3C4D"
    authorize = await charger.frame(f'[2,"1","Authorize",{{"idTag":"{tag}"}}]')
    await bms.until(164, 1)
    assert await bms.read(165, 10) == words_of_text(tag[:20], 10)
    await bms.write(177, 1)
    assert (await authorize)[0] == 3
    answer = await start(
        charger,
        bms,
        12,
        f'[2,"2","StartTransaction",{{"connectorId":1,"idTag":"{tag}","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}}]',
    )
    assert answer["idTagInfo"] == {"status": "Accepted"}
    assert await bms.read(798, 10) == words_of_text(tag[:20], 10)


# Timestamps


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31T14:00:00+02",
        "2026-01-31T14:00:00+02:00",
        "2026-01-31T07:00:00-0500",
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00.123456789Z",
        "2026-01-31t12:00:00z",
    ],
)
async def test_timestamps_in_every_dress(timestamp: str, charger: Literal, bms: Bms) -> None:
    """Elsewhere: a start whose time cannot be read is refused; without a zone it is hours off."""
    await start(
        charger,
        bms,
        13,
        f'[2,"1","StartTransaction",{{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"{timestamp}"}}]',
    )
    assert await bms.epoch(810) == NOON_EPOCH


@pytest.mark.parametrize("timestamp", ["", "0000-00-00T00:00:00Z", "yesterday"])
async def test_timestamps_that_say_nothing(timestamp: str, charger: Literal, bms: Bms) -> None:
    """Elsewhere: the message is refused. Here it counts as now."""
    await start(
        charger,
        bms,
        14,
        f'[2,"1","StartTransaction",{{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"{timestamp}"}}]',
    )
    assert abs(await bms.epoch(810) - datetime.now(UTC).timestamp()) < 5
    await charger.answered(
        f'[2,"2","MeterValues",{{"connectorId":1,"meterValue":[{{"timestamp":"{timestamp}",'
        '"sampledValue":[{"value":"1234567"}]}]}]'
    )
    assert await bms.read(740, 2) == [0x4996, 0xB438]


async def test_sessions_of_a_charger_without_a_clock(charger: Literal, bms: Bms) -> None:
    """Elsewhere: each session after the first looks like a repetition of it, and is lost.

    The meter counts each session from 0 and there is no time, so that the messages are the same every time.
    """
    begin = '[2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":""}]'
    for transaction_id in (15, 16):
        answer = await start(charger, bms, transaction_id, begin)
        assert answer["transactionId"] == transaction_id
        assert await charger.answered(begin) == answer  # sent again while it runs: a repetition
        end = f'[2,"2","StopTransaction",{{"transactionId":{transaction_id},"meterStop":5,"timestamp":""}}]'
        assert (await stop(charger, bms, end))[15] == transaction_id
    for _ in range(2):
        end = '[2,"2","StopTransaction",{"transactionId":0,"meterStop":5,"timestamp":""}]'
        assert (await stop(charger, bms, end))[15] == 0


async def test_times_that_are_sent_have_seconds_and_z(charger: Literal, bms: Bms) -> None:
    """Elsewhere: fractions or +00:00 make some chargers ignore the time, or boot again and again."""
    pattern = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    boot = await charger.answered('[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
    heartbeat = await charger.answered('[2,"2","Heartbeat",{}]')
    assert pattern.fullmatch(boot["currentTime"])
    assert pattern.fullmatch(heartbeat["currentTime"])
    authorize = await charger.frame('[2,"3","Authorize",{"idTag":"A"}]')
    await bms.until(164, 1)
    await bms.write(188, *divmod(NOON_EPOCH, 0x10000))
    await bms.write(177, 1)
    assert (await authorize)[2]["idTagInfo"]["expiryDate"] == "2026-01-31T12:00:00Z"


# Units


async def test_readings_without_a_unit(charger: Literal, bms: Bms) -> None:
    """Elsewhere: watts are taken for kilowatts. The standard's unit is the one without prefix."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        '{"value":"1234567","measurand":"Energy.Active.Import.Register"},'
        '{"value":"7200","measurand":"Power.Active.Import"},{"value":"16.25","measurand":"Current.Import"},'
        '{"value":"230","measurand":"Voltage"},{"value":"80","measurand":"SoC"}]}]}]'
    )
    assert await bms.read(740, 3) == [0x4996, 0xB438, 0]  # Wh
    assert await bms.read(767, 3) == [0x45E1, 0x0000, 4]  # 7200 W
    assert (await bms.read(723, 2), await bms.word(729)) == ([0x4182, 0], 10)  # A, in L1
    assert (await bms.read(791, 2), await bms.word(797)) == ([0x4366, 0], 11)  # V, in L1
    assert await bms.word(787) == 15  # Percent


async def test_kilowatt_hours(place: Place, charger: Literal, bms: Bms) -> None:
    """Elsewhere: the number is taken for Wh. Here the unit register says which it is, and people see one unit."""
    for power, energy in (('"7.2","unit":"kW"', '"3.5","unit":"kWh"'), ('"7200"', '"3500","unit":"Wh"')):
        await charger.answered(
            '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
            f'{{"value":{energy}}},{{"value":{power},"measurand":"Power.Active.Import"}}]}}]}}]'
        )
        kilo = "k" in power
        assert await bms.read(740, 3) == ([0x4060, 0, 1] if kilo else [0x455A, 0xC000, 0])  # 3.5 kWh, 3500 Wh
        assert await bms.word(769) == (5 if kilo else 4)
        [connector] = [
            shown["connectors"][0] for shown in place.gateway.status()["chargers"] if shown["id"] == place.identity
        ]
        assert (connector["power_w"], connector["energy_wh"]) == (pytest.approx(7200), 3500)


# Phases


@pytest.mark.parametrize("suffix", ["", "-N"])
async def test_phases_with_and_without_neutral(suffix: str, charger: Literal, bms: Bms) -> None:
    """Elsewhere: only one of L1 and L1-N is known; the current in N hides that of L1."""
    samples = ",".join(
        f'{{"value":"{value}","measurand":"Current.Import","unit":"A","phase":"{phase}"}}'
        for phase, value in ((f"L1{suffix}", 6), (f"L2{suffix}", 7), (f"L3{suffix}", 8), ("N", 1))
    )
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
        f'"sampledValue":[{samples}]}}]}}]'
    )
    assert await bms.read(723, 7) == [0x40C0, 0, 0x40E0, 0, 0x4100, 0, 10]  # 6, 7, 8 A


async def test_voltages_between_phases_are_not_those_to_neutral(charger: Literal, bms: Bms) -> None:
    """Elsewhere: 400 V between L1 and L2 overwrites 230 V of L1."""
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        '{"value":"230","measurand":"Voltage","phase":"L1-N"},{"value":"400","measurand":"Voltage","phase":"L1-L2"},'
        '{"value":"400","measurand":"Voltage"}]}]}]'
    )
    assert await bms.read(791, 6) == [0x4366, 0, 0, 0, 0, 0]


async def test_energy_and_power_of_each_phase(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the last phase stands for the whole, a third of the energy. Here they are summed without a total."""
    phases = ",".join(
        f'{{"value":"{energy}","phase":"{phase}"}},'
        f'{{"value":"{power}","measurand":"Power.Active.Import","phase":"{phase}"}}'
        for phase, energy, power in (("L1", 1000, 2000), ("L2", 1100, 2100), ("L3", 1200, 2200))
    )
    frame = (
        '[2,"1","MeterValues",{{"connectorId":1,"meterValue":[{{"timestamp":"2026-01-31T12:00:00Z",'
        '"sampledValue":[{samples}]}}]}}]'
    )
    await charger.answered(frame.format(samples=phases))
    assert (await bms.float(740), await bms.float(767)) == (3300, 6300)
    total = '{"value":"3333"},{"value":"6333","measurand":"Power.Active.Import"}'
    for samples in (f"{phases},{total}", f"{total},{phases}"):
        await charger.answered(frame.format(samples=samples))
        assert (await bms.float(740), await bms.float(767)) == (3333, 6333)


# Contexts


@pytest.mark.parametrize("begin", ['"measurand":"Energy.Active.Import.Register",', ""], ids=["named", "default"])
@pytest.mark.parametrize("order", ["first", "last"])
async def test_transaction_begin_beside_a_live_value(begin: str, order: str, charger: Literal, bms: Bms) -> None:
    """Elsewhere: each message repeats the measurand with 0 for the begin, and the counter jumps to and fro."""
    samples = [
        f'{{"value":"0",{begin}"context":"Transaction.Begin","unit":"Wh"}}',
        '{"value":"1234567","measurand":"Energy.Active.Import.Register","context":"Sample.Periodic","unit":"Wh"}',
    ]
    if order == "last":
        samples.reverse()
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"transactionId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
        f'"sampledValue":[{",".join(samples)}]}}]}}]'
    )
    assert await bms.read(740, 2) == [0x4996, 0xB438]


async def test_transaction_data_of_a_stop_holds_begin_and_end(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the readings of the begin, which come first or last, are taken for the present ones."""
    await start(
        charger,
        bms,
        17,
        '[2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}]',
    )
    await stop(
        charger,
        bms,
        '[2,"2","StopTransaction",{"transactionId":17,"meterStop":1234567,"timestamp":"2026-01-31T13:00:00Z",'
        '"transactionData":[{"timestamp":"2026-01-31T13:00:00Z","sampledValue":[{"value":"1234567",'
        '"context":"Transaction.End"}]},{"timestamp":"2026-01-31T12:00:00Z","sampledValue":[{"value":"0",'
        '"context":"Transaction.Begin"}]}]}]',
    )
    assert await bms.read(740, 2) == [0x4996, 0xB438]


# Transactions


@pytest.mark.parametrize(
    ("transaction_id", "shown"),
    [
        ("-1", 65535),
        ("0", 0),
        ("4711", 4711),
        ("70000", 70000 & 0xFFFF),
        ('""', 0),
        ("null", 0),
        ("", 0),
        ('"-1"', 65535),
    ],
)
async def test_stop_of_an_unknown_transaction(transaction_id: str, shown: int, charger: Literal, bms: Bms) -> None:
    """Elsewhere: CALLERROR or silence, and the charger sends this stop for ever and nothing after it.

    Chargers lose the id when the start could not be answered in time; it is 0, −1, blank, or left out after its colon.
    """
    registers = await stop(
        charger,
        bms,
        f'[2,"1","StopTransaction",{{"transactionId":{transaction_id},"meterStop":1234567,'
        '"timestamp":"2026-01-31T12:00:00Z","idTag":"A"}]',
    )
    assert registers[11:13] == [0x4996, 0xB438]
    assert registers[15] == shown


@pytest.mark.parametrize(("reason", "shown"), [('"Bored"', 5), ('""', 4), ("null", 4)])
async def test_stop_reasons_that_do_not_exist(reason: str, shown: int, charger: Literal, bms: Bms) -> None:
    """Elsewhere: PropertyConstraintViolation, and the charger sends this stop for ever. Here 5 Other, blank 4 Local."""
    registers = await stop(
        charger,
        bms,
        '[2,"1","StopTransaction",{"transactionId":1,"meterStop":1,"timestamp":"2026-01-31T12:00:00Z",'
        f'"reason":{reason}}}]',
    )
    assert registers[16] == shown


@pytest.mark.parametrize("transaction_id", ['""', "null", "-1", '"12"', "0"])
async def test_meter_values_with_a_blank_transaction_id(transaction_id: str, charger: Literal, bms: Bms) -> None:
    """Elsewhere: TypeConstraintViolation, and there are no meter values outside of transactions."""
    await charger.answered(
        f'[2,"1","MeterValues",{{"connectorId":1,"transactionId":{transaction_id},"meterValue":[{{'
        '"timestamp":"2026-01-31T12:00:00Z","sampledValue":[{"value":"1234567"}]}]}]'
    )
    assert await bms.read(740, 2) == [0x4996, 0xB438]


async def test_a_start_whose_answer_was_lost_is_sent_again(place: Place, charger: Literal, bms: Bms) -> None:
    """Elsewhere: each repetition opens another transaction, and only the last one is ever stopped."""
    frame = (
        '[2,"{}","StartTransaction",{{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}}]'
    )
    await charger.frame(frame.format("1"))
    await bms.until(194, 1)
    charger.websocket.transport.abort()  # before the answer
    await bms.until(100, 1)
    await bms.write(227, 0, 18)
    await bms.write(214, 1)
    await bms.until(194, 0)
    again = await Literal.connect(place.gateway.ocpp_port, place.identity)
    for message_id in ("7", "8"):
        answer = await again.answered(frame.format(message_id))
        assert answer == {"idTagInfo": {"status": "Accepted"}, "transactionId": 18}
        assert await bms.word(194) == 0  # the BMS is not asked twice
    await again.close()


# One CALL at a time


async def test_calls_that_do_not_wait_for_answers(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the second CALL is refused or lost while the first one waits for a decision."""
    authorize = await charger.frame('[2,"1","Authorize",{"idTag":"A"}]')
    await charger.send('[2,"2","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Preparing"}]')
    heartbeats = [await charger.frame(f'[2,"h{number}","Heartbeat",{{}}]') for number in range(20)]
    begin = await charger.frame(
        '[2,"3","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}]'
    )
    for heartbeat in heartbeats:
        assert (await heartbeat)[0] == 3
    await bms.until(194, 1)
    assert await bms.word(164) == 1
    assert await bms.word(714) == 1
    await bms.write(228, 19)
    await bms.write(214, 1)
    assert (await begin)[2]["transactionId"] == 19  # the later one may be answered first
    assert not authorize.done()
    await bms.write(177, 1)
    assert (await authorize)[2] == {"idTagInfo": {"status": "Accepted"}}


async def test_a_charger_that_asks_before_it_answers(charger: Literal, bms: Bms) -> None:
    """Elsewhere: deadlock, as each side waits for the other's answer first."""
    await bms.write(477, 1, *words_of_text("A", 10))
    await bms.write(476, 1)
    [frame] = await until(lambda: charger.calls, "RemoteStartTransaction")
    authorize = await charger.frame('[2,"1","Authorize",{"idTag":"A"}]')  # AuthorizeRemoteTxRequests is true
    await bms.until(164, 1)
    await bms.write(177, 1)
    assert (await authorize)[2] == {"idTagInfo": {"status": "Accepted"}}
    assert await bms.word(476) == 1
    await charger.send(f'[3,"{frame[1]}",{{"status":"Accepted"}}]')
    await bms.until(476, 0)
    assert await bms.word(492) == 0


async def test_answers_that_nobody_asked_for(charger: Literal, bms: Bms) -> None:
    """Elsewhere: a stray answer ends the connection, or is taken for that of the operation that is running."""
    for stray in ('[3,"nobody",{"status":"Rejected"}]', '[4,"nobody","GenericError","",{}]', '[3,"",{}]', "[3,1,{}]"):
        await charger.send(stray)
    await bms.write(366, 1)  # Clear Cache
    [frame] = await until(lambda: charger.calls, "ClearCache")
    await charger.send('[3,"nobody",{"status":"Rejected"}]')
    await charger.answered('[2,"1","Heartbeat",{}]')
    assert await bms.word(366) == 1
    await charger.send(f'[3,"{frame[1]}",{{"status":"Accepted"}}]')
    await bms.until(366, 0)
    assert await bms.word(371) == 0


async def test_an_answer_from_before_the_reconnection(place: Place, charger: Literal, bms: Bms) -> None:
    """Elsewhere: message ids begin anew with each connection, and a late answer passes for that of another CALL."""
    await bms.write(426, 1)  # Reset
    [late] = await until(lambda: charger.calls, "Reset")
    charger.websocket.transport.abort()
    await bms.until(426, 0)
    assert await bms.word(431) == 21  # Offline
    again = await Literal.connect(place.gateway.ocpp_port, place.identity)
    await again.boot()
    await bms.write(366, 1)  # Clear Cache
    [frame] = await until(lambda: again.calls, "ClearCache")
    await again.send(f'[3,"{late[1]}",{{"status":"Rejected"}}]')
    await again.answered('[2,"1","Heartbeat",{}]')
    assert await bms.word(366) == 1
    await again.send(f'[3,"{frame[1]}",{{"status":"Accepted"}}]')
    await bms.until(366, 0)
    assert await bms.word(371) == 0
    await again.close()


async def test_nothing_is_asked_unless_the_bms_does(charger: Literal, bms: Bms) -> None:
    """Elsewhere: central systems configure chargers after their boot, or trigger meter values until they give up.

    While an operation is running its flag cannot be set again, so that no BMS can flood a charger.
    """
    await start(
        charger,
        bms,
        20,
        '[2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}]',
    )
    await charger.answered('[2,"2","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Charging"}]')
    assert charger.calls == []
    await bms.write(467, 4, 1)  # MeterValues of connector 1
    await bms.write(466, 1)
    assert [await bms.refusal(466, 1) for _ in range(10)] == [6] * 10
    [frame] = await until(lambda: charger.calls, "TriggerMessage")
    await charger.send(f'[3,"{frame[1]}",{{"status":"Accepted"}}]')
    await bms.until(466, 0)
    assert len(charger.calls) == 1


async def test_an_operation_that_is_answered_with_an_unreadable_result(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the operation hangs. Here its result is 23, and the next one finds its way."""
    for answer in ('{"status":"Perhaps"}', "{}", '"Accepted"', "null", '{"status":7}'):
        await bms.write(366, 1)
        frame = await until(lambda: charger.calls and charger.calls.pop(), "ClearCache")
        await charger.send(f'[3,"{frame[1]}",{answer}]')
        await bms.until(366, 0)
        assert await bms.word(371) == 23


# Connectors and errors


async def test_error_codes_that_only_the_vendor_knows(charger: Literal, bms: Bms) -> None:
    """Elsewhere: PropertyConstraintViolation, and the fault is never seen. Here OtherError and the vendor's code."""
    await charger.answered(
        '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"ContactorWelded","status":"Faulted",'
        '"info":"' + "Contactor status wrong. " * 5 + '","vendorId":"' + "v" * 300 + '","vendorErrorCode":"5"}]'
    )
    assert await bms.read(714, 2) == [8, 7]  # Faulted, OtherError
    assert await bms.text(1437, 25) == "5"  # Vendor error code, in the extension area
    assert await bms.text(1462, 25) == ("Contactor status wrong. " * 5)[:50]


async def test_only_connector_1_is_ever_reported(charger: Literal, bms: Bms) -> None:
    """Elsewhere: the charger counts as unavailable until connector 0 has a status, which some never send."""
    await charger.answered('[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]')
    charger.replies["RemoteStartTransaction"] = {"status": "Accepted"}
    await bms.write(477, 0, *words_of_text("A", 10))
    await bms.write(476, 1)
    await bms.until(476, 0)
    assert await bms.word(492) == 0
    assert charger.calls[0][2:] == ["RemoteStartTransaction", {"idTag": "A"}]
    assert await bms.read(613, 3) == [1, 0, 6]  # connector 0 as at power-up: operative, no status, no error


async def test_a_connector_that_is_not_configured(charger: Literal, bms: Bms) -> None:
    """Elsewhere: an index out of range ends the connection. Here it is answered, and logged as not configured."""
    await charger.answered('[2,"1","StatusNotification",{"connectorId":9,"errorCode":"NoError","status":"Available"}]')
    await charger.answered(
        '[2,"2","MeterValues",{"connectorId":9,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
        '"sampledValue":[{"value":"1"}]}]}]'
    )
    answer = await start(
        charger,
        bms,
        21,
        '[2,"3","StartTransaction",{"connectorId":9,"idTag":"A","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}]',
    )
    assert answer["transactionId"] == 21


# Over a restart of the gateway, and other settings than the default


async def test_session_energy_and_transaction_ids_after_a_restart(start_gateway: StartGateway) -> None:
    """Elsewhere: the session's energy counts from 0 or from the meter's total, and ids are given out again."""
    first = await start_gateway()
    bms = await Bms.connect(first.modbus_port)
    charger = await Literal.connect(first.ocpp_port, "CP0")
    await charger.boot()
    begin = '[2,"1","StartTransaction",{"connectorId":%d,"idTag":"A","meterStart":1000000,"timestamp":"%s"}]'
    before = await start(charger, bms, 0, begin % (1, "2026-01-31T12:00:00Z"))  # 0: the gateway assigns one
    bms.close()
    first.kill()
    await charger.close()

    second = await start_gateway()
    bms = await Bms.connect(second.modbus_port)
    assert await bms.text(798, 10) == "A"
    assert await bms.float(808) == 1000000
    assert await bms.epoch(810) == NOON_EPOCH
    charger = await Literal.connect(second.ocpp_port, "CP0")
    await charger.answered(
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:30:00Z",'
        '"sampledValue":[{"value":"1002500","unit":"Wh"}]}]}]'
    )
    assert second.status()["chargers"][0]["connectors"][0]["session_wh"] == 2500
    after = await start(charger, bms, 0, begin % (2, "2026-01-31T12:31:00Z"))
    assert before["transactionId"] != after["transactionId"]
    bms.close()
    await charger.close()


async def test_id_tags_of_the_policy_in_capital_and_small_letters(start_gateway: StartGateway) -> None:
    """Elsewhere: readers that send small letters are strangers to a list in capitals."""
    gateway = await start_gateway(bms={"policy": "list", "tags": ["04a2B3c4"], "answer_timeout": 0.05})
    charger = await Literal.connect(gateway.ocpp_port, "CP0")
    await charger.boot()
    for tag, verdict in (("04A2B3C4", "Accepted"), ("04a2b3c4", "Accepted"), ("04A2B3C5", "Invalid")):
        answer = await charger.answered(f'[2,"1","Authorize",{{"idTag":"{tag}"}}]')
        assert answer == {"idTagInfo": {"status": verdict}}
    await charger.close()
