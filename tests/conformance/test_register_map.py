"""The packaged register map against the facts of the original (configuration guide r1.2, appendix 2).

``data/register-map.csv`` holds the facts; it is never edited to follow the package.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ampgate.registers import catalogue, layout
from ampgate.registers.layout import ChargerShape

pytestmark = pytest.mark.conformance

FACTS = list(csv.DictReader(Path(__file__).with_name("data").joinpath("register-map.csv").read_text().splitlines()))
ROWS = [row for row in csv.DictReader(catalogue.source().splitlines()) if row["area"] == "original"]

SAME = ("block", "offset", "registers", "group", "signal", "type", "access", "values", "mode")

# What ours says differently, and why. The columns ``name`` and ``area`` are ours alone.
RESERVED = {"signal": ("(not used)", ""), "type": ("-", "reserved"), "access": ("-", ""), "mode": ("", None)}
"""Reserved words: (theirs, ours); the mode is that of the group, so that a hidden group hides its reserved words."""
_REASONS = (
    "0=DeAuthorized;1=EmergencyStop;2=EVDisconnected;3=HardReset;4=Local;5=Other;6=PowerLoss;7=Reboot;8={};"
    "9=SoftReset;10=UnlockCommand"
)
_MESSAGES = (
    "0=BootNotification;1={}StatusNotification;2=FirmwareStatusNotification;3=Heartbeat;4=MeterValues;"
    "5=StatusNotification"
)
_AUTHORIZATION = (
    "0=Accepted;1=Blocked;2=Expired;3=Invalid;4=ConcurrentTransaction",
    "0=Accepted;1=Blocked;2=Expired;3=Invalid;4=ConcurrentTx",
)
VALUES = {
    # Spelled as OCPP does.
    ("charger", "367"): (_MESSAGES.format("Diagnostic"), _MESSAGES.format("Diagnostics")),
    ("charger", "90"): _AUTHORIZATION,
    ("charger", "127"): _AUTHORIZATION,
    ("charger", "168"): _AUTHORIZATION,
    ("charger", "360"): _AUTHORIZATION,
    # A slip of the guide: OCPP's reason is Remote.
    ("charger", "150"): (_REASONS.format("Remove"), _REASONS.format("Remote")),
    # The flag of Reset chooses between its two kinds: 1 Soft, 2 Hard.
    ("charger", "326"): (
        "0=NoOperationPending;1=OperationPending",
        "0=NoOperationPending;1=OperationPending;2=OperationPendingHard",
    ),
    # The guide leaves these two enumerations open; the values are those of its other registers of the kind.
    ("charger", "331"): ("", "0=Accepted;1=Rejected"),
    ("connector", "0"): ("", "0=Idle;1=Unlock"),
}

MODES = {
    # A BMS that reads along may ask for a fresh value or status, which harms nobody.
    "trigger_message": ("bms", "both"),
}


def expected(fact: dict[str, str]) -> dict[str, str | None]:
    """The row that the package must have for a fact; None where the column is checked elsewhere."""
    row: dict[str, str | None] = dict(fact)
    if fact["type"] == "-":
        for column, (theirs, ours) in RESERVED.items():
            assert fact[column] == theirs
            row[column] = ours
    if fact["group"] in MODES and fact["mode"]:
        theirs, row["mode"] = MODES[fact["group"]]
        assert fact["mode"] == theirs
    if (fact["block"], fact["offset"]) in VALUES:
        theirs, row["values"] = VALUES[fact["block"], fact["offset"]]
        assert fact["values"] == theirs
    return row


@pytest.mark.parametrize("column", SAME)
def test_column_equals_the_facts(column: str) -> None:
    wanted = [(row["block"], row["offset"], row[column]) for row in map(expected, FACTS)]
    found = [
        (row["block"], row["offset"], row[column] if want[2] is not None else None)
        for row, want in zip(ROWS, wanted, strict=True)
    ]
    assert found == wanted


def test_reserved_words_share_the_mode_of_their_group() -> None:
    modes = {row["group"]: row["mode"] for row in ROWS if row["type"] != "reserved"}
    assert {(row["group"], row["mode"]) for row in ROWS} == set(modes.items())


def test_number_of_signals() -> None:
    original = [signal for signal in catalogue.SIGNALS.values() if signal.area == "original"]
    assert len(original) == sum(fact["type"] != "-" for fact in FACTS) == 138


def address_by_formula(fact: dict[str, str], charger: int, connector: int) -> int:
    """Appendix 2: gateway offset; charger 100 + 2000·xx + offset; connector 612 + 2000·xx + 100·yy + offset."""
    start = {"gateway": 0, "charger": 100 + 2000 * charger, "connector": 612 + 2000 * charger + 100 * connector}
    return start[fact["block"]] + int(fact["offset"])


@pytest.mark.parametrize(("charger", "connector"), [(0, 0), (0, 7), (1, 1), (19, 7), (31, 7)])
def test_address_of_every_signal(charger: int, connector: int) -> None:
    for fact, row in zip(FACTS, ROWS, strict=True):
        if row["name"]:
            found = layout.address(
                f"{row['group']}.{row['name']}",
                charger if row["block"] != "gateway" else None,
                connector if row["block"] == "connector" else None,
            )
            assert found == address_by_formula(fact, charger, connector), row


def test_places_of_a_whole_site() -> None:
    """20 chargers with 7 connectors: every row at its address, in the address order of the original."""
    wanted = {}
    for fact in FACTS:
        for charger in range(20 if fact["block"] != "gateway" else 1):
            for connector in range(8 if fact["block"] == "connector" else 1):
                wanted[address_by_formula(fact, charger, connector)] = int(fact["registers"])
    places = layout.places([ChargerShape(7)] * 20, extensions=False)
    found = {place.address: place.signal.registers for place in places if place.active}
    assert found == wanted
    assert max(address + registers for address, registers in found.items()) == 39412  # last address 39411


SPOT = [
    ("info.vendor", 0, None, range(127, 137)),
    ("authorize.flag", 0, None, range(164, 165)),
    ("authorize.id_tag", 0, None, range(165, 175)),
    ("authorize.processed", 0, None, range(177, 178)),
    ("connector.status", 0, 1, range(714, 715)),
    ("connector.current_import_l1", 0, 1, range(723, 725)),
    ("connector.status", 19, 7, range(39314, 39315)),
    ("transaction.timestamp", 19, 7, range(39410, 39412)),
    ("bms.year", None, None, range(6, 7)),
]


@pytest.mark.parametrize(("key", "charger", "connector", "registers"), SPOT)
def test_spot_facts(key: str, charger: int | None, connector: int | None, registers: range) -> None:
    start = layout.address(key, charger, connector)
    assert range(start, start + catalogue.SIGNALS[key].registers) == registers


def test_charger_32_begins_the_next_unit_id() -> None:
    places = list(layout.places([ChargerShape(1)] * 33))
    first = {place.charger: place for place in places if place.signal.key == "info.communication"}
    assert (first[31].unit, first[31].address) == (0, 62100)
    assert (first[32].unit, first[32].address) == (1, 100)
    assert layout.address("connector.status", 32, 1) == 714
    assert max(place.address for place in places) < 65536
    assert {place.unit for place in places if place.signal.block == "gateway"} == {0}
