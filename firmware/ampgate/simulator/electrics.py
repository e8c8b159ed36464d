"""What feeds a connector, and what its meter reads, as rows of a table. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ampgate.ocpp import v16

if TYPE_CHECKING:
    from ampgate.simulator.connector import Connector

_M, _P, _U = v16.Measurand, v16.Phase, v16.UnitOfMeasure


class Supply(NamedTuple):
    """The wiring behind a connector."""

    phases: int = 3
    voltage: float = 230.0
    """V of each phase without load."""
    limit: float = 32.0
    """A per phase."""
    impedance: float = 0.12
    """Ω per phase: the voltage sags a little under load."""


AC: Final = Supply()
DC: Final = Supply(phases=1, voltage=400.0, limit=300.0, impedance=0.05)


class Reading(NamedTuple):
    """One value that the meter can tell."""

    measurand: v16.Measurand
    phase: v16.Phase | None
    unit: v16.UnitOfMeasure
    value: Callable[[Connector], float | None]
    digits: int = 1
    name: str = ""
    """What stands for it in a list of measurands; the measurand when empty."""

    @property
    def listed(self) -> str:
        """What stands for it in a list of measurands."""
        return self.name or self.measurand.value


def names(readings: Iterable[Reading]) -> tuple[str, ...]:
    """What a list of measurands may hold."""
    return tuple(dict.fromkeys(reading.listed for reading in readings))


def current(index: int) -> Callable[[Connector], float]:
    """A on L1, L2 or L3 (0…2)."""
    return lambda connector: connector.draw.currents[index]


def voltage(index: int) -> Callable[[Connector], float]:
    """V between L1, L2 or L3 (0…2) and neutral."""
    return lambda connector: connector.voltages[index]


ENERGY: Final = Reading(_M.ENERGY_ACTIVE_IMPORT_REGISTER, None, _U.WH, lambda connector: connector.meter, 0)
OFFERED: Final = Reading(_M.CURRENT_OFFERED, None, _U.A, lambda connector: connector.offered)
_POWER: Final = Reading(_M.POWER_ACTIVE_IMPORT, None, _U.W, lambda connector: connector.draw.power, 0)
_SOC: Final = Reading(
    _M.SOC, None, _U.PERCENT, lambda connector: connector.vehicle.soc if connector.vehicle is not None else None, 0
)
_TEMPERATURE: Final = Reading(_M.TEMPERATURE, None, _U.CELSIUS, lambda connector: connector.temperature)

AC_READINGS: Final = (
    *(Reading(_M.CURRENT_IMPORT, phase, _U.A, current(i)) for i, phase in enumerate((_P.L1, _P.L2, _P.L3))),
    *(Reading(_M.VOLTAGE, phase, _U.V, voltage(i)) for i, phase in enumerate((_P.L1_N, _P.L2_N, _P.L3_N))),
    _POWER,
    ENERGY,
    _SOC,
    _TEMPERATURE,
    OFFERED,
    Reading(_M.FREQUENCY, None, _U.HERTZ, lambda connector: connector.frequency, 2),
)
DC_READINGS: Final = (
    Reading(_M.CURRENT_IMPORT, None, _U.A, current(0)),
    Reading(_M.VOLTAGE, None, _U.V, voltage(0)),
    _POWER,
    Reading(_M.POWER_OFFERED, None, _U.W, lambda connector: connector.offered * connector.voltages[0], 0),
    ENERGY,
    _SOC,
    _TEMPERATURE,
    OFFERED,
)
