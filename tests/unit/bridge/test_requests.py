"""Transaction ids; the request blocks are tested with `Sessions`, which gives them their life."""

from __future__ import annotations

import pytest

from ampgate.bridge.requests import TransactionIds


def give(ids: TransactionIds, wanted: int = 0) -> int:
    """Take an id and use it."""
    taken = ids.take(wanted)
    ids.keep(taken)
    return taken


def test_ids_count_up_from_the_last() -> None:
    ids = TransactionIds(41)
    assert [give(ids), give(ids), ids.last] == [42, 43, 43]


def test_the_first_id_is_1() -> None:
    assert TransactionIds().take() == 1


def test_ids_have_16_bits_and_are_positive() -> None:
    ids = TransactionIds(65534)
    assert [give(ids), give(ids), give(ids)] == [65535, 1, 2]


def test_ids_in_use_are_passed_over() -> None:
    ids = TransactionIds(5)
    for used in (6, 7, 9, -1, 100000):
        ids.keep(used)
    assert [give(ids), give(ids)] == [8, 10]


def test_an_id_is_free_when_all_who_kept_it_have_released_it() -> None:
    ids = TransactionIds()
    ids.keep(1)
    ids.keep(1)
    ids.release(1)
    assert TransactionIds.take(ids) == 2
    ids.last = 0
    ids.release(1)
    assert ids.take() == 1


def test_the_choice_of_the_bms_is_taken_and_counted_on_from() -> None:
    ids = TransactionIds(10)
    assert [give(ids, 500), give(ids), ids.last] == [500, 501, 501]


@pytest.mark.parametrize("behind", [1, 9, 10, 60000])
def test_a_choice_that_lies_behind_turns_nothing_back(behind: int) -> None:
    ids = TransactionIds(10)
    assert [ids.take(behind), ids.last] == [behind, 10]
    assert ids.take() == 11


def test_a_choice_across_the_end_of_the_circle_lies_ahead() -> None:
    ids = TransactionIds(65000)
    assert [ids.take(3), ids.last, ids.take()] == [3, 3, 4]


def test_no_id_is_free() -> None:
    ids = TransactionIds()
    for used in range(1, 65536):
        ids.keep(used)
    with pytest.raises(RuntimeError, match="all transaction ids are in use"):
        ids.take()
