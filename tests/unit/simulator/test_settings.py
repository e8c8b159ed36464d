"""Configuration keys of a charge point: what they take, and what they do instead."""

from __future__ import annotations

import pytest

from ampgate.simulator.settings import Key, Settings

KEYS = (
    Key("Free", "a", "text"),
    Key("Choice", "1.6", "text", words=("1.5", "1.6"), restart=True),
    Key("Number", "5", limits=(2, 60)),
    Key("Sampled", "60", limits=(15, 7200), words=("0",)),
    Key("Retry", "30", limits=(15, 60), outside="0"),
    Key("Switch", "true", "boolean", standard="AuthorizationCacheEnabled"),
    Key("List", "A", "list", words=("A", "B.L1"), limits=(0, 10)),
    Key("Fixed", "7", readonly=True),
)


@pytest.mark.parametrize(
    ("key", "value", "status", "now"),
    [
        ("free", "x" * 500, "Accepted", "x" * 500),
        ("Free", "x" * 501, "Rejected", "a"),
        ("Choice", "1.5", "RebootRequired", "1.5"),
        ("Choice", "2.0", "Rejected", "1.6"),
        ("Number", " 60 ", "Accepted", "60"),
        ("Number", "61", "Rejected", "5"),
        ("Number", "1", "Rejected", "5"),
        ("Number", "-3", "Rejected", "5"),
        ("Number", "", "Rejected", "5"),
        ("Number", "²", "Rejected", "5"),
        ("Sampled", "0", "Accepted", "0"),
        ("Sampled", "14", "Rejected", "60"),
        ("Retry", "61", "Accepted", "0"),
        ("Retry", "-1", "Accepted", "0"),
        ("Retry", "often", "Rejected", "30"),
        ("Switch", "FALSE", "Accepted", "FALSE"),
        ("Switch", "0", "Rejected", "true"),
        ("List", "B.L1, A", "Accepted", "B.L1, A"),
        ("List", "B.L2", "Rejected", "A"),
        ("List", "A,A,A,A,A,A", "Rejected", "A"),
        ("List", "", "Accepted", ""),
        ("Fixed", "7", "Rejected", "7"),
    ],
)
def test_change(key: str, value: str, status: str, now: str) -> None:
    settings = Settings(KEYS)
    assert settings.change(key, value) == status
    assert [row.value for row in settings.find([key])] == [now]


def test_unknown_keys() -> None:
    settings = Settings(KEYS)
    assert settings.change("Nothing", "1") == "NotSupported"
    assert settings.unknown(["Free", "Nothing"]) == ["Nothing"]
    assert [row.key for row in settings.find([])] == [key.name for key in KEYS]


def test_a_key_may_stand_for_a_standard_one() -> None:
    settings = Settings(KEYS)
    assert settings.boolean("AuthorizationCacheEnabled")
    settings.change("Switch", "false")
    assert not settings.boolean("AuthorizationCacheEnabled")
    assert settings.unknown(["AuthorizationCacheEnabled"]) == ["AuthorizationCacheEnabled"]


def test_what_is_not_a_key_has_a_value_all_the_same() -> None:
    settings = Settings(KEYS, {"LocalPreAuthorize": "true", "Number": "9"})
    assert settings.boolean("LocalPreAuthorize")
    assert settings.integer("Number") == 9
    assert settings["ocppVersion"] == "1.6"
    assert settings.words("MeterValuesAlignedData") == []
    assert settings.unknown(["LocalPreAuthorize"]) == ["LocalPreAuthorize"]


def test_what_the_charge_point_finds_out_itself_may_be_read_only() -> None:
    settings = Settings(KEYS)
    settings.adopt("fixed", "8")
    assert settings["Fixed"] == "8"
