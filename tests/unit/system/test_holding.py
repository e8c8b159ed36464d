"""The push button at power-up: manual 1.12 §5.2."""

from itertools import pairwise

import pytest

from ampgate.system.holding import Holding, lamps

LEDS = {"port_a", "ethernet"}


def hold(seconds, step=0.05):
    """Look while the button is pressed for so long, then released; the decision and all lamps that were seen."""
    holding = Holding(0.0)
    seen = []
    now = 0.0
    while now < 20:
        decision = holding.look(now, pressed=now < seconds)
        if isinstance(decision, bool):
            return decision, now, seen
        seen.append(decision)
        now = round(now + step, 3)
    raise AssertionError("never decided")


@pytest.mark.parametrize(("seconds", "reset"), [(0.1, False), (5, False), (9, False), (9.9, False), (11, True)])
def test_ten_seconds_decide(seconds, reset):
    assert hold(seconds)[0] is reset


def test_it_does_not_wait_for_the_release():
    decision, now, _ = hold(1000)
    assert decision
    assert now == pytest.approx(10.0)


def test_an_early_release_ends_it_within_a_moment():
    _, now, _ = hold(4.0)
    assert now < 4.5


def test_feedback_and_button_are_solid_and_the_leds_take_turns():
    _, _, seen = hold(1000)
    assert all({"feedback_red", "button"} <= lit and "feedback_green" not in lit for lit in seen)
    assert all(len(lit & LEDS) == 1 for lit in seen)
    turns = [next(iter(lit & LEDS)) for lit in seen]
    assert sum(a != b for a, b in pairwise(turns)) == 19  # every half second


def test_a_bouncing_contact_is_not_a_release():
    holding = Holding(0.0)
    for step in range(199):
        assert not isinstance(holding.look(step * 0.05, pressed=step % 7 != 3), bool)
    assert holding.look(10.0, pressed=True) is True


def test_the_lamps_go_on_while_the_reset_runs():
    assert lamps(0.0) != lamps(0.6) != lamps(1.1)
