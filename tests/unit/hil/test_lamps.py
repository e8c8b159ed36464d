"""Lamps with times: what a look shows, and the lines of a lamp sensor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from hil.drivers import lamps
from hil.drivers.lamps import Change, SensedLamps
from hil.drivers.protocols import LAMPS, Light
from tests.conformance.serial_line import DEADLINE, Pty, pty

pytestmark = pytest.mark.unit

DARK = "".join(f"1000 {name} 0\n" for name in LAMPS)


@pytest.fixture
def sensor() -> Iterator[Pty]:
    with pty() as line:
        yield line


@pytest.fixture
def watch(sensor: Pty) -> Iterator[Callable[[str], SensedLamps]]:
    """Lamps whose sensor tells this when it is asked for their state."""
    seen = SensedLamps()

    def begin(state: str) -> SensedLamps:
        def answer() -> None:
            assert sensor.receive(2) == b"?\n"
            os.write(sensor.fd, state.encode())

        thread = threading.Thread(target=answer)
        thread.start()
        seen.watch(sensor.path)
        thread.join(DEADLINE)
        return seen

    yield begin
    seen.unwatch()


def test_the_state_at_the_beginning_and_each_change(watch, sensor):
    seen = watch("lamp sensor, 5 inputs\n" + DARK.replace("button 0", "button 1"))
    assert seen.lamps() == dict.fromkeys(LAMPS, False) | {"button": True}
    os.write(sensor.fd, b"1050 port_a 1\n1100 ")
    seen.until(lambda: seen.lamps_now("port_a"), "LED 1 on", DEADLINE)
    os.write(sensor.fd, b"port_a 0\n")
    seen.until_lit("button", timeout=DEADLINE)
    assert seen.changes[-2:] == [Change(1050, "port_a", True), Change(1100, "port_a", False)]


def test_what_is_no_change_is_a_remark(watch, sensor):
    seen = watch(DARK)
    os.write(sensor.fd, b"\xff\x00 port_a 1\nsoon port_a 1\n1 led_9 1\n1 port_a 1 1\n\n2000 ethernet 1\n")
    seen.until_lit("ethernet", timeout=DEADLINE)
    assert len(seen.changes) == len(LAMPS) + 1


def test_a_sensor_that_does_not_tell_all_lamps(watch, monkeypatch):
    monkeypatch.setattr(lamps, "STATE", 0.1)
    with pytest.raises(AssertionError, match="the state of each lamp"):
        watch("1000 port_a 0\n")


def test_a_look_tells_on_off_and_blinking(watch, sensor, monkeypatch):
    seen = watch(DARK.replace("button 0", "button 1"))

    def look_while_it_blinks(_: float) -> None:
        os.write(sensor.fd, b"2000 feedback_green 1\n2500 feedback_green 0\n2600 port_a 1\n")
        seen.until(lambda: seen.lamps_now("port_a"), "the last change", DEADLINE)

    monkeypatch.setattr(lamps.time, "sleep", look_while_it_blinks)
    assert seen.look() == dict.fromkeys(LAMPS, Light.OFF) | {
        "feedback_green": Light.BLINKING,
        "port_a": Light.ON,
        "button": Light.ON,
    }
