"""What the BMS decides about a charger, against the driver guide's *Driver Operation*."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from ampgate.bms.charger import (
    ACCEPTED,
    INVALID,
    MAX_PENDING,
    MAX_SESSIONS,
    Charger,
    TaskRefused,
    TransactionIds,
    Users,
    new_tag,
)
from ampgate.bms.records import Answer, Session, StartMessage, StopMessage

NOW = datetime(2023, 6, 19, 14, 22).astimezone()


def tags() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"TAG{number}"


def make(connectors: int = 2, last: int = 0, users: Users | None = None) -> Charger:
    numbers = tags()
    charger = Charger(
        "CP",
        connectors,
        users=users or Users([]),
        ids=TransactionIds(last, lambda: (session.transaction for session in charger.record.sessions)),
        make_tag=lambda: next(numbers),
    )
    return charger


def begin(id_tag: str, connector: int = 1, meter: float = 1000.0, timestamp: int = 1) -> StartMessage:
    return StartMessage(connector, id_tag, meter, timestamp)


@pytest.mark.parametrize(
    "status",
    ["", "Available", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing", "Reserved", "Unavailable", "Faulted"],
)
def test_a_start_needs_a_car(status: str) -> None:
    charger = make()
    with pytest.raises(TaskRefused, match="Preparing"):
        charger.request_start(1, "User A", status)
    assert charger.connector(1).pending == {}


def test_only_the_tag_of_a_requested_start_is_accepted() -> None:
    charger = make()
    assert charger.authorize("TAG1") == INVALID
    tag = charger.request_start(1, "User A", "Preparing")
    assert charger.authorize(tag) == charger.authorize(tag.lower()) == ACCEPTED
    assert charger.authorize("TAG2") == INVALID
    assert (charger.accepted, charger.declined) == (2, 2)
    answer, session = charger.start(begin(tag), NOW)
    assert answer == Answer(ACCEPTED, 1)
    assert session == Session(1, 1, tag, "User A", NOW, 1000.0) == charger.session(1)
    assert charger.authorize(tag) == ACCEPTED, "the driver may end the session with it"
    charger.stop(StopMessage(1, 2000.0, 2, 8), NOW)
    assert charger.authorize(tag) == INVALID


def test_a_start_that_was_not_requested_gets_a_transaction_id_all_the_same() -> None:
    charger = make()
    assert charger.start(begin("CARD"), NOW) == (Answer(INVALID, 1), None)
    tag = charger.request_start(1, "", "Preparing")
    assert charger.start(begin(tag, connector=2), NOW) == (Answer(INVALID, 2), None)
    assert charger.start(begin(tag, connector=9), NOW) == (Answer(INVALID, 3), None)
    assert charger.start(begin(tag), NOW)[0] == Answer(ACCEPTED, 4)
    assert charger.session(1).user == ""


def test_a_charger_may_still_begin_the_start_before_the_last() -> None:
    charger = make()
    first, second = (charger.request_start(1, user, "Preparing") for user in ("User A", "User B"))
    charger.withdraw(1, second)
    assert charger.authorize(second) == INVALID
    assert charger.start(begin(first), NOW)[1].user == "User A"
    for _ in range(MAX_PENDING + 1):
        charger.request_start(2, "", "Preparing")
    assert list(charger.connector(2).pending) == [f"TAG{number}" for number in range(4, 8)]


def test_pulling_the_cable_makes_starts_void() -> None:
    charger = make()
    tag = charger.request_start(1, "", "Preparing")
    assert charger.unplugged(1)
    assert not charger.unplugged(1)
    assert charger.authorize(tag) == INVALID


def test_known_cards() -> None:
    charger = make(users=Users([("User B", ["Card1", "CARD2"]), ("User C", ["card3"])]))
    assert charger.authorize("CARD1") == charger.authorize("card2") == ACCEPTED
    assert charger.start(begin("CARD3"), NOW)[1].user == "User C"


def test_the_same_start_gets_the_same_answer() -> None:
    charger = make(users=Users([("User B", ["CARD"])]))
    answer, session = charger.start(begin("CARD"), NOW)
    assert session is not None
    assert charger.start(begin("CARD"), NOW) == (answer, None)
    assert len(charger.record.sessions) == 1
    assert charger.start(begin("CARD", timestamp=2), NOW)[0].transaction == 2


def test_the_end_of_a_session() -> None:
    charger = make(users=Users([("User B", ["CARD"])]))
    charger.start(begin("CARD"), NOW)
    later = NOW + timedelta(minutes=69, seconds=25)
    message = StopMessage(1, 1123.0, 2, 4)
    charge = charger.stop(message, later)
    assert (charge.user, charge.minutes, charge.reason) == ("User B", 69, 4)
    assert charge.energy == pytest.approx(0.123)
    assert (charge.started, charge.ended) == (NOW, later)
    assert charger.session(1) is None
    record = charger.connector(1)
    assert (record.last, record.counter, record.today.sessions, record.total.minutes) == (charge, 1, 1, 69)
    assert charger.stop(message, later) is None, "shown again after a broken connection"
    assert charger.stop(StopMessage(4711, 0.0, 0, 4), later) is None
    assert record.counter == 1


def test_a_meter_or_clock_that_goes_back_takes_nothing_away() -> None:
    charger = make(users=Users([("User B", ["CARD"])]))
    charger.start(begin("CARD"), NOW)
    charge = charger.stop(StopMessage(1, 0.0, 2, 4), NOW - timedelta(hours=1))
    assert (charge.energy, charge.minutes) == (0.0, 0)


def test_stops_that_come_late() -> None:
    """The next session has begun: each stop ends its own."""
    charger = make(users=Users([("User B", ["CARD"])]))
    charger.start(begin("CARD"), NOW)
    charger.start(begin("CARD", meter=5000.0, timestamp=2), NOW)
    assert charger.session(1).transaction == charger.request_stop(1) == 2
    assert charger.stop(StopMessage(1, 4000.0, 3, 4), NOW).energy == 3.0
    assert charger.session(1).transaction == 2


def test_sessions_whose_end_is_never_heard_of() -> None:
    charger = make(users=Users([("User B", ["CARD"])]))
    for number in range(MAX_SESSIONS + 1):
        charger.start(begin("CARD", timestamp=number), NOW)
    assert [session.transaction for session in charger.record.sessions] == list(range(2, MAX_SESSIONS + 2))


def test_a_stop_needs_a_session() -> None:
    with pytest.raises(TaskRefused, match="no charging session runs"):
        make().request_stop(1)


def test_transaction_ids_go_round_and_skip_those_in_use() -> None:
    ids = TransactionIds(65534, lambda: [1, 2])
    assert [ids.take() for _ in range(3)] == [65535, 3, 4]


def test_id_tags_are_new_and_fit() -> None:
    made = {new_tag() for _ in range(100)}
    assert len(made) == 100
    assert {len(tag) for tag in made} == {19}
    assert all(tag == tag.upper() and tag.isascii() for tag in made)
