"""Any frames of charger and upstream, in any order, with CALLs of the gateway, timeouts and losses in between.

The oracle is what the module promises: frames pass as they are and in order, the charger has one CALL at a time, and
no id of the gateway's reaches upstream.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ampgate.ocpp import rpc, v16
from ampgate.ocpp.relay import MAX_UNANSWERED, Frame, Relay

pytestmark = pytest.mark.fuzz

IDS = st.sampled_from(["1", "2", "3", "x", ""])
ACTIONS = st.sampled_from(["Heartbeat", "ClearCache", "RemoteStopTransaction", "Nonsense"])
GARBAGE = st.one_of(st.text(), st.binary(), st.sampled_from(["[]", "[2]", '[2,"1"', '[5,"1",{}]', '[2,null,"X",{}]']))
TIMEOUT = 10.0


def is_call(frame: Frame) -> bool:
    try:
        return rpc.read(frame).kind == rpc.CALL
    except rpc.Unreadable:
        return False


class Relaying(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.relay = Relay(TIMEOUT)
        self.now = 0.0
        self.waiting: deque[Frame | None] = deque()
        """Upstream's CALLs that have not gone to the charger yet; None is one of the gateway's."""
        self.at_charger: str | None = None
        self.own: str | None = None
        self.own_ids: set[str] = set()
        self.lost: set[str] = set()
        """Ids of CALLs of an upstream that is gone."""
        self.passed: set[str] = set()

    @rule(frame=GARBAGE)
    def garbage(self, frame: Frame) -> None:
        if is_call(frame):
            return
        for receive in (self.relay.from_charger, self.relay.from_upstream):
            heard = receive(frame)
            if heard.envelope is None or heard.envelope.kind not in (rpc.CALLRESULT, rpc.CALLERROR):
                assert heard.passes is frame

    @rule(message_id=IDS, action=ACTIONS)
    def charger_calls(self, message_id: str, action: str) -> None:
        frame = json.dumps([2, message_id, action, {}])
        assert self.relay.from_charger(frame).passes is frame

    @rule(message_id=IDS, kind=st.sampled_from([3, 4]))
    def charger_answers(self, message_id: str, kind: int) -> None:
        self.answer(message_id, kind)

    @rule(kind=st.sampled_from([3, 4]))
    def charger_answers_what_it_has(self, kind: int) -> None:
        if self.at_charger is not None:
            self.answer(self.at_charger, kind)

    @rule(kind=st.sampled_from([3, 4]))
    def charger_answers_an_old_call_of_the_gateway(self, kind: int) -> None:
        for message_id in sorted(self.own_ids)[:1]:
            self.answer(message_id, kind)

    def answer(self, message_id: str, kind: int) -> None:
        frame = json.dumps([kind, message_id, {"status": "Accepted"}])
        heard = self.relay.from_charger(frame)
        if message_id in self.own_ids:
            assert heard.passes is None
            assert isinstance(heard.own, rpc.Garbage) == (message_id != self.own)
            if message_id == self.own:
                self.own = None
        elif message_id in self.lost:
            assert heard.passes is None and heard.own is None
            self.lost.discard(message_id)
        else:
            assert heard.passes is frame
        self.passed.discard(message_id)
        if message_id == self.at_charger:
            self.at_charger = None

    @rule(message_id=IDS, action=ACTIONS)
    def upstream_calls(self, message_id: str, action: str) -> None:
        frame = json.dumps([2, message_id, action, {}])
        assert self.relay.from_upstream(frame).passes is None
        self.waiting.append(frame)

    @rule(message_id=IDS, kind=st.sampled_from([3, 4]))
    def upstream_answers(self, message_id: str, kind: int) -> None:
        frame = json.dumps([kind, message_id, {}])
        heard = self.relay.from_upstream(frame)
        assert heard.passes is frame
        assert heard.call is None or str(heard.call.envelope.id) == message_id

    @rule()
    def gateway_calls(self) -> None:
        if self.own is None and None not in self.waiting:
            self.relay.call(v16.ClearCacheRequest())
            self.waiting.append(None)

    @rule()
    def gateway_gives_up(self) -> None:
        self.relay.forget()
        self.own = None
        self.waiting = deque(frame for frame in self.waiting if frame is not None)

    @rule()
    def send(self) -> None:
        frame = self.relay.next_call(self.now)
        if self.at_charger is not None or not self.waiting:
            assert frame is None
            return
        wanted = self.waiting.popleft()
        assert frame is not None
        self.at_charger = str(rpc.read(frame).id)
        if wanted is None:
            self.own = self.at_charger
            self.own_ids.add(self.own)
        else:
            assert frame is wanted
            self.passed.add(self.at_charger)
            self.lost.discard(self.at_charger)

    @rule(seconds=st.sampled_from([0.0, 4.0, 11.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        if self.at_charger is None:
            assert self.relay.deadline is None
        late = self.relay.deadline is not None and self.now >= self.relay.deadline
        assert self.relay.expire(self.now) == (late and self.own is not None and self.at_charger == self.own)
        if late:
            self.at_charger = None

    @rule()
    def upstream_is_lost(self) -> None:
        self.relay.upstream_lost()
        self.lost |= self.passed
        self.passed.clear()
        self.waiting = deque(frame for frame in self.waiting if frame is None)

    @invariant()
    def tables_are_bounded(self) -> None:
        for table in (self.relay._asked, self.relay._passed, self.relay._orphans):
            assert len(table) <= MAX_UNANSWERED


TestRelaying = Relaying.TestCase
TestRelaying.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@given(st.one_of(st.text(), st.binary()), st.text(), st.dictionaries(st.integers(), st.integers()))
def test_a_translation_never_fails_and_leaves_other_frames_alone(frame: Any, text: str, ids: dict[int, int]) -> None:
    from ampgate.bridge.standin import _translate

    for data in (frame, json.dumps([2, "1", text, {"transactionId": 5}])):
        try:
            envelope = rpc.read(data)
        except rpc.Unreadable:
            continue
        if text not in ("MeterValues", "StopTransaction", "RemoteStopTransaction", "SetChargingProfile"):
            assert _translate(ids, envelope, data) is data
