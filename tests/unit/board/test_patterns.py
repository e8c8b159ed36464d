from __future__ import annotations

import re

import pytest

from ampgate.board.patterns import FEEDBACK, NORMAL, STEP, Trouble

pytestmark = pytest.mark.unit


def test_a_step_is_the_50_ms_of_a_blink() -> None:
    assert STEP == 0.05


def test_normal_operation_blinks_green_once_a_second() -> None:
    assert FEEDBACK[None] is NORMAL
    assert NORMAL.red == "."
    assert re.fullmatch(r"(#+)(\.+)", NORMAL.green)
    assert len(NORMAL.green) * STEP == 1.0


@pytest.mark.parametrize("trouble", Trouble)
def test_a_code_is_as_many_red_flashes_and_a_pause(trouble: Trouble) -> None:
    green, red = FEEDBACK[trouble]
    assert green == "."
    flashes = re.findall(r"#+", red)
    assert len(flashes) == trouble
    assert {len(flash) * STEP for flash in flashes} == {0.25}
    *between, pause = [len(gap) * STEP for gap in re.findall(r"\.+", red)]
    assert set(between) <= {0.25}
    assert pause == 1.25  # long enough to tell the end of a code from the gap between two flashes


def test_every_trouble_has_its_code() -> None:
    assert set(FEEDBACK) == {None, *Trouble}
    assert all(set(pattern) <= set("#.") for feedback in FEEDBACK.values() for pattern in feedback)
