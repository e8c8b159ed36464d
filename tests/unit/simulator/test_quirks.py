"""What the bad manners make of well-formed frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ampgate.simulator.quirks import QUIRKS, misbehaving, spoil

SAMPLE = {"value": "15.8", "context": "Sample.Periodic", "measurand": "Current.Import", "phase": "L1", "unit": "A"}
ENERGY = {"value": "1500", "context": "Sample.Periodic", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
WARM = {"value": "25.0", "measurand": "Temperature", "unit": "Celsius"}
TIME = "2026-01-31T12:00:00Z"


def values(*samples: dict[str, Any], transaction: int | None = 7) -> str:
    payload: dict[str, Any] = {"connectorId": 1}
    if transaction is not None:
        payload["transactionId"] = transaction
    payload["meterValue"] = [{"timestamp": TIME, "sampledValue": list(samples)}]
    return json.dumps([2, "17", "MeterValues", payload], separators=(",", ":"))


def call(action: str, **payload: Any) -> str:
    return json.dumps([2, "17", action, payload], separators=(",", ":"))


def payload_of(frame: str, *quirks: str) -> Any:
    [spoilt] = spoil(frame, frozenset(quirks))
    assert isinstance(spoilt, str)
    return json.loads(spoilt)[3]


def samples_of(frame: str, *quirks: str) -> Any:
    return payload_of(frame, *quirks)["meterValue"][0]["sampledValue"]


@pytest.mark.parametrize(
    ("quirk", "sample", "spoilt"),
    [
        ("numbers", SAMPLE, SAMPLE | {"value": 15.8}),
        ("decimal-comma", SAMPLE, SAMPLE | {"value": " 15,8"}),
        ("no-units", SAMPLE, {key: value for key, value in SAMPLE.items() if key != "unit"}),
        ("phases-to-neutral", SAMPLE, SAMPLE | {"phase": "L1-N"}),
        ("celcius", WARM, WARM | {"unit": "Celcius"}),
        ("celcius", SAMPLE, SAMPLE),
    ],
)
def test_samples(quirk: str, sample: dict[str, Any], spoilt: dict[str, Any]) -> None:
    assert samples_of(values(sample), quirk) == [spoilt]


def test_the_begin_is_repeated() -> None:
    begin = {"value": "0", "context": "Transaction.Begin", "measurand": "Energy.Active.Import.Register"}
    assert samples_of(values(ENERGY), "repeated-begin") == [ENERGY, begin]


@pytest.mark.parametrize(
    ("quirk", "timestamp"),
    [("no-timezone", TIME[:-1]), ("short-timezone", "2026-01-31T14:00:00+02"), ("no-timestamp", "")],
)
def test_timestamps(quirk: str, timestamp: str) -> None:
    assert payload_of(values(SAMPLE), quirk)["meterValue"][0]["timestamp"] == timestamp
    assert payload_of(call("StartTransaction", timestamp=TIME), quirk) == {"timestamp": timestamp}


@pytest.mark.parametrize(
    ("quirk", "action", "payload", "spoilt"),
    [
        ("no-reason", "StopTransaction", {"reason": "Local", "meterStop": 1}, {"meterStop": 1}),
        ("lost-transaction", "StopTransaction", {"transactionId": 5}, {"transactionId": -1}),
        ("lost-transaction", "MeterValues", {"transactionId": 5}, {"transactionId": 5}),
        ("own-codes", "StatusNotification", {"errorCode": "NoError"}, {"errorCode": "Gremlins"}),
        ("own-codes", "Heartbeat", {}, {}),
        ("extra-fields", "Heartbeat", {}, {"vendorSays": {"mood": "fine"}}),
    ],
)
def test_payloads(quirk: str, action: str, payload: dict[str, Any], spoilt: dict[str, Any]) -> None:
    assert payload_of(call(action, **payload), quirk) == spoilt


def test_serial_numbers_and_texts_are_too_long() -> None:
    boot = payload_of(call("BootNotification"), "long-serials")
    assert {len(text) for text in boot.values()} == {34}
    assert len(payload_of(call("StatusNotification"), "long-texts")["info"]) > 50


def test_broken_json() -> None:
    [frame] = spoil(values(SAMPLE, transaction=None), frozenset({"broken-json"}))
    assert '"transactionId":,' in str(frame)
    assert '"sampledValue":[,{' in str(frame)
    assert spoil(call("Heartbeat"), frozenset({"broken-json"})) == [call("Heartbeat")]


def test_frames() -> None:
    beat, start = call("Heartbeat"), call("StartTransaction")
    assert spoil(beat, frozenset({"number-ids"})) == ['[2,17,"Heartbeat",{}]']
    assert spoil('[3,"central-1",{}]', frozenset({"number-ids"})) == ['[3,"central-1",{}]']
    assert spoil(beat, frozenset({"resend"})) == [beat]
    first, second = (json.loads(frame) for frame in spoil(start, frozenset({"resend"})))
    assert first[2:] == second[2:]
    assert first[1] != second[1]
    assert spoil(beat, frozenset({"unasked-answers"})) == [beat, '[3,"nobody-asked",{}]']
    assert spoil(beat, frozenset({"binary-frames"})) == [beat.encode()]


def test_together() -> None:
    frames = spoil(call("StopTransaction", timestamp=TIME, reason="Local"), frozenset(QUIRKS) - {"numbers"})
    assert all(isinstance(frame, bytes) for frame in frames)
    assert len(frames) == 4  # twice, each with an answer that nobody asked for
    assert json.loads(frames[0])[1] == 17


def test_without_quirks_the_connection_is_the_library_s() -> None:
    assert misbehaving(frozenset()).__module__.startswith("websockets.")
