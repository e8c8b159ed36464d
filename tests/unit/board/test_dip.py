"""The table of manual 1.12 §5.1, and one switch alone."""

from __future__ import annotations

import pytest

from ampgate.board.dip import resistors
from ampgate.board.ports import Switches

pytestmark = pytest.mark.unit

OFF, ON = False, True


@pytest.mark.parametrize(
    ("positions", "bias", "termination", "warned"),
    [
        ((OFF, OFF, OFF), OFF, OFF, False),
        ((OFF, OFF, ON), OFF, ON, False),
        ((ON, ON, OFF), ON, OFF, False),
        ((ON, ON, ON), ON, ON, False),
        ((ON, OFF, OFF), OFF, OFF, True),
        ((OFF, ON, OFF), OFF, OFF, True),
        ((ON, OFF, ON), OFF, ON, True),
        ((OFF, ON, ON), OFF, ON, True),
    ],
)
def test_every_position(positions: tuple[bool, bool, bool], bias: bool, termination: bool, warned: bool) -> None:
    wanted = resistors(Switches(*positions))
    assert (wanted.bias, wanted.termination) == (bias, termination)
    assert bool(wanted.warning) == warned
