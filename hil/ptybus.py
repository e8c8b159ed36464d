"""An EIA-485 bus of pseudo-terminals: a character takes its time, all others hear it, two at once are garbled."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from pathlib import Path
from typing import Self

from hil.line import Line
from tests.conformance.serial_line import Pty


class PtyBus:
    """So many taps on one pair of wires, from entering the block to its end; ``paths`` are their serial ports."""

    def __init__(self, taps: int, line: Line) -> None:
        self._character = line.character
        self._taps = [Pty() for _ in range(taps)]
        self.paths = [Path(tap.path) for tap in self._taps]
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Self:
        for tap in self._taps:
            os.set_blocking(tap.fd, False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopper)
        self._thread.join()
        os.close(self._stop)
        for tap in self._taps:
            tap.close()

    def _carry(self) -> None:
        sending: dict[int, bytes] = {}
        over = 0.0  # when the character that is on the wires now will have been heard
        while True:
            patience = max(0.0, over - time.monotonic()) if sending else None
            ready, _, _ = select.select([self._stop, *(tap.fd for tap in self._taps)], [], [], patience)
            if self._stop in ready:
                return
            if ready and not sending:
                over = time.monotonic() + self._character
            for fd in ready:
                sending[fd] = sending.get(fd, b"") + os.read(fd, 4096)
            if sending and time.monotonic() >= over:
                self._hear(sending)
                sending = {fd: rest[1:] for fd, rest in sending.items() if rest[1:]}
                over += self._character

    def _hear(self, sending: dict[int, bytes]) -> None:
        character = 0xFF
        for rest in sending.values():
            character &= rest[0]
        for tap in self._taps:
            if tap.fd not in sending:
                with contextlib.suppress(BlockingIOError):  # nobody has this port open
                    os.write(tap.fd, bytes((character,)))
