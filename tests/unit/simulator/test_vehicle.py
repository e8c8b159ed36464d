"""The car's physics against hand-calculated values and the laws of a battery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampgate.simulator.vehicle import MIN_CURRENT, TAPER_FLOOR, Vehicle

GRID = (230.0, 230.0, 230.0)


def test_three_phases_draw_what_is_offered_and_power_is_their_product():
    car = Vehicle(soc=30, phases=3, max_current=32, ramp=100)
    draw = car.advance(60, 16, (229.0, 230.0, 231.0))
    assert max(draw.currents) == pytest.approx(16.0)
    assert min(draw.currents) > 15.5
    l1, l2, l3 = draw.currents
    assert draw.power == pytest.approx(229 * l1 + 230 * l2 + 231 * l3)


def test_a_single_phase_car_draws_on_l1_only():
    draw = Vehicle(phases=1, max_current=32, ramp=100).advance(10, 32, GRID)
    assert draw.currents == (32.0, 0.0, 0.0)
    assert draw.power == pytest.approx(7360)


def test_the_current_rises_with_the_ramp():
    car = Vehicle(phases=1, max_current=16, ramp=1.0)
    assert car.advance(4, 32, GRID).currents[0] == pytest.approx(4.0)
    assert car.advance(4, 32, GRID).currents[0] == pytest.approx(8.0)
    assert car.advance(60, 32, GRID).currents[0] == pytest.approx(16.0)


def test_energy_of_a_ramp_is_the_area_under_it():
    # 0 to 10 A in 10 s, then 10 s at 10 A: 50 As + 100 As at 230 V.
    draw = Vehicle(phases=1, max_current=10, ramp=1.0).advance(20, 32, GRID)
    assert draw.energy == pytest.approx(150 * 230 / 3600, rel=1e-6)


def test_a_lower_offer_counts_at_once():
    car = Vehicle(phases=1, max_current=16, ramp=1.0)
    car.advance(60, 16, GRID)
    assert car.advance(0.001, 8, GRID).currents[0] == pytest.approx(8.0)


@pytest.mark.parametrize("offered", [0.0, 3.0, MIN_CURRENT - 0.01])
def test_less_than_six_amperes_is_a_pause(offered):
    car = Vehicle()
    car.advance(60, 16, GRID)
    draw = car.advance(60, offered, GRID)
    assert draw.currents == (0.0, 0.0, 0.0)
    assert draw.energy == 0.0


def test_an_hour_at_constant_power_charges_power_times_efficiency():
    car = Vehicle(capacity=100_000, soc=10, phases=1, max_current=10, ramp=1000, efficiency=0.9)
    draw = car.advance(3600, 10, GRID)
    assert draw.energy == pytest.approx(2300, rel=1e-3)
    assert car.soc == pytest.approx(10 + 2300 * 0.9 / 1000, rel=1e-3)


def test_the_current_tapers_above_eighty_percent():
    wanted = [Vehicle(soc=soc, max_current=20).wanted for soc in (50, 80, 90, 99.999)]
    assert wanted[0] == wanted[1] == 20
    assert wanted[2] == pytest.approx(20 * (1 + TAPER_FLOOR) / 2)
    assert wanted[3] == pytest.approx(20 * TAPER_FLOOR, rel=1e-3)


def test_a_full_car_draws_nothing():
    car = Vehicle(soc=99.99, capacity=10_000)
    for _ in range(100):
        draw = car.advance(60, 16, GRID)
    assert car.full
    assert car.soc == 100
    assert draw == ((0.0, 0.0, 0.0), 0.0, 0.0)


def test_a_car_stops_at_its_target():
    car = Vehicle(soc=49, target_soc=50, capacity=10_000, efficiency=1.0)
    energy = sum(car.advance(60, 16, GRID).energy for _ in range(60))
    assert car.full
    assert energy == pytest.approx(100)


@given(
    soc=st.floats(0, 100),
    phases=st.sampled_from([1, 3]),
    offers=st.lists(st.tuples(st.floats(0.01, 7200), st.floats(0, 80)), max_size=20),
)
def test_no_car_draws_more_than_offered_or_than_it_can_store(soc, phases, offers):
    car = Vehicle(soc=soc, phases=phases, capacity=40_000)
    total, before = 0.0, car.soc
    for dt, offered in offers:
        draw = car.advance(dt, offered, GRID)
        assert max(draw.currents) <= min(offered, car.max_current) + 1e-9
        assert draw.energy >= 0
        assert before <= car.soc <= 100
        before = car.soc
        total += draw.energy
    assert total * car.efficiency == pytest.approx((car.soc - soc) / 100 * car.capacity, abs=1e-3)


@given(st.integers(1, 40))
def test_the_speed_of_the_clock_makes_no_difference(parts):
    at_once, in_parts = Vehicle(soc=75), Vehicle(soc=75)
    energy = at_once.advance(3600, 16, GRID).energy
    energies = [in_parts.advance(3600 / parts, 16, GRID).energy for _ in range(parts)]
    assert sum(energies) == pytest.approx(energy, rel=0.01)
    assert in_parts.soc == pytest.approx(at_once.soc, rel=0.01)
