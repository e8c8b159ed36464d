"""Both ends of a test of the EIA-485 bus: a master that sends when the test wants, a listener that hears everything.

Times and CRC are of Modbus over serial line 1.02 (§2.5.1.1, §6.2.2); the CRC is computed by pymodbus.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import termios
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple, Self

import serial
from pymodbus.framer import FramerRTU

from hil.drivers.protocols import Bus

ANSWER: Final = 10.0
"""Seconds that an emulated device on a busy computer has for an answer."""
_MARK: Final = 0xFF
"""What termios puts before a character that was received with an error (PARMRK)."""


class LineError(Exception):
    """An adapter that cannot be used, or that does not tell what it should."""


class Line(NamedTuple):
    """Rate and character; the default is the device's."""

    baudrate: int = 9600
    parity: str = "N"
    stopbits: int = 1

    @property
    def character(self) -> float:
        """Seconds of a character: start bit, 8 data bits, parity, stop bits."""
        return (1 + 8 + (self.parity != "N") + self.stopbits) / self.baudrate

    @property
    def silence(self) -> float:
        """t3.5 in seconds."""
        return 0.00175 if self.baudrate > 19200 else 3.5 * self.character


def sealed(body: bytes) -> bytes:
    """A frame: address, function and data with their CRC."""
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def frame(unit: int, function: int, *words: int) -> bytes:
    """A request whose data are 16-bit words."""
    return sealed(struct.pack(f">BB{len(words)}H", unit, function, *words))


def is_frame(data: bytes) -> bool:
    """Whether the CRC is right."""
    return len(data) > 3 and sealed(data[:-2]) == data


def open_port(path: Path, line: Line) -> serial.Serial:
    """A serial port whose adapter hands bytes over as soon as it can."""
    try:
        port = serial.Serial(str(path), line.baudrate, parity=line.parity, stopbits=line.stopbits, exclusive=True)
    except serial.SerialException as error:
        raise LineError(f"adapter {path}: {error}") from None
    with contextlib.suppress(OSError, ValueError):
        port.set_low_latency_mode(True)
    return port


class Master:
    """A Modbus master without a library that would wait or repeat."""

    def __init__(self, bus: Bus, line: Line, patience: float = ANSWER) -> None:
        self._patience = patience
        self._port = open_port(bus.path, line._replace(parity="N") if bus.virtual else line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._port.close()

    def send(self, data: bytes) -> None:
        """Put bytes on the line."""
        self._port.write(data)

    def receive(self, length: int, timeout: float | None = None) -> bytes:
        """So many bytes, or fewer when no more come in time."""
        self._port.timeout = self._patience if timeout is None else timeout
        data: bytes = self._port.read(length)
        return data

    def exchange(self, request: bytes, length: int) -> bytes:
        """Send a request and return its answer, which must be a sound frame of this length."""
        self.send(request)
        answer = self.receive(length)
        if len(answer) != length or not is_frame(answer) or answer[0] != request[0]:
            raise LineError(f"no answer of {length} bytes to {request.hex(' ')}: {answer.hex(' ') or 'nothing'}")
        return answer

    def registers(self, address: int, count: int = 1, unit: int = 1) -> list[int]:
        """Read holding registers."""
        answer = self.exchange(frame(unit, 3, address, count), 5 + 2 * count)
        return list(struct.unpack(f">{count}H", answer[3:-2]))


class Heard(NamedTuple):
    """A byte on the line."""

    value: int
    at: float
    """When its last bit came, in seconds of the monotonic clock; later by what adapter and computer needed."""
    piece: int
    """Which delivery of the adapter it came in."""


class Recording:
    """What a second adapter hears, from entering the block to its end."""

    def __init__(self, path: Path, line: Line) -> None:
        self.line = line
        self.heard: list[Heard] = []
        self.faults = 0
        """Characters with a wrong stop bit or parity, and breaks."""
        self._path = path
        self._news = threading.Condition()
        self._pieces = 0
        self._rest = b""

    def __enter__(self) -> Self:
        self._port = open_port(self._path, self.line)
        self._port.reset_input_buffer()
        _mark_faults(self._port.fileno())
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopper)
        self._thread.join()
        os.close(self._stop)
        self._port.close()

    @property
    def data(self) -> bytes:
        """All bytes that were heard."""
        return bytes(heard.value for heard in list(self.heard))

    def until(self, length: int, timeout: float = ANSWER) -> bytes:
        """All bytes that were heard, as soon as they are so many; fewer when no more come in time."""
        with self._news:
            self._news.wait_for(lambda: len(self.heard) >= length, timeout)
        return self.data

    def silence_before(self, index: int) -> float:
        """Seconds without a signal between a byte and the one before it."""
        return self.heard[index].at - self.heard[index - 1].at - self.line.character

    def _listen(self) -> None:
        port = self._port.fileno()
        while True:
            ready, _, _ = select.select([port, self._stop], [], [])
            if self._stop in ready:
                return
            data = os.read(port, 4096)
            self._take(data, time.monotonic())
            if not data:
                return

    def _take(self, data: bytes, now: float) -> None:
        values = self._plain(self._rest + data)
        with self._news:
            for number, value in enumerate(values):
                # The bytes of one delivery came one after the other, the last one now.
                at = now - (len(values) - 1 - number) * self.line.character
                self.heard.append(Heard(value, max(at, self.heard[-1].at) if self.heard else at, self._pieces))
            self._pieces += 1
            self._news.notify_all()

    def _plain(self, data: bytes) -> list[int]:
        """The good characters; FF FF is FF, FF 00 marks a bad one (termios(3), PARMRK)."""
        values = []
        while data:
            if data[0] != _MARK:
                values.append(data[0])
                data = data[1:]
            elif data[1:2] == b"\xff":
                values.append(_MARK)
                data = data[2:]
            elif len(data) > 2:
                self.faults += 1
                data = data[3:]
            else:
                break
        self._rest = data
        return values


def _mark_faults(fd: int) -> None:
    attributes = termios.tcgetattr(fd)
    attributes[0] |= termios.INPCK | termios.PARMRK
    attributes[0] &= ~(termios.IGNPAR | termios.IGNBRK | termios.BRKINT | termios.ISTRIP)
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
