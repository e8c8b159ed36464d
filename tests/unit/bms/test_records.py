"""Use by day, and the change counter."""

from __future__ import annotations

from datetime import date, datetime

import msgspec
import pytest

from ampgate.bms.records import Answer, Charge, ChargerRecord, ConnectorRecord, Session, StartMessage, StopMessage, Use

NOW = datetime(2023, 6, 19, 14, 22).astimezone()
CHARGE = Charge(1, 7, "TAG", "User A", NOW, NOW, 1.5, 10, 8)
TODAY = date(2023, 6, 19)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 2), (65534, 65535), (65535, 1)])
def test_the_change_counter(before: int, after: int) -> None:
    """Driver guide, *Last Charge*: 0 on initialisation, then 1…65535."""
    record = ConnectorRecord(counter=before)
    record.complete(CHARGE)
    assert record.counter == after


def used() -> ConnectorRecord:
    record = ConnectorRecord()
    assert record.turn(TODAY)
    record.complete(CHARGE)
    return record


def test_a_new_day() -> None:
    record = used()
    assert not record.turn(TODAY)
    assert record.today == record.total == Use(1, 1.5, 10)
    assert record.turn(date(2023, 6, 20))
    assert (record.today, record.previous, record.total) == (Use(), Use(1, 1.5, 10), Use(1, 1.5, 10))


@pytest.mark.parametrize("day", [date(2023, 6, 21), date(2024, 6, 19), date(2020, 1, 1)])
def test_the_day_before_was_another(day: date) -> None:
    record = used()
    assert record.turn(day)
    assert (record.today, record.previous, record.day) == (Use(), Use(), day)


def test_a_clock_put_back_over_midnight_does_not_begin_a_day() -> None:
    record = used()
    assert not record.turn(date(2023, 6, 18))
    assert record.today.sessions == 1
    assert not record.turn(TODAY)


def test_it_is_kept_as_json() -> None:
    session = Session(1, 7, "TAG", "Größe", NOW, 1.0)
    start, stop = (StartMessage(1, "TAG", 1.0, 5), Answer(0, 7)), StopMessage(7, 2.0, 6, 8)
    record = ChargerRecord({1: used()}, [session], start, stop)
    assert msgspec.json.decode(msgspec.json.encode(record), type=ChargerRecord) == record
