"""What the DIP switch means (manual 1.12 §5.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from ampgate.board.ports import Switches


class Resistors(NamedTuple):
    """Which resistors of the EIA-485 port are in."""

    termination: bool
    """120 Ω between A− and B+."""
    bias: bool
    """Pull-up at B+, pull-down at A− (the manual's polarization)."""
    warning: str = ""
    """What is wrong with the position of the switches."""


_BIAS: Final = {(False, False): False, (True, True): True}
"""Switches 1 and 2: one of them alone means nothing."""


def resistors(switches: Switches) -> Resistors:
    """What these positions ask for; with only one of the switches 1 and 2 ON there is no bias, and a warning."""
    pair = switches.one, switches.two
    warning = "" if pair in _BIAS else "DIP switches 1 and 2 differ: no bias; set both ON, or both OFF, and restart"
    return Resistors(switches.three, _BIAS.get(pair, False), warning)
