"""OCPP-J frames without I/O, against the examples and tables of OCPP-J 1.6 §4."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from ampgate.ocpp import rpc, v16
from ampgate.ocpp.rpc import CallError, ErrorCode, Rpc, repair

STOP = v16.RemoteStopTransactionRequest(transaction_id=5)


@pytest.fixture
def engine() -> Rpc:
    numbers = itertools.count(1)
    return Rpc(lambda: f"id{next(numbers)}")


def receive(engine: Rpc, frame: Any) -> rpc.Event:
    return engine.receive(json.dumps(frame).encode())


def test_error_codes_are_spelled_as_in_the_standard() -> None:
    assert [str(code) for code in ErrorCode] == [
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
    ]


def test_a_call_of_ours_and_its_answer(engine: Rpc) -> None:
    assert json.loads(engine.call(STOP)) == [2, "id1", "RemoteStopTransaction", {"transactionId": 5}]
    assert engine.waiting
    event = receive(engine, [3, "id1", {"status": "Rejected"}])
    assert event == rpc.Result(v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED))
    assert not engine.waiting
    assert json.loads(engine.call(STOP))[1] == "id2"
    assert (engine.received, engine.malformed) == (1, 0)


def test_one_call_at_a_time(engine: Rpc) -> None:
    engine.call(STOP)
    with pytest.raises(RuntimeError):
        engine.call(STOP)


def test_an_answer_that_comes_after_all_hope_is_garbage(engine: Rpc) -> None:
    engine.call(STOP)
    engine.forget()
    assert not engine.waiting
    assert isinstance(receive(engine, [3, "id1", {"status": "Accepted"}]), rpc.Garbage)
    engine.call(STOP)
    assert isinstance(receive(engine, [3, "id1", {"status": "Accepted"}]), rpc.Garbage)
    assert engine.waiting  # for id2
    assert isinstance(receive(engine, [3, "id2", {"status": "Accepted"}]), rpc.Result)
    assert engine.malformed == 2


@pytest.mark.parametrize(
    ("rest", "code", "description", "details"),
    [
        (["NotSupported", "no", {"a": 1}], "NotSupported", "no", {"a": 1}),
        (["NotSupported", "no"], "NotSupported", "no", {}),
        (["NotSupported"], "NotSupported", "", {}),
        ([], "GenericError", "", {}),
        ([None, None, None], "GenericError", "", {}),
        ([5, 6, [7]], "5", "6", [7]),
    ],
)
def test_a_callerror_is_read_leniently(rest: list[Any], code: str, description: str, details: Any, engine: Rpc) -> None:
    engine.call(STOP)
    event = receive(engine, [4, "id1", *rest])
    assert isinstance(event, rpc.Failure)
    assert (event.error.code, event.error.description, event.error.details) == (code, description, details)
    assert engine.malformed == 0


def test_a_callerror_with_bytes_that_are_no_text(engine: Rpc) -> None:
    engine.call(STOP)
    event = engine.receive(b'[4,"id1","GenericError","\xff",{}]')
    assert isinstance(event, rpc.Failure)
    assert (event.error.code, event.error.description) == ("GenericError", "")


@pytest.mark.parametrize("frame", ['[3,"id1"]', '[3,"id1",{},{}]', '[3,"id1",[]]', '[3,"id1",{"status":"Perhaps"}]'])
def test_an_answer_that_cannot_be_read_is_a_failure(frame: str, engine: Rpc) -> None:
    engine.call(STOP)
    assert isinstance(engine.receive(frame.encode()), rpc.Failure)
    assert not engine.waiting
    assert engine.malformed == 1


def test_a_call_of_the_peer(engine: Rpc) -> None:
    event = receive(engine, [2, "a", "Authorize", {"idTag": "TAG"}])
    assert event == rpc.Call("a", v16.AuthorizeRequest(id_tag="TAG"))
    assert isinstance(event, rpc.Call)
    info = v16.IdTagInfo(status=v16.AuthorizationStatus.EXPIRED)
    frame = engine.result(event, v16.AuthorizeResponse(id_tag_info=info))
    assert json.loads(frame) == [3, "a", {"idTagInfo": {"status": "Expired"}}]


def test_calls_of_the_peer_do_not_touch_ours(engine: Rpc) -> None:
    engine.call(STOP)
    assert isinstance(receive(engine, [2, "id1", "Heartbeat", {}]), rpc.Call)
    assert engine.waiting


def test_a_refusal_keeps_to_the_length_of_the_description(engine: Rpc) -> None:
    frame = json.loads(engine.error(7, CallError("GenericError", "x" * 300, {"why": "so"})))
    assert frame == [4, 7, "GenericError", "x" * 255, {"why": "so"}]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ([2, "a", "Fly", {}], "NotImplemented"),
        ([2, "a", "Heartbeat"], "FormationViolation"),
        ([2, "a", 1, {}], "FormationViolation"),
        ([2, "a", "Heartbeat", []], "FormationViolation"),
        ([2, "a", "Authorize", {}], "OccurenceConstraintViolation"),
        ([2, "a", "Authorize", {"idTag": []}], "TypeConstraintViolation"),
    ],
)
def test_refused(frame: list[Any], code: str, engine: Rpc) -> None:
    event = receive(engine, frame)
    assert isinstance(event, rpc.Refused)
    assert event.error.code == code
    assert json.loads(event.reply) == [4, "a", code, event.error.description, {}]
    assert engine.malformed == 1


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b"[]", b"[2]", b'[2,null,"Heartbeat",{}]', b'[9,"a"]', b"[" * 5000, b"\xff"]
)
def test_garbage(frame: bytes, engine: Rpc) -> None:
    event = engine.receive(frame)
    assert isinstance(event, rpc.Garbage)
    assert event.reason
    assert (engine.received, engine.malformed) == (1, 1)


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (b'{"transactionId":,"a":1}', b'{"transactionId":null,"a":1}'),
        (b'{"a": }', b'{"a":null }'),
        (b"[,{}]", b"[{}]"),
        (b"[ ,{}]", b"[{}]"),
        (b'{,"a":1}', b'{"a":1}'),
        (b"[1,,2]", b"[1,2]"),
        (b"[1,]", b"[1]"),
        (b'{"a":1,}', b'{"a":1}'),
        (b'["a:,]",",,","\\",]"]', b'["a:,]",",,","\\",]"]'),  # texts are left alone
        (b'["never ends,]', b'["never ends,]'),
    ],
)
def test_repair(broken: bytes, mended: bytes) -> None:
    assert repair(broken) == mended


def test_repaired_messages_are_counted(engine: Rpc) -> None:
    assert isinstance(engine.receive(b'[2,"a","Heartbeat",{},]'), rpc.Call)
    assert (engine.repaired, engine.malformed) == (1, 0)


def test_message_ids_are_not_used_again() -> None:
    """A late answer to an earlier connection must not fit a CALL of this one."""
    ids = [json.loads(Rpc().call(STOP))[1] for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(0 < len(message_id) <= 36 for message_id in ids)  # OCPP-J 1.6 §4.1.4


def test_a_call_error_in_words() -> None:
    assert str(CallError("GenericError")) == "GenericError"
    assert str(CallError("GenericError", "so it is")) == "GenericError: so it is"
