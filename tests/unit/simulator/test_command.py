"""``ampgate simulate`` on the command line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import pytest

from ampgate.simulator import command
from tests.unit.simulator.central import DEADLINE, Central


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
    ],
)
def test_wrong_use_is_refused_with_the_name_of_the_option(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        parse(*arguments)
    assert error.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_id_cannot_be_there_twice(capsys):
    assert command.run(parse("--id", "A", "--id", "A")) == 2
    assert "--id" in capsys.readouterr().err


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
