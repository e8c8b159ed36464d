"""``ampgate bms`` as a user runs it: the process, its commands, and what it keeps."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from ocpp.v16 import call

from ampgate import control
from tests.integration.conftest import StartGateway
from tests.integration.peers import DEADLINE, NOON, Charger, GatewayProcess, config_of, until

PlugIn = Callable[..., Awaitable[Charger]]
_COMMAND = (sys.executable, "-m", "ampgate", "bms")


class BmsProcess:
    """``ampgate bms run``, and the other commands for it."""

    def __init__(self, directory: Path, state: Path, config: dict[str, Any]) -> None:
        self.state = state
        self.config_path = directory / "bms.toml"
        self.config_path.write_bytes(tomli_w.dumps(config).encode())
        self.alarms_path, self.log_path = directory / "alarms", directory / "bms.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, online: bool = True) -> None:
        with self.alarms_path.open("ab") as alarms, self.log_path.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [*_COMMAND, "run", "--config", str(self.config_path), "--state", str(self.state), "--log", "text"],
                stdin=subprocess.DEVNULL,
                stdout=alarms,
                stderr=log,
            )
        await until(lambda: self.online is online, f"the BMS runs:\n{self.log_path.read_text()}")

    @property
    def online(self) -> bool | None:
        try:
            return bool(control.ask(self.state / "control.sock", "status")["online"])
        except control.ControlError:
            assert self._process is not None and self._process.poll() is None, self.log_path.read_text()
            return None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(DEADLINE)

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, while this process may have to work for it."""
        line = [*_COMMAND, *arguments, "--state", str(self.state)]
        return await asyncio.to_thread(
            subprocess.run, line, capture_output=True, text=True, timeout=4 * DEADLINE, check=False
        )

    async def output(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        result = await self.run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    async def failure(self, *arguments: str) -> str:
        """What a command says that must fail."""
        result = await self.run(*arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert "Traceback" not in result.stderr
        return result.stderr

    @property
    def alarms(self) -> list[list[str]]:
        return [line.split("\t") for line in self.alarms_path.read_text().splitlines()]


StartBms = Callable[..., BmsProcess]


@pytest.fixture
def bms_of(tmp_path: Path) -> Iterator[StartBms]:
    made: list[BmsProcess] = []
    with tempfile.TemporaryDirectory(prefix="ampgate-") as state:

        def make(port: int, **tables: Any) -> BmsProcess:
            config = {"modbus": {"timeout": 1, "tcp": {"port": port}}} | tables
            made.append(BmsProcess(tmp_path, Path(state), config))
            return made[-1]

        yield make
        for bms in made:
            bms.kill()


def begin(id_tag: str, meter: int) -> call.StartTransaction:
    return call.StartTransaction(connector_id=1, id_tag=id_tag, meter_start=meter, timestamp=NOON)


def end(transaction: int, meter: int) -> call.StopTransaction:
    return call.StopTransaction(transaction_id=transaction, meter_stop=meter, timestamp=NOON, reason="Remote")


async def session(bms: BmsProcess, charger: Charger, number: int = 1) -> int:
    """Start one for User A at a meter of 12 kWh; its transaction id."""
    await charger.status(1, "Preparing")
    started = await bms.output("start", "--user", "User A")
    assert started == "Charger/1: start: accepted\n"
    tag = (await charger.until_asked("RemoteStartTransaction", number))["id_tag"]
    answer = await charger.ask(begin(tag, 12000))
    assert answer.id_tag_info == {"status": "Accepted"}
    return int(answer.transaction_id)


@pytest.mark.timeout(180)
async def test_a_session_by_commands(gateway: GatewayProcess, plug_in: PlugIn, bms_of: StartBms) -> None:
    bms = bms_of(gateway.modbus_port)
    await bms.start()
    charger = await plug_in(gateway)
    assert await bms.failure("start") == (
        "ampgate: the charger is Available; it can be started when it is Preparing (cable connected)\n"
    )
    transaction = await session(bms, charger)
    await charger.status(1, "Charging")
    await until(lambda: control.ask(bms.state / "control.sock", "status")["systems"][0]["status"] == "Charging", "poll")
    shown = await bms.output("status")
    assert re.match(rf"OCPP  gateway 127.0.0.1:{gateway.modbus_port} unit 1: online, with extensions, polled", shown)
    assert re.search(r"^S1 +Charger/1 +Charging +0 min +User A$", shown, re.M)
    assert await bms.output("stop") == "Charger/1: stop: accepted\n"
    assert (await charger.until_asked("RemoteStopTransaction"))["transaction_id"] == transaction
    await charger.ask(end(transaction, 12123))
    assert re.search(r"Charger/1 +User A +0.123 +0 +Remote$", await bms.output("sessions"), re.M)
    (row,) = csv.DictReader((await bms.output("sessions", "--csv")).splitlines())
    assert (row["user"], float(row["energy"]), row["transaction"]) == ("User A", 0.123, str(transaction))
    assert re.search(
        r"^S1 +Charger/1 +today +1 +0.123 +0\n +previous +0 +0.000 +0\n +total +1 ", await bms.output("use"), re.M
    )
    assert re.search(r"total +0 +0.000 +0$", await bms.output("use", "--reset"), re.M)
    assert re.search(r"^S1\.L\.E +R +Last Charge: Energy \(kWh\) +0.123$", await bms.output("objects", "S1.L"), re.M)
    assert json.loads(await bms.output("objects", "S1.L.C", "--json"))[0]["value"] == 1
    assert await bms.output("objects", "M1.DL", "Yard") == "M1.DL = Yard\n"
    assert await bms.output("unlock") == "Charger/1: unlock: unlocked\n"
    for what, outcome in (
        ("registers", "clear gateway registers: done"),
        ("cache", "clear EV authorization cache: accepted"),
        ("charger", "reset EV: accepted"),
    ):
        assert await bms.output("reset", what, "S1") == f"Charger/1: {outcome}\n"
    assert [alarm[:4] for alarm in bms.alarms] == [
        ["OCPP", "Charging start", "User A", "4"],
        ["OCPP", "Charging stop (0.123kWh)", "User A", "4"],
    ]
    for refused, words in (
        (("objects", "S1.M.S", "2"), r"S1\.M\.S \(Monitor: Charger Status\) can only be read"),
        (("objects", "M1.RR", "301"), r"M1\.RR \(Read rate \(s\)\) must be a whole number, 1…300"),
        (("objects", "S1.A.TU", "fly User A"), "the first word must be one of 0=None, 1=Start, 2=Stop, 3=Unlock"),
        (("objects", "S9"), "there is no object S9"),
        (("stop", "Yard"), r"there is no Yard; there are S1 \(Charger/1\)"),
        (("stop",), "no charging session runs"),
    ):
        assert re.match(f"ampgate: {words}", await bms.failure(*refused))
    assert bms.end(signal.SIGINT) == 0
    assert "ERROR" not in bms.log_path.read_text()


async def test_nothing_is_lost_over_restarts(gateway: GatewayProcess, plug_in: PlugIn, bms_of: StartBms) -> None:
    """Killed in the middle of a session, which ends before the BMS is back."""
    bms = bms_of(gateway.modbus_port)
    await bms.start()
    charger = await plug_in(gateway)
    first = await session(bms, charger)
    bms.kill()
    ending = asyncio.ensure_future(charger.ask(end(first, 12123)))
    await bms.start()
    await ending
    second = await session(bms, charger, 2)
    assert second not in (0, first)
    assert bms.end() == 0
    await bms.start()
    objects = {one["reference"]: one["text"] for one in json.loads(await bms.output("objects", "S1", "--json"))}
    assert {name: objects[f"S1.{name}"] for name in ("C.S", "C.U", "L.U", "L.E", "L.C", "T.C", "F.E")} == {
        "C.S": "Yes",
        "C.U": "User A",
        "L.U": "User A",
        "L.E": "0.123",
        "L.C": "1",
        "T.C": "1",
        "F.E": "0.123",
    }
    assert [alarm[1] for alarm in bms.alarms] == ["Charging start", "Charging stop (0.123kWh)", "Charging start"]


async def test_a_start_survives_a_restart(gateway: GatewayProcess, plug_in: PlugIn, bms_of: StartBms) -> None:
    bms = bms_of(gateway.modbus_port)
    await bms.start()
    charger = await plug_in(gateway)
    await charger.status(1, "Preparing")
    await bms.output("start", "--user", "User A")
    bms.kill()
    tag = (await charger.until_asked("RemoteStartTransaction"))["id_tag"]
    answer = asyncio.ensure_future(charger.ask(begin(tag, 0)))
    await bms.start()
    assert (await answer).id_tag_info == {"status": "Accepted"}


async def test_the_connection_is_lost_and_found(start_gateway: StartGateway, bms_of: StartBms) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    bms = bms_of(port)
    await bms.start(online=False)
    assert f"no connection to the gateway: 127.0.0.1:{port} unit 1" in await bms.output("status")
    assert "no connection to the gateway" in await bms.failure("start")
    gateway = await start_gateway(modbus={"tcp": {"host": "127.0.0.1", "port": port}})
    await until(lambda: bms.online, "the gateway is found")
    gateway.terminate()
    await until(lambda: bms.online is False, "the loss is seen")
    await until(lambda: bms.log_path.read_text().count("no connection to the gateway") == 2, "two losses in the log")
    assert bms.end() == 0
    assert bms.log_path.read_text().count("no connection to the gateway") == 2, "once for each loss"


async def test_alarms_go_to_syslog_and_a_webhook(gateway: GatewayProcess, plug_in: PlugIn, bms_of: StartBms) -> None:
    posted: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(DEADLINE)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        receivers = {
            "stdout": False,
            "syslog": f"127.0.0.1:{syslog.getsockname()[1]}",
            "webhook": f"http://127.0.0.1:{server.server_port}/alarms?key=secret",
        }
        bms = bms_of(gateway.modbus_port, alarm=receivers)
        await bms.start()
        await session(bms, await plug_in(gateway))
        await until(lambda: posted, "the webhook was called")
        (alarm,) = posted
        assert (alarm["system"], alarm["point"], alarm["condition"], alarm["priority"]) == (
            *("OCPP", "Charging start", "User A"),
            "4",
        )
        line = await asyncio.to_thread(syslog.recv, 1000)
        # RFC 3164: facility user (1) · 8 + severity warning (4)
        assert re.match(
            rb"<12>ampgate-bms: OCPP \| Charging start \| User A \| 4 \| \d\d/\d\d/\d\d \| \d\d:\d\d:\d\d", line
        )
        server.shutdown()
        serving.join(DEADLINE)
    assert bms.alarms == []
    assert bms.end() == 0
    assert "secret" not in bms.log_path.read_text()


async def test_wrong_configurations(bms_of: StartBms) -> None:
    bms = bms_of(5020)
    bms.config_path.write_text("[bms]\nread_rate = 301\n[modbus.tcp]\nhots = 502\n[[user]]\nname = 'A'\ntags = ['']")
    result = await bms.run("run", "--config", str(bms.config_path))
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"ampgate: {bms.config_path}: bms.read_rate = 301 must be a whole number, 1…300",
        f"ampgate: {bms.config_path}: modbus.tcp.hots is not a key; did you mean host?",
        f'ampgate: {bms.config_path}: user[0].tags = [""] must be a list, each item a text of 1…20 characters',
    ]
    missing = await bms.failure("run", "--config", "absent.toml")
    assert missing == "ampgate: absent.toml: no such file (see docs/reference-bms.md for a first one)\n"


async def test_one_bms_a_state_directory(gateway: GatewayProcess, bms_of: StartBms) -> None:
    bms = bms_of(gateway.modbus_port)
    assert await bms.failure("status") == f"ampgate: no BMS is running with {bms.state} (option --state)\n"
    await bms.start()
    refused = await bms.failure("run", "--config", str(bms.config_path))
    assert refused == f"ampgate: another BMS is running with {bms.state} (option --state)\n"


async def test_a_damaged_state_is_named(gateway: GatewayProcess, bms_of: StartBms) -> None:
    bms = bms_of(gateway.modbus_port)
    (bms.state / "bms.db").write_text("no database, and long enough not to look like an empty one" * 20)
    refused = await bms.failure("run", "--config", str(bms.config_path))
    assert refused.startswith(
        f"ampgate: {bms.state / 'bms.db'}: file is not a database; if it is damaged, move it away"
    )


@pytest.mark.parametrize("arguments", [[], ["fly"], ["reset"], ["reset", "world"], ["sessions", "--count", "0"]])
async def test_wrong_use(arguments: list[str], bms_of: StartBms) -> None:
    result = await asyncio.to_thread(
        subprocess.run, [*_COMMAND, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert result.returncode == 2
    assert "usage: ampgate bms" in result.stderr


def test_the_gateways_configuration_is_not_that_of_the_bms(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(tomli_w.dumps(config_of()).encode())
    line = [*_COMMAND, "run", "--config", str(path), "--state", str(tmp_path)]
    result = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert result.returncode == 1
    assert "ocpp is not a key; allowed: bms, modbus, alarm, charger, user" in result.stderr
