"""The gateway's clock as the BMS reads and sets it: registers SECOND … YEAR (manual: time synchronisation)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Final

from ampgate.registers.image import Point

log = logging.getLogger(__name__)

FIELDS: Final = ("year", "month", "day", "hour", "minute", "second")
PATIENCE: Final = 15.0
"""Seconds that may pass between two writes of one date."""
_YEARS: Final = range(2000, 2106)
"""What 32-bit times can say."""


class Clock:
    """Tells the time in UTC, shows it in six registers and takes a date that the BMS writes there.

    ``adjust`` is called with the correction when the BMS has set the clock; without one the clock keeps it as an
    offset to the system's. ``zone`` is the time zone of the registers.
    """

    def __init__(
        self,
        points: Mapping[str, Point],
        *,
        zone: tzinfo = UTC,
        system: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float],
        adjust: Callable[[timedelta], bool] | None = None,
    ) -> None:
        self._points = {field: points[f"bms.{field}"] for field in FIELDS}
        self._zone = zone
        self._system = system
        self._monotonic = monotonic
        self._adjust = adjust
        self._offset = timedelta()
        self._written: dict[str, int] = {}
        self._last_write = 0.0
        for field, point in self._points.items():
            point.watch(partial(self._wrote, field))
        self.show()

    def now(self) -> datetime:
        """The present time in UTC."""
        return self._system() + self._offset

    def show(self) -> None:
        """Bring the registers up to date; to be called every second. Drops a date that was left incomplete."""
        if self._written:
            if self._monotonic() - self._last_write < PATIENCE:
                return
            missing = ", ".join(field.upper() for field in FIELDS if field not in self._written)
            log.warning("clock: the BMS did not write %s within %g s: date dropped", missing, PATIENCE)
            self._written.clear()
        local = self.now().astimezone(self._zone)
        for field, point in self._points.items():
            point.set(getattr(local, field))

    def _wrote(self, field: str, value: int) -> None:
        if self._written and self._monotonic() - self._last_write > PATIENCE:
            self._written.clear()
        self._last_write = self._monotonic()
        self._written[field] = value
        if len(self._written) < len(FIELDS):
            return
        written = {name: self._written[name] for name in FIELDS}
        self._written.clear()
        try:
            if written["year"] not in _YEARS:
                raise ValueError(f"year must be {_YEARS[0]}…{_YEARS[-1]}")
            moment = datetime(**written, tzinfo=self._zone).astimezone(UTC)
        except ValueError as error:
            log.warning("clock: the BMS wrote %s, which is no date (%s): dropped", written, error)
        else:
            self._set(moment)
        self.show()

    def _set(self, moment: datetime) -> None:
        change = moment - self.now()
        if self._adjust is None or not self._adjust(change):
            self._offset += change
        log.info("clock: set to %s by the BMS (%+.1f s)", f"{moment:%Y-%m-%dT%H:%M:%SZ}", change.total_seconds())
