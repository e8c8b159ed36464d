"""Numbers of the manual for words of OCPP."""

from __future__ import annotations

import pytest

from ampgate.bridge.results import Result, StatusOrder, numbers, result_of, words


@pytest.mark.parametrize(
    ("status", "number"),
    [
        ("Accepted", 0),
        ("Rejected", 1),
        ("Scheduled", 2),
        ("NotSupported", 3),
        ("Unknown", 4),
        ("RebootRequired", 5),
        ("Unlocked", 6),
        ("UnlockFailed", 7),
        ("Failed", 8),
        ("Faulted", 8),
        ("Occupied", 9),
        ("Unavailable", 10),
        ("NotImplemented", 11),
        ("VersionMismatch", 12),
        ("SomethingElse", 4),
    ],
)
def test_status_words(status: str, number: int) -> None:
    assert result_of(status) == number


def test_results_of_the_gateway_itself() -> None:
    assert (Result.TIMEOUT, Result.OFFLINE, Result.INVALID_REQUEST, Result.CALL_ERROR) == (20, 21, 22, 23)


def test_in_words() -> None:
    assert [result.words for result in (Result.ACCEPTED, Result.NOT_SUPPORTED)] == ["accepted", "not supported"]


def test_enumerations_of_the_map() -> None:
    assert numbers("connector.status")["Charging"] == 2
    assert words("connector.error_code")[6] == "NoError"
    assert numbers("stop_transaction.reason")["Remote"] == 8


def test_order_of_the_two_suspended_states() -> None:
    manual, north = StatusOrder.MANUAL.numbers, StatusOrder.NORTH.numbers
    assert (manual["SuspendedEVSE"], manual["SuspendedEV"]) == (3, 4)  # configuration guide
    assert (north["SuspendedEV"], north["SuspendedEVSE"]) == (3, 4)  # driver guide
    others = set(manual) - {"SuspendedEVSE", "SuspendedEV"}
    assert len(others) == 7
    assert {word: manual[word] for word in others} == {word: north[word] for word in others}
