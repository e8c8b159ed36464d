"""What becomes of each frame between a charger and its external central system."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ampgate.ocpp import rpc, v16
from ampgate.ocpp.relay import MAX_UNANSWERED, MAX_WAITING, Relay

pytestmark = pytest.mark.unit

CLEAR = v16.ClearCacheRequest()


def frame(*parts: Any) -> str:
    return json.dumps(parts)


def next_id(relay: Relay, now: float = 0.0) -> str:
    sent = relay.next_call(now)
    assert sent is not None
    return str(rpc.read(sent).id)


def test_what_the_charger_says_passes_and_its_answer_is_matched() -> None:
    relay = Relay()
    call = frame(2, "7", "Heartbeat", {})
    assert relay.from_charger(call).passes is call
    answer = frame(3, "7", {})
    heard = relay.from_upstream(answer)
    assert heard.passes is answer
    assert heard.call is not None and heard.call.frame is call
    assert relay.from_upstream(answer).call is None  # once


def test_a_number_as_id_is_the_same_id() -> None:
    relay = Relay()
    relay.from_charger(frame(2, 7, "Heartbeat", {}))
    assert relay.from_upstream(frame(3, "7", {})).call is not None


def test_calls_take_turns_in_the_order_in_which_they_came() -> None:
    relay = Relay(30.0)
    assert relay.from_upstream(frame(2, "a", "ClearCache", {})).passes is None
    relay.call(CLEAR)
    relay.from_upstream(frame(2, "b", "ClearCache", {}))
    assert next_id(relay) == "a"
    assert relay.next_call(1.0) is None
    relay.from_charger(frame(3, "other", {}))
    assert relay.next_call(1.0) is None
    relay.from_charger(frame(3, "a", {}))
    own = next_id(relay, 2.0)
    assert relay.deadline == 32.0
    heard = relay.from_charger(frame(3, own, {"status": "Accepted"}))
    assert heard.passes is None
    assert isinstance(heard.own, rpc.Result)
    assert next_id(relay) == "b"


def test_a_call_without_an_answer_gives_way() -> None:
    relay = Relay(30.0)
    relay.call(CLEAR)
    relay.from_upstream(frame(2, "b", "ClearCache", {}))
    own = next_id(relay, 0.0)
    assert not relay.expire(29.9)
    assert relay.expire(30.0)
    assert not relay.expire(31.0)
    relay.forget()
    assert next_id(relay, 31.0) == "b"
    late = relay.from_charger(frame(3, own, {"status": "Accepted"}))
    assert late.passes is None
    assert isinstance(late.own, rpc.Garbage)
    assert relay.next_call(31.0) is None  # it was not the answer to what the charger has now
    assert not relay.expire(61.0)  # upstream's
    assert relay.from_charger(frame(3, "b", {})).passes is not None  # late, and upstream's to judge


def test_an_operation_that_is_given_up_before_its_turn_is_never_sent() -> None:
    relay = Relay()
    relay.call(CLEAR)
    relay.forget()
    assert relay.next_call(0.0) is None
    relay.call(CLEAR)
    assert relay.next_call(0.0) is not None


def test_the_timeout_of_one_that_was_given_up_is_not_the_next_one_s() -> None:
    relay = Relay(30.0)
    relay.call(CLEAR)
    next_id(relay)
    relay.forget()
    relay.call(CLEAR)
    assert not relay.expire(30.0)
    next_id(relay, 30.0)
    assert relay.expire(60.0)


def test_too_many_calls_are_congestion() -> None:
    relay = Relay()
    for number in range(MAX_WAITING):
        assert not relay.congested
        relay.from_upstream(frame(2, f"{number}", "ClearCache", {}))
    assert relay.congested
    relay.next_call(0.0)
    assert not relay.congested


def test_what_an_upstream_that_is_gone_asked_is_answered_to_nobody() -> None:
    relay = Relay()
    for name in ("a", "b"):
        relay.from_upstream(frame(2, name, "ClearCache", {}))
    relay.call(CLEAR)
    assert next_id(relay) == "a"
    asked = frame(2, "c", "Heartbeat", {})
    relay.from_charger(asked)
    assert [call.frame for call in relay.upstream_lost()] == [asked]
    assert relay.upstream_lost() == []
    heard = relay.from_charger(frame(3, "a", {}))
    assert (heard.passes, heard.own) == (None, None)
    assert next_id(relay) not in ("a", "b")  # the gateway's own is still asked, what waited of upstream is not
    assert relay.from_charger(frame(3, "a", {})).passes is not None


def test_an_upstream_that_counts_from_1_again_gets_its_answer() -> None:
    relay = Relay()
    relay.from_upstream(frame(2, "1", "ClearCache", {}))
    next_id(relay, 0.0)
    relay.upstream_lost()
    relay.expire(30.0)
    relay.from_upstream(frame(2, "1", "Reset", {}))
    assert next_id(relay, 30.0) == "1"
    assert relay.from_charger(frame(3, "1", {})).passes is not None


def test_a_call_that_was_answered_here_is_not_upstream_s_to_answer() -> None:
    relay = Relay()
    call = frame(2, "1", "Heartbeat", {})
    relay.from_charger(call)
    envelope = rpc.read(call)
    from ampgate.ocpp.relay import Call

    relay.answered_here(Call(envelope, call))
    assert relay.upstream_lost() == []


def test_what_is_never_answered_is_forgotten_one_day() -> None:
    relay = Relay()
    for number in range(MAX_UNANSWERED + 5):
        relay.from_charger(frame(2, f"{number}", "Heartbeat", {}))
    unanswered = relay.upstream_lost()
    assert len(unanswered) == MAX_UNANSWERED
    assert unanswered[0].envelope.id == "5"


def test_translations() -> None:
    relay = Relay(30.0, lambda envelope, frame: f"out {envelope.id}", lambda envelope, frame: f"in {envelope.id}")
    assert relay.from_charger(frame(2, "1", "X", {})).passes == "out 1"
    assert relay.from_charger(answer := frame(3, "1", {})).passes is answer
    relay.from_upstream(frame(2, "2", "X", {}))
    assert relay.next_call(0.0) == "in 2"


def test_counters() -> None:
    relay = Relay()
    for text in ("x", b"\xff", frame(2, "1", "X", {}), frame(9, "1")):
        assert relay.from_charger(text).passes is text
        relay.from_upstream(text)
    assert (relay.received, relay.malformed) == (8, 4)


def test_ids_of_the_gateway_are_short_enough_and_its_own() -> None:
    first, second = Relay(), Relay()
    for relay in (first, second):
        relay.call(CLEAR)
    ids = next_id(first), next_id(second)
    assert ids[0] != ids[1]
    assert max(map(len, ids)) <= rpc.MAX_ID
