"""The register map as page, table and CSV."""

from __future__ import annotations

import csv
import io
import re

import pytest

from ampgate.registers import export
from ampgate.registers.catalogue import ROWS, SIGNALS
from ampgate.registers.layout import ChargerShape, places

pytestmark = pytest.mark.unit

SITE = list(places([ChargerShape(2), ChargerShape(1, frozenset({"Power.Factor"}))]))


def table_rows(page: str) -> list[list[str]]:
    """Cells of every row that describes a signal."""
    lines = [line for line in page.splitlines() if re.match(r"\| \d+(–\d+)? \| \d+(–\d+)? \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_csv_has_one_line_for_each_signal_of_the_site() -> None:
    lines = list(csv.DictReader(io.StringIO(export.to_csv(SITE, 7))))
    per_block = {block: sum(signal.block == block for signal in SIGNALS.values()) for block in ("gateway", "charger")}
    per_connector = len(SIGNALS) - sum(per_block.values())
    assert len(lines) == per_block["gateway"] + 2 * per_block["charger"] + 5 * per_connector
    assert {line["unit_id"] for line in lines} == {"7"}


@pytest.mark.parametrize(
    ("charger", "connector", "name", "address"),
    [  # configuration guide r1.2, appendix 2
        ("", "", "YEAR", 6),
        ("0", "", "Charger Communication status", 100),
        ("1", "", "Charger Communication status", 2100),
        ("0", "1", "status", 714),
        ("1", "1", "Energy.Active.Import.Register", 2740),
        ("1", "0", "L1 Current.Import", 2623),
    ],
)
def test_csv_has_the_addresses_of_the_manual(charger: str, connector: str, name: str, address: int) -> None:
    found = [
        int(line["address"])
        for line in csv.DictReader(io.StringIO(export.to_csv(SITE, 1)))
        if (line["charger"], line["connector"], line["name"]) == (charger, connector, name)
    ]
    assert found == [address]


def test_csv_says_which_signals_are_inactive_and_text_leaves_them_out() -> None:
    lines = csv.DictReader(io.StringIO(export.to_csv(SITE, 1)))
    inactive = [(line["charger"], line["name"]) for line in lines if line["active"] == "no"]
    assert inactive == [("1", "Power.Factor")] * 2
    factors = [line for line in export.to_text(SITE, 1).splitlines() if line.endswith(": Power.Factor")]
    assert [line.split()[1] for line in factors] == ["670–671", "770–771", "870–871"]


def test_csv_writes_enumerations_in_one_cell() -> None:
    lines = csv.DictReader(io.StringIO(export.to_csv(SITE, 1)))
    flag = next(line for line in lines if line["name"] == "Authorization Flag")
    assert flag["values"] == "0=NoOperationPending;1=OperationPending"


def test_page_lists_every_signal_with_offset_and_example_address() -> None:
    listed = {cells[3].strip("`"): cells for cells in table_rows(export.to_markdown())}
    assert set(listed) == set(SIGNALS)
    base = {"gateway": 0, "charger": 100, "connector": 612 + 100}  # charger 0, connector 1
    for key, (offset, example, label, _, _, access, _) in listed.items():
        signal = SIGNALS[key]
        first, last = signal.offset, signal.offset + signal.registers - 1
        assert offset == (f"{first}–{last}" if last > first else str(first))
        assert int(example.split("–")[0]) == base[signal.block] + first
        assert (label, access) == (signal.label, signal.access)


def test_page_names_every_reserved_offset() -> None:
    page = export.to_markdown()
    named: set[tuple[int, ...]] = set()
    for line in re.findall(r"^Reserved offsets: (.*)\.$", page, re.M):
        spans = [[int(number) for number in span.split("–")] for span in line.split(", ")]
        named |= {(offset,) for span in spans for offset in range(span[0], span[-1] + 1)}
    assert named == {(row.offset,) for row in ROWS if row.reserved}


def test_page_shows_values_and_refers_to_the_one_table_of_units() -> None:
    page = export.to_markdown()
    cells = {row[3].strip("`"): row for row in table_rows(page)}
    assert cells["connector.status"][6].startswith("0 Available<br>1 Preparing<br>2 Charging")
    assert cells["connector.soc_unit"][6] == "[unit](#units-of-measurements)"
    assert "## Units of measurements" in page
    assert "| 15 | Percent |" in page


def test_page_tells_extensions_from_the_original_map() -> None:
    page = export.to_markdown()
    sections = re.split(r"^### ", page, flags=re.M)[1:]
    marked = {section.partition("\n")[0] for section in sections if "Extension:" in section}
    groups = {row.group.replace("_", " ").capitalize() for row in ROWS if row.area == "extension"}
    assert marked == groups


def test_contents_lead_to_every_section() -> None:
    page = export.to_markdown()
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^#{2,3} (.*)$", page, re.M)}
    contents = page[: page.index("\n## ")]
    assert set(re.findall(r"\(#([^)]+)\)", contents)) == anchors
