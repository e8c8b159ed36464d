"""The types of objects; their enumerations are walked by the integration test of the driver guide."""

from __future__ import annotations

from datetime import datetime

import pytest

from ampgate.bms import kinds


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (kinds.text(120), "User A", "User A"),
        (kinds.number(), 123456, "123456"),
        (kinds.number(0, 65535), 65535, "65535"),
        (kinds.number(0, 65535), 65536, "65535"),
        (kinds.FLOAT, 0.12345, "0.123"),
        (kinds.NO_YES, 1, "Yes"),
        (kinds.enum(kinds.STATUSES), 4, "Suspended EVSE"),
        (kinds.enum(kinds.STATUSES), 77, "77"),
        (kinds.DATE_TIME, datetime(2023, 6, 19, 14, 22).astimezone(), "19/06/23 14:22:00"),
    ],
)
def test_texts(kind: kinds.Kind, value: object, text: str) -> None:
    assert kind.show(value) == text


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (kinds.text(5), "Größe", "Größe"),
        (kinds.text(5), "", ""),
        (kinds.number(1, 300), "300", 300),
        (kinds.number(1, 300), "1", 1),
        (kinds.NO_YES, "yes", 1),
        (kinds.NO_YES, "0", 0),
        (kinds.enum(kinds.RESETS), "reset ev", 3),
        (kinds.enum(kinds.TASKS), "1", 1),
    ],
)
def test_written(kind: kinds.Kind, text: str, value: object) -> None:
    assert kind.parse is not None
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        (kinds.text(5), "longer", "a text of at most 5 characters in one line"),
        (kinds.text(5), "a\nb", "a text of at most 5 characters in one line"),
        *((kinds.number(1, 300), text, "a whole number, 1…300") for text in ("0", "301", "-1", "1.5", "", "²", "x")),
        (kinds.NO_YES, "maybe", "one of 0=No, 1=Yes"),
        (kinds.enum(kinds.TASKS), "4", "one of 0=None, 1=Start, 2=Stop, 3=Unlock"),
    ],
)
def test_refused(kind: kinds.Kind, text: str, allowed: str) -> None:
    assert kind.parse is not None
    with pytest.raises(ValueError, match=allowed):
        kind.parse(text)
