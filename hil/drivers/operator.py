"""The hands, eyes and multimeter of a person."""

from __future__ import annotations

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from hil.person import CONTROLLING_TERMINAL, Operator, Terminal


@target_factory.reg_driver
@attr.s(eq=False)
class OperatorDriver(Operator, Driver):  # type: ignore[misc]
    """Asks the person at a terminal, by default that of the tests."""

    terminal = attr.ib(default=CONTROLLING_TERMINAL, validator=attr.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        Operator.__init__(self, Terminal(self.terminal))
