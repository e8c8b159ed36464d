from __future__ import annotations

from pathlib import Path

import pytest

from ampgate.board.ports import Switches
from ampgate.board.simulated import SimulatedBackend

pytestmark = pytest.mark.unit


def test_switches_and_button_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    first = SimulatedBackend(path)
    assert (first.switches(), first.button()) == ((False, False, False), False)
    first.move(Switches(True, False, True))
    first.press(True)
    second = SimulatedBackend(path)
    assert second.switches() == Switches(True, False, True)
    assert second.button()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"switches": [1, 2, 3]}', b"[]"])
def test_a_damaged_memory_is_all_off(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_bytes(content)
    backend = SimulatedBackend(path)
    assert (backend.switches(), backend.button()) == ((False, False, False), False)
    backend.press(True)
    assert SimulatedBackend(path).button()


def test_without_a_memory() -> None:
    backend = SimulatedBackend()
    backend.move(Switches(True, True, True))
    assert backend.switches() == (True, True, True)
    assert SimulatedBackend().switches() == (False, False, False)
