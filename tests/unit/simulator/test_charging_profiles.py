"""Which limit results from installed profiles (OCPP 1.6 §3.13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ampgate.ocpp import v16
from ampgate.simulator.charging_profiles import ChargingProfiles, Rules

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return v16.format_timestamp(at(seconds))


def profile(*periods: tuple[int, float], unit="A", phases=None, schedule=None, **changes) -> v16.ChargingProfile:
    fields = {
        "charging_profile_id": 1,
        "stack_level": 0,
        "charging_profile_purpose": v16.ChargingProfilePurposeType.TX_DEFAULT_PROFILE,
        "charging_profile_kind": v16.ChargingProfileKindType.ABSOLUTE,
        "charging_schedule": v16.ChargingSchedule(
            charging_rate_unit=v16.ChargingRateUnitType(unit),
            charging_schedule_period=[
                v16.ChargingSchedulePeriod(start_period=start, limit=limit, number_phases=phases)
                for start, limit in periods
            ],
            **(schedule or {}),
        ),
    }
    return v16.ChargingProfile(**(fields | changes))


TX, DEFAULT, MAX = (
    v16.ChargingProfilePurposeType.TX_PROFILE,
    v16.ChargingProfilePurposeType.TX_DEFAULT_PROFILE,
    v16.ChargingProfilePurposeType.CHARGE_POINT_MAX_PROFILE,
)


def installed(*entries: tuple[int, v16.ChargingProfile]) -> ChargingProfiles:
    profiles = ChargingProfiles()
    for connector, entry in entries:
        assert profiles.install(connector, entry, NOON)
    return profiles


def test_periods_follow_each_other_and_the_last_one_stays():
    profiles = installed((1, profile((0, 16), (300, 6))))
    limits = [profiles.connector_limit(1, at(seconds), None) for seconds in (0, 299, 300, 100_000)]
    assert limits == [16, 16, 6, 6]


def test_a_duration_ends_the_schedule():
    profiles = installed((1, profile((0, 16), schedule={"duration": 60})))
    assert [profiles.connector_limit(1, at(seconds), None) for seconds in (59, 60)] == [16, None]


def test_an_absolute_schedule_starts_when_it_says():
    profiles = installed((1, profile((0, 16), schedule={"start_schedule": stamp(100)})))
    assert [profiles.connector_limit(1, at(seconds), None) for seconds in (99, 100)] == [None, 16]


def test_a_relative_schedule_starts_with_the_transaction():
    relative = profile((0, 16), (60, 8), charging_profile_kind=v16.ChargingProfileKindType.RELATIVE)
    profiles = installed((1, relative))
    assert profiles.connector_limit(1, at(100), at(50)) == 16
    assert profiles.connector_limit(1, at(100), at(40)) == 8


@pytest.mark.parametrize(("recurrency", "days"), [("Daily", 1), ("Weekly", 7)])
def test_a_recurring_schedule_comes_again(recurrency, days):
    again = profile(
        (0, 16),
        (3600, 8),
        charging_profile_kind=v16.ChargingProfileKindType.RECURRING,
        recurrency_kind=v16.RecurrencyKindType(recurrency),
        schedule={"start_schedule": stamp(0)},
    )
    profiles = installed((1, again))
    later = days * 86_400
    assert [profiles.connector_limit(1, at(later + seconds), None) for seconds in (-1, 0, 3600)] == [8, 16, 8]


def test_validity():
    profiles = installed((1, profile((0, 16), valid_from=stamp(10), valid_to=stamp(20))))
    assert [profiles.connector_limit(1, at(second), None) for second in (9, 10, 19, 20)] == [None, 16, 16, None]


def test_the_highest_stack_level_that_is_valid_wins():
    high = profile((0, 20), stack_level=3, charging_profile_id=2, valid_to=stamp(10))
    profiles = installed((1, profile((0, 10))), (1, high))
    assert [profiles.connector_limit(1, at(second), None) for second in (0, 10)] == [20, 10]


def test_a_tx_profile_goes_before_defaults_and_ends_with_its_transaction():
    tx = profile((0, 25), charging_profile_purpose=TX, charging_profile_id=2)
    profiles = installed((1, profile((0, 10), stack_level=5)), (1, tx))
    assert profiles.connector_limit(1, NOON, NOON) == 25
    profiles.end_transaction(2)
    assert profiles.connector_limit(1, NOON, NOON) == 25
    profiles.end_transaction(1)
    assert profiles.connector_limit(1, NOON, NOON) == 10


def test_a_default_of_connector_0_is_for_all_and_gives_way_to_a_connectors_own():
    profiles = installed((0, profile((0, 10))), (2, profile((0, 12), charging_profile_id=2)))
    assert [profiles.connector_limit(number, NOON, None) for number in (1, 2)] == [10, 12]


def test_the_charge_points_own_limit_is_apart():
    profiles = installed((0, profile((0, 40), charging_profile_purpose=MAX)))
    assert profiles.charge_point_limit(NOON) == 40
    assert profiles.connector_limit(1, NOON, None) is None


@pytest.mark.parametrize(("phases", "amperes"), [(None, 16), (3, 16), (1, 48)])
def test_watts_are_divided_by_phases_and_230_volts(phases, amperes):
    profiles = installed((1, profile((0, 11_040), unit="W", phases=phases)))
    assert profiles.connector_limit(1, NOON, None) == pytest.approx(amperes)


@pytest.mark.parametrize(
    ("connector", "wrong"),
    [
        (1, profile((0, 6), stack_level=Rules().stack_level + 1)),
        (1, profile()),
        (1, profile((10, 6))),
        (1, profile((0, 6), (20, 7), (10, 8))),
        (1, profile(*((second, 6.0) for second in range(Rules().periods + 1)))),
        (1, profile((0, 6), charging_profile_purpose=MAX)),
        (0, profile((0, 6), charging_profile_purpose=TX)),
        (1, profile((0, 6), charging_profile_kind=v16.ChargingProfileKindType.RECURRING)),
        (
            0,
            profile((0, 6), charging_profile_purpose=MAX, charging_profile_kind=v16.ChargingProfileKindType.RELATIVE),
        ),
    ],
)
def test_what_breaks_a_rule_is_not_installed(connector, wrong):
    profiles = ChargingProfiles()
    assert not profiles.install(connector, wrong, NOON)
    assert len(profiles) == 0


def test_same_id_or_same_level_and_purpose_replaces():
    profiles = installed((1, profile((0, 10))), (1, profile((0, 11), stack_level=1)))
    assert len(profiles) == 1
    assert profiles.install(1, profile((0, 12), stack_level=1, charging_profile_id=9), NOON)
    assert len(profiles) == 1
    assert profiles.connector_limit(1, NOON, None) == 12


def test_their_number_is_bounded():
    profiles = ChargingProfiles()
    for number in range(Rules().installed):
        assert profiles.install(number, profile((0, 6), charging_profile_id=number), NOON)
    assert not profiles.install(99, profile((0, 6), charging_profile_id=99), NOON)
    assert profiles.install(0, profile((0, 7), charging_profile_id=0), NOON)


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        ({}, []),
        ({"id": 2}, [1, 3]),
        ({"id": 2, "connector_id": 1}, [1, 3]),
        ({"connector_id": 1}, [2, 3]),
        ({"charging_profile_purpose": DEFAULT}, [3]),
        ({"charging_profile_purpose": DEFAULT, "stack_level": 4}, [1, 3]),
        ({"stack_level": 9}, [1, 2, 3]),
    ],
)
def test_clearing(request_, left):
    entries = {
        1: (1, profile((0, 6), charging_profile_id=1)),
        2: (2, profile((0, 6), charging_profile_id=2, stack_level=4)),
        3: (0, profile((0, 6), charging_profile_id=3, charging_profile_purpose=MAX)),
    }
    profiles = installed(*entries.values())
    assert profiles.clear(v16.ClearChargingProfileRequest(**request_)) == (len(left) < 3)
    for number in entries:
        assert profiles.clear(v16.ClearChargingProfileRequest(id=number)) == (number in left)


def test_changes_are_the_moments_at_which_a_limit_may_change():
    profiles = installed((1, profile((0, 16), (300, 6), schedule={"duration": 900}, valid_to=stamp(700))))
    assert profiles.changes(at(10), 600, None) == [at(10), at(300)]
    assert profiles.changes(at(0), 1000, None) == [at(0), at(300), at(700), at(900)]


def test_changes_of_a_daily_schedule():
    daily = profile(
        (0, 16),
        (3600, 8),
        charging_profile_kind=v16.ChargingProfileKindType.RECURRING,
        recurrency_kind=v16.RecurrencyKindType.DAILY,
        schedule={"start_schedule": stamp(-86_400 * 30)},
    )
    expected = [at(60), at(3600), at(86_400), at(90_000), at(2 * 86_400)]
    assert installed((1, daily)).changes(at(60), 2 * 86_400, None) == expected
