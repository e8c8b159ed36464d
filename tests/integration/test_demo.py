"""The demo as a newcomer starts it: real processes, real ports."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START = 30.0
END = 30.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ampgate", "run", "--demo", *arguments]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the demo puts its files; short, as the path of a Unix socket has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="demo-") as path:
        yield Path(path)


@pytest.fixture
def environment(directory: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(directory), "COLUMNS": "140", "LINES": "50", "TERM": "xterm"}


def end(process: subprocess.Popen) -> None:
    """End the demo by request, so that it ends its gateway, whatever a test has found."""
    process.terminate()
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def gateways(directory: Path) -> list[str]:
    """Command lines of gateways that still run with files in this directory."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(directory) in line and "ampgate gateway" in line]


def started(environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        command("--modbus-port", "0", "--ocpp-port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


ROW = re.compile(r"^CP001 .* Charging +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +0:\d\d:\d\d +DEMO-1", re.M)


def test_it_shows_a_session_of_four_chargers(environment):
    seen = ""
    with started(environment) as process:
        try:
            while not (row := ROW.search(seen)):
                line = process.stdout.readline()
                assert line, process.stderr.read()
                seen += line
        finally:
            end(process)
    assert re.search(r"CP001 +Authorize DEMO-1: Accepted by the BMS", seen)
    assert re.search(r"CP001 +StartTransaction \d+ on connector 1, DEMO-1: Accepted by the BMS", seen)
    power, l1, l2, l3, energy = map(float, row.groups())
    assert power == pytest.approx((l1 + l2 + l3) * 0.23, rel=0.05)
    assert energy > 0
    for charger, model in {
        "CP001": "ampgate Simulated AC-22",
        "CP002": "ampgate Simulated DC-120",
        "EV001": "Schneider Electric EVlink Smart Wallbox",
        "EV002": "Schneider Electric EVlink Parking",
    }.items():
        assert re.search(rf"{charger} +booted: {model}$", seen, re.M)
    assert re.search(r"^MYCHARGER .* offline", seen, re.M)
    assert re.search(r"mbpoll .* -r 714 ", seen)
    assert re.search(r"ws://127\.0\.0\.1:\d+/MYCHARGER$", seen, re.M)


def test_it_ends_by_itself_and_leaves_nothing(environment, directory):
    arguments = command("--modbus-port", "0", "--ocpp-port", "0", "--duration", "0.5")
    result = subprocess.run(
        arguments, capture_output=True, text=True, timeout=START + END, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "The demo has ended" in result.stdout
    assert gateways(directory) == []
    assert list(directory.glob("ampgate-demo-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(environment, directory, number):
    with started(environment) as process:
        try:
            assert any("Accepted by the BMS" in line for line in process.stdout)
            assert len(gateways(directory)) == 1
            process.send_signal(number)
            _, errors = process.communicate(timeout=END)
        finally:
            end(process)
    assert process.returncode == 0
    assert errors == ""
    assert gateways(directory) == []


@pytest.mark.parametrize(("option", "title"), [("--modbus-port", "Modbus TCP"), ("--ocpp-port", "OCPP")])
def test_a_port_in_use_is_named_with_its_option(environment, option, title):
    other = "--ocpp-port" if option == "--modbus-port" else "--modbus-port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = command(option, str(port), other, "0")
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=END, env=environment, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"port {port}" in result.stderr
    assert title in result.stderr
    assert option in result.stderr
    assert "Traceback" not in result.stderr


def test_on_a_terminal_it_draws_a_table(environment):
    pytest.importorskip("rich")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("--modbus-port", "0", "--ocpp-port", "0"), stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    try:
        seen = read_until(master, rb"Charging")
        assert b"\x1b[?25l" in seen, "a living table hides the cursor"
        process.send_signal(signal.SIGINT)
        rest = read_until(master, rb"The demo has ended")
        assert process.wait(END) == 0
        assert b"\x1b[?25h" in rest, "and shows it again"
        assert b"Traceback" not in rest
    finally:
        end(process)
        os.close(master)


def read_until(master: int, pattern: bytes) -> bytes:
    deadline, data = time.monotonic() + START + END, b""
    while not re.search(pattern, data):
        ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, data[-2000:]
        data += os.read(master, 65536)
    return data
