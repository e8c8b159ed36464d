"""``ampgate simulate`` on the command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile

import pytest

from ampgate.simulator import command
from tests.unit.simulator.central import DEADLINE, Central, now


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "http://127.0.0.1:9000"),
        ("--url", "nonsense"),
        ("--count", "0"),
        ("--connectors", "8"),
        ("--speed", "0"),
        ("--speed", "fast"),
        ("--sample-interval", "-1"),
        ("--tags", ","),
        ("--tags", "X" * 21),
        ("--pace", "slow"),
        ("--pace", "0"),
        ("--offline", "maybe"),
        ("--ocpp", "2.0.1"),
    ],
)
def test_wrong_use_is_refused_with_the_name_of_the_option(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        parse(*arguments)
    assert error.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--id", "A", "--id", "A"), "each --id may be given once"),
        (("--profile", "tesla"), "--profile tesla: there are generic, core, dc, misbehaving, evlink"),
        (("--quirk", "sulks"), "--quirk sulks: there are no-subprotocol"),
        (("--tell", "show"), "--tell needs --socket"),
    ],
)
def test_what_does_not_exist_or_fit_is_wrong_use(arguments, reason, capsys):
    assert command.run(parse(*arguments)) == 2
    assert reason in capsys.readouterr().err


def test_the_list_has_profiles_quirks_and_commands(capsys):
    assert command.run(parse("--list")) == 0
    words = capsys.readouterr().out.split()
    assert {"evlink", "evlink-parking", "misbehaving", "no-timezone", "mute", "plug", "drop", "quit"} <= set(words)


def test_files_that_cannot_be_read(tmp_path, capsys):
    assert command.run(parse("--ca", str(tmp_path / "none.pem"))) == 1
    assert "--ca" in capsys.readouterr().err
    assert command.run(parse("--replay", str(tmp_path / "none.jsonl"))) == 1
    assert "none.jsonl: No such file" in capsys.readouterr().err
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"at":1,"peer":"ocpp CP1","sent":false,"data":"[]"}')
    assert command.run(parse("--replay", str(trace), "--id", "CP2")) == 1
    assert "has no CP2: CP1" in capsys.readouterr().err


@contextlib.asynccontextmanager
async def simulation(*arguments):
    """``ampgate simulate`` with these arguments, which has to end by itself or be ended by the test."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ampgate", "simulate", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finished(process, text=b""):
    async with asyncio.timeout(DEADLINE):
        output, errors = await process.communicate(text)
    return process.returncode, output.decode(), errors.decode()


async def told(socket, line):
    """What a second ``ampgate simulate`` prints that gives a command to the first one."""
    async with simulation("--socket", socket, "--tell", line) as process:
        return await finished(process)


async def test_commands_from_the_keyboard():
    async with Central() as central, simulation("--url", central.url, "--manual", "--id", "K1") as process:
        await central.seen("StatusNotification", connectorId=1)
        process.stdin.write(b"plug 1 50\ntap 1 TAG\nnonsense\n")
        await process.stdin.drain()
        await central.seen("StartTransaction", idTag="TAG")
        code, output, errors = await finished(process, b"quit\n")
    assert (code, errors) == (0, "")
    assert "card TAG at K1/1" in output
    assert "there is no command 'nonsense'" in output


async def test_commands_from_another_terminal_and_the_table():
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:
        socket = f"{directory}/s"
        options = ("--manual", "--table", "--socket", socket, "--profile", "evlink", "--connectors", "2")
        async with Central() as central, simulation("--url", central.url, *options) as process:
            await central.seen("StatusNotification", connectorId=2)
            assert await told(socket, "plug 1/2") == (0, "car plugged in at CP001/2\n", "")
            assert await told(socket, "plug 1/2") == (1, "", "CP001 connector 2 is occupied\n")
            assert "CP001    2     evlink   up    Preparing" in (await told(socket, "show"))[1]
            assert await told(socket, "quit") == (0, "ending\n", "")
            code, output, errors = await finished(process)
            central.violations.clear()  # serial numbers of an EVlink
        assert await told(socket, "show") == (
            1,
            "",
            f"ampgate: no simulation is running with {socket} (option --socket)\n",
        )
    assert (code, errors) == (0, "")
    assert "charger  conn  profile" in output


async def test_options_reach_the_charger():
    async with Central() as central:
        central.answers["BootNotification"] = lambda _: {"status": "Accepted", "currentTime": now(), "interval": 1}
        options = ("--manual", "--profile", "core", "--offline", "reject", "--quirk", "extra-fields")
        async with simulation("--url", central.url, *options) as process:
            await central.seen("Heartbeat")
            rows = (await central.call("GetConfiguration", key=["LocalAuthorizeOffline"]))["configurationKey"]
            assert rows[0]["value"] == "false"
            assert central.all("BootNotification")[0]["vendorSays"] == {"mood": "fine"}
            central.violations.clear()
            assert (await finished(process, b"quit\n"))[0] == 0
        async with simulation("--url", central.url, "--manual", "--ocpp", "1.5") as process:
            await central.until(lambda: len(central.headers) == 2)
            assert central.headers[1].headers["Sec-WebSocket-Protocol"] == "ocpp1.5"
            process.send_signal(signal.SIGINT)
            assert (await finished(process))[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_sessions_and_ends_cleanly(number):
    async with Central() as central:
        program = "import argparse; from ampgate.simulator import command; p = argparse.ArgumentParser(); "
        program += "command.add_arguments(p); raise SystemExit(command.run(p.parse_args()))"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "--url", central.url, "--count", "2", "--id-prefix", "X-", "--verbose"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await central.seen("StartTransaction")
            assert sorted(request.path for request in central.headers) == ["/steve/X-001", "/steve/X-002"]
            process.send_signal(number)
            async with asyncio.timeout(DEADLINE):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    assert errors == b""
    assert b"X-001/1    car plugged in" in output
    assert b"Available \xe2\x86\x92 Preparing" in output
