"""``ampgate bms …`` as people read it, with the answers of a control socket in the test."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ampgate import control
from ampgate.cli import main

Capture = pytest.CaptureFixture[str]
STATUS: dict[str, Any] = {
    "label": "OCPP",
    "enabled": True,
    "online": True,
    "gateway": "10.0.0.9:502 unit 1",
    "extensions": False,
    "read_rate": 5,
    "trouble": "",
    "systems": [
        {
            "name": "S1",
            "place": "Garage/1",
            "trouble": "",
            "status": "Charging",
            "error": "No error",
            "session": {"user": "User A", "minutes": 12, "transaction": 7},
            "last": {"energy": "0.123", "reason": "Remote", "counter": 1},
        },
        {
            "name": "S2",
            "place": "Garage/2",
            "trouble": "",
            "status": "Fault",
            "error": "Ground failure",
            "session": None,
            "last": {"energy": "", "reason": "", "counter": 0},
        },
    ],
}
USE = {"sessions": 2, "energy": 1.6234, "minutes": 79}
SESSION = {
    "connector": 1,
    "transaction": 7,
    "id_tag": "TAG",
    "user": "User A",
    "started": "2023-06-19T14:22:00Z",
    "ended": "2023-06-19T15:31:25.5Z",
    "energy": 0.1234,
    "minutes": 69,
    "reason": "Remote",
    "place": "Garage/1",
}


class Asked:
    """What the socket was asked, and what it answers."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "status": STATUS,
            "task": "Garage/1: start: accepted",
            "reset": "Garage/1: reset EV: accepted",
            "write": "M1.DL = Yard",
            "sessions": [SESSION],
            "use": [{"name": "S1", "place": "Garage/1", "today": USE, "previous": USE, "total": USE}],
            "objects": [{"reference": "M1.DL", "access": "RW", "description": "System Label", "text": "OCPP"}],
        }

    def method(self, name: str) -> Callable[..., Any]:
        def answer(**parameters: Any) -> Any:
            self.questions.append((name, parameters))
            return self.answers[name]

        return answer


Run = Callable[..., Awaitable[int]]


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Asked, Run]]:
    asked = Asked()
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:  # short: a socket's path has 107 characters
        path = Path(directory) / control.SOCKET_NAME
        server = control.ControlServer(path, {name: asked.method(name) for name in asked.answers}, "BMS")
        await server.start()
        yield asked, lambda *words: asyncio.to_thread(main, ["bms", *words, "--state", directory])
        await server.stop()


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["start", "--user", "User A"], ("task", {"place": "", "task": 1, "user": "User A"})),
        (["start", "S2"], ("task", {"place": "S2", "task": 1, "user": ""})),
        (["stop", "Garage/1"], ("task", {"place": "Garage/1", "task": 2, "user": ""})),
        (["unlock"], ("task", {"place": "", "task": 3, "user": ""})),
        (["reset", "registers"], ("reset", {"place": "", "what": 1})),
        (["reset", "cache", "S2"], ("reset", {"place": "S2", "what": 2})),
        (["reset", "charger"], ("reset", {"place": "", "what": 3})),
        (["objects", "M1.DL", "Yard"], ("write", {"reference": "M1.DL", "value": "Yard"})),
        (["objects", "S1.A.U", ""], ("write", {"reference": "S1.A.U", "value": ""})),
        (["objects"], ("objects", {"reference": ""})),
        (["sessions"], ("sessions", {"count": 20})),
    ],
)
async def test_questions(asked: tuple[Asked, Run], words: list[str], question: Any, capsys: Capture) -> None:
    answers, run = asked
    assert await run(*words) == 0
    assert answers.questions == [question]
    answer = answers.answers[question[0]]
    assert not isinstance(answer, str) or capsys.readouterr().out == f"{answer}\n"


async def test_status(asked: tuple[Asked, Run], capsys: Capture) -> None:
    answers, run = asked
    assert await run("status") == 0
    assert capsys.readouterr().out == (
        "OCPP  gateway 10.0.0.9:502 unit 1: online, original map, polled every 5 s\n"
        "\n"
        "    charger   status          session  user    last charge  reason\n"
        "S1  Garage/1  Charging        12 min   User A  0.123 kWh    Remote\n"
        "S2  Garage/2  Ground failure\n"
    )
    answers.answers["status"] = STATUS | {"online": False, "trouble": "no connection"}
    assert await run("status") == 0
    assert capsys.readouterr().out.startswith(
        "OCPP  gateway 10.0.0.9:502 unit 1: not online, polled every 5 s\nno connection\n\n"
    )
    answers.answers["status"] = STATUS | {"enabled": False}
    assert await run("status") == 0
    assert "unit 1: off, " in capsys.readouterr().out
    assert await run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["systems"] == STATUS["systems"]


async def test_use(asked: tuple[Asked, Run], capsys: Capture) -> None:
    answers, run = asked
    assert await run("use", "--reset") == 0
    assert [name for name, _ in answers.questions] == ["write", "use"]
    assert capsys.readouterr().out == (
        "    charger   use       sessions  kWh    min\n"
        "S1  Garage/1  today     2         1.623  79\n"
        "              previous  2         1.623  79\n"
        "              total     2         1.623  79\n"
    )


async def test_sessions(asked: tuple[Asked, Run], capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = asked
    assert await run("sessions") == 0
    assert "Garage/1  User A  0.123  69   Remote" in capsys.readouterr().out
    assert await run("sessions", "--csv") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "started,ended,place,user,energy,minutes,reason,transaction,id_tag"
    assert row.endswith(":25,Garage/1,User A,0.1234,69,Remote,7,TAG")


async def test_objects(asked: tuple[Asked, Run], capsys: Capture) -> None:
    answers, run = asked
    assert await run("objects", "M1") == 0
    assert capsys.readouterr().out == "object      description   value\nM1.DL   RW  System Label  OCPP\n"
    assert await run("objects", "--json") == 0
    assert json.loads(capsys.readouterr().out) == answers.answers["objects"]


@pytest.mark.parametrize("words", [["status"], ["start"], ["use", "--reset"], ["objects", "M1.E", "No"]])
def test_nobody_there(words: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["bms", *words, "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"ampgate: no BMS is running with {tmp_path} (option --state)\n"


def test_a_configuration_that_is_wrong(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bms.toml"
    path.write_text("[bms]\nread_rate = 301")
    assert main(["bms", "run", "--config", str(path), "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"ampgate: {path}: bms.read_rate = 301 must be a whole number, 1…300\n"


def test_a_state_directory_that_is_none(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bms.toml"
    path.write_text("")
    assert main(["bms", "run", "--config", str(path), "--state", str(path)]) == 1
    assert f"ampgate: the state directory {path} cannot be used" in capsys.readouterr().err
