from __future__ import annotations

import pytest

from ampgate.board import Board, open_board
from ampgate.board.panel import BLINKING, Panel, Signs
from ampgate.board.patterns import STEP, Trouble

pytestmark = pytest.mark.unit

IDLE = Signs(connected=False, ocpp_frames=0, modbus_frames=0)
SECOND = round(1 / STEP)


@pytest.fixture
def board() -> Board:
    return open_board(None)


@pytest.fixture
def panel(board: Board) -> Panel:
    return Panel(board.lamps)


def film(panel: Panel, board: Board, lamp: str, *signs: Signs) -> str:
    """What a lamp does while these are shown, one character a step."""
    seen = ""
    for sign in signs:
        panel.step(sign)
        seen += ".#"[board.lamps[lamp].on]
    return seen


def test_normal_operation(panel: Panel, board: Board) -> None:
    green = film(panel, board, "feedback_green", *[IDLE] * 4 * SECOND)
    assert green in 5 * (10 * "#" + 10 * ".")
    assert {name: panel.shows(name) for name in board.lamps} == {
        "port_a": "off",
        "ethernet": "off",
        "feedback_red": "off",
        "feedback_green": "blinking",
        "button": "on",
    }


@pytest.mark.parametrize(("connected", "idle", "blink"), [(True, "#", "."), (False, ".", "#")])
def test_an_ocpp_frame_inverts_led_1_for_one_step(
    connected: bool, idle: str, blink: str, panel: Panel, board: Board
) -> None:
    quiet, frame = IDLE._replace(connected=connected), IDLE._replace(connected=connected, ocpp_frames=3)
    assert film(panel, board, "port_a", *[quiet] * 3, *[frame] * 4) == 3 * idle + blink + 3 * idle


def test_a_modbus_frame_lights_led_2_for_one_step(panel: Panel, board: Board) -> None:
    frame = IDLE._replace(modbus_frames=1)
    assert film(panel, board, "ethernet", *[IDLE] * 3, *[frame] * 4) == "...#..."


def test_steady_traffic_is_a_blink_every_other_step(panel: Panel, board: Board) -> None:
    busy = [IDLE._replace(connected=True, ocpp_frames=number, modbus_frames=9 * number) for number in range(1, 9)]
    assert film(panel, board, "port_a", *busy) == ".#.#.#.#"
    assert film(panel, board, "ethernet", *busy) == "#.#.#.#."
    assert (panel.shows("port_a"), panel.shows("ethernet")) == ("blinking", "blinking")


def test_a_frame_in_the_rest_after_a_blink_gets_its_own(panel: Panel, board: Board) -> None:
    signs = [IDLE._replace(modbus_frames=count) for count in (1, 2, 2, 2, 2)]
    assert film(panel, board, "ethernet", *signs) == "#.#.."


def test_counters_that_are_cleared_are_no_more_than_a_blink(panel: Panel, board: Board) -> None:
    signs = [IDLE._replace(modbus_frames=count) for count in (5, 5, 5, 0, 0, 0)]
    assert film(panel, board, "ethernet", *signs) == "#..#.."


def test_the_charger_goes_and_comes(panel: Panel, board: Board) -> None:
    there = IDLE._replace(connected=True)
    assert film(panel, board, "port_a", there, there, IDLE, IDLE, there) == "##..#"


def test_a_steady_lamp_is_not_called_blinking(panel: Panel, board: Board) -> None:
    there = IDLE._replace(connected=True)
    film(panel, board, "port_a", IDLE, there)
    assert panel.shows("port_a") == "on"
    panel.step(there._replace(ocpp_frames=1))
    panel.step(there._replace(ocpp_frames=1))
    assert panel.shows("port_a") == "blinking"
    film(panel, board, "port_a", *[there._replace(ocpp_frames=1)] * BLINKING)
    assert panel.shows("port_a") == "on"


@pytest.mark.parametrize("trouble", Trouble)
def test_troubles_flash_red_from_the_beginning_of_the_code(trouble: Trouble, panel: Panel, board: Board) -> None:
    film(panel, board, "feedback_red", *[IDLE] * 7)
    wrong = IDLE._replace(trouble=trouble)
    flashes = trouble * "#####....."
    assert film(panel, board, "feedback_red", *[wrong] * len(flashes)) == flashes
    assert film(panel, board, "feedback_red", *[wrong] * 21) == 20 * "." + "#"
    assert not board.lamps["feedback_green"].on
    assert panel.shows("feedback_red") == "blinking"
    panel.step(IDLE)
    assert (board.lamps["feedback_green"].on, board.lamps["feedback_red"].on) == (True, False)


def test_lamps_are_touched_only_when_they_change(panel: Panel, board: Board) -> None:
    film(panel, board, "button", *[IDLE] * SECOND)
    assert {name: lamp.switched for name, lamp in board.lamps.items()} == {
        "port_a": 0,
        "ethernet": 0,
        "feedback_red": 0,
        "feedback_green": board.lamps["feedback_green"].switched,
        "button": 1,
    }
