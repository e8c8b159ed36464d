"""A timer that is finer than the milliseconds of the event loops: timerfd(2), where the system has it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable


class Alarm:
    """Calls back once at a moment that may be moved; on Linux some 10 µs late at most, elsewhere a millisecond."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._moment = 0.0
        self._fd = _create()
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._expired)

    def at(self, moment: float) -> None:
        """Call back at this time of `time.monotonic`, and not when it was to be before."""
        if self._fd >= 0:
            _set(self._fd, moment)
            return
        self.cancel()
        self._moment = moment
        self._timer = self._loop.call_later(moment - time.monotonic(), self._due)

    def cancel(self) -> None:
        """Do not call back."""
        if self._fd >= 0:
            _set(self._fd, 0.0)
        elif self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Never call back again."""
        self.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was moved meanwhile
        self._callback()

    def _due(self) -> None:
        # Event loops count in whole milliseconds, and may be early.
        if time.monotonic() < self._moment:
            self.at(self._moment)
        else:
            self._callback()


if sys.platform != "linux":

    def _create() -> int:
        return -1

    def _set(fd: int, moment: float) -> None:
        """Never called, as there is no timer."""

elif sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _set(fd: int, moment: float) -> None:
        os.timerfd_settime(fd, flags=os.TFD_TIMER_ABSTIME, initial=moment)

else:
    _ABSOLUTE = 1
    _libc = ctypes.CDLL(None)

    def _create() -> int:
        fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        return fd

    def _set(fd: int, moment: float) -> None:
        # struct itimerspec: no interval, seconds and nanoseconds
        seconds = int(moment)
        _libc.timerfd_settime(fd, _ABSOLUTE, struct.pack("4l", 0, 0, seconds, int((moment - seconds) * 1e9)), None)
