"""One connector of a charge point: the facts about it, the status they amount to, and its meter. No I/O."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from ampgate.ocpp import v16
from ampgate.simulator.vehicle import IDLE, MIN_CURRENT, Draw, Phases, Vehicle

HARDWARE_LIMIT: Final = 32.0
"""A per phase of the wiring."""
_NOMINAL_VOLTAGE: Final = 230.0
_GRID_IMPEDANCE: Final = 0.12
"""Ω per phase: the voltage sags a little under load."""
_Status = v16.ChargePointStatus


@dataclass(slots=True)
class Transaction:
    """A transaction from the charger's point of view."""

    id_tag: str
    meter_start: int
    """Wh."""
    started: datetime
    begin: v16.MeterValue
    """Readings at the start, for transactionData."""
    reservation_id: int | None = None
    id: int | None = None
    """Given by the central system; None until it has answered, −1 when it never will."""
    energised: bool = False
    """Whether the contactor is closed: after the central system's answer, or at once when it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A connector that is kept for an id tag."""

    id: int
    id_tag: str
    parent_id_tag: str | None
    expires: datetime


class Connector:
    """Connector 1 and up; 0 stands for the charge point as a whole and never has a car."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.vehicle: Vehicle | None = None
        self.id_tag: str | None = None
        """Authorised and waiting for a car to be plugged in."""
        self.id_tag_deadline = 0.0
        """Monotonic time at which such an authorisation lapses."""
        self.profile: v16.ChargingProfile | None = None
        """TxProfile that came with that authorisation."""
        self.presenting = False
        """Whether an id tag is being authorised."""
        self.transaction: Transaction | None = None
        self.finished = False
        """Whether the plugged car has had its session."""
        self.operative = True
        self.operative_later: bool | None = None
        """Availability to take on at the end of the transaction."""
        self.reservation: Reservation | None = None
        self.offered = 0.0
        """A per phase."""
        self.draw: Draw = IDLE
        self.voltages: Phases = (_NOMINAL_VOLTAGE,) * 3
        self.temperature = 25.0
        """°C inside the housing."""
        self.frequency = 50.0
        self._random = random.Random(seed)
        self._meter = float(self._random.randrange(10_000, 5_000_000))
        self.reported = _Status.AVAILABLE
        """Status that the central system was last told, or will be when it is connected again."""

    @property
    def status(self) -> v16.ChargePointStatus:
        """What OCPP 1.6 §4.9 calls this state of affairs."""
        if self.transaction is not None:
            if not self.transaction.energised:
                return _Status.PREPARING if self.transaction.id is None else _Status.SUSPENDED_EVSE
            if self.vehicle is None or self.vehicle.full:
                return _Status.SUSPENDED_EV
            return _Status.CHARGING if self.offered >= MIN_CURRENT else _Status.SUSPENDED_EVSE
        if not self.operative:
            return _Status.UNAVAILABLE
        if self.id_tag is not None or self.presenting:
            return _Status.PREPARING
        if self.vehicle is not None:
            return _Status.FINISHING if self.finished else _Status.PREPARING
        return _Status.RESERVED if self.reservation is not None else _Status.AVAILABLE

    @property
    def meter(self) -> int:
        """Wh that went through since the connector was made."""
        return int(self._meter)

    def offer(self, current: float) -> None:
        """Offer A per phase to the car: nothing below `MIN_CURRENT` and without an energised transaction."""
        energised = self.transaction is not None and self.transaction.energised
        self.offered = current if energised and current >= MIN_CURRENT else 0.0

    def disconnect(self) -> None:
        """Open the contactor: no current flows any more."""
        self.offered, self.draw = 0.0, IDLE
        if self.vehicle is not None:
            self.vehicle.current = 0.0

    def advance(self, dt: float) -> None:
        """Let ``dt`` simulated seconds pass."""
        noise = self._random.gauss
        self.frequency = 50.0 + noise(0.0, 0.01)
        l1, l2, l3 = (_NOMINAL_VOLTAGE + noise(0.0, 0.4) - _GRID_IMPEDANCE * current for current in self.draw.currents)
        self.voltages = (l1, l2, l3)
        self.draw = IDLE if self.vehicle is None else self.vehicle.advance(dt, self.offered, self.voltages)
        self._meter += self.draw.energy
        warm = 25.0 + 0.8 * max(self.draw.currents)
        self.temperature += (warm - self.temperature) * min(1.0, dt / 600.0)

    def readings(self, now: datetime, context: v16.ReadingContext, measurands: Collection[str]) -> v16.MeterValue:
        """The present readings of these measurands as OCPP sends them."""
        values = [
            v16.SampledValue(
                value=f"{value:.{row.digits}f}",
                context=context.value,
                measurand=row.measurand.value,
                phase=row.phase.value if row.phase else None,
                unit=row.unit.value,
            )
            for row in _READINGS
            if row.measurand in measurands and (value := row.value(self)) is not None
        ]
        return v16.MeterValue(timestamp=v16.format_timestamp(now), sampled_value=values)

    def _soc(self) -> float | None:
        return self.vehicle.soc if self.vehicle is not None else None


class _Reading(NamedTuple):
    measurand: v16.Measurand
    phase: v16.Phase | None
    unit: v16.UnitOfMeasure
    value: Callable[[Connector], float | None]
    digits: int


_M, _P, _U = v16.Measurand, v16.Phase, v16.UnitOfMeasure
_READINGS: Final = (
    _Reading(_M.CURRENT_IMPORT, _P.L1, _U.A, lambda c: c.draw.currents[0], 1),
    _Reading(_M.CURRENT_IMPORT, _P.L2, _U.A, lambda c: c.draw.currents[1], 1),
    _Reading(_M.CURRENT_IMPORT, _P.L3, _U.A, lambda c: c.draw.currents[2], 1),
    _Reading(_M.VOLTAGE, _P.L1_N, _U.V, lambda c: c.voltages[0], 1),
    _Reading(_M.VOLTAGE, _P.L2_N, _U.V, lambda c: c.voltages[1], 1),
    _Reading(_M.VOLTAGE, _P.L3_N, _U.V, lambda c: c.voltages[2], 1),
    _Reading(_M.POWER_ACTIVE_IMPORT, None, _U.W, lambda c: c.draw.power, 0),
    _Reading(_M.ENERGY_ACTIVE_IMPORT_REGISTER, None, _U.WH, lambda c: c.meter, 0),
    _Reading(_M.SOC, None, _U.PERCENT, Connector._soc, 0),
    _Reading(_M.TEMPERATURE, None, _U.CELSIUS, lambda c: c.temperature, 1),
    _Reading(_M.CURRENT_OFFERED, None, _U.A, lambda c: c.offered, 1),
    _Reading(_M.FREQUENCY, None, _U.HERTZ, lambda c: c.frequency, 2),
)
