"""The EIA-485 bus to the bit (Modbus over serial line 1.02; docs/serial.md).

What a master alone can find out needs ``rs485``, also where that is a pseudo-terminal; what goes over the wire beside
that needs a second adapter that listens, ``rs485-listener``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from hil.bench import BenchStrategy
from hil.line import Line, Master, Recording, frame, sealed
from hil.strategy import GatewayStrategy

pytestmark = pytest.mark.lg_feature(["dip", "network", "rs485"])

LINE = Line()
READ = frame(1, 3, 100, 1)
ANSWER = 7
"""Bytes of its answer."""
BLOCK, LONGEST = 612, 125
"""Registers of the longest answer: connectors of charger 0."""
STORED = 357
"""A register that keeps what the BMS writes (reservation id of *Cancel Reservation*)."""
BUS_ERRORS = 12
"""Sub-function of function 08 that counts what was no frame (docs/serial.md)."""
RESOLUTION = 0.0015
"""Seconds by which a USB adapter and a computer may be wrong about the time of a byte: a frame of USB, and a half."""
GONE = 1.0
"""Seconds of a pause after which a master has certainly given up its frame."""


@pytest.fixture(scope="module")
def end_of_bus(device: GatewayStrategy | BenchStrategy) -> None:
    """The gateway terminates the bus and biases it."""
    device.world.switches(True, True, True)
    device.restart_gateway()


@pytest.fixture
def master(device: GatewayStrategy | BenchStrategy, end_of_bus: None) -> Iterator[Master]:
    """The master of the bus, at its other end."""
    with Master(device.rs485, LINE) as master:
        yield master


@pytest.fixture
def recording(device: BenchStrategy, master: Master) -> Iterator[Recording]:
    """What the listener hears during a test."""
    with device.listener.recording(LINE) as recording:
        yield recording


def errors(master: Master) -> int:
    """How many times the gateway has heard something that was no frame."""
    answer = master.exchange(frame(1, 8, BUS_ERRORS, 0), 8)
    return int.from_bytes(answer[4:6])


def converse(master: Master, rounds: int) -> bytes:
    """Requests with no more than t3.5 behind each answer; returns all that should have gone over the line."""
    said = b""
    for _ in range(rounds):
        said += READ + master.exchange(READ, ANSWER)
        time.sleep(LINE.silence)
    return said


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def test_no_answer_before_the_silence(device: GatewayStrategy, master: Master, measured: Callable[[str], None]) -> None:
    """From the first bit of the request to the first byte of the answer: never less than the line needs."""
    times = []
    for _ in range(50):
        begin = time.monotonic()
        master.send(READ)
        assert master.receive(1)
        times.append(time.monotonic() - begin)
        assert len(master.receive(ANSWER - 1)) == ANSWER - 1
        time.sleep(LINE.silence)
    on_the_line = 0.0 if device.rs485.virtual else (len(READ) + 1) * LINE.character
    shortest, middle = min(times) - on_the_line, statistics.median(times) - on_the_line
    measured(f"master: silence before an answer at least {milliseconds(shortest)}, mostly {milliseconds(middle)}")
    assert shortest >= LINE.silence


def test_requests_without_a_rest(master: Master) -> None:
    """Two hundred, each answered at once."""
    converse(master, 200)


def test_the_longest_answer(master: Master) -> None:
    assert len(master.registers(BLOCK, LONGEST)) == LONGEST


def test_half_a_request_is_forgotten(master: Master) -> None:
    before = errors(master)
    master.send(READ[:5])
    assert master.receive(1, GONE) == b""
    master.exchange(READ, ANSWER)
    assert errors(master) == before + 1


def test_a_damaged_request_is_not_answered(master: Master) -> None:
    before = errors(master)
    master.send(READ[:-1] + bytes((READ[-1] ^ 1,)))
    assert master.receive(1, GONE) == b""
    master.exchange(READ, ANSWER)
    assert errors(master) == before + 1


def test_what_others_say_to_each_other(master: Master) -> None:
    """A request to a meter, and the meter's answer."""
    before = errors(master)
    for theirs in (frame(2, 3, 100, 1), sealed(bytes((2, 3, 2, 0, 1)))):
        master.send(theirs)
        assert master.receive(1, GONE) == b""
    master.exchange(READ, ANSWER)
    assert errors(master) == before


@pytest.mark.parametrize("value", [0x1234, 0x4321])
def test_a_broadcast_is_executed_and_not_answered(master: Master, value: int) -> None:
    master.send(frame(0, 6, STORED, value))
    assert master.receive(1, GONE) == b""
    assert master.registers(STORED) == [value]


@pytest.mark.lg_feature("rs485-listener")
def test_nothing_else_is_on_the_bus(master: Master, recording: Recording) -> None:
    """The conversation to the last character, and nothing before, between or behind it."""
    conversation = converse(master, 50)
    assert recording.until(len(conversation) + 1, GONE) == conversation
    assert recording.faults == 0


@pytest.mark.lg_feature("rs485-listener")
def test_the_silence_before_an_answer(master: Master, recording: Recording, measured: Callable[[str], None]) -> None:
    conversation = converse(master, 50)
    assert recording.until(len(conversation)) == conversation
    answers = range(len(READ), len(conversation), len(READ) + ANSWER)
    apart = [index for index in answers if recording.heard[index].piece != recording.heard[index - 1].piece]
    assert len(apart) > 0.9 * len(answers), (
        "the listener's adapter gathers characters for too long: its latency timer must be 1 ms"
    )
    silences = sorted(recording.silence_before(index) for index in apart)
    middle = statistics.median(silences)
    spread = f"{milliseconds(silences[0])} to {milliseconds(silences[-1])}"
    measured(f"listener: silence before an answer {spread}, mostly {milliseconds(middle)}")
    assert middle >= LINE.silence - RESOLUTION
    assert silences[len(silences) // 10] >= LINE.silence - 2 * RESOLUTION


@pytest.mark.lg_feature("rs485-listener")
def test_an_answer_is_in_one_piece(master: Master, recording: Recording, measured: Callable[[str], None]) -> None:
    """A pause of more than 1.5 characters would end the frame for a strict master (§2.5.1.1).

    Of ten answers the shortest counts: adapter and computer may add pauses of their own.
    """
    rounds = 10
    for _ in range(rounds):
        master.registers(BLOCK, LONGEST)
        time.sleep(LINE.silence)
    length = 5 + 2 * LONGEST
    size = len(READ) + length
    assert len(recording.until(rounds * size)) == rounds * size
    ends = range(size - 1, rounds * size, size)
    taken = min(recording.heard[end].at - recording.heard[end - length + 1].at for end in ends)
    needed = (length - 1) * LINE.character
    measured(f"listener: {length} characters in {milliseconds(taken)}, without a pause {milliseconds(needed)}")
    assert taken <= needed + 1.5 * LINE.character + RESOLUTION


@pytest.mark.lg_feature("rs485-listener")
def test_the_driver_is_off_before_the_next_request(
    master: Master, recording: Recording, measured: Callable[[str], None]
) -> None:
    """A driver that is still on after t3.5 damages the next request: the listener hears each one whole."""
    conversation = converse(master, 200)
    assert recording.until(len(conversation)) == conversation
    assert recording.faults == 0
    size = len(READ) + ANSWER
    pauses = [recording.silence_before(index) for index in range(size, len(conversation), size)]
    measured(f"listener: pause before the next request at least {milliseconds(min(pauses))}")


@pytest.mark.lg_feature(["power", "rs485-listener"])
def test_the_bus_is_left_alone_while_the_device_starts(device: BenchStrategy, recording: Recording) -> None:
    device.restart_gateway()
    assert recording.data == b""
    assert recording.faults == 0
