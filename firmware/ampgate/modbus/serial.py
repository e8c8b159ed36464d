"""The Modbus RTU server: a serial port around `rtu`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import serial
from serial.rs485 import RS485Settings

from ampgate.modbus.rtu import Server
from ampgate.trace import Trace

log = logging.getLogger(__name__)

RETRY_INTERVAL: Final = 2.0
"""Seconds between two tries to open a port that is missing."""
FAST: Final = 19200
"""Above this rate the silence is fixed (serial line 1.02 §2.5.1.1)."""
FAST_SILENCE: Final = 0.00175
PATIENCE: Final = 0.02
"""Seconds of silence after which a half frame is dropped. USB adapters and a busy system tear frames apart for longer
than 3.5 characters, so the strict time would lose good frames; a new request is found after a half one anyway."""

PARITIES: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


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
        self._port: serial.Serial | None = None
        self._fd = -1
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._last_byte = 0.0
        self._silence: asyncio.TimerHandle | None = None
        self._alarm: _Alarm | None = None

    @property
    def open(self) -> bool:
        """Whether the port is there."""
        return self._port is not None

    def start(self) -> None:
        """Open the port now, or as soon as it is there."""
        self._alarm = _Alarm(asyncio.get_running_loop())
        self._task = asyncio.create_task(self._keep_open())

    async def stop(self) -> None:
        """Close the port."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close()
        if self._alarm is not None:
            self._alarm.close()

    async def _keep_open(self) -> None:
        reported = False
        while True:
            try:
                self._open()
            except (OSError, ValueError, serial.SerialException) as error:
                if not reported:
                    log.error("Modbus RTU: cannot open %s: %s; trying on", self.line, error)
                reported = True
                await asyncio.sleep(RETRY_INTERVAL)
                continue
            reported = False
            log.info("Modbus RTU on %s", self.line)
            await self._lost.wait()
            self._close()

    def _open(self) -> None:
        port = serial.Serial(
            self.line.device,
            self.line.baudrate,
            parity=PARITIES[self.line.parity],
            stopbits=self.line.stopbits,
            timeout=0,
            exclusive=True,
        )
        # The kernel switches the driver to the bit; a port without this mode has hardware that does it by itself.
        with contextlib.suppress(OSError, ValueError, serial.SerialException):
            port.rs485_mode = RS485Settings()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            port.set_low_latency_mode(True)
        self._port, self._fd = port, port.fileno()
        self._lost.clear()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _close(self) -> None:
        port, self._port = self._port, None
        if self._silence is not None:
            self._silence.cancel()
        if port is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            with contextlib.suppress(OSError):
                port.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError as error:
            data = b""
            log.warning("Modbus RTU: %s: %s", self.line, error)
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            log.warning("Modbus RTU: %s has gone", self.line)
            self._lost.set()
            return
        self._last_byte = time.monotonic()
        self._trace.received(f"modbus {self.line.device}", data)
        self._reply(self.server.receive(data))
        self._wait_for_silence()

    def _wait_for_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        delay = max(self.line.silence, PATIENCE)
        self._silence = asyncio.get_running_loop().call_later(delay, self._silent)

    def _silent(self) -> None:
        self._reply(self.server.silence())

    def _reply(self, answer: bytes | None) -> None:
        if answer is not None and self._alarm is not None:
            # The line has to be silent for 3.5 characters before the answer (§2.5.1.1).
            self._alarm.at(self._last_byte + self.line.silence, lambda: self._send(answer))

    def _send(self, answer: bytes) -> None:
        if self._port is None:
            return
        self._trace.sent(f"modbus {self.line.device}", answer)
        try:
            written = os.write(self._fd, answer)
        except OSError as error:
            log.warning("Modbus RTU: %s: cannot send: %s", self.line, error)
            return
        if written < len(answer):  # the kernel's buffer holds many frames; it is full only when the line is stuck
            log.warning("Modbus RTU: %s: sent %d of %d bytes", self.line, written, len(answer))


class _Alarm:
    """Calls back at a moment, finer than the millisecond of the event loops where Python can (3.13, Linux)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callback: Callable[[], None] = _nothing
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        if sys.version_info >= (3, 13) and sys.platform == "linux":
            self._fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK)
            loop.add_reader(self._fd, self._expired)

    def at(self, moment: float, callback: Callable[[], None]) -> None:
        """Call back at this time of `time.monotonic`, at once when it is past."""
        delay = moment - time.monotonic()
        if delay <= 0:
            callback()
        elif sys.version_info >= (3, 13) and self._fd >= 0:
            self._callback = callback
            os.timerfd_settime(self._fd, initial=delay)
        else:
            self._timer = self._loop.call_later(delay, callback)

    def _expired(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._callback()

    def close(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)


def _nothing() -> None:
    pass
