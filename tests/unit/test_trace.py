from __future__ import annotations

import time

import pytest

from ampgate.trace import LONGEST, WHOLE, Trace

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


def test_long_frames_are_whole_until_newer_ones_take_their_place() -> None:
    trace, long = Trace(), LONGEST + 1
    trace.received("x", bytes(long))
    trace.sent("x", bytes(LONGEST))
    for _ in range(WHOLE - 1):
        trace.sent("x", bytes(long))
    assert [len(frame.data) for frame in trace.last(9999)] == [long, LONGEST] + (WHOLE - 1) * [long]
    trace.received("x", bytes(long))
    assert [len(frame.data) for frame in trace.last(9999)] == [LONGEST, LONGEST] + WHOLE * [long]


def test_long_frames_that_the_ring_has_dropped_are_bounded_too() -> None:
    trace = Trace(1)
    for number in range(3 * WHOLE):
        trace.received("x", bytes(LONGEST + number + 1))
    assert [len(frame.data) for frame in trace.last(9)] == [LONGEST + 3 * WHOLE]
    assert len(trace._long) == WHOLE


def test_capacity_0_keeps_nothing() -> None:
    trace = Trace(0)
    trace.sent("x", b"a")
    assert trace.last(9) == []
