"""The command line: exit code 0, 1 for a failure, 2 for wrong use, and what people read."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampgate import __version__, cli
from ampgate.cli import main
from ampgate.config import parse
from ampgate.gateway import Gateway, StartError
from ampgate.registers.catalogue import SIGNALS

SITE = """
[modbus.tcp]
host = "127.0.0.1"
port = 0
[ocpp]
host = "127.0.0.1"
port = 0
[[charger]]
id = "CP1"
name = "Left"
connectors = 2
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:  # short: a socket's path has 107 characters
        yield Path(directory)


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["check", "--what"], ["registers", "--format", "pdf"]])
def test_wrong_use(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: ampgate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["", "run", "gateway", "check", "check-connection", "registers", "status", "trace", "simulate"]
)
def test_help(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command.split(), "--help"])
    assert exit_.value.code == 0
    assert f"usage: ampgate {command}".strip() in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ampgate {__version__}\n"


# check


def test_check(site: Path, capsys: Capture) -> None:
    assert main(["check", "--config", str(site)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{site} is sound, chargers: 1\n")
    for text in ("CP1", "Left", "127.0.0.1:0", "712", "811", "812", "911"):  # connectors 1 and 2
        assert text in out
    assert "1012" not in out


def test_check_lists_every_mistake(site: Path, capsys: Capture) -> None:
    site.write_text("[ocpp]\nport = 70000\nhots = 'x'")
    assert main(["check", "--config", str(site)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"ampgate: {site}: ocpp.port = 70000 must be a whole number, 0…65535",
        f"ampgate: {site}: ocpp.hots is not a key; did you mean host?",
    ]


@pytest.mark.parametrize("command", ["check", "gateway", "run", "registers"])
def test_no_configuration(command: str, tmp_path: Path, capsys: Capture) -> None:
    assert main([command, "--config", str(tmp_path / "absent.toml")]) == 1
    assert "absent.toml: no such file" in capsys.readouterr().err


# registers


def test_registers_as_csv(site: Path, capsys: Capture) -> None:
    assert main(["registers", "--config", str(site), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    found = {(row["address"], row["group"]): row for row in rows}
    # configuration guide r1.2, appendix 2: connector 2 of charger 0, offset 2
    assert found["814", "connector"] | {"name": "", "values": ""} == found["814", "connector"] | {
        "unit_id": "1",
        "registers": "1",
        "charger": "0",
        "connector": "2",
        "type": "uint16",
        "access": "R",
        "active": "yes",
        "name": "",
        "values": "",
    }
    assert ("914", "connector") not in found


@pytest.mark.parametrize("arguments", [[], ["--format", "text"]])
def test_registers_in_general(arguments: list[str], capsys: Capture) -> None:
    assert main(["registers", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r" +1 714 +0 +1 +R +uint16 +connector: status", line) for line in lines)


def test_registers_of_a_mode(site: Path, capsys: Capture) -> None:
    def groups(*arguments: str) -> set[str]:
        assert main(["registers", *arguments, "--format", "csv"]) == 0
        rows = csv.DictReader(capsys.readouterr().out.splitlines())
        return {row["group"] for row in rows if row["active"] == "yes"}

    gone = {signal.group for signal in SIGNALS.values() if signal.mode == "bms"}
    for arguments in ([], ["--config", str(site)]):
        assert groups(*arguments) - groups(*arguments, "--mode", "external") == gone
        assert groups(*arguments, "--mode", "bms") == groups(*arguments)
    assert main(["registers", "--mode", "external", "--format", "md"]) == 1


def test_registers_as_a_page(site: Path, capsys: Capture) -> None:
    assert main(["registers", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("# Register map\n")
    assert main(["registers", "--format", "md", "--config", str(site)]) == 1
    assert "use text or csv with --config" in capsys.readouterr().err


def test_a_reader_that_has_enough(site: Path) -> None:
    """`ampgate registers | head -1` is no failure."""
    site.write_text("".join(f"[[charger]]\nid = 'CP{number}'\nconnectors = 7\n" for number in range(20)))
    with subprocess.Popen(
        [sys.executable, "-m", "ampgate", "registers", "--format", "csv", "--config", str(site)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # unbuffered it would not notice
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


# status and trace

STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "name": "Garage",
    "mode": "bms",
    "uptime": 3725.4,
    "modbus": {
        "unit_id": 1,
        "tcp": {
            "host": "0.0.0.0",
            "port": 502,
            "clients": 2,
            "max_clients": 6,
            "requests": 1000,
            "exceptions": 3,
            "refused": 1,
        },
        "rtu": {
            "line": "/dev/ttyAMA0 9600 8N1",
            "open": False,
            "requests": 7,
            "exceptions": 0,
            "bus_messages": 9,
            "bus_errors": 2,
        },
    },
    "ocpp": {"host": "0.0.0.0", "port": 9000, "connected": 1, "unknown": {"CP9": 4, "": 1}, "upstream": ""},
    "board": {
        "name": "ampgate-cm4",
        "lamps": {
            "port_a": {"shows": "on", "on": True, "switched": 1},
            "ethernet": {"shows": "off", "on": False, "switched": 0},
            "feedback_red": {"shows": "off", "on": False, "switched": 0},
            "feedback_green": {"shows": "blinking", "on": True, "switched": 99},
            "button": {"shows": "on", "on": True, "switched": 1},
        },
        "button": False,
        "switches": {"at_start": [True, True, False], "now": [True, True, False]},
        "termination": False,
        "bias": True,
        "alarms": [],
    },
    "alarms": [],
    "chargers": [
        {
            "index": 0,
            "id": "CP1",
            "name": "Left",
            "online": True,
            "vendor": "A",
            "model": "B",
            "waiting": ["authorize", "stop_transaction"],
            "upstream": None,
            "connectors": [
                {
                    "number": 1,
                    "status": "Charging",
                    "error": "NoError",
                    "power_w": 7200.0,
                    "energy_wh": 12345.0,
                    "currents_a": [10.0, 10.0, 10.0],
                    "id_tag": "TAG",
                    "session_wh": 1500.0,
                    "session_s": 60,
                    "transaction_id": 5,
                },
                {
                    "number": 2,
                    "status": None,
                    "error": "",
                    "power_w": 0.0,
                    "energy_wh": 0.0,
                    "currents_a": [0.0, 0.0, 0.0],
                    "id_tag": "",
                    "session_wh": None,
                    "session_s": None,
                    "transaction_id": None,
                },
            ],
        }
    ],
    "activity": [{"at": 1769860800.0 + number, "charger": "CP1", "text": f"event {number}"} for number in range(10)]
    + [{"at": 1769860900.0, "charger": "", "text": "the BMS is back"}],
}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A gateway that answers with these."""
    answers: dict[str, Any] = {"status": STATUS, "trace": []}
    monkeypatch.setattr(cli.control, "ask", lambda path, method, **parameters: answers[method])
    return answers


@pytest.mark.usefixtures("running")
def test_status_in_words(capsys: Capture) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    lines = [re.sub(" +", " ", line).strip() for line in out.splitlines()]
    assert lines[0] == "Garage ampgate 1.2.3, mode bms, up 1 h 2 min"
    assert lines[1] == "Modbus TCP 0.0.0.0:502 unit 1 2/6 clients 1000 requests, 3 exceptions, 1 turned away"
    assert lines[2].startswith("Modbus RTU /dev/ttyAMA0 9600 8N1 (cannot be opened) address 1 7 requests")
    assert lines[3] == "OCPP ws://0.0.0.0:9000 1/1 chargers connected"
    assert lines[4] == "Not configured but tried to connect: CP9 (4×), (none) (1×)"
    assert lines[5:7] == [
        "Board ampgate-cm4 LED 1 on, LED 2 off, feedback green blinking, feedback red off, button on",
        "EIA-485 DIP switch 1 ON, 2 ON, 3 OFF: termination off, bias on",
    ]
    assert "CP1 Left 1 Charging 7.20 kW 12.3 kWh 1.50 kWh TAG" in lines
    assert "2 - 0.00 kW 0.0 kWh" in lines
    assert "waits for the BMS: authorize, stop_transaction" in lines
    assert lines[-1].endswith("gateway: the BMS is back")
    assert "event 3" in out
    assert "event 2" not in out  # the last eight events
    assert len(lines) <= 24  # one screen


def test_a_board_with_troubles(running: dict[str, Any], capsys: Capture) -> None:
    changes = {"at_start": None, "now": None}, {"at_start": [False, False, False], "now": [False, True, True]}
    for switches, known in zip(changes, (None, False), strict=True):
        running["board"] = STATUS["board"] | {
            "switches": switches,
            "termination": known,
            "bias": known,
            "button": True,
            "alarms": ["no lamps", "no expander"],
        }
        assert main(["board"]) == 0
    lines = [re.sub(" +", " ", line).strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("button on, button pressed")
    assert lines[1:5] == [
        "EIA-485 DIP switch unknown: termination unknown, bias unknown",
        "Alarm no lamps",
        "Alarm no expander",
        lines[0],
    ]
    assert lines[5:7] == [
        "EIA-485 DIP switch 1 OFF, 2 OFF, 3 OFF: termination off, bias off",
        "now DIP switch 1 OFF, 2 ON, 3 ON: in force after a restart",
    ]


def test_a_simulated_board_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(path: Path, method: str, **parameters: Any) -> Any:
        asked.append((path, method, parameters))
        return STATUS["board"]

    monkeypatch.setattr(cli.control, "ask", ask)
    assert main(["board", "--state", "here", "--on", "1", "2", "--off", "3", "--button", "pressed"]) == 0
    assert main(["board", "--button", "released"]) == 0
    assert main(["board"]) == 0
    assert asked == [
        (Path("here/control.sock"), "board", {"on": [1, 2], "off": [3], "pressed": True}),
        (Path(".ampgate/control.sock"), "board", {"on": (), "off": (), "pressed": False}),
        (Path(".ampgate/control.sock"), "board", {"on": (), "off": (), "pressed": None}),
    ]


@pytest.mark.parametrize("arguments", [["--on", "4"], ["--off", "0"], ["--on"], ["--button", "broken"]])
def test_switches_that_do_not_exist(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["board", *arguments])
    assert end.value.code == 2


@pytest.mark.parametrize("command", ["gateway", "check"])
def test_a_board_that_cannot_be_used(
    command: str, site: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("ampgate.logs.start", lambda style, level: None)
    where = ["--state", str(state)] if command == "gateway" else []
    assert main([command, "--config", str(site), "--board", str(state / "board.toml"), *where]) == 1
    assert capsys.readouterr().err.startswith(f"ampgate: {state / 'board.toml'} cannot be read: ")


def test_check_names_the_port_of_the_board(site: Path, tmp_path: Path, capsys: Capture) -> None:
    board = tmp_path / "board.toml"
    board.write_text('name = "desk"\nbackend = "simulated"\n[serial]\ndevice = "/dev/ttyDesk"\n', encoding="utf-8")
    site.write_text('[modbus]\ntransport = "rtu"\n' + SITE.replace('[modbus.tcp]\nhost = "127.0.0.1"\nport = 0\n', ""))
    assert main(["check", "--config", str(site), "--board", str(board)]) == 0
    assert "Modbus RTU  /dev/ttyDesk 9600 8N1" in capsys.readouterr().out


def test_status_of_a_charger_that_is_away(running: dict[str, Any], capsys: Capture) -> None:
    [charger] = STATUS["chargers"]
    running["status"] = STATUS | {"chargers": [charger | {"online": False, "waiting": []}]}
    running["status"]["modbus"] = STATUS["modbus"] | {"tcp": None, "rtu": None}
    running["status"]["ocpp"] = STATUS["ocpp"] | {"unknown": {}}
    running["status"]["alarms"] = ["network: out of order"]
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "offline" in out
    assert "Alarm       network: out of order\n" in out
    for text in ("Charging", "Modbus", "Not configured", "waits"):
        assert text not in out


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ({"state": "connected", "kept": 0, "given_up": 0}, "connected"),
        ({"state": "delivering", "kept": 12, "given_up": 0}, "delivering, 12 messages to deliver"),
        (
            {"state": "away: refused: nothing listens on this port", "kept": 12, "given_up": 2},
            "away: refused: nothing listens on this port, 12 messages to deliver, 2 given up",
        ),
        ({"state": "", "kept": 0, "given_up": 0}, "not connected"),
    ],
)
def test_status_of_an_external_central_system(
    upstream: dict[str, Any], words: str, running: dict[str, Any], capsys: Capture
) -> None:
    [charger] = STATUS["chargers"]
    running["status"] = STATUS | {"mode": "external", "chargers": [charger | {"waiting": [], "upstream": upstream}]}
    running["status"]["ocpp"] = STATUS["ocpp"] | {"upstream": "wss://cs:443/<charger id>"}
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "mode external" in out
    assert "Upstream    wss://cs:443/<charger id>\n" in out
    assert f"central system: {words}\n" in out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 min 0 s"), (59.9, "0 min 59 s"), (3599, "59 min 59 s"), (86399, "23 h 59 min"), (90000, "1 d 1 h")],
)
def test_uptime(seconds: float, text: str, running: dict[str, Any], capsys: Capture) -> None:
    running["status"] = STATUS | {"uptime": seconds}
    main(["status"])
    assert f"up {text}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("running")
def test_status_as_json(capsys: Capture) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


FRAMES = [
    {"at": 1769860800.25, "peer": "ocpp CP1", "sent": False, "data": '[2,"1","Heartbeat",{}]'},
    {"at": 1769860800.5, "peer": "ocpp CP1", "sent": True, "data": '[3,"1",{}]'},
]


def test_trace(running: dict[str, Any], capsys: Capture) -> None:
    running["trace"] = FRAMES
    assert main(["trace", "--count", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'\d\d:\d\d:\d\d\.250 ocpp CP1 -> \[2,"1","Heartbeat",\{\}\]', first)
    assert re.fullmatch(r'\d\d:\d\d:\d\d\.500 ocpp CP1 <- \[3,"1",\{\}\]', second)


def test_trace_as_json_lines(running: dict[str, Any], tmp_path: Path, capsys: Capture) -> None:
    running["trace"] = FRAMES
    assert main(["trace", "--json"]) == 0
    printed = capsys.readouterr().out
    assert [json.loads(line) for line in printed.splitlines()] == FRAMES
    path = tmp_path / "trace.jsonl"
    assert main(["trace", "--save", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: 2 frames\n"
    assert path.read_text(encoding="utf-8") == printed
    assert main(["trace", "--save", str(tmp_path / "none" / "trace.jsonl")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    running["trace"] = []
    assert main(["trace", "--json"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("options", "count"), [([], 50), (["--count", "7", "--json"], 7)])
def test_how_many_frames(options: list[str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cli.control, "ask", lambda path, method, count: asked.append(count) or [])
    assert main(["trace", *options]) == 0
    assert asked == [count]


def test_all_frames_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.control, "ask", lambda path, method, count: FRAMES[:count])
    assert main(["trace", "--save", str(tmp_path / "t")]) == 0
    assert len((tmp_path / "t").read_text().splitlines()) == 2


@pytest.mark.parametrize("command", ["status", "trace", "board"])
def test_no_gateway(command: str, state: Path, capsys: Capture) -> None:
    assert main([command, "--state", str(state)]) == 1
    assert capsys.readouterr().err == f"ampgate: no gateway is running with {state} (option --state)\n"


async def test_status_of_a_real_gateway(state: Path, capsys: Capture) -> None:
    gateway = Gateway(parse(SITE), state)
    async with gateway.running():
        for arguments in (["status"], ["status", "--json"], ["trace"]):
            assert await asyncio.to_thread(main, [*arguments, "--state", str(state)]) == 0
    out = capsys.readouterr().out
    assert f"ws://127.0.0.1:{gateway.ocpp_port}  0/1 chargers connected" in out
    assert "CP1 Left" in out


# gateway and run


@pytest.mark.parametrize("command", ["gateway", "run"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_gateway_is_run(command: str, loop: str, site: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ampgate import gateway, logs

    seen = []

    async def run(config: Any, directory: Path, board: Path | None, *, system_clock: bool) -> None:
        assert board == Path("board.toml")
        assert not system_clock
        seen.append((config.charger[0].id, directory, type(asyncio.get_running_loop()).__module__.partition(".")[0]))

    monkeypatch.setattr(gateway, "run", run)
    monkeypatch.setattr(logs, "start", lambda style, level: seen.append((style, level)))
    arguments = ["--config", str(site), "--state", str(state), "--loop", loop, "--log", "json", "--log-level", "DEBUG"]
    arguments += ["--board", "board.toml"]
    assert main([command, *arguments]) == 0
    assert seen == [(logs.LogFormat.JSON, "DEBUG"), ("CP1", state, loop)]


def test_a_gateway_that_cannot_start(site: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from ampgate import gateway, logs

    async def run(config: Any, directory: Path, board: Path | None, **options: bool) -> None:
        raise StartError("the port is taken")

    monkeypatch.setattr(gateway, "run", run)
    monkeypatch.setattr(logs, "start", lambda style, level: None)
    assert main(["gateway", "--config", str(site), "--state", str(state)]) == 1
    assert capsys.readouterr().err == "ampgate: the port is taken\n"


@pytest.mark.parametrize("saved", [True, False])
def test_the_device_has_defaults_until_something_is_saved(
    saved: bool, site: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ampgate import gateway, logs

    defaults = tmp_path / "defaults.toml"
    defaults.write_text("[gateway]\nname = 'new'\n")
    seen = []

    async def run(config: Any, directory: Path, board: Path | None, *, system_clock: bool) -> None:
        seen.append((config.gateway.name, system_clock))

    monkeypatch.setattr(gateway, "run", run)
    monkeypatch.setattr(logs, "start", lambda style, level: None)
    path = site if saved else tmp_path / "missing.toml"
    arguments = ["--config", str(path), "--defaults", str(defaults), "--state", str(state), "--system-clock"]
    assert main(["gateway", *arguments]) == 0
    assert seen == [("ampgate" if saved else "new", True)]


def test_without_uvloop_the_standard_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # importing it fails
    assert cli._loop_factory("uvloop") is None


def test_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    import ampgate.demo

    seen: list[Any] = []
    monkeypatch.setattr(ampgate.demo, "run_demo", lambda *ports, duration: seen.append((ports, duration)) or 7)
    assert main(["run", "--demo", "--modbus-port", "1", "--ocpp-port", "2", "--duration", "3"]) == 7
    assert seen == [((1, 2), 3.0)]


def test_simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    from ampgate.simulator import command

    monkeypatch.setattr(command, "run", lambda options: (options.url, options.count))
    assert main(["simulate", "--url", "ws://192.0.2.1:9000", "--count", "3"]) == ("ws://192.0.2.1:9000", 3)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **parameters: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.control, "ask", interrupt)
    assert main(["status"]) == 130  # 128 + SIGINT
