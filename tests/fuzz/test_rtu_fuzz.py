"""Any bytes on the line: the RTU server never raises, stays small, and answers only what it is asked.

The oracle is pymodbus' CRC and a model of two rules: a request was on the line with the address and CRC of the answer;
and after any noise a request is answered when silence follows it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from ampgate.modbus import rtu

pytestmark = pytest.mark.fuzz

UNITS = (1, 17)
READ = bytes.fromhex("11 03 00 6B 00 03 76 87")
SILENCE, FORGET = object(), object()


def with_crc(data: bytes) -> bytes:
    return data + FramerRTU.compute_CRC(data).to_bytes(2)


class Recorder:
    """A server and the requests that were executed."""

    def __init__(self) -> None:
        self.executed: list[tuple[int, bytes]] = []
        self.server = rtu.Server({unit: self._unit(unit) for unit in UNITS}, "fuzz")
        self.heard = b""

    def _unit(self, unit: int) -> rtu.Execute:
        def execute(request: bytes) -> bytes:
            assert 1 <= len(request) <= 253
            self.executed.append((unit, request))
            return request[:1] + b"\x02\x12\x34" if request[0] in (3, 4) else request

        return execute

    def play(self, events: list[object]) -> Iterator[bytes]:
        """Feed bytes and pauses, yield what is sent."""
        for event in events:
            if event is FORGET:
                self.server.forget()
            elif event is SILENCE:
                if (answer := self.server.silence()) is not None:
                    yield answer
            else:
                assert isinstance(event, bytes)
                self.heard += event
                self.server.receive(event)
            assert len(self.server._buffer) <= 256
            assert len(self.server._sent) <= 256


addresses = st.sampled_from([0, 1, 17, 17, 17, 5, 6, 247, 248, 255])
functions = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43, 0, 65, 131, 134, 255])
bodies = st.binary(max_size=16) | st.binary(max_size=251)
frames = st.builds(
    lambda address, function, body: with_crc(bytes((address, function)) + body), addresses, functions, bodies
)
sound = st.sampled_from(
    [
        READ,
        bytes.fromhex("11 06 00 01 00 03 9A 9B"),
        bytes.fromhex("11 10 00 01 00 02 04 00 0A 01 02 C6 F0"),
        bytes.fromhex("06 03 00 00 00 0A C4 7A"),
        bytes.fromhex("11 03 06 AE 41 56 52 43 40 49 AD"),
        with_crc(bytes.fromhex("00 06 0001 0003")),
        with_crc(bytes.fromhex("11 08 0004 0000")),
        with_crc(bytes.fromhex("11 08 0001 0000")),
        with_crc(bytes.fromhex("01 08 000B 0000")),
    ]
)
pieces = st.binary(max_size=300) | frames | sound | frames.map(lambda frame: frame[:-1])
streams = st.lists(pieces | st.sampled_from([SILENCE, FORGET]), max_size=30)


def torn(events: list[object], data: st.DataObject) -> list[object]:
    """The same with every piece cut at random places."""
    out: list[object] = []
    for event in events:
        rest = event
        while isinstance(rest, bytes) and len(rest) > 1 and data.draw(st.booleans()):
            cut = data.draw(st.integers(1, len(rest) - 1))
            out.append(rest[:cut])
            rest = rest[cut:]
        out.append(rest)
    return out


@given(events=streams, data=st.data())
@settings(max_examples=300)
def test_any_stream(events: list[object], data: st.DataObject) -> None:
    recorder = Recorder()
    for answer in recorder.play([*torn(events, data), SILENCE, FORGET]):
        assert 4 <= len(answer) <= 257
        assert answer == with_crc(answer[:-2])
        assert answer[0] in UNITS
        assert any(
            with_crc(recorder.heard[at:end]) == recorder.heard[at : end + 2]
            for at in range(len(recorder.heard))
            if recorder.heard[at] == answer[0]
            and recorder.heard[at + 1 : at + 2] in (answer[1:2], bytes((answer[1] & 0x7F,)))
            for end in range(at + 2, min(at + 255, len(recorder.heard) - 1))
        )
    for unit, request in recorder.executed:
        assert with_crc(bytes((unit,)) + request) in recorder.heard or with_crc(b"\0" + request) in recorder.heard


@given(events=streams, data=st.data())
@settings(max_examples=150)
def test_a_request_after_anything(events: list[object], data: st.DataObject) -> None:
    """Unless it was told to listen only, or the last answer is awaited back as an echo."""
    recorder = Recorder()
    for _ in recorder.play([*torn(events, data), SILENCE, FORGET]):
        pass
    recorder.server.listen_only = False
    assert list(recorder.play([READ, SILENCE])) == [with_crc(b"\x11\x03\x02\x12\x34")]


@given(noise=st.binary(max_size=600), data=st.data())
@settings(max_examples=300)
def test_a_request_right_after_noise(noise: bytes, data: st.DataObject) -> None:
    recorder = Recorder()
    assert list(recorder.play([*torn([noise + READ], data), SILENCE])) == [with_crc(b"\x11\x03\x02\x12\x34")]


@given(frame=frames, data=st.data())
@settings(max_examples=200)
def test_a_damaged_frame_does_nothing(frame: bytes, data: st.DataObject) -> None:
    """CRC-16 finds every single-bit error and every burst of up to 16 bits."""
    start = data.draw(st.integers(0, 8 * len(frame) - 1))
    pattern = data.draw(st.integers(1, 0xFFFF))
    damaged = (int.from_bytes(frame, "little") ^ pattern << start).to_bytes(len(frame) + 2, "little")[: len(frame)]
    assume(damaged != frame)
    recorder = Recorder()
    assert list(recorder.play([*torn([damaged], data), SILENCE, FORGET])) == []
    assert recorder.executed == []


@given(events=st.lists(frames | sound, max_size=12), data=st.data())
@settings(max_examples=150)
def test_segments_do_not_matter(events: list[object], data: st.DataObject) -> None:
    """Frames with silences between them mean the same, however they are read."""
    spaced = [each for event in events for each in (event, SILENCE)]
    whole, cut = Recorder(), Recorder()
    assert list(whole.play(spaced)) == list(cut.play(torn(spaced, data)))
    assert whole.executed == cut.executed
