"""The box in a running event loop, with boards whose parts fail in the hands of the test."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ampgate.board import Board, make_board
from ampgate.board import box as box_module
from ampgate.board.box import Alarm, Box
from ampgate.board.panel import Signs
from ampgate.board.patterns import Trouble
from ampgate.board.ports import Fault, Switches
from ampgate.board.simulated import SimulatedBackend
from tests.integration.peers import DEADLINE, until
from tests.unit.board.bench import ChipBench

pytestmark = pytest.mark.unit

IDLE = Signs(connected=False, ocpp_frames=0, modbus_frames=0)
OFF, ALL_ON = Switches(False, False, False), Switches(True, True, True)


class Parts(SimulatedBackend):
    """A simulated board that a test breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.missing = False
        self.dark = False
        self.answers = threading.Event()
        self.answers.set()
        self.closed = False
        self.applied: list[tuple[bool, bool]] = []

    def switches(self) -> Switches:
        self.answers.wait(DEADLINE)
        if self.missing:
            raise Fault("no expander")
        return super().switches()

    def resistors(self, termination: bool, bias: bool) -> None:
        if self.missing:
            raise Fault("no expander")
        super().resistors(termination, bias)
        self.applied.append((termination, bias))

    def close(self) -> None:
        self.closed = True

    def lamp(self, name: str, on: bool) -> None:
        if self.dark:
            raise Fault("no lamps")
        super().lamp(name, on)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "POLL_INTERVAL", 0.01)


@pytest.fixture
def parts() -> Parts:
    return Parts()


Run = Callable[..., contextlib.AbstractAsyncContextManager[Box]]


@pytest.fixture
def run(parts: Parts) -> Run:
    @contextlib.asynccontextmanager
    async def run(signs: Callable[[], Signs] = lambda: IDLE, board: Board | None = None) -> AsyncIterator[Box]:
        box = Box(board or Board("test", "/dev/null", parts), signs)
        box.start()
        try:
            yield box
        finally:
            await box.stop()

    return run


async def test_the_dip_switch_counts_as_it_was_at_the_start(run: Run, parts: Parts) -> None:
    parts.move(ALL_ON)
    async with run() as box:
        await until(lambda: parts.termination and parts.bias, "the resistors are in")
        parts.move(OFF)
        await until(lambda: box.present == OFF, "the new position is seen")
        applied = len(parts.applied)
        await until(lambda: len(parts.applied) > applied + 1, "the resistors are set again")
        assert box.at_start == ALL_ON
        assert set(parts.applied) == {(True, True)}
        assert box.status()["switches"] == {"at_start": ALL_ON, "now": OFF}
        assert box.registers() == {"dip_switch": 7, "dip_switch_now": 0, "termination": 1, "bias": 1}
        assert box.alarms == []
    assert (parts.termination, parts.bias) == (True, True)
    assert parts.closed


async def test_one_bias_switch_alone(run: Run, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    parts.move(Switches(False, True, True))
    async with run() as box:
        await until(lambda: parts.lamps["feedback_red"], "the code begins")
        assert (parts.termination, parts.bias) == (True, False)
        assert box.alarm == Alarm.SWITCHES_DIFFER
        [alarm] = box.alarms
        assert box.registers() == {"dip_switch": 6, "dip_switch_now": 6, "termination": 1, "bias": 0}
    assert alarm in caplog.text


async def test_a_missing_expander(run: Run, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ampgate")
    parts.missing = True
    async with run() as box:
        await until(lambda: box.alarms == ["no expander"], "the alarm")
        assert box.alarm == Alarm.EXPANDER
        assert box.registers() == {"dip_switch": 0, "dip_switch_now": 0, "termination": 2, "bias": 2}
        assert box.status()["switches"] == {"at_start": None, "now": None}
        await until(lambda: parts.lamps["feedback_red"], "the lamps go on")
        await until(lambda: "no expander" in caplog.text, "the log tells")
        # It was only late: the first position that can be read is that of the start.
        parts.move(ALL_ON)
        parts.missing = False
        await until(lambda: parts.applied, "the resistors are set")
        assert box.at_start == ALL_ON
        await until(lambda: "well again: no expander" in caplog.text, "the log tells the end")
        assert box.alarm == 0
    assert caplog.text.count("no expander") == 2


async def test_lamps_that_are_missing(run: Run, parts: Parts) -> None:
    parts.dark = True
    async with run() as box:
        await until(lambda: box.registers()["termination"] == 0, "the rest works")
        assert box.alarms == ["no lamps"]
        assert box.alarm == Alarm.LINES


async def test_a_stuck_bus_delays_nobody(run: Run, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "STUCK", 0.05)
    monkeypatch.setattr(box_module, "_STOP_TIMEOUT", 0.05)
    parts.answers.clear()
    begun = time.monotonic()
    async with run() as box:
        assert time.monotonic() - begun < DEADLINE / 2
        await until(lambda: box.alarm == Alarm.EXPANDER, "the alarm")
        assert box.alarms == ["DIP switch, termination and bias: the I²C bus has not answered for 0.05 s"]
        red = box.board.lamps["feedback_red"]
        await until(lambda: red.switched >= 3, "the lamps go on")
        ending = time.monotonic()
    assert time.monotonic() - ending < DEADLINE / 2
    parts.answers.set()
    await asyncio.to_thread(box._thread.join, DEADLINE)
    assert not any(parts.lamps.values())
    assert not parts.closed  # the bus was still in use


async def test_a_bus_that_comes_loose_again(run: Run, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "STUCK", 0.05)
    async with run() as box:
        await until(lambda: box.present is not None, "the bus answers")
        parts.answers.clear()
        await until(lambda: box.alarms, "the alarm")
        parts.answers.set()
        await until(lambda: not box.alarms, "its end")


async def test_lamps_follow_the_signs(run: Run, parts: Parts) -> None:
    signs = IDLE
    async with run(lambda: signs) as box:
        await until(lambda: parts.lamps["button"], "the button's lamp")
        signs = signs._replace(connected=True)
        await until(lambda: parts.lamps["port_a"], "LED 1")
        assert not parts.lamps["ethernet"]
        signs = signs._replace(modbus_frames=1)
        ethernet = box.board.lamps["ethernet"]
        await until(lambda: ethernet.switched == 2, "LED 2 blinks")
        assert not ethernet.on
        signs = signs._replace(trouble=Trouble.BMS_ABSENT)
        await until(lambda: parts.lamps["feedback_red"], "the code")
    assert not any(parts.lamps.values())


async def test_of_two_troubles_the_smaller_number_shows(run: Run, parts: Parts) -> None:
    parts.missing = True
    async with run(lambda: IDLE._replace(trouble=Trouble.SERIAL_PORT)) as box:
        await until(lambda: box.alarms, "the alarm")
        red = box.board.lamps["feedback_red"]
        await until(lambda: red.switched >= 2 * Trouble.SERIAL_PORT, "two flashes")
        assert box._worst(IDLE._replace(trouble=Trouble.SERIAL_PORT)).trouble is Trouble.SERIAL_PORT
        assert box._worst(IDLE).trouble is Trouble.PARTS


async def test_after_a_delay_nothing_is_caught_up(run: Run, parts: Parts) -> None:
    asked = 0

    def signs() -> Signs:
        nonlocal asked
        asked += 1
        return IDLE

    async with run(signs):
        await until(lambda: asked > 1, "the timer runs")
        before = asked
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is busy with something else
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asked <= before + 2


async def test_what_did_not_start_is_left_alone(parts: Parts) -> None:
    parts.dark = True
    box = Box(Board("test", "/dev/null", parts), lambda: IDLE)
    await box.stop()
    assert box.alarms == []


# Fingers


async def test_switches_and_button_of_a_simulated_board(run: Run, parts: Parts) -> None:
    async with run() as box:
        await until(lambda: box.at_start, "the switches are read")
        box.operate(on=[1, 3])
        assert parts.switches() == (True, False, True)
        assert box.present == (True, False, True)
        box.operate(on=[2], off=[1], pressed=True)
        assert parts.switches() == (False, True, True)
        assert box.status()["button"]
        box.operate(pressed=False)
        assert not box.status()["button"]
        box.operate()
        assert parts.switches() == (False, True, True)
        assert box.at_start == OFF


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"on": [4]}, "DIP switch 4 must be 1, 2 or 3"),
        ({"off": ["1"]}, "DIP switch 1 must be"),
        ({"on": [1, 2], "off": [2]}, "DIP switch 2 cannot be ON and OFF"),
    ],
)
async def test_switches_that_cannot_be_moved(changes: dict[str, Any], reason: str, run: Run, parts: Parts) -> None:
    async with run() as box:
        with pytest.raises(ValueError, match=reason):
            box.operate(**changes)
        assert parts.switches() == OFF


async def test_a_real_board_is_moved_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    bench = ChipBench(tmp_path, monkeypatch)
    bench.move(3)
    async with run(board=bench.board) as box:
        await until(lambda: bench.resistors() == (True, False), "the termination is in")
        with pytest.raises(ValueError, match="ampgate-cm4 is no simulation"):
            box.operate(on=[1])
        box.operate()
        # An expander that has lost its power forgets everything.
        bench.expander.power_up()
        await until(lambda: bench.resistors() == (True, False), "the termination is in again")
        assert bench.lit() >= {"button"}
    assert bench.lit() == set()
    assert bench.resistors() == (True, False)


def test_a_simulated_board_keeps_its_switches(tmp_path: Path) -> None:
    first = make_board(None, tmp_path / "board.json")
    Box(first, lambda: IDLE).operate(on=[3])
    assert make_board(None, tmp_path / "board.json").dip.read() == (False, False, True)
