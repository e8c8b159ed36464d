"""Simulated time, which may run faster than the real one.

Cars, batteries and drivers live in simulated time. What the protocol counts (heartbeats, sampling, time-outs) and
every timestamp on the wire stay in real time, as a central system expects.
"""

from __future__ import annotations

import asyncio


class Clock:
    """Simulated seconds pass ``speed`` times as fast as real ones; 60 makes a minute of a second."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed:g}")
        self.speed = speed

    def simulated(self, real: float) -> float:
        """Simulated seconds that pass in ``real`` seconds."""
        return real * self.speed

    def real(self, simulated: float) -> float:
        """Real seconds in which ``simulated`` seconds pass."""
        return simulated / self.speed

    async def sleep(self, simulated: float) -> None:
        """Wait for this many simulated seconds."""
        await asyncio.sleep(self.real(simulated))
