"""The Modbus RTU server: a serial port around `rtu`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import termios
import time
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import serial
from serial.rs485 import RS485Settings

from ampgate.modbus.alarm import Alarm
from ampgate.modbus.rtu import Server
from ampgate.trace import LONGEST, Trace

log = logging.getLogger(__name__)

RETRY_INTERVAL: Final = 2.0
"""Seconds between two tries to open a port that is missing or has gone."""
FAST: Final = 19200
"""Above this rate the silence is fixed (serial line 1.02 §2.5.1.1)."""
FAST_SILENCE: Final = 0.00175
PATIENCE: Final = 0.05
"""Seconds on top of the silence after which a half frame is dropped and no echo is awaited any more. USB adapters and
a busy system tear frames apart for longer than 3.5 characters (FTDI: 16 ms), so the strict time would lose good ones.
"""

PARITIES: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}

# asm-generic/ioctls.h and linux/serial.h
_TIOCGRS485: Final = 0x542E
_RTS_ON_SEND: Final = 1 << 1
_RTS_AFTER_SEND: Final = 1 << 2


class Line(NamedTuple):
    """Settings of the port."""

    device: str
    baudrate: int = 9600
    parity: str = "none"
    stopbits: int = 1

    @property
    def character(self) -> float:
        """Seconds that one character takes: start bit, 8 data bits, parity and stop bits."""
        return (1 + 8 + (self.parity != "none") + self.stopbits) / self.baudrate

    @property
    def silence(self) -> float:
        """3.5 characters in seconds, 1.75 ms above 19 200 baud."""
        return FAST_SILENCE if self.baudrate > FAST else 3.5 * self.character

    def __str__(self) -> str:
        return f"{self.device} {self.baudrate} 8{self.parity[0].upper()}{self.stopbits}"


class SerialServer:
    """Answers on a serial port; opens it again when it was missing or has gone (a USB adapter)."""

    def __init__(self, server: Server, line: Line, *, trace: Trace | None = None) -> None:
        self.server = server
        self.line = line
        self._trace = trace if trace is not None else Trace(0)
        self._peer = f"modbus {line.device}"
        self._limit = line.silence + PATIENCE
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._lost: asyncio.Future[OSError]
        self._port: serial.Serial | None = None
        self._fd = -1
        self._silence: Alarm
        self._patience: asyncio.TimerHandle | None = None
        self._quiet_since = 0.0
        self._received = b""

    @property
    def open(self) -> bool:
        """Whether the port is there."""
        return self._port is not None

    def start(self) -> None:
        """Open the port now, or as soon as it is there."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep_open())

    async def stop(self) -> None:
        """Close the port."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_open(self) -> None:
        trouble = ""
        while True:
            try:
                with self._opened():
                    log.info("Modbus RTU on %s", self.line)
                    trouble = ""
                    raise await self._lost
            except (OSError, ValueError, termios.error) as error:
                if str(error) != trouble:
                    log.error("Modbus RTU: %s: %s; trying again every %g s", self.line, error, RETRY_INTERVAL)
                trouble = str(error)
            await asyncio.sleep(RETRY_INTERVAL)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """The port, served as long as the block runs."""
        device, baudrate, parity, stopbits = self.line
        with (
            serial.Serial(
                device, baudrate, parity=PARITIES[parity], stopbits=stopbits, timeout=0, exclusive=True
            ) as port,
            contextlib.closing(Alarm(self._silent)) as self._silence,
        ):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                port.set_low_latency_mode(True)
            self.server.reset(echoes=False if _switch_driver(port) else None)
            self._lost = self._loop.create_future()
            self._port, self._fd = port, port.fileno()
            self._loop.add_reader(self._fd, self._readable)
            try:
                yield
            finally:
                self._port = None
                self._loop.remove_reader(self._fd)
                if self._patience is not None:
                    self._patience.cancel()
                    self._patience = None

    def _fail(self, error: OSError) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
            if not data:
                raise ConnectionError("the port has gone")
        except OSError as error:
            self._fail(error)
            return
        now = time.monotonic()
        self._silence.at(now + self.line.silence)
        self._received = (self._received + data)[:LONGEST]
        self.server.receive(data)
        self._quiet(now)

    def _silent(self) -> None:
        """The line was silent for 3.5 characters, as it has to be before an answer (§2.5.1.1)."""
        if self._unread():
            return
        answer = self.server.silence()
        if answer is not None and not self._send(answer):
            return
        self._trace.received(self._peer, self._received)
        self._received = b""
        if answer is not None:
            self._trace.sent(self._peer, answer)

    def _unread(self) -> bool:
        """Whether bytes have come meanwhile that are not read yet, so that there was no silence."""
        try:
            return self._port is None or self._port.in_waiting > 0
        except OSError as error:
            self._fail(error)
            return True

    def _send(self, answer: bytes) -> bool:
        try:
            if os.write(self._fd, answer) < len(answer):
                raise BlockingIOError("the line takes no more bytes")
        except OSError as error:
            self._fail(error)
            return False
        self._quiet(time.monotonic() + len(answer) * self.line.character)
        return True

    def _quiet(self, since: float) -> None:
        """No byte goes over the line from this moment on, until the next one is seen."""
        self._quiet_since = since
        if self._patience is None:
            self._patience = self._loop.call_later(self._limit, self._impatient)

    def _impatient(self) -> None:
        rest = self._quiet_since + self._limit - time.monotonic()
        self._patience = None
        if rest > 0:
            self._patience = self._loop.call_later(rest, self._impatient)
        elif not self._unread():
            self.server.forget()


def _switch_driver(port: serial.Serial) -> bool:
    """Let the kernel switch the driver to the bit; False when the port has no RS-485 mode: then its hardware has to.

    The polarity of RTS stays as the device tree has it. The receiver is off while the driver is on.
    """
    state = array("I", bytes(32))
    try:
        fcntl.ioctl(port.fileno(), _TIOCGRS485, state)
        inverted = state[0] & (_RTS_ON_SEND | _RTS_AFTER_SEND) == _RTS_AFTER_SEND
        port.rs485_mode = RS485Settings(rts_level_for_tx=not inverted, rts_level_for_rx=inverted)
    except (OSError, ValueError):
        return False
    return True
