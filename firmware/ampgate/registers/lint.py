"""Checks of the register map's data: columns, overlaps and unexpected gaps (``python -m ampgate.registers.lint``)."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, get_args

from ampgate.registers.catalogue import COLUMNS, Access, Area, Block, Mode, Signal, Type, parse, source

_WIDTH: Final = {
    "uint16": {1},
    "reserved": {1},
    "uint32": {2},
    "float32": {2},
    "epoch32": {2},
    "string": {10, 13, 25, 95},
}
_END: Final[dict[str, int]] = {"gateway": 100, "charger": 2000, "connector": 100}
"""Registers that each block may use; beyond lies the next block."""
_CONNECTORS: Final = range(512, 1312)
"""Offsets of a charger that its connectors take."""
KNOWN_GAPS: Final = {
    ("gateway", 41, 100),
    ("charger", 47, 64),
    ("charger", 174, 256),
    ("charger", 406, 1312),  # from 512 on its connectors
    ("charger", 1399, 1650),
    ("charger", 1800, 2000),
}
"""Free registers as (block, first, end); a gap that is not listed is a mistake."""


def check_columns(lines: Sequence[str]) -> list[str]:
    """Header and values of each column."""
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        return [f"line 1: columns must be {','.join(COLUMNS)}"]
    allowed = {
        "block": get_args(Block),
        "type": get_args(Type),
        "access": get_args(Access),
        "mode": get_args(Mode),
        "area": get_args(Area),
    }
    problems = [
        f"line {reader.line_num}: {column} {row[column]!r} is not one of {', '.join(map(repr, choices))}"
        for row in reader
        for column, choices in allowed.items()
        if row[column] not in choices
    ]
    return problems


def check_rows(signals: Sequence[Signal]) -> list[str]:
    """Widths, names and access of each row."""
    problems = []
    for signal in signals:
        where = f"{signal.block} {signal.offset} {signal.key}"
        if signal.registers not in _WIDTH[signal.type]:
            problems.append(f"{where}: a {signal.type} cannot have {signal.registers} registers")
        if signal.reserved != (not signal.name) or signal.reserved != (not signal.access):
            problems.append(f"{where}: reserved words, and only they, have neither name nor access")
        if signal.values and signal.type != "uint16":
            problems.append(f"{where}: only a uint16 can be an enumeration")
    counts = Counter(signal.key for signal in signals if signal.name)
    problems += [f"{key}: the key is used {count} times" for key, count in counts.items() if count > 1]
    return problems


def check_overlaps_and_gaps(signals: Iterable[Signal]) -> list[str]:
    """Each register of a block belongs to one row or to a known gap."""
    problems = []
    owners: dict[tuple[str, int], Signal] = {}
    for signal in signals:
        for offset in range(signal.offset, signal.offset + signal.registers):
            other = owners.setdefault((signal.block, offset), signal)
            if other is not signal:
                problems.append(f"{signal.block} {offset}: {signal.key} overlaps {other.key}")
            if not 0 <= offset < _END[signal.block] or (signal.block == "charger" and offset in _CONNECTORS):
                problems.append(f"{signal.block} {offset}: {signal.key} is outside the block")
    free = {(block, offset) for block, first, end in KNOWN_GAPS for offset in range(first, end)}
    for block, end in _END.items():
        missing = [offset for offset in range(end) if (block, offset) not in owners and (block, offset) not in free]
        problems += [f"{block} {offset}: no row covers this register" for offset in missing]
    return problems


def check(text: str) -> list[str]:
    """All problems of a map; empty when it is sound."""
    lines = text.splitlines()
    problems = check_columns(lines)
    if problems:
        return problems
    try:
        signals = parse(lines)
    except ValueError as error:
        return [str(error).removeprefix("signals.csv ")]
    return check_rows(signals) + check_overlaps_and_gaps(signals)


def main() -> int:
    """Print the problems of the packaged map; 1 when there is one."""
    problems = check(source())
    for problem in problems:
        print(f"signals.csv: {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
