"""Meter values of charge points, well-behaved and not, in the registers of connector 1 of charger 0.

Frames are literal. Registers are protocol addresses (configuration guide r1.2, appendix 2): the block begins at 712,
L1 Current.Import is offset 11, and so on.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ampgate.bridge.measurands import Meter
from ampgate.ocpp import v16
from ampgate.registers.image import Image
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NOON = "2026-01-31T12:00:00Z"

CURRENT_L1, CURRENT_L2, CURRENT_L3, CURRENT_UNIT = 723, 725, 727, 729
OFFERED_L1 = 730
ENERGY, ENERGY_UNIT = 740, 742
ENERGY_EXPORT = 737
FREQUENCY, FREQUENCY_UNIT = 761, 763
POWER, POWER_UNIT = 767, 769
POWER_FACTOR = 770
SOC = 785
TEMPERATURE, TEMPERATURE_UNIT = 788, 790
VOLTAGE_L1, VOLTAGE_L2, VOLTAGE_L3, VOLTAGE_UNIT = 791, 793, 795, 797


class Bench:
    """A connector with a meter, and a clock that stands still."""

    def __init__(self) -> None:
        site = Site([ChargerShape(2)])
        self.now = NOW
        self._image: Image = site.images[0]
        self.meter = Meter(site.connector(0, 1), lambda: self.now)

    def send(self, *samples: dict[str, Any], at: str = NOON) -> None:
        """One MeterValues message with one moment."""
        self.send_all([{"timestamp": at, "sampledValue": list(samples)}])

    def send_all(self, meter_values: list[dict[str, Any]]) -> None:
        payload = json.dumps({"connectorId": 1, "meterValue": meter_values}).encode()
        self.meter.update(v16.decode(v16.MeterValuesRequest, payload).meter_value)

    def word(self, address: int) -> int:
        return int.from_bytes(self._image.words[2 * address : 2 * address + 2], "big")

    def float(self, address: int) -> float:
        return float(struct.unpack(">f", self._image.words[2 * address : 2 * address + 4])[0])

    def floats(self, *addresses: int) -> list[float]:
        return [round(self.float(address), 3) for address in addresses]


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield Bench()


def test_power_up(bench: Bench) -> None:
    assert bench.floats(CURRENT_L1, ENERGY, POWER, VOLTAGE_L3) == [0, 0, 0, 0]
    assert [bench.word(unit) for unit in (CURRENT_UNIT, ENERGY_UNIT, POWER_UNIT, VOLTAGE_UNIT)] == [10, 0, 4, 11]
    assert bench.word(FREQUENCY_UNIT) == 65535  # the map has no word for hertz


# What a sampled value is of, and in what unit


def test_without_a_measurand_it_is_the_imported_energy_in_wh(bench: Bench) -> None:
    bench.send({"value": "1234"})
    assert bench.float(ENERGY) == 1234
    assert bench.word(ENERGY_UNIT) == 0


@pytest.mark.parametrize(
    ("measurand", "register", "unit"),
    [("Current.Import", CURRENT_L1, 10), ("Voltage", VOLTAGE_L1, 11), ("Power.Active.Import", POWER, 4)],
)
def test_without_a_unit_it_is_that_of_the_standard(measurand: str, register: int, unit: int, bench: Bench) -> None:
    bench.send({"value": "5", "measurand": measurand, "unit": "Percent"})
    bench.send({"value": "6", "measurand": measurand})
    assert bench.float(register) == 6
    assert bench.word({CURRENT_L1: CURRENT_UNIT, VOLTAGE_L1: VOLTAGE_UNIT, POWER: POWER_UNIT}[register]) == unit


def test_the_unit_says_what_the_value_is_in(bench: Bench) -> None:
    bench.send({"value": "1.5", "unit": "kWh"}, {"value": "7.2", "unit": "kW", "measurand": "Power.Active.Import"})
    assert bench.floats(ENERGY, POWER) == [1.5, 7.2]
    assert (bench.word(ENERGY_UNIT), bench.word(POWER_UNIT)) == (1, 5)


@pytest.mark.parametrize(
    ("unit", "number"),
    [("Celcius", 12), ("Celsius", 12), ("celsius ", 12), ("Fahrenheit", 13), ("K", 14), ("Kelvin", 14), ("kwh", 1)],
)
def test_units_in_every_spelling(unit: str, number: int, bench: Bench) -> None:
    bench.send({"value": "20", "measurand": "Temperature", "unit": unit})
    assert bench.word(TEMPERATURE_UNIT) == number


def test_an_unknown_unit(bench: Bench) -> None:
    bench.send({"value": "50", "measurand": "Frequency", "unit": "Hz"})
    assert (bench.float(FREQUENCY), bench.word(FREQUENCY_UNIT)) == (50, 65535)
    bench.send({"value": "1", "unit": "BTU"})
    assert bench.word(ENERGY_UNIT) == 65535
    bench.send({"value": "1", "unit": "Wh"})
    assert bench.word(ENERGY_UNIT) == 0


def test_an_unknown_measurand_is_ignored_and_counted(bench: Bench) -> None:
    bench.send({"value": "5", "measurand": "Mood"}, {"value": "6"})
    assert bench.float(ENERGY) == 6
    assert bench.meter.ignored == 1


# Phases


@pytest.mark.parametrize(("suffix"), ["", "-N"])
def test_phases(suffix: str, bench: Bench) -> None:
    bench.send(
        *({"value": f"{10 + line}", "measurand": "Current.Import", "phase": f"L{line}{suffix}"} for line in (1, 2, 3))
    )
    assert bench.floats(CURRENT_L1, CURRENT_L2, CURRENT_L3) == [11, 12, 13]


@pytest.mark.parametrize("phase", ["N", "L1-L2", "L2-L3", "L3-L1", "L4", ""])
def test_what_has_no_register_is_ignored(phase: str, bench: Bench) -> None:
    bench.send({"value": "230", "measurand": "Voltage", "phase": "L1-N"})
    bench.send({"value": "400", "measurand": "Voltage", "phase": phase})
    assert bench.floats(VOLTAGE_L1, VOLTAGE_L2, VOLTAGE_L3) == [230, 0, 0]
    assert bench.meter.ignored == 1


def test_a_current_without_phase_goes_to_l1(bench: Bench) -> None:
    bench.send({"value": "16", "measurand": "Current.Import"}, {"value": "32", "measurand": "Current.Offered"})
    assert bench.floats(CURRENT_L1, CURRENT_L2, OFFERED_L1) == [16, 0, 32]


@pytest.mark.parametrize("first", [True, False])
def test_a_current_without_phase_gives_way_to_phases(first: bool, bench: Bench) -> None:
    samples = [
        {"value": "10", "measurand": "Current.Import", "phase": "L1"},
        {"value": "11", "measurand": "Current.Import", "phase": "L2"},
    ]
    samples.insert(0 if first else 2, {"value": "21", "measurand": "Current.Import"})
    bench.send(*samples, {"value": "230", "measurand": "Voltage"})
    assert bench.floats(CURRENT_L1, CURRENT_L2) == [10, 11]
    assert bench.float(VOLTAGE_L1) == 230  # another measurand is not concerned


def test_powers_of_phases_add_up(bench: Bench) -> None:
    bench.send(
        *({"value": f"{1000 + line}", "measurand": "Power.Active.Import", "phase": f"L{line}"} for line in (1, 2, 3))
    )
    assert bench.float(POWER) == 3006


def test_a_phase_under_two_names_counts_once(bench: Bench) -> None:
    names = ("L1", "L2", "L3", "L1-N", "L2-N", "L3-N")
    bench.send(*({"value": "1000", "measurand": "Power.Active.Import", "phase": name} for name in names))
    assert bench.float(POWER) == 3000


def test_energies_of_phases_add_up(bench: Bench) -> None:
    bench.send(*({"value": f"0.{line}", "unit": "kWh", "phase": f"L{line}-N"} for line in (1, 2, 3)))
    assert bench.floats(ENERGY) == [0.6]
    assert bench.word(ENERGY_UNIT) == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_given_total_is_taken_instead_of_a_sum(first: bool, bench: Bench) -> None:
    samples = [{"value": "1000", "measurand": "Power.Active.Import", "phase": f"L{line}"} for line in (1, 2, 3)]
    samples.insert(0 if first else 3, {"value": "2950", "measurand": "Power.Active.Import"})
    bench.send(*samples)
    assert bench.float(POWER) == 2950


def test_sums_begin_anew_with_each_moment(bench: Bench) -> None:
    for _ in range(3):
        bench.send(*({"value": "1", "measurand": "Power.Active.Import", "phase": f"L{line}"} for line in (1, 2)))
    assert bench.float(POWER) == 2


@pytest.mark.parametrize(("measurand", "register"), [("Frequency", FREQUENCY), ("Power.Factor", POWER_FACTOR)])
def test_what_does_not_add_up_is_taken_of_the_first_phase(measurand: str, register: int, bench: Bench) -> None:
    bench.send(*({"value": f"{50 - line}", "measurand": measurand, "phase": f"L{line}"} for line in (1, 2, 3)))
    assert bench.float(register) == 49
    bench.send({"value": "60", "measurand": measurand}, {"value": "1", "measurand": measurand, "phase": "L1"})
    assert bench.float(register) == 60


# Numbers


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("16.1", 16.1),
        (16.1, 16.1),
        (16, 16),
        (" 16.1 ", 16.1),
        ("16,1", 16.1),
        (" 16,1\n", 16.1),
        ("1.61e1", 16.1),
        ("-5", -5),
        ("0", 0),
    ],
)
def test_numbers_in_every_form(value: Any, number: float, bench: Bench) -> None:
    bench.send({"value": value})
    assert bench.float(ENERGY) == pytest.approx(number)
    assert bench.meter.ignored == 0


@pytest.mark.parametrize("value", ["NaN", "nan", "Infinity", "-inf", "1e999", "", " ", "n/a", "1.2.3", "1,2,3", None])
def test_what_is_no_number_is_ignored_and_counted(value: Any, bench: Bench) -> None:
    bench.send({"value": "7", "unit": "kWh"})
    bench.send({"value": value, "unit": "Wh"}, {"value": "50", "measurand": "SoC"})
    assert (bench.float(ENERGY), bench.word(ENERGY_UNIT)) == (7, 1)
    assert bench.float(SOC) == 50
    assert bench.meter.ignored == 1


def test_signed_data_is_not_a_number(bench: Bench) -> None:
    bench.send({"value": "7", "format": "Raw"})
    bench.send({"value": "1234", "format": "SignedData"})
    assert bench.float(ENERGY) == 7
    assert bench.meter.ignored == 1


def test_a_number_too_large_for_the_register_is_limited(bench: Bench) -> None:
    bench.send({"value": "1e300"})
    assert bench.float(ENERGY) == pytest.approx(3.4028235e38)


# Context


@pytest.mark.parametrize(
    "context",
    [
        None,
        "Sample.Periodic",
        "Sample.Clock",
        "Trigger",
        "Transaction.End",
        "Transaction.Begin",
        "Interruption.End",
        "Other",
        "?",
    ],
)
def test_every_context_alone_is_shown(context: str | None, bench: Bench) -> None:
    bench.send({"value": "5", "context": context})
    assert bench.float(ENERGY) == 5


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_reading_of_the_begin_never_hides_a_live_one(first: bool, named: bool, bench: Bench) -> None:
    live = {"value": "500", "context": "Sample.Periodic"} | (
        {"measurand": "Energy.Active.Import.Register"} if named else {}
    )
    begin = {"value": "0", "context": "Transaction.Begin"}
    bench.send(*([begin, live] if first else [live, begin]))
    assert bench.float(ENERGY) == 500


def test_a_reading_of_the_begin_in_another_moment_of_the_message(bench: Bench) -> None:
    bench.send_all(
        [
            {"timestamp": NOON, "sampledValue": [{"value": "500"}]},
            {"timestamp": NOON, "sampledValue": [{"value": "0", "context": "Transaction.Begin"}]},
        ]
    )
    assert bench.float(ENERGY) == 500


def test_a_reading_of_the_begin_is_shown_where_there_is_no_other(bench: Bench) -> None:
    bench.send(
        {"value": "0", "context": "Transaction.Begin"},
        {"value": "500"},
        {"value": "80", "context": "Transaction.Begin", "measurand": "SoC"},
    )
    assert bench.floats(ENERGY, SOC) == [500, 80]


# Time


def test_older_readings_do_not_overwrite_newer_ones(bench: Bench) -> None:
    bench.send({"value": "10"}, at="2026-01-31T11:59:00Z")
    bench.send({"value": "5"}, at="2026-01-31T11:58:59Z")
    assert bench.float(ENERGY) == 10
    bench.send({"value": "11"}, at="2026-01-31T11:59:00Z")  # of the same moment
    assert bench.float(ENERGY) == 11


def test_moments_of_a_message_are_taken_in_their_order(bench: Bench) -> None:
    bench.send_all(
        [
            {"timestamp": "2026-01-31T11:59:00Z", "sampledValue": [{"value": "3"}]},
            {"timestamp": "2026-01-31T11:57:00Z", "sampledValue": [{"value": "1"}, {"value": "9", "measurand": "SoC"}]},
            {"timestamp": "2026-01-31T11:58:00Z", "sampledValue": [{"value": "2"}]},
        ]
    )
    assert bench.floats(ENERGY, SOC) == [3, 9]


def test_zones_are_understood(bench: Bench) -> None:
    bench.send({"value": "10"}, at="2026-01-31T13:30:00+02:00")  # 11:30 UTC
    bench.send({"value": "11"}, at="2026-01-31T11:45:00")  # without a zone: UTC
    assert bench.float(ENERGY) == 11
    bench.send({"value": "12"}, at="2026-01-31T13:40:00+02")  # 11:40 UTC
    assert bench.float(ENERGY) == 11


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-13-45T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_now(timestamp: str, bench: Bench) -> None:
    bench.send({"value": "10"}, at="2026-01-31T11:59:00Z")
    bench.send({"value": "11"}, at=timestamp)
    assert bench.float(ENERGY) == 11
    bench.send({"value": "5"}, at="2026-01-31T11:59:59Z")
    assert bench.float(ENERGY) == 11


def test_a_charger_whose_clock_was_ahead_is_not_deaf_for_ever(bench: Bench) -> None:
    bench.send({"value": "10"}, at="2036-01-01T00:00:00Z")
    bench.now += timedelta(seconds=10)
    bench.send({"value": "11"}, at="2026-01-31T12:00:05Z")
    assert bench.float(ENERGY) == 11


def test_after_a_boot_time_begins_anew(bench: Bench) -> None:
    bench.send({"value": "10"})
    bench.send({"value": "5"}, at="1970-01-01T00:00:10Z")
    assert bench.float(ENERGY) == 10
    bench.meter.restart()
    bench.send({"value": "5"}, at="1970-01-01T00:00:10Z")
    assert bench.float(ENERGY) == 5


def test_when_the_gateways_clock_was_ahead_readings_go_on(bench: Bench) -> None:
    bench.send({"value": "10"})
    bench.now -= timedelta(days=1)  # the BMS has set the clock back
    bench.send({"value": "11"}, at="2026-01-30T12:00:00Z")
    assert bench.float(ENERGY) == 11


def test_empty_messages_change_nothing(bench: Bench) -> None:
    bench.send({"value": "10"})
    bench.send()
    bench.meter.update([])
    assert bench.float(ENERGY) == 10


def test_connectors_are_apart() -> None:
    site = Site([ChargerShape(2)])
    meters = [Meter(site.connector(0, number), lambda: NOW) for number in (1, 2)]
    payload = b'{"connectorId":2,"meterValue":[{"timestamp":"","sampledValue":[{"value":"8"}]}]}'
    meters[1].update(v16.decode(v16.MeterValuesRequest, payload).meter_value)
    words = site.images[0].words
    assert words[2 * 840 : 2 * 842] == struct.pack(">f", 8)  # 612 + 2·100 + 28
    assert words[2 * 740 : 2 * 742] == bytes(4)
