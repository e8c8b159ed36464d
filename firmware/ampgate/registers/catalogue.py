"""The register map as data: one `Signal` for each row of ``signals.csv``.

The rows are the original register map (configuration guide r1.2, appendix 2) and the extension area beside it. Server,
documentation, exports and tests all derive from them; nothing else in the firmware knows an offset.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib.resources import files
from typing import Final, Literal, cast

import msgspec

Block = Literal["gateway", "charger", "connector"]
Type = Literal["uint16", "uint32", "float32", "epoch32", "string", "reserved"]
Access = Literal["R", "W", "RW", ""]
Mode = Literal["bms", "both"]
Area = Literal["original", "extension"]

COLUMNS: Final = (
    "block",
    "offset",
    "registers",
    "group",
    "name",
    "signal",
    "type",
    "access",
    "values",
    "mode",
    "area",
)


class Signal(msgspec.Struct, frozen=True):
    """One named value of the map, or one reserved word (``type == "reserved"``, empty ``name``)."""

    block: Block
    offset: int
    """Registers from the start of the block."""
    registers: int
    """Width: 1 for integers, 2 for float and time, up to 13 for strings (two characters a register)."""
    group: str
    name: str
    label: str
    """The name that the original's documentation uses; not unique over groups."""
    type: Type
    access: Access
    """Seen from the BMS; W signals can be read back."""
    values: dict[int, str]
    """Enumeration: value to its name; empty when any value is allowed."""
    mode: Mode
    """``both``, or ``bms`` when the signal exists only with the BMS as central system."""
    area: Area
    """``extension`` for what the original map does not have; ``modbus.extensions = false`` hides it."""

    @property
    def key(self) -> str:
        """``group.name``, unique over the map, e.g. ``authorize.id_tag``."""
        return f"{self.group}.{self.name}"

    @property
    def reserved(self) -> bool:
        """Whether this is a "not used" word: it reads 0 and ignores writes, so that block polls may cross it."""
        return self.type == "reserved"

    @property
    def writable(self) -> bool:
        """Whether the BMS may write it."""
        return "W" in self.access

    @property
    def command(self) -> bool:
        """Whether writing 1 starts an operation and the gateway puts it back to 0 when that has ended."""
        return self.access == "RW" and self.name in ("flag", "unlock")


def parse_values(text: str) -> dict[int, str]:
    """Read an enumeration written as ``0=Accepted;1=Rejected``."""
    pairs = (item.partition("=") for item in text.split(";") if item)
    return {int(number): name for number, _, name in pairs}


def parse(lines: Iterable[str]) -> list[Signal]:
    """Read the rows of a map in CSV form; a `ValueError` names the line that is wrong."""
    signals = []
    reader = csv.DictReader(lines)
    for row in reader:
        try:
            signals.append(
                Signal(
                    block=cast(Block, row["block"]),
                    offset=int(row["offset"]),
                    registers=int(row["registers"]),
                    group=row["group"],
                    name=row["name"],
                    label=row["signal"],
                    type=cast(Type, row["type"]),
                    access=cast(Access, row["access"]),
                    values=parse_values(row["values"]),
                    mode=cast(Mode, row["mode"]),
                    area=cast(Area, row["area"]),
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"signals.csv line {reader.line_num}: {error}") from error
    return signals


def source() -> str:
    """The text of the map that this package carries."""
    return files(__package__).joinpath("signals.csv").read_text(encoding="utf-8")


ROWS: Final = tuple(parse(source().splitlines()))
"""Every row in map order, reserved words included."""

SIGNALS: Final = {signal.key: signal for signal in ROWS if not signal.reserved}
"""Every signal by its key."""
