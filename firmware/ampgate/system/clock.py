"""The device's clock, when the BMS sets it (behaviour of the registers SECOND … YEAR: ``bridge.clock``)."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

from ampgate.system import places

log = logging.getLogger(__name__)


def adjust(change: timedelta, marker: Path = places.CLOCK_SET_BY_BMS) -> bool:
    """Set the system's clock by so much; False when that is not allowed (needs CAP_SYS_TIME).

    The marker comes first: it ends the correction by NTP until the next start (``ampgate-bms-clock.path``), so that
    the two never pull at one clock.
    """
    try:
        marker.touch()
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + change.total_seconds())
        marker.touch()  # with the new time, for the hardware clock
    except OSError as error:
        log.warning("clock: the system's clock cannot be set, an offset to it is kept: %s", error)
        return False
    return True
