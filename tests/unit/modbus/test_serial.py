"""The serial port around the server: settings, timing rules, ports that come and go. The line is a pseudo-terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampgate.modbus import serial
from ampgate.modbus.rtu import Server
from ampgate.modbus.serial import Line, SerialServer
from ampgate.trace import Trace
from tests.conformance.modbus_server import DEADLINE, LOOPS
from tests.conformance.serial_line import Pty, SerialServed, pty, serve_line

pytestmark = pytest.mark.unit

WRITE = bytes.fromhex("11 06 00 01 00 03 9A 9B")
"""Answered by itself."""
READ = bytes.fromhex("11 03 00 6B 00 03 76 87")
READ_ANSWER = bytes.fromhex("11 03 06 AE 41 56 52 43 40 49 AD")
FOREIGN = bytes.fromhex("06 03 00 00 00 0A C4 7A")


def execute(request: bytes) -> bytes:
    return READ_ANSWER[1:-2] if request[0] == 3 else request


@pytest.fixture
def line() -> Iterator[Pty]:
    with pty() as line:
        yield line


@pytest.fixture(params=LOOPS)
def served(request: pytest.FixtureRequest, line: Pty) -> Iterator[SerialServed]:
    with serve_line({17: execute}, Line(line.path, 115200), loop=request.param, trace=Trace(50)) as served:
        yield served


# Times


@pytest.mark.parametrize(
    ("baudrate", "parity", "stopbits", "character", "silence"),
    [
        # Modbus over serial line 1.02 §2.5.1: 11 bits a character; 10 without parity and with one stop bit
        (1200, "even", 1, 9.1667e-3, 32.083e-3),
        (1200, "none", 1, 8.3333e-3, 29.167e-3),
        (9600, "even", 1, 1.1458e-3, 4.0104e-3),
        (9600, "none", 2, 1.1458e-3, 4.0104e-3),
        (9600, "none", 1, 1.0417e-3, 3.6458e-3),
        (9600, "odd", 2, 1.25e-3, 4.375e-3),
        (19200, "even", 1, 0.57292e-3, 2.0052e-3),
        # "for baud rates greater than 19200 Bps, fixed values … 1.750 ms"
        (38400, "even", 1, 0.28646e-3, 1.75e-3),
        (115200, "none", 1, 0.086806e-3, 1.75e-3),
    ],
)
def test_times(baudrate: int, parity: str, stopbits: int, character: float, silence: float) -> None:
    line = Line("/dev/x", baudrate, parity, stopbits)
    assert line.character == pytest.approx(character, rel=1e-4)
    assert line.silence == pytest.approx(silence, rel=1e-4)


def test_a_line_as_text() -> None:
    assert str(Line("/dev/ttyAMA0", 19200, "even", 1)) == "/dev/ttyAMA0 19200 8E1"
    assert str(Line("/dev/ttyUSB0", 9600, "none", 2)) == "/dev/ttyUSB0 9600 8N2"


# Settings


@pytest.mark.parametrize("baudrate", [1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200])
def test_baud_rates(line: Pty, baudrate: int) -> None:
    with serve_line({17: execute}, Line(line.path, baudrate)):
        speeds = termios.tcgetattr(line.fd)[4:6]
    assert speeds == [getattr(termios, f"B{baudrate}")] * 2


@pytest.mark.parametrize("stopbits", [1, 2])
@pytest.mark.parametrize("parity", ["none", "even", "odd"])
def test_parity_and_stop_bits(line: Pty, monkeypatch: pytest.MonkeyPatch, parity: str, stopbits: int) -> None:
    """As they are asked of the system: a pseudo-terminal forgets the parity."""
    flags: list[int] = []
    real = termios.tcsetattr

    def record(fd: int, when: int, attributes: list[Any]) -> None:
        flags.append(attributes[2])
        real(fd, when, attributes)

    monkeypatch.setattr(termios, "tcsetattr", record)
    with serve_line({17: execute}, Line(line.path, 9600, parity, stopbits)):
        pass
    mask = termios.CSIZE | termios.PARENB | termios.PARODD | termios.CSTOPB
    expected = {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}[parity]
    assert flags[-1] & mask == termios.CS8 | expected | (termios.CSTOPB if stopbits == 2 else 0)


TIOCGRS485, TIOCSRS485, TIOCSSERIAL = 0x542E, 0x542F, 0x541F
ENABLED, RTS_ON_SEND, RTS_AFTER_SEND, RX_DURING_TX = 1, 2, 4, 16  # linux/serial.h


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0, ENABLED | RTS_ON_SEND),
        (RTS_ON_SEND, ENABLED | RTS_ON_SEND),
        (RTS_AFTER_SEND, ENABLED | RTS_AFTER_SEND),  # rs485-rts-active-low in the device tree
        (ENABLED | RTS_AFTER_SEND | RX_DURING_TX, ENABLED | RTS_AFTER_SEND),
    ],
)
def test_rs485_mode_of_the_kernel(line: Pty, monkeypatch: pytest.MonkeyPatch, before: int, after: int) -> None:
    state = array("I", [before, 1, 2, 0, 0, 0, 0, 0])
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, *arguments: Any) -> Any:
        if request == TIOCGRS485:
            arguments[0][:] = array(arguments[0].typecode, state)
        elif request == TIOCSRS485:
            state[:] = array("I", arguments[0])
        else:
            return real(fd, request, *arguments)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    with serve_line({17: execute}, Line(line.path)) as served:
        assert served.server.server.echoes is False
    assert list(state) == [after, 1, 2, 0, 0, 0, 0, 0]


def test_a_port_without_rs485_mode_may_echo(served: SerialServed) -> None:
    assert served.server.server.echoes is None


# Requests and answers


def test_an_answer(served: SerialServed, line: Pty) -> None:
    for _ in range(5):
        line.send(READ)
        assert line.receive(11) == READ_ANSWER


def test_an_answer_waits_for_the_silence(line: Pty) -> None:
    with serve_line({17: execute}, Line(line.path, 1200)):
        sent = time.monotonic()
        line.send(WRITE)
        assert line.receive(1) == WRITE[:1]
        assert time.monotonic() - sent >= 29.16e-3


def test_a_byte_after_the_request_begins_the_silence_again(line: Pty) -> None:
    with serve_line({17: execute}, Line(line.path, 300)):  # 116.7 ms, so that this process may be slow
        line.send(WRITE)
        time.sleep(0.03)
        sent = time.monotonic()
        line.send(b"\xff")
        assert line.receive(8) == WRITE
        assert time.monotonic() - sent >= 0.1166


def test_a_torn_frame_is_put_together(line: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "PATIENCE", 5.0)
    with serve_line({17: execute}, Line(line.path, 115200)):
        line.send(READ[:3])
        time.sleep(0.005)  # more than the silence
        line.send(READ[3:])
        assert line.receive(11) == READ_ANSWER


def test_half_a_frame_is_dropped_after_a_while(served: SerialServed, line: Pty) -> None:
    line.send(READ[:3])
    served.counted(bus_errors=1)
    line.send(READ)
    assert line.receive(11) == READ_ANSWER


def test_an_echo_is_awaited_as_long_as_the_answer_takes(line: Pty) -> None:
    """At 1200 baud the first byte of an echo cannot come before 8 ms, its last after 67 ms."""
    with serve_line({17: execute}, Line(line.path, 1200)) as served:
        line.send(WRITE)
        assert line.receive(8) == WRITE
        time.sleep(0.06)
        line.send(WRITE)
        line.send(READ)
        assert line.receive(11) == READ_ANSWER
        served.counted(bus_messages=2, server_messages=2)


@pytest.mark.parametrize("loop", LOOPS)
def test_no_answer_when_the_master_has_gone_on(line: Pty, loop: str) -> None:
    """The system was busy meanwhile: another slave is about to answer."""
    entered, release = threading.Event(), threading.Event()

    def busy(request: bytes) -> bytes:
        entered.set()
        assert release.wait(DEADLINE)
        return request

    with serve_line({17: busy}, Line(line.path, 115200), loop=loop) as served:
        line.send(WRITE)
        assert entered.wait(DEADLINE)
        time.sleep(0.005)  # the moment of the answer passes
        line.send(FOREIGN)
        release.set()
        served.counted(bus_messages=2)
        assert line.answer() == b""


# When bytes have come and a time is over, the event loop may tell of the time first.


def send_unread(line: Pty, served: SerialServed, data: bytes) -> None:
    """In the server's thread: let bytes wait at its port."""
    line.send(data)
    port, end = served.server._port, time.monotonic() + DEADLINE
    while port is None or port.in_waiting < len(data):
        assert time.monotonic() < end


def test_no_silence_while_bytes_are_unread(line: Pty) -> None:
    def execute_and_go_on(request: bytes) -> bytes:
        served.loop.call_soon(go_on)
        return request

    def go_on() -> None:
        send_unread(line, served, FOREIGN)
        served.server._silent()

    with serve_line({17: execute_and_go_on}, Line(line.path, 1200)) as served:
        line.send(WRITE)
        served.counted(bus_messages=2)
        assert line.answer() == b""


def test_an_echo_that_is_unread_is_not_late(line: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "PATIENCE", 5.0)

    def run_out_of_patience() -> None:
        send_unread(line, served, WRITE)
        served.server._quiet_since = 0.0
        served.server._impatient()

    with serve_line({17: execute}, Line(line.path, 115200)) as served:
        line.send(WRITE)
        assert line.receive(8) == WRITE
        served.inside(run_out_of_patience)
        line.send(READ)
        assert line.receive(11) == READ_ANSWER
        served.counted(bus_messages=2, server_messages=2)


def test_trace_shows_frames(served: SerialServed, line: Pty) -> None:
    line.send(READ[:4])
    line.send(READ[4:])
    line.receive(11)
    line.send(FOREIGN)
    served.eventually(lambda: len(served.server._trace.last(9)) == 3)
    frames = served.server._trace.last(9)
    assert [(frame.sent, frame.data) for frame in frames] == [(False, READ), (True, READ_ANSWER), (False, FOREIGN)]
    assert {frame.peer for frame in frames} == {f"modbus {line.path}"}


def test_endless_noise_stays_bounded(served: SerialServed, line: Pty) -> None:
    for _ in range(200):
        line.send(bytes(range(1, 251)))
    served.eventually(lambda: served.server.server.statistics.overruns > 0)
    assert len(served.server._received) <= 4096
    served.counted(bus_errors=1)
    line.send(READ)
    assert line.receive(11) == READ_ANSWER


# Ports that come and go


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "RETRY_INTERVAL", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_that_is_missing_at_the_start(tmp_path: Path, loop: str, caplog: pytest.LogCaptureFixture) -> None:
    device = tmp_path / "ttyUSB0"
    with serve_line({17: execute}, Line(str(device)), loop=loop, wait=False) as served:
        served.eventually(lambda: "No such file" in caplog.text)
        assert not served.server.open
        with pty() as line:
            device.symlink_to(line.path)
            served.eventually(lambda: served.server.open)
            line.send(READ)
            assert line.receive(11) == READ_ANSWER
    assert caplog.text.count("No such file") == 1  # told once, however often it was tried
    assert f"{device} 9600 8N1" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_that_goes_and_comes_back(tmp_path: Path, loop: str, caplog: pytest.LogCaptureFixture) -> None:
    device = tmp_path / "ttyUSB0"
    with serve_line({17: execute}, Line(str(device)), loop=loop, wait=False) as served:
        for _ in range(3):
            with pty() as line:
                device.symlink_to(line.path)
                served.eventually(lambda: served.server.open)
                line.send(READ)
                assert line.receive(11) == READ_ANSWER
                line.send(READ[:5])
                served.eventually(lambda: served.server.server._buffer)
                device.unlink()
            served.eventually(lambda: not served.server.open)
    assert "Input/output error" in caplog.text or "the port has gone" in caplog.text


@pytest.mark.usefixtures("quick")
def test_a_line_that_takes_no_more_bytes_is_opened_again(line: Pty, caplog: pytest.LogCaptureFixture) -> None:
    with serve_line({17: execute}, Line(line.path, 115200)) as served:
        termios.tcflow(line.port, termios.TCOOFF)
        line.send(READ)
        served.eventually(lambda: "no more bytes" in caplog.text or os.strerror(errno.EAGAIN) in caplog.text)
        termios.tcflow(line.port, termios.TCOON)
        served.eventually(lambda: served.server.open)
        line.send(READ)
        assert line.receive(11) == READ_ANSWER


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("device", ["/dev/null", "/proc/self/cmdline", "/"])
def test_a_device_that_is_no_serial_port(device: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve_line({17: execute}, Line(device), wait=False) as served:
        served.eventually(lambda: device in caplog.text)
        assert not served.server.open


@pytest.mark.usefixtures("quick")
def test_a_port_in_use_is_left_alone(line: Pty, served: SerialServed, caplog: pytest.LogCaptureFixture) -> None:
    with serve_line({18: execute}, Line(line.path), wait=False) as second:
        second.eventually(lambda: "exclusively lock" in caplog.text)
        assert not second.server.open
        line.send(READ)
        assert line.receive(11) == READ_ANSWER


async def test_stopped_before_it_was_started() -> None:
    server = SerialServer(Server({17: execute}), Line("/dev/null"))
    await server.stop()
    assert not server.open
