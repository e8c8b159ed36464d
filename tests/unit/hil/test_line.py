"""Master and listener on a bus of pseudo-terminals, and what the listener makes of errors on the line."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampgate.modbus import serial as device
from hil.drivers.protocols import Bus
from hil.line import Line, LineError, Master, Recording, frame, is_frame, sealed
from hil.ptybus import PtyBus
from tests.conformance.serial_line import DEADLINE, serve_line

pytestmark = pytest.mark.unit

LINE = Line()
READ = bytes.fromhex("01 03 00 64 00 02 85 D4")
ANSWER = sealed(bytes.fromhex("01 03 04 00 01 00 02"))
ROUND = len(READ + ANSWER)


def words(request: bytes) -> bytes:
    """A slave whose two registers are 1 and 2."""
    return ANSWER[1:-2]


@pytest.fixture
def bus() -> Iterator[PtyBus]:
    with PtyBus(4, LINE) as bus:
        yield bus


@pytest.fixture
def master(bus: PtyBus) -> Iterator[Master]:
    with Master(Bus(bus.paths[1], virtual=True), LINE) as master:
        yield master


@pytest.fixture
def recording(bus: PtyBus) -> Iterator[Recording]:
    with Recording(bus.paths[2], LINE) as recording:
        yield recording


@pytest.fixture
def gateway(bus: PtyBus) -> Iterator[None]:
    with serve_line({1: words}, device.Line(str(bus.paths[0]))):
        yield


@pytest.mark.parametrize(
    ("line", "character", "silence"),
    [  # docs/serial.md, in milliseconds
        (Line(9600), 1.0417, 3.65),
        (Line(19200, "E"), 0.5729, 2.01),
        (Line(38400), 0.2604, 1.75),
        (Line(1200, "N", 2), 9.1667, 32.08),
    ],
)
def test_times(line, character, silence):
    assert line.character * 1000 == pytest.approx(character, abs=0.0001)
    assert line.silence * 1000 == pytest.approx(silence, abs=0.005)


def test_frames():
    assert frame(1, 3, 100, 2) == READ
    assert is_frame(READ) and is_frame(ANSWER)
    assert not is_frame(READ[:-1]) and not is_frame(READ[:-1] + b"\0") and not is_frame(b"\0\0")


def test_a_conversation_is_heard_with_its_times(gateway, master, recording):
    rounds = 9
    for _ in range(rounds):
        assert master.registers(100, 2) == [1, 2]
    assert recording.until(rounds * ROUND) == (READ + ANSWER) * rounds
    assert recording.faults == 0
    times = [heard.at for heard in recording.heard]
    assert times == sorted(times)
    assert times[-1] - times[0] >= rounds * (ROUND * LINE.character + LINE.silence) - 10 * LINE.character
    silences = [recording.silence_before(begin + len(READ)) for begin in range(0, rounds * ROUND, ROUND)]
    assert statistics.median(silences) > LINE.silence / 2  # of some it was late to hear the begin
    assert recording.heard[-1].piece > recording.heard[0].piece


def test_a_slave_that_answers_at_once_is_found_out(bus, master, recording):
    rounds = 9
    with Master(Bus(bus.paths[0], virtual=True), LINE) as slave:

        def hurry() -> None:
            for _ in range(rounds):
                slave.receive(len(READ))
                slave.send(ANSWER)

        thread = threading.Thread(target=hurry)
        thread.start()
        for _ in range(rounds):
            assert master.exchange(READ, len(ANSWER)) == ANSWER
        thread.join(DEADLINE)
    recording.until(rounds * ROUND)
    silences = [recording.silence_before(begin + len(READ)) for begin in range(0, rounds * ROUND, ROUND)]
    assert statistics.median(silences) < LINE.silence / 2


def test_two_at_once_are_garbled(bus, master, recording):
    with Master(Bus(bus.paths[0], virtual=True), LINE) as other:
        other.send(b"\x0f" * 200)
        recording.until(3)
        master.send(b"\xf0" * 200)
        heard = recording.until(201)
    assert 0 in heard and 0x0F in heard and 0xF0 in heard


def test_no_answer_is_told_with_what_came(bus):
    with (
        Master(Bus(bus.paths[0], virtual=True), LINE, patience=0.1) as alone,
        pytest.raises(LineError, match="no answer of 9 bytes to 01 03 00 64 00 02 85 d4: nothing"),
    ):
        alone.exchange(READ, 9)


def test_an_adapter_that_is_not_there(tmp_path):
    with pytest.raises(LineError, match=r"adapter .*ttyUSB7"):
        Master(Bus(tmp_path / "ttyUSB7", virtual=False), LINE)
    with pytest.raises(LineError, match=r"adapter .*ttyUSB7"), Recording(tmp_path / "ttyUSB7", LINE):
        pass


def test_every_value_is_heard(bus, master, recording):
    """Also FF, which termios marks errors with."""
    everything = bytes(range(256)) + b"\xff\xff\x00\xff"
    master.send(everything)
    assert recording.until(len(everything)) == everything
    assert recording.faults == 0


@pytest.mark.parametrize("cut", range(1, 8))
def test_characters_with_errors_are_counted_and_not_taken(cut):
    """As the kernel marks them (termios(3), PARMRK), however its deliveries are cut."""
    recording = Recording(Path("/nowhere"), LINE)
    marked = b"\x01\xff\x00\x55\x02\xff\xff\x03"
    recording._take(marked[:cut], 1.0)
    recording._take(marked[cut:], 1.1)
    assert recording.data == b"\x01\x02\xff\x03"
    assert recording.faults == 1
