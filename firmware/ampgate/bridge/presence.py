"""Whether the BMS lives: it writes 1 to the heartbeat register, the gateway puts it back to 0."""

from __future__ import annotations

from collections.abc import Callable

from ampgate.bridge.activity import Activity
from ampgate.registers.image import Point


class Presence:
    """Watches the heartbeat register.

    After ``timeout`` seconds without a write the BMS counts as absent. Watching begins with the first write, so that a
    BMS that does not use the register is not taken for dead; ``timeout`` 0 never watches.
    """

    def __init__(self, point: Point, timeout: float, monotonic: Callable[[], float], activity: Activity) -> None:
        self._point = point
        self._timeout = timeout
        self._monotonic = monotonic
        self._activity = activity
        self._last: float | None = None
        self._told_absent = False
        point.watch(self._wrote)

    def absent(self) -> bool:
        """Whether the BMS has stopped writing its heartbeat."""
        return bool(self._timeout) and self._last is not None and self._monotonic() - self._last > self._timeout

    @property
    def state(self) -> str:
        """``NotWatched``, ``Alive`` or ``Absent``, as the register map calls it."""
        if not self._timeout or self._last is None:
            return "NotWatched"
        return "Absent" if self.absent() else "Alive"

    def tick(self) -> None:
        """Tell people when the BMS has gone; to be called every second."""
        if self.absent() and not self._told_absent:
            self._told_absent = True
            self._activity.add("", f"the BMS has not written its heartbeat for {self._timeout:g} s: absent")

    def _wrote(self, value: int) -> None:
        if not value:
            return
        self._point.set(0)  # this is how the BMS sees that the gateway lives
        self._last = self._monotonic()
        if self._told_absent:
            self._told_absent = False
            self._activity.add("", "the BMS writes its heartbeat again")
