"""Arbitrary bytes and arbitrary JSON into OCPP-J: read, refused or ignored, never an unhandled exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ampgate.ocpp import rpc, v16
from ampgate.ocpp.rpc import Rpc, repair

pytestmark = pytest.mark.fuzz

BUSY = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
"""What UTF-8 can say."""
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
ACTIONS = st.sampled_from(sorted(v16.ACTIONS))
MESSAGE_ID = TEXT | st.integers(-(2**63), 2**63)
FIELDS = st.sampled_from(
    [
        *("connectorId", "idTag", "meterStart", "meterStop", "timestamp", "transactionId", "status", "errorCode"),
        *("meterValue", "sampledValue", "value", "chargePointVendor", "chargePointModel", "vendorId", "data", "reason"),
    ]
)
PAYLOAD = st.recursive(
    SCALAR | st.sampled_from(["Available", "2026-01-31T12:00:00Z", "1", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=8),
)
CODES = {
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
}
"""OCPP-J 1.6 §4.2.3."""


def encode(value: Any, spaced: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=spaced, indent=1 if spaced else None).encode()


def engines() -> list[Rpc]:
    """One that waits for an answer, whose message id is 1, and one that does not."""
    waiting = Rpc(lambda: "1")
    waiting.call(v16.GetCompositeScheduleRequest(connector_id=1, duration=1))
    return [Rpc(), waiting]


@BUSY
@given(st.binary(max_size=300))
@example(b"")
@example(b"[")
@example(b"\xef\xbb\xbf[2]")
def test_any_bytes(frame: bytes) -> None:
    for engine in engines():
        assert isinstance(engine.receive(frame), rpc.Event)


@BUSY
@given(JSON | st.lists(JSON, max_size=6), st.booleans())
def test_any_json(value: Any, spaced: bool) -> None:
    for engine in engines():
        assert isinstance(engine.receive(encode(value, spaced)), rpc.Event)


@BUSY
@given(MESSAGE_ID, st.lists(ACTIONS | JSON | PAYLOAD, max_size=4), st.booleans())
def test_a_call_with_an_id_is_read_or_refused(message_id: str | int, rest: list[Any], spaced: bool) -> None:
    check_call(message_id, encode([2, message_id, *rest], spaced))


@settings(BUSY, max_examples=400)
@given(MESSAGE_ID, ACTIONS, PAYLOAD)
def test_a_call_of_a_known_action_is_read_or_refused(message_id: str | int, action: str, payload: Any) -> None:
    check_call(message_id, encode([2, message_id, action, payload]))


def check_call(message_id: str | int, frame: bytes) -> None:
    for engine in engines():
        waited = engine.waiting
        event = engine.receive(frame)
        assert engine.waiting == waited
        assert engine.malformed == isinstance(event, rpc.Refused)
        if isinstance(event, rpc.Call):
            assert event.id == message_id
            assert json.loads(engine.result(event, event.request))[:2] == [3, message_id]
        else:
            assert isinstance(event, rpc.Refused)
            kind, echoed, code, description, details = json.loads(event.reply)
            assert (kind, echoed) == (4, message_id)
            assert code in CODES
            assert len(description) <= 255
            assert details == {}


@BUSY
@given(st.sampled_from([3, 4]), st.sampled_from(["1", 1, "2", ""]) | MESSAGE_ID, st.lists(JSON | PAYLOAD, max_size=4))
def test_an_answer_ends_the_wait_or_is_ignored(kind: int, message_id: str | int, rest: list[Any]) -> None:
    _, waiting = engines()
    event = waiting.receive(encode([kind, message_id, *rest]))
    if message_id in ("1", 1):
        assert isinstance(event, (rpc.Result, rpc.Failure))
        assert not waiting.waiting
    else:
        assert isinstance(event, rpc.Garbage)
        assert waiting.waiting


VALID = (
    b'[2,"1","StartTransaction",{"connectorId":1,"idTag":"A\\n\\"","meterStart":5,"timestamp":"2026-01-31T12:00:00Z"}]',
    b'[2,"2","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"","sampledValue":[{"value":"1"},{"value":2.5}]}]}]',
    b'[3,"1",{"status":"Accepted","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[]}}]',
)


@BUSY
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 150), st.binary(max_size=3)), max_size=4))
def test_a_message_with_damage(frame: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, patch in damage:
        frame = frame[:place] + patch + frame[place + len(patch) :]
    for engine in engines():
        assert isinstance(engine.receive(frame), rpc.Event)


# Repair


@BUSY
@given(JSON | PAYLOAD, st.booleans())
@example("a,]b,}c:,[,", False)
@example({'"': '\\",]'}, False)
@example({"\\": ["\\\\", ","]}, False)
def test_repair_leaves_valid_json_alone(value: Any, spaced: bool) -> None:
    text = encode(value, spaced)
    assert repair(text) == text


@BUSY
@given(st.dictionaries(TEXT, JSON, max_size=4), TEXT, st.sampled_from(["", " ", "\n\t"]))
def test_repair_reads_a_value_left_out_as_null(others: dict[str, Any], key: str, blank: str) -> None:
    body = "".join(f", {json.dumps(name)}:{json.dumps(value)}" for name, value in others.items() if name != key)
    mended = json.loads(repair(f"{{{json.dumps(key)}:{blank}{body}}}".encode()))
    assert mended == {key: None} | {name: value for name, value in others.items() if name != key}


@BUSY
@given(st.lists(JSON, max_size=4), st.sampled_from(["", " ", "\n\t"]), st.integers(0, 5))
def test_repair_drops_a_superfluous_comma(values: list[Any], blank: str, place: int) -> None:
    items = [json.dumps(value) for value in values]
    items.insert(min(place, len(items)), blank)
    assert json.loads(repair(f"[{','.join(items)}]".encode())) == values


@pytest.mark.parametrize(
    "unit", [b'"', b'\\"', b"[", b"[,", b"[ ", b",", b" ,", b":", b": ", b"{", b'":', b"\\", b"[\\"]
)
@pytest.mark.parametrize("start", [b"[", b'["', b'[2,"1","Heartbeat",', b"[,", b"[:"])
def test_the_worst_frame_of_64_kib_takes_no_time(start: bytes, unit: bytes) -> None:
    """A frame that took seconds would stop the gateway: reading must not be quadratic."""
    frame = (start + unit * 65536)[:65536]
    Rpc().receive(frame)  # linear: some milliseconds; quadratic: 10 s and more
