"""The decision when the BMS does not answer."""

from __future__ import annotations

import pytest

from ampgate.bridge.policy import Fallback, Policy


@pytest.mark.parametrize(
    ("policy", "known", "unknown"),
    [("reject", "Invalid", "Invalid"), ("accept", "Accepted", "Accepted"), ("list", "Accepted", "Invalid")],
)
def test_policy(policy: str, known: str, unknown: str) -> None:
    fallback = Fallback(Policy(policy), ["Tag-1"])
    for id_tag in ("Tag-1", "TAG-1", "tag-1"):  # OCPP 1.6 §7.28: without regard to case
        assert fallback.decide(id_tag) == known
    for id_tag in ("Tag-2", "Tag", "Tag-10", ""):
        assert fallback.decide(id_tag) == unknown


def test_without_a_word_everybody_is_refused() -> None:
    assert Fallback().decide("Tag-1") == "Invalid"
