from __future__ import annotations

import time

import pytest

from ampgate.trace import LONGEST, Trace

pytestmark = pytest.mark.unit


def test_frames_in_order() -> None:
    trace, before = Trace(), time.time()
    trace.received("ocpp CP001", b"[2")
    trace.sent("ocpp CP001", b"[3")
    trace.add((1.5, "modbus 10.0.0.5:40112", b"request", b"response"))
    trace.add((2.5, "modbus 10.0.0.5:40112", b"half", b""))
    frames = trace.last(10)
    assert before <= frames[0].at <= frames[1].at <= time.time()
    assert [(frame.peer, frame.sent, frame.data) for frame in frames] == [
        ("ocpp CP001", False, b"[2"),
        ("ocpp CP001", True, b"[3"),
        ("modbus 10.0.0.5:40112", False, b"request"),
        ("modbus 10.0.0.5:40112", True, b"response"),
        ("modbus 10.0.0.5:40112", False, b"half"),
    ]
    assert frames[2].at == frames[3].at == 1.5


@pytest.mark.parametrize(("count", "expected"), [(0, []), (-1, []), (1, [b"c"]), (2, [b"b", b"c"]), (9, [b"b", b"c"])])
def test_the_newest_are_kept(count: int, expected: list[bytes]) -> None:
    trace = Trace(2)
    for data in (b"a", b"b", b"c"):
        trace.received("x", data)
    assert [frame.data for frame in trace.last(count)] == expected


def test_long_frames_are_cut() -> None:
    trace = Trace()
    trace.received("x", bytes(LONGEST + 1))
    trace.sent("x", bytes(LONGEST))
    assert [len(frame.data) for frame in trace.last(2)] == [LONGEST, LONGEST]


def test_capacity_0_keeps_nothing() -> None:
    trace = Trace(0)
    trace.sent("x", b"a")
    assert trace.last(9) == []
