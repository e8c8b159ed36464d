"""Meter values of a connector into its registers (behaviour of OCPP 1.6 §7.31–7.44 as chargers really use it)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from math import isfinite
from typing import Final, NamedTuple

from ampgate.bridge.results import numbers
from ampgate.ocpp.v16 import MeterValue, SampledValue, parse_timestamp
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.image import Point

DEFAULT: Final = "Energy.Active.Import.Register"
UNLISTED: Final = 65535
"""Unit register of a value whose unit the map's enumeration does not know, e.g. hertz or revolutions."""

_PHASES: Final = {"L1": "l1", "L1-N": "l1", "L2": "l2", "L2-N": "l2", "L3": "l3", "L3-N": "l3"}
_UNITS: Final = {word.lower(): number for word, number in numbers("connector.voltage_unit").items()} | {
    "celcius": numbers("connector.voltage_unit")["Celsius"],
    "k": numbers("connector.voltage_unit")["Kelvin"],
}
_DEFAULT_UNITS: Final = {
    "current": "A",
    "voltage": "V",
    "energy.active": "Wh",
    "energy.reactive": "varh",
    "power.active": "W",
    "power.offered": "W",
    "power.reactive": "var",
    "temperature": "Celsius",
    "soc": "Percent",
}
_RAW: Final = (None, "Raw")
_SUMMED: Final = ("energy.", "power.active", "power.reactive", "power.offered")
"""Quantities whose phases add up to the value of the whole; of the others (frequency, …) the first phase stands."""


def _default_unit(measurand: str) -> int:
    for start, unit in _DEFAULT_UNITS.items():
        if measurand.lower().startswith(start):
            return _UNITS[unit.lower()]
    return UNLISTED


class _Part(Enum):
    """What a reading of a measurand and phase is to its registers."""

    VALUE = auto()
    """It has a register of its own."""
    SUMMAND = auto()
    """A phase of a quantity that the map shows as one value: summed unless the value is given too."""
    SUBSTITUTE = auto()
    """A value without phase of a quantity that the map shows by phase: L1, unless phases are given too."""
    SAMPLE = auto()
    """A phase of a quantity that does not add up: it stands for the whole unless the whole is given."""


_VALUE: Final = _Part.VALUE


def measurands() -> dict[str, str]:
    """OCPP measurand to the stem of its signals' names, e.g. ``Current.Import`` to ``current_import``."""
    suffix = ".Units"
    return {
        signal.label.removesuffix(suffix): signal.name.removesuffix("_unit")
        for signal in SIGNALS.values()
        if signal.block == "connector" and signal.label.endswith(suffix)
    }


class _Route(NamedTuple):
    """Where a reading goes; the same for every connector."""

    part: _Part
    measurand: str
    key: str
    """Of the signal that shows it."""
    unit_key: str
    default_unit: int


def _make_routes() -> Iterator[tuple[tuple[str, str | None], _Route]]:
    """Every reading that has a register, by measurand and phase."""
    for measurand, name in measurands().items():
        whole = f"connector.{name}"
        unit = f"{whole}_unit", _default_unit(measurand)
        if whole in SIGNALS:
            part = _Part.SUMMAND if measurand.lower().startswith(_SUMMED) else _Part.SAMPLE
            yield (measurand, None), _Route(_VALUE, measurand, whole, *unit)
            for phase in _PHASES:
                yield (measurand, phase), _Route(part, measurand, whole, *unit)
        else:
            yield (measurand, None), _Route(_Part.SUBSTITUTE, measurand, f"{whole}_l1", *unit)
            for phase, line in _PHASES.items():
                yield (measurand, phase), _Route(_VALUE, measurand, f"{whole}_{line}", *unit)


_ROUTES: Final = dict(_make_routes())
_DEFAULTS: Final = {route.unit_key: route.default_unit for route in _ROUTES.values()}


class Meter:
    """The measured values of one connector."""

    def __init__(self, points: Mapping[str, Point], now: Callable[[], datetime]) -> None:
        self._points = points
        self._now = now
        self._units: dict[str, str | None] = {}
        """The unit that each measurand's last reading named."""
        self._newest: datetime | None = None
        self.ignored = 0
        """Sampled values without a usable number or with a measurand that the map does not have."""
        for key, unit in _DEFAULTS.items():
            points[key].set(unit)

    def restart(self) -> None:
        """The charger has booted: its clock may have been set back, so older timestamps count again."""
        self._newest = None

    def update(self, meter_values: Sequence[MeterValue]) -> None:
        """Show the readings, oldest first; what is older than the values shown is left out."""
        now = self._now()
        # A charger whose clock is ahead must not make its later, right readings look old.
        stamped = [(min(parse_timestamp(value.timestamp, now), now), value.sampled_value) for value in meter_values]
        if len(stamped) > 1:
            stamped.sort(key=lambda item: item[0])
        live = _live(meter_values)
        for moment, samples in stamped:
            if self._newest is not None and moment < min(self._newest, now):
                continue
            self._newest = moment
            self._show(samples if live is None else [sample for sample in samples if _counts(sample, live)])

    def _show(self, samples: Iterable[SampledValue]) -> None:
        points, units = self._points, self._units
        given: set[str] = set()
        # By phase, so that one that is sent as L1 and as L1-N counts once.
        partial: dict[tuple[str, str], tuple[_Route, float]] = {}
        for sample in samples:
            number = _number(sample)
            # The neutral, phase to phase and what the standard does not know have no register.
            route = _ROUTES.get((sample.measurand or DEFAULT, sample.phase))
            if number is None or route is None:
                self.ignored += 1
                continue
            if units.get(route.measurand) != sample.unit:
                units[route.measurand] = sample.unit
                points[route.unit_key].set(_unit(sample.unit) if sample.unit else route.default_unit)
            if route.part is _VALUE:
                points[route.key].set(number)
                given.add(route.measurand)
            else:
                partial[route.measurand, _PHASES.get(sample.phase or "", "")] = route, number
        if partial:
            self._show_partial(partial.values(), given)

    def _show_partial(self, readings: Iterable[tuple[_Route, float]], given: set[str]) -> None:
        """Show what stands in for a value that the message does not give."""
        sums: dict[str, float] = {}
        for route, number in readings:
            if route.measurand in given:
                continue
            total = sums.get(route.measurand)
            if total is None:
                sums[route.measurand] = total = number
            elif route.part is _Part.SUMMAND:
                sums[route.measurand] = total = total + number
            self._points[route.key].set(total)


def _unit(text: str) -> int:
    return _UNITS.get(text.strip().lower(), UNLISTED)


def _number(sample: SampledValue) -> float | None:
    if sample.format not in _RAW:
        return None
    value = sample.value
    try:
        number = float(value)  # type: ignore[arg-type]  # None is a TypeError like any other
    except (TypeError, ValueError, OverflowError):
        try:
            number = float(str(value).replace(",", "."))
        except ValueError:
            return None
    return number if isfinite(number) else None


def _quantity(sample: SampledValue) -> tuple[str, str | None]:
    return sample.measurand or DEFAULT, sample.phase


def _live(meter_values: Iterable[MeterValue]) -> set[tuple[str, str | None]] | None:
    """What was also measured in another context than the transaction's begin; None when nothing was at its begin."""
    begin, live = False, set()
    for meter_value in meter_values:
        for sample in meter_value.sampled_value:
            if sample.context == "Transaction.Begin":
                begin = True
            else:
                live.add(_quantity(sample))
    return live if begin else None


def _counts(sample: SampledValue, live: set[tuple[str, str | None]]) -> bool:
    """Whether a reading is shown: one of the transaction's begin never hides a live one."""
    return sample.context != "Transaction.Begin" or _quantity(sample) not in live
