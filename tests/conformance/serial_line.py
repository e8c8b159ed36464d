"""Serial lines made of pseudo-terminals, and a Modbus RTU server that runs on one."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from ampgate.modbus.rtu import Execute, Server
from ampgate.modbus.serial import Line, SerialServer
from ampgate.trace import Trace
from tests.conformance.modbus_server import DEADLINE, Served, in_thread

SILENCE = 0.04
"""Seconds without a byte after which nothing comes any more: many times t3.5 at the rates of these tests."""


class Pty:
    """A serial port: whoever opens `path` talks to `fd`. It stays while this end is open."""

    def __init__(self) -> None:
        self.fd, self.port = os.openpty()
        tty.setraw(self.port)
        self.path = os.ttyname(self.port)

    def send(self, data: bytes | str) -> None:
        """Put bytes (or hexadecimal digits) on the line."""
        os.write(self.fd, bytes.fromhex(data) if isinstance(data, str) else data)

    def receive(self, size: int, deadline: float = DEADLINE) -> bytes:
        """This many bytes, or those that came before the deadline."""
        data, end = b"", time.monotonic() + deadline
        while len(data) < size and select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
            data += os.read(self.fd, size - len(data))
        return data

    def answer(self) -> bytes:
        """All bytes up to the next `SILENCE`, which may be there at once."""
        data = b""
        while part := self.receive(1, SILENCE):
            data += part
        return data

    def close(self) -> None:
        """Unplug it: the path goes away and whoever has it open gets an error."""
        os.close(self.fd)
        os.close(self.port)


class Cable:
    """Two serial ports joined by a thread: what goes into one comes out of the other."""

    def __init__(self) -> None:
        self._ends = [Pty(), Pty()]
        self.server, self.client = (end.path for end in self._ends)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        first, second = (end.fd for end in self._ends)
        other = {first: second, second: first}
        while True:
            ready, _, _ = select.select([first, second, self._stop], [], [])
            if self._stop in ready:
                return
            for fd in ready:
                os.write(other[fd], os.read(fd, 4096))

    def close(self) -> None:
        """Take it away."""
        os.write(self._stopper, b"\0")
        self._thread.join(DEADLINE)
        for end in self._ends:
            end.close()
        os.close(self._stop)
        os.close(self._stopper)


@contextmanager
def pty() -> Iterator[Pty]:
    """A serial port for the time of a block."""
    line = Pty()
    try:
        yield line
    finally:
        with suppress(OSError):
            line.close()


@contextmanager
def cable() -> Iterator[Cable]:
    """A cable for the time of a block."""
    line = Cable()
    try:
        yield line
    finally:
        line.close()


class SerialServed(Served):
    """A serial server that runs in a thread of its own."""

    server: SerialServer  # type: ignore[assignment]

    def __init__(self, server: SerialServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, 0, loop)  # type: ignore[arg-type]

    def counted(self, **counters: int) -> None:
        """Wait until the statistics say this."""
        statistics = self.server.server.statistics
        self.eventually(lambda: {name: getattr(statistics, name) for name in counters} == counters)


@contextmanager
def serve_line(
    units: Mapping[int, Execute],
    line: Line,
    *,
    loop: str = "uvloop",
    server_id: str = "",
    trace: Trace | None = None,
    wait: bool = True,
) -> Iterator[SerialServed]:
    """Run a server on a line until the block ends; exceptions in its callbacks fail the test."""

    async def start() -> SerialServed:
        server = SerialServer(Server(units, server_id), line, trace=trace)
        server.start()
        return SerialServed(server, asyncio.get_running_loop())

    with in_thread(loop, start, lambda served: served.server.stop()) as served:
        if wait:
            served.eventually(lambda: served.server.open)
        yield served
