"""USB adapters at the EIA-485 bus."""

from __future__ import annotations

from pathlib import Path

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from hil.drivers.protocols import Bus
from hil.line import Line, Recording


@target_factory.reg_driver
@attr.s(eq=False)
class RS485AdapterDriver(Driver):  # type: ignore[misc]
    """The adapter that is the master of the bus."""

    bindings = {"port": "RawSerialPort"}  # noqa: RUF012 - how labgrid declares them

    @property
    def bus(self) -> Bus:
        """Our end of the bus."""
        return Bus(Path(self.port.port), virtual=False)


@target_factory.reg_driver
@attr.s(eq=False)
class ListenerDriver(Driver):  # type: ignore[misc]
    """A second adapter that only hears."""

    bindings = {"port": "RawSerialPort"}  # noqa: RUF012 - how labgrid declares them

    def recording(self, line: Line) -> Recording:
        """Everything on the bus in the time of a block."""
        return Recording(Path(self.port.port), line)
