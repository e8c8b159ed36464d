"""The physics of a car on a connector: what it draws of what is offered. No clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

MIN_CURRENT: Final = 6.0
"""A; less cannot be offered to a car (IEC 61851-1, pilot duty cycle), so less means a pause."""
TAPER_SOC: Final = 80.0
"""State of charge in % from which the battery takes less and less."""
TAPER_FLOOR: Final = 0.15
"""What is left of the full current just before the battery is full."""
STEP: Final = 5.0
"""Longest step of the integration in s: a fast clock must not change the result."""
# On-board chargers do not load their phases exactly alike, and none exceeds what is offered.
_BALANCE: Final = (0.99, 1.0, 0.985)

Phases = tuple[float, float, float]


class Draw(NamedTuple):
    """What a car drew during one step."""

    currents: Phases
    """A on L1, L2, L3 at the end of the step."""
    power: float
    """W over all phases at the end of the step."""
    energy: float
    """Wh during the step, as a meter in front of the car counts."""


IDLE: Final = Draw((0.0, 0.0, 0.0), 0.0, 0.0)


@dataclass(slots=True)
class Vehicle:
    """A battery behind an on-board charger.

    The current follows the offer upwards with ``ramp`` and downwards at once, and falls linearly from `TAPER_SOC` on.
    At ``target_soc`` the car stops drawing.
    """

    capacity: float = 60_000.0
    """Wh."""
    soc: float = 30.0
    """State of charge, %."""
    target_soc: float = 100.0
    phases: int = 3
    """1 or 3; a single-phase car draws on L1."""
    max_current: float = 16.0
    """A per phase."""
    ramp: float = 1.0
    """A/s."""
    efficiency: float = 0.92
    """Part of the metered energy that reaches the battery."""
    current: float = 0.0
    """A per phase that it draws now."""

    @property
    def full(self) -> bool:
        """Whether it wants no more energy."""
        return self.soc >= self.target_soc

    @property
    def wanted(self) -> float:
        """A per phase that it would draw if the offer were unlimited."""
        if self.full:
            return 0.0
        excess = max(0.0, self.soc - TAPER_SOC) / (100.0 - TAPER_SOC)
        return self.max_current * (1.0 - (1.0 - TAPER_FLOOR) * excess)

    def advance(self, dt: float, offered: float, voltages: Phases) -> Draw:
        """Let ``dt`` seconds pass with ``offered`` A per phase at these phase voltages (V)."""
        energy, left = 0.0, dt
        while left > 0.0:
            step = min(left, STEP)
            energy += self._step(step, offered, voltages)
            left -= step
        currents = self._currents()
        return Draw(currents, _power(currents, voltages), energy)

    def _step(self, dt: float, offered: float, voltages: Phases) -> float:
        target = min(offered, self.wanted) if offered >= MIN_CURRENT else 0.0
        before = min(self.current, target)
        self.current = min(target, before + self.ramp * dt)
        rising = (self.current - before) / self.ramp
        mean = (before + self.current) / 2
        energy = (_power(self._at(mean), voltages) * rising + _power(self._currents(), voltages) * (dt - rising)) / 3600
        room = (self.target_soc - self.soc) / 100.0 * self.capacity / self.efficiency
        if energy >= room:
            self.soc, self.current = max(self.soc, self.target_soc), 0.0
            return max(0.0, room)
        self.soc += energy * self.efficiency / self.capacity * 100.0
        return energy

    def _currents(self) -> Phases:
        return self._at(self.current)

    def _at(self, current: float) -> Phases:
        l1, l2, l3 = (current * balance for balance in _BALANCE)
        return (l1, l2, l3) if self.phases == 3 else (current, 0.0, 0.0)


def _power(currents: Phases, voltages: Phases) -> float:
    return sum(current * voltage for current, voltage in zip(currents, voltages, strict=True))
