"""The page about the hardware says what board.toml, the DIP switch's table and the lamps' patterns say."""

from __future__ import annotations

import itertools
import re
import tomllib
from typing import Any

import pytest

from ampgate.board.box import Alarm
from ampgate.board.dip import resistors
from ampgate.board.patterns import NORMAL, STEP, Trouble
from ampgate.board.ports import Switches
from ampgate.bridge import vitals
from ampgate.registers.catalogue import SIGNALS
from tests.unit.test_docs import DOCS, ROOT, code, rows

pytestmark = pytest.mark.unit

HARDWARE = DOCS / "hardware.md"


def place(key: str, value: Any) -> str:
    """How the page writes a value of board.toml."""
    if key == "expander.address":
        return f"0x{value:02x}"
    pins = value if isinstance(value, list) else [value]
    prefix = "" if isinstance(value, str) else "P" if key.startswith("expander.") else "GPIO "
    return ", ".join(f"{prefix}{pin}" for pin in pins)


def test_the_pin_map_is_that_of_the_reference_board() -> None:
    content = tomllib.loads((ROOT / "board" / "ampgate-cm4" / "board.toml").read_text(encoding="utf-8"))
    tables = {name: table for name, table in content.items() if isinstance(table, dict)}
    pins = {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()}
    listed = {code(row["key of board.toml"]): row["where"] for row in rows(HARDWARE, "key of board.toml", "where")}
    assert listed == {key: place(key, value) for key, value in pins.items()}


def test_every_position_of_the_dip_switch_is_listed() -> None:
    columns = ("switch 1", "switch 2", "switch 3")
    listed = {tuple(row[column] == "ON" for column in columns): row for row in rows(HARDWARE, *columns)}
    assert set(listed) == set(itertools.product((False, True), repeat=3))
    for positions, row in listed.items():
        wanted = resistors(Switches(*positions))
        assert (row["bias"], row["termination"]) == (
            "on" if wanted.bias else "off",
            "on" if wanted.termination else "off",
        )
        assert ("warning" in row["remark"]) == bool(wanted.warning)


def test_every_red_code_is_listed() -> None:
    assert [int(row["red flashes"]) for row in rows(HARDWARE, "red flashes", "trouble")] == sorted(Trouble)


def test_times_of_the_lamps_are_right() -> None:
    text = HARDWARE.read_text(encoding="utf-8")
    assert f"for {STEP * 1000:g} ms" in text
    assert len(NORMAL.green) * STEP == 1
    assert "once a second: normal operation" in text


def test_alarm_bits_are_those_of_the_signal() -> None:
    bits = {flag.bit_length() - 1 for flag in Alarm}
    assert {int(row["bit of register 8"]) for row in rows(HARDWARE, "alarm", "bit of register 8")} == bits
    label = SIGNALS["gateway_state.alarms"].label
    listed = {int(number) for number in re.findall(r"[:;] (\d+)", label)}
    assert listed == bits | {flag.bit_length() - 1 for flag in vitals.Alarm}


def idle_voltage(supply: float, bias: float, termination: float, loads: int) -> float:
    """Millivolts between B+ and A-, by Kirchhoff at both wires; a unit load is 12 kΩ from each to ground (TIA-485)."""
    up, load, across = 1 / bias, loads / 12000, 1 / termination
    own = up + load + across
    b = supply * up / (own - across**2 / own)
    a = b * across / own
    return (b - a) * 1000


def test_the_bias_is_enough() -> None:
    text = HARDWARE.read_text(encoding="utf-8")
    assert f"= {idle_voltage(5, 620, 60, 0):.0f} mV between B+ and A−" in text
    assert f"{idle_voltage(5, 620, 60, 28):.0f} mV with 28 unit loads" in text
    worst = idle_voltage(4.75, 626.2, 59.4, 28)
    assert f"leaves {worst:.0f} mV" in text
    assert worst > 200
