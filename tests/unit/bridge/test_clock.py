"""The clock registers SECOND 1, MINUTE 2, HOUR 3, DAY 4, MONTH 5, YEAR 6 with an injected time.

Manual: writes that belong together follow each other within 15 s; a partial date is not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ampgate.bridge.clock import Clock
from ampgate.registers.image import Refusal
from ampgate.registers.site import Site

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY, MONTH, YEAR = range(1, 7)


class Bench:
    """A clock whose time passes when a test says so."""

    def __init__(self, zone: str = "UTC", adjust: Callable[[timedelta], bool] | None = None) -> None:
        site = Site([])
        self.image = site.images[0]
        self.passed = 0.0
        self.clock = Clock(
            site.gateway,
            zone=ZoneInfo(zone),
            system=lambda: NOON + timedelta(seconds=self.passed),
            monotonic=lambda: 1000 + self.passed,
            adjust=adjust,
        )

    def write(self, address: int, *values: int) -> None:
        data = b"".join(value.to_bytes(2, "big") for value in values)
        assert self.image.write(address, data) is Refusal.NONE

    def write_date(self, *date: int) -> None:
        """Year first, as people write it; one request."""
        self.write(1, *reversed(date))

    @property
    def registers(self) -> list[int]:
        """Year first."""
        words = self.image.words
        return [int.from_bytes(words[2 * address : 2 * address + 2], "big") for address in range(YEAR, 0, -1)]

    def pass_(self, seconds: float) -> None:
        self.passed += seconds
        self.clock.show()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_registers_show_the_time(bench: Bench) -> None:
    assert bench.registers == [2026, 1, 31, 12, 0, 0]
    assert bench.clock.now() == NOON
    bench.pass_(43199)
    assert bench.registers == [2026, 1, 31, 23, 59, 59]
    bench.pass_(1)
    assert bench.registers == [2026, 2, 1, 0, 0, 0]


def test_all_six_in_one_request(bench: Bench) -> None:
    bench.write_date(2031, 12, 24, 18, 30, 5)
    assert bench.clock.now() == datetime(2031, 12, 24, 18, 30, 5, tzinfo=UTC)
    bench.pass_(60)
    assert bench.registers == [2031, 12, 24, 18, 31, 5]


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1), (4, 1, 6, 2, 5, 3)])
def test_one_by_one_in_any_order(order: tuple[int, ...], bench: Bench) -> None:
    values = {YEAR: 2031, MONTH: 12, DAY: 24, HOUR: 18, MINUTE: 30, SECOND: 5}
    for address in order[:-1]:
        bench.write(address, values[address])
        assert bench.clock.now() == NOON + timedelta(seconds=bench.passed)
        bench.pass_(14.9)  # up to 15 s from one write to the next
    bench.write(order[-1], values[order[-1]])
    assert bench.clock.now() == datetime(2031, 12, 24, 18, 30, 5, tzinfo=UTC)
    assert bench.registers == [2031, 12, 24, 18, 30, 5]


def test_a_partial_date_stays_visible_until_it_is_dropped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write(YEAR, 2031)
    bench.write(MINUTE, 44)
    bench.pass_(14.9)
    assert bench.registers == [2031, 1, 31, 12, 44, 0]
    assert not caplog.records
    bench.pass_(0.1)
    assert bench.registers == [2026, 1, 31, 12, 0, 15]
    assert "did not write MONTH, DAY, HOUR, SECOND within 15 s" in caplog.text


def test_a_dropped_date_is_not_completed_later(bench: Bench) -> None:
    bench.write(1, 5, 30, 18, 24, 12)  # all but the year
    bench.pass_(16)
    bench.write(YEAR, 2031)
    assert bench.clock.now() == NOON + timedelta(seconds=16)
    bench.write(1, 5, 30, 18, 24, 12)
    assert bench.clock.now() == datetime(2031, 12, 24, 18, 30, 5, tzinfo=UTC)


def test_a_date_is_too_late_even_if_nobody_looked_meanwhile(bench: Bench) -> None:
    bench.write(1, 5, 30, 18, 24, 12)
    bench.passed = 15.1
    bench.write(YEAR, 2031)
    assert bench.clock.now() == NOON + timedelta(seconds=15.1)


def test_a_register_may_be_written_again(bench: Bench) -> None:
    bench.write(1, 5, 30, 18, 24, 12)
    bench.write(DAY, 25)
    bench.write(YEAR, 2031)
    assert bench.clock.now() == datetime(2031, 12, 25, 18, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "date",
    [
        (2026, 2, 29, 0, 0, 0),
        (2026, 4, 31, 0, 0, 0),
        (2026, 0, 1, 0, 0, 0),
        (2026, 13, 1, 0, 0, 0),
        (2026, 1, 0, 0, 0, 0),
        (2026, 1, 1, 24, 0, 0),
        (2026, 1, 1, 0, 60, 0),
        (2026, 1, 1, 0, 0, 60),
        (26, 1, 1, 0, 0, 0),
        (1999, 12, 31, 23, 59, 59),
        (2106, 1, 1, 0, 0, 0),
        (65535, 1, 1, 0, 0, 0),
    ],
)
def test_an_impossible_date_is_dropped(date: tuple[int, ...], bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write_date(*date)
    assert bench.clock.now() == NOON
    assert bench.registers == [2026, 1, 31, 12, 0, 0]
    assert "which is no date" in caplog.text
    bench.write_date(2028, 2, 29, 0, 0, 0)  # the next one counts
    assert bench.clock.now() == datetime(2028, 2, 29, tzinfo=UTC)


def test_setting_twice(bench: Bench) -> None:
    bench.write_date(2031, 1, 1, 0, 0, 0)
    bench.pass_(10)
    bench.write_date(2025, 6, 1, 0, 0, 0)
    bench.pass_(10)
    assert bench.clock.now() == datetime(2025, 6, 1, 0, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize(("month", "hours"), [(1, 1), (7, 2)])
def test_the_registers_may_be_in_another_zone(month: int, hours: int) -> None:
    bench = Bench("Europe/Madrid")
    assert bench.registers == [2026, 1, 31, 13, 0, 0]
    bench.write_date(2027, month, 15, 8, 0, 0)
    assert bench.clock.now() == datetime(2027, month, 15, 8 - hours, tzinfo=UTC)
    assert bench.registers == [2027, month, 15, 8, 0, 0]


@pytest.mark.parametrize("done", [True, False])
def test_the_system_clock_is_set_where_that_works(done: bool) -> None:
    """On the device the system's clock is set; elsewhere the difference is kept."""
    changes = []

    def adjust(change: timedelta) -> bool:
        changes.append(change)
        return done

    bench = Bench(adjust=adjust)
    bench.write_date(2026, 1, 31, 13, 0, 0)
    assert changes == [timedelta(hours=1)]
    assert bench.clock.now() == (NOON if done else NOON + timedelta(hours=1))


def test_by_default_the_time_is_the_systems() -> None:
    clock = Clock(Site([]).gateway, monotonic=lambda: 0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
