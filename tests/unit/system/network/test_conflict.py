from __future__ import annotations

from pathlib import Path

import pytest

from ampgate.system import files, places
from ampgate.system.network.conflict import conflict
from ampgate.system.network.lastresort import FALLBACK, State

pytestmark = pytest.mark.unit


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state.json"
    monkeypatch.setattr(places, "FALLBACK_STATE", path)
    return path


def test_who_has_the_address(seen: Path) -> None:
    rival = {"address": str(FALLBACK), "used_by": "02:00:00:00:00:05"}
    files.replace_json(seen, {"interface": "eth0", "state": State.IN_USE} | rival)
    assert conflict() == "network: the fallback address 192.168.100.246/24 is in use by 02:00:00:00:00:05"


@pytest.mark.parametrize("state", [state for state in State if state is not State.IN_USE])
def test_any_other_state_is_none(state: State, seen: Path) -> None:
    files.replace_json(seen, {"interface": "eth0", "state": state, "address": str(FALLBACK), "used_by": None})
    assert conflict() == ""


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_no_file_or_another_one_is_none(text: str | None, seen: Path) -> None:
    if text is not None:
        seen.write_text(text)
    assert conflict() == ""
