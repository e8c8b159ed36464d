from __future__ import annotations

import os

import pytest

from ampgate.simulator.view import picture

TABLE = ["head", *(f"connector {number}" for number in range(1, 21))]
EVENTS = [f"event {number}" for number in range(1, 11)]


def test_without_a_terminal_everything_is_there() -> None:
    assert picture(TABLE, EVENTS, None) == [*TABLE, "", *EVENTS]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (50, [*TABLE, "", *EVENTS]),
        (33, [*TABLE, "", *EVENTS]),
        (30, [*TABLE, "", *EVENTS[3:]]),
        (26, [*TABLE, "", *EVENTS[7:]]),
        (25, [*TABLE[:19], "… and 2 more: `show` lists all", "", *EVENTS[7:]]),
        (4, ["… and 21 more: `show` lists all", "", *EVENTS[7:]]),
        (12, [*TABLE[:6], "… and 15 more: `show` lists all", "", *EVENTS[7:]]),
    ],
)
def test_on_a_terminal_it_is_as_high_as_that(lines: int, expected: list[str]) -> None:
    shown = picture(TABLE, EVENTS, os.terminal_size((80, lines)))
    assert shown == expected
    assert len(shown) < lines or lines == 4  # the last one is to type in


def test_at_first_nothing_has_happened() -> None:
    assert picture(TABLE, [], os.terminal_size((80, 24))) == [*TABLE, ""]


def test_lines_are_cut_to_the_width() -> None:
    shown = picture(["x" * 90], ["y" * 90], os.terminal_size((80, 24)))
    assert shown == ["x" * 80, "", "y" * 80]
