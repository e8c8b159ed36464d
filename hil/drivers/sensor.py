"""A lamp sensor as the operator's eyes."""

from __future__ import annotations

import attr
from labgrid.factory import target_factory

from hil.drivers.lamps import SensedLamps
from hil.drivers.operator import OperatorDriver


@target_factory.reg_driver
@attr.s(eq=False)
class LampSensorDriver(SensedLamps, OperatorDriver):  # type: ignore[misc]
    """An operator, but the lamps are seen by a sensor, with times."""

    bindings = {"port": "RawSerialPort"}  # noqa: RUF012 - how labgrid declares them

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        SensedLamps.__init__(self)

    def on_activate(self) -> None:
        """Begin to listen."""
        self.watch(self.port.port, self.port.speed)

    def on_deactivate(self) -> None:
        """Listen no more."""
        self.unwatch()
