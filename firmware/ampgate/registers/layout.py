"""Where the signals of a configured site lie.

Addresses are 0-based protocol addresses (configuration guide r1.2, appendix 2)::

    gateway    offset
    charger    100 + 2000·xx + offset
    connector  612 + 2000·xx + 100·yy + offset

One unit id holds `CHARGERS_PER_UNIT` chargers; charger 32 is charger 0 of the next unit id. The gateway block exists
in the first unit only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ampgate.registers.catalogue import ROWS, SIGNALS, Block, Signal

CHARGERS_PER_UNIT: Final = 32
MAX_CONNECTORS: Final = 7
"""Connectors of a charger, connector 0 (the charger as a whole) not counted."""

_BASE: Final[dict[Block, int]] = {"gateway": 0, "charger": 100, "connector": 612}
_CHARGER_STRIDE: Final = 2000
_CONNECTOR_STRIDE: Final = 100
_BLOCKS: Final[dict[Block, tuple[Signal, ...]]] = {
    block: tuple(row for row in ROWS if row.block == block) for block in _BASE
}


class ChargerShape(NamedTuple):
    """What the layout needs to know of one configured charger."""

    connectors: int = 1
    """1…7; connector 0 exists always."""
    inactive: frozenset[str] = frozenset()
    """Keys (``connector.power_factor``) or labels (``Power.Factor``) of signals that are not shown to the BMS."""


class Place(NamedTuple):
    """One row of the map at one place of a site."""

    signal: Signal
    unit: int
    """0 for the configured unit id, 1 for the next one, and so on."""
    address: int
    charger: int | None
    connector: int | None
    active: bool
    """Whether the BMS can address it; an inactive signal is an invalid address."""


def offset_of(signal: Signal, charger: int | None, connector: int | None) -> int:
    """Address of a row within its unit."""
    return (
        _BASE[signal.block]
        + signal.offset
        + _CHARGER_STRIDE * ((charger or 0) % CHARGERS_PER_UNIT)
        + _CONNECTOR_STRIDE * (connector or 0)
    )


def address(key: str, charger: int | None = None, connector: int | None = None) -> int:
    """Address of a signal by its key, e.g. ``address("connector.status", 0, 1) == 714``.

    `KeyError` for an unknown key; `ValueError` when charger or connector are missing, superfluous or out of range.
    """
    signal = SIGNALS[key]
    if (charger is not None) != (signal.block != "gateway") or (connector is not None) != (signal.block == "connector"):
        raise ValueError(f"{key} is a {signal.block} signal; charger={charger}, connector={connector} does not fit")
    if (charger or 0) < 0 or not 0 <= (connector or 0) <= MAX_CONNECTORS:
        raise ValueError(f"charger must be 0 or more and connector 0…{MAX_CONNECTORS}")
    return offset_of(signal, charger, connector)


def places(chargers: Sequence[ChargerShape], *, external: bool = False, extensions: bool = True) -> Iterator[Place]:
    """Every row of the map of a site, in the order gateway, charger 0, its connectors, charger 1, …

    ``external`` leaves out what exists only with the BMS as central system (configuration guide §2.4): those
    places are inactive. Without ``extensions`` only the original map is active.
    """

    def of(block: Block, charger: int | None, connector: int | None, inactive: frozenset[str]) -> Iterator[Place]:
        unit = (charger or 0) // CHARGERS_PER_UNIT
        for signal in _BLOCKS[block]:
            hidden = (
                signal.key in inactive
                or signal.label in inactive
                or (external and signal.mode == "bms")
                or (not extensions and signal.area == "extension")
            )
            yield Place(signal, unit, offset_of(signal, charger, connector), charger, connector, not hidden)

    yield from of("gateway", None, None, frozenset())
    for charger, shape in enumerate(chargers):
        yield from of("charger", charger, None, shape.inactive)
        for connector in range(shape.connectors + 1):
            yield from of("connector", charger, connector, shape.inactive)
