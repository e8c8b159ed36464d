"""The register map for people and their tools: the concrete addresses of a site, and the map as a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ampgate.registers.catalogue import ROWS, Block, Signal
from ampgate.registers.layout import CHARGERS_PER_UNIT, MAX_CONNECTORS, Place, offset_of

_TYPES: Final = {
    "uint16": "unsigned 16 bit",
    "uint32": "unsigned 32 bit",
    "float32": "float 32 bit",
    "epoch32": "Unix time, unsigned 32 bit",
}
HEADER: Final = (
    "unit_id",
    "address",
    "registers",
    "charger",
    "connector",
    "group",
    "name",
    "type",
    "access",
    "values",
    "active",
)


def rows(places: Iterable[Place], unit_id: int) -> Iterator[tuple[Any, ...]]:
    """The signals of a site, one tuple in the order of `HEADER` for each."""
    for place in places:
        signal = place.signal
        if not signal.reserved:
            yield (
                unit_id + place.unit,
                place.address,
                signal.registers,
                "" if place.charger is None else place.charger,
                "" if place.connector is None else place.connector,
                signal.group,
                signal.label,
                signal.type,
                signal.access,
                ";".join(f"{number}={word}" for number, word in signal.values.items()),
                "yes" if place.active else "no",
            )


def to_csv(places: Iterable[Place], unit_id: int) -> str:
    """The signals of a site as CSV, for an engineering tool."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows(places, unit_id))
    return out.getvalue()


def to_text(places: Iterable[Place], unit_id: int) -> str:
    """The active signals of a site as a table for a terminal."""
    lines = ["unit address       charger connector access type     signal"]
    for row in rows((place for place in places if place.active), unit_id):
        unit, address, registers, charger, connector, group, name, type_, access, *_ = row
        span = _span(address, registers)
        lines.append(f"{unit:>4} {span:<13} {charger:>7} {connector:>9} {access:<6} {type_:<8} {group}: {name}")
    return "\n".join(lines) + "\n"


_BLOCK_TEXT: Final[dict[Block, tuple[str, str]]] = {
    "gateway": ("Gateway", "Address = offset. These registers exist once, at the first unit id."),
    "charger": (
        "Charger",
        "Address = 100 + 2000 · xx + offset, where xx is the charger's place in the configuration, "
        f"0…{CHARGERS_PER_UNIT - 1}. The examples are charger 0.",
    ),
    "connector": (
        "Connector",
        f"Address = 612 + 2000 · xx + 100 · yy + offset, where yy is the connector, 0…{MAX_CONNECTORS} "
        "(0 is the charger as a whole). The examples are connector 1 of charger 0.",
    ),
}
_EXAMPLE: Final[dict[Block, tuple[int | None, int | None]]] = {
    "gateway": (None, None),
    "charger": (0, None),
    "connector": (0, 1),
}
_TITLES: Final = {
    "bms": "Heartbeat and clock",
    "info": "Charger information",
    "connector": "State and measurements",
    "transaction": "Current transaction",
}
"""Headings of groups whose name alone does not say enough."""
_EXTENSION: Final = "Extension: these registers are not in the original map; `modbus.extensions = false` hides them."
_BMS_ONLY: Final = (
    'Only with the BMS as central system: with `gateway.mode = "external"` these addresses get exception 02.'
)
_UNIT: Final = "_unit"
_UNITS_TITLE: Final = "Units of measurements"
_COLUMNS: Final = ("offset", "example", "signal", "key", "type", "access", "values")
_INTRODUCTION: Final = (
    "All addresses are 0-based protocol addresses: a tool that numbers holding registers from 1 shows address 714 as "
    "715, one that numbers them from 40001 shows it as 40715. Functions 03 and 04 read the same registers; functions "
    "01 and 02 read them as bits, 1 when the register is not 0.",
    f"A unit id holds {CHARGERS_PER_UNIT} chargers; charger {CHARGERS_PER_UNIT} is charger 0 of the next unit id.",
    "Access is what a Modbus client may do: R read, W write (reading gives back what was written), RW both. Words that "
    "a list names as reserved read 0 and ignore writes, so that a block read across them works. Any other address that "
    "is not listed here, or belongs to a charger or connector that is not configured, is answered with exception 02.",
    "Result registers hold the codes that their list shows, and besides them the gateway's own "
    "[result codes](modbus-guide.md#result-codes).",
    "The key names a signal in the configuration file (`inactive`) and in the [Modbus guide](modbus-guide.md), which "
    "explains how the registers work together. `ampgate registers --config FILE` lists the addresses of one site, with "
    "`--format csv` for an engineering tool.",
)


def to_markdown() -> str:
    """The whole map as a page of the documentation."""
    parts = [
        "# Register map\n",
        "<!-- Made by `make docs` from firmware/ampgate/registers/signals.csv; change that file instead. -->\n",
        *(f"{paragraph}\n" for paragraph in _INTRODUCTION),
        _contents(),
    ]
    for block, (title, text) in _BLOCK_TEXT.items():
        parts.append(f"## {title}\n\n{text}\n")
        for group, signals in _groups(block):
            parts.append(f"### {_title(group)}\n")
            if signals[0].area == "extension":
                parts.append(f"{_EXTENSION}\n")
            if signals[0].mode == "bms":
                parts.append(f"{_BMS_ONLY}\n")
            parts.append(_table(block, signals))
    parts.append(f"## {_UNITS_TITLE}\n\n{_units()}")
    return "\n".join(parts)


def _title(group: str) -> str:
    return _TITLES.get(group, group.replace("_", " ").capitalize())


def _link(title: str) -> str:
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _contents() -> str:
    lines = [
        f"- {_link(title)}: {', '.join(_link(_title(group)) for group, _ in _groups(block))}"
        for block, (title, _) in _BLOCK_TEXT.items()
    ]
    return "\n".join([*lines, f"- {_link(_UNITS_TITLE)}"]) + "\n"


def _groups(block: Block) -> Iterator[tuple[str, list[Signal]]]:
    groups: dict[str, list[Signal]] = {}
    for row in ROWS:
        if row.block == block:
            groups.setdefault(row.group, []).append(row)
    yield from groups.items()


def _table(block: Block, signals: list[Signal]) -> str:
    lines = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for signal in signals:
        if not signal.reserved:
            lines.append(
                _row(
                    (
                        _span(signal.offset, signal.registers),
                        _span(offset_of(signal, *_EXAMPLE[block]), signal.registers),
                        signal.label,
                        f"`{signal.key}`",
                        _type(signal),
                        signal.access,
                        _values(signal),
                    )
                )
            )
    reserved = [signal.offset for signal in signals if signal.reserved]
    if reserved:
        lines.append(f"\nReserved offsets: {_spans(reserved)}.")
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _type(signal: Signal) -> str:
    return f"text, {2 * signal.registers} characters" if signal.type == "string" else _TYPES[signal.type]


def _values(signal: Signal) -> str:
    if signal.name.endswith(_UNIT):
        return f"[unit](#{_UNITS_TITLE.lower().replace(' ', '-')})"  # the same sixteen for every measurement
    return "<br>".join(f"{number} {word}" for number, word in signal.values.items())


def _units() -> str:
    values = next(row.values for row in ROWS if row.name.endswith(_UNIT))
    lines = [_row(("value", "unit")), _row(("---", "---"))]
    lines += [_row((str(number), word)) for number, word in values.items()]
    return "\n".join([*lines, _row(("65535", "a unit that is not in this list"))]) + "\n"


def _span(first: int, registers: int) -> str:
    return f"{first}–{first + registers - 1}" if registers > 1 else str(first)


def _spans(offsets: list[int]) -> str:
    spans: list[list[int]] = []
    for offset in offsets:
        if spans and spans[-1][1] == offset - 1:
            spans[-1][1] = offset
        else:
            spans.append([offset, offset])
    return ", ".join(_span(first, last - first + 1) for first, last in spans)
