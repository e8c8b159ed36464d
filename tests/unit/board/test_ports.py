"""What every box keeps to, whatever it is made of."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ampgate.board.description import LAMPS
from ampgate.board.ports import Board, Fault, Faults, Part, Switches
from tests.unit.board.bench import Bench, ChipBench, SimulatedBench

pytestmark = pytest.mark.unit


@pytest.fixture(params=["simulated", "raspberry"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return SimulatedBench(tmp_path) if request.param == "simulated" else ChipBench(tmp_path, monkeypatch)


@pytest.fixture
def board(bench: Bench) -> Board:
    bench.board.open()
    return bench.board


def test_an_open_box_is_dark_and_well(bench: Bench, board: Board) -> None:
    assert tuple(board.lamps) == LAMPS
    assert bench.lit() == set()
    assert not board.button.pressed()
    assert board.alarms == []
    assert (board.eia485.termination, board.eia485.bias) == (None, None)


@pytest.mark.parametrize("name", LAMPS)
def test_each_lamp_is_switched_alone(name: str, bench: Bench, board: Board) -> None:
    board.lamps[name].set(True)
    assert bench.lit() == {name}
    assert board.lamps[name].on
    board.lamps[name].set(True)
    board.lamps[name].set(False)
    assert bench.lit() == set()
    assert not board.lamps[name].on
    assert board.lamps[name].switched == 2
    assert board.alarms == []


def test_the_button(bench: Bench, board: Board) -> None:
    for pressed in (True, False, True):
        bench.press(pressed)
        assert board.button.pressed() is pressed
    assert board.alarms == []


@pytest.mark.parametrize("on", [on for count in range(4) for on in itertools.combinations((1, 2, 3), count)])
def test_the_dip_switch(on: tuple[int, ...], bench: Bench, board: Board) -> None:
    bench.move(*on)
    assert board.dip.read() == Switches(1 in on, 2 in on, 3 in on)
    assert board.alarms == []


def test_the_resistors(bench: Bench, board: Board) -> None:
    for termination, bias in itertools.product((True, False), repeat=2):
        assert board.eia485.apply(termination=termination, bias=bias)
        assert bench.resistors() == (termination, bias)
        assert (board.eia485.termination, board.eia485.bias) == (termination, bias)
    assert board.alarms == []


def test_resistors_leave_the_switches_readable(bench: Bench, board: Board) -> None:
    bench.move(2)
    board.eia485.apply(termination=True, bias=True)
    assert board.dip.read() == Switches(False, True, False)


def test_a_closed_box_is_dark_and_holds_the_bus(bench: Bench, board: Board) -> None:
    board.eia485.apply(termination=True, bias=True)
    for lamp in board.lamps.values():
        lamp.set(True)
    assert bench.lit() == set(LAMPS)
    board.close()
    assert bench.lit() == set()
    assert bench.resistors() == (True, True)


def test_a_closed_box_can_be_opened_again(bench: Bench, board: Board) -> None:
    board.dip.read()
    board.close()
    board.open()
    board.lamps["button"].set(True)
    assert bench.lit() == {"button"}
    assert board.dip.read() is not None
    assert board.alarms == []


def test_faults_come_and_go() -> None:
    faults = Faults()

    def fail() -> int:
        raise Fault("no such chip")

    assert faults.guard(Part.EXPANDER, "DIP switch", fail) is None
    assert faults.guard(Part.EXPANDER, "resistors", fail) is None
    assert faults.guard(Part.LINES, "button", lambda: 7) == 7
    assert faults.texts(*Part) == ["no such chip"]
    assert faults.texts(Part.LINES) == []
    assert faults.guard(Part.EXPANDER, "DIP switch", lambda: 8) == 8
    assert faults.texts(Part.EXPANDER) == ["no such chip"]
    faults.guard(Part.EXPANDER, "resistors", lambda: 9)
    assert faults.texts(*Part) == []
