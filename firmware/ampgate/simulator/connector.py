"""One connector of a charge point: the facts about it, the status they amount to, and its meter. No I/O."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ampgate.ocpp import v16
from ampgate.simulator.electrics import AC, AC_READINGS, Reading, Supply
from ampgate.simulator.faults import NO_FAULT, Fault
from ampgate.simulator.vehicle import IDLE, MIN_CURRENT, Draw, Phases, Vehicle

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

    def __init__(self, number: int, seed: int, supply: Supply = AC, readings: Sequence[Reading] = AC_READINGS) -> None:
        self.number = number
        self.supply = supply
        self._readings = readings
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
        self.fault: Fault = NO_FAULT
        self.fault_until = float("inf")
        """Monotonic time at which the fault passes by itself."""
        self.offered: float = 0.0
        """A per phase."""
        self.draw: Draw = IDLE
        self.voltages: Phases = (supply.voltage,) * 3
        self.temperature: float = 25.0
        """°C inside the housing."""
        self.frequency: float = 50.0
        self._random = random.Random(seed)
        self._meter = float(self._random.randrange(10_000, 5_000_000))
        self.reported: tuple[v16.ChargePointStatus, Fault] = (_Status.AVAILABLE, NO_FAULT)
        """What the central system was last told, or will be when it is connected again."""

    @property
    def status(self) -> v16.ChargePointStatus:
        """What OCPP 1.6 §4.9 calls this state of affairs."""
        if self.fault.blocks:
            return _Status.FAULTED
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
    def idle(self) -> bool:
        """Whether nobody charges, is about to or has a card at the reader."""
        return self.transaction is None and self.id_tag is None and not self.presenting

    @property
    def usable(self) -> bool:
        """Whether somebody may charge here."""
        return self.operative and not self.fault.blocks

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
        supply = self.supply
        l1, l2, l3 = (supply.voltage + noise(0.0, 0.4) - supply.impedance * amperes for amperes in self.draw.currents)
        self.voltages = (l1, l2, l3)
        self.draw = IDLE if self.vehicle is None else self.vehicle.advance(dt, self.offered, self.voltages)
        self._meter += self.draw.energy
        warm = 25.0 + 25.0 * max(self.draw.currents) / supply.limit
        self.temperature += (warm - self.temperature) * min(1.0, dt / 600.0)

    def readings(self, now: datetime, context: v16.ReadingContext, measurands: Collection[str]) -> v16.MeterValue:
        """The present readings of these measurands, named as in configuration keys, as OCPP sends them."""
        values = [
            v16.SampledValue(
                value=f"{value:.{row.digits}f}",
                context=context.value,
                measurand=row.measurand.value,
                phase=row.phase.value if row.phase else None,
                unit=row.unit.value,
            )
            for row in self._readings
            if row.listed in measurands and (value := row.value(self)) is not None
        ]
        return v16.MeterValue(timestamp=v16.format_timestamp(now), sampled_value=values)
