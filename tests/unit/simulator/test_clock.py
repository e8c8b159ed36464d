"""Simulated time."""

from __future__ import annotations

import asyncio

import pytest

from ampgate.simulator.clock import Clock


def test_sixty_makes_a_minute_of_a_second():
    clock = Clock(60)
    assert clock.simulated(1) == 60
    assert clock.real(60) == 1


async def test_sleep_is_scaled():
    loop = asyncio.get_running_loop()
    began = loop.time()
    await Clock(1000).sleep(100)
    assert 0.09 < loop.time() - began < 5


@pytest.mark.parametrize("speed", [0, -1])
def test_time_does_not_stand_still(speed):
    with pytest.raises(ValueError, match="above 0"):
        Clock(speed)
