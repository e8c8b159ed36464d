"""Modbus RTU: turnaround and CPU a request of our server, libmodbus' and pymodbus' on a serial line.

The line is a pseudo-terminal: bytes take no time on it, so what is measured is the servers alone. Each has a process of
its own; this process is the master, keeps the line silent for 3.5 characters before each request, and takes the time
from its last byte to the first byte of the answer. Rounds of the servers alternate, the best round counts. CPU is user
and system time of the server.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from ampgate.modbus.rtu import crc
from ampgate.modbus.serial import Line
from ampgate.registers.layout import address
from tests.bench.process import ROOT, build_libmodbus, cpu_seconds, percentile
from tests.bench.report import Report

BAUDRATES = (9600, 19200, 115200)
REGISTERS = 10
SOURCE = Path(__file__).with_name("libmodbus_rtu_server.c")


class Sample(NamedTuple):
    """One round, in seconds."""

    p50: float
    p99: float
    cpu: float
    """Of the server, for one request."""


class Server(NamedTuple):
    """A server that runs, and the master's end of its line."""

    pid: int
    fd: int


@contextmanager
def started(command: Sequence[str], baudrate: int) -> Iterator[Server]:
    """Run a server on a new line; it is killed at the end."""
    fd, port = os.openpty()
    tty.setraw(port)
    arguments = [*command, os.ttyname(port), str(baudrate)]
    try:
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise RuntimeError(f"{command[-1]} did not start")
                yield Server(process.pid, fd)
            finally:
                process.kill()
    finally:
        os.close(fd)
        os.close(port)


def measure(server: Server, count: int, silence: float) -> Sample:
    """One round of this many requests, each after so many seconds of silence."""
    request = struct.pack(">BBHH", 1, 3, address("connector.unlock", 0, 0), REGISTERS)
    request += crc(request)
    size = 5 + 2 * REGISTERS
    times = []
    cpu = cpu_seconds(server.pid)
    for _ in range(count):
        time.sleep(silence)
        os.write(server.fd, request)
        begin = time.perf_counter()
        answer = os.read(server.fd, size)
        times.append(time.perf_counter() - begin)
        while len(answer) < size:
            answer += os.read(server.fd, size - len(answer))
        if answer[:3] != bytes((1, 3, 2 * REGISTERS)) or crc(answer) != b"\0\0":
            raise ValueError(f"not the expected answer: {answer.hex(' ')}")
    return Sample(percentile(times, 0.5), percentile(times, 0.99), (cpu_seconds(server.pid) - cpu) / count)


def best(samples: Sequence[Sample]) -> Sample:
    """The least of each figure."""
    return Sample(*(min(figures) for figures in zip(*samples, strict=True)))


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rounds, count = (3, 60) if quick else (7, 200)
    library, note = build_libmodbus(SOURCE)
    python = [sys.executable, "-m", "tests.bench.rtu_servers"]
    commands = {"ampgate": [*python, "ampgate"], "pymodbus": [*python, "pymodbus"]}
    if library is not None:
        commands["libmodbus"] = [str(library)]
    results: dict[int, dict[str, Sample]] = {}
    for baudrate in BAUDRATES:
        samples: dict[str, list[Sample]] = {name: [] for name in commands}
        silence = Line("", baudrate).silence
        with ExitStack() as stack:
            servers = {name: stack.enter_context(started(command, baudrate)) for name, command in commands.items()}
            for server in servers.values():
                measure(server, 10, silence)
            for _ in range(rounds):
                for name, server in servers.items():
                    samples[name].append(measure(server, count, silence))
        results[baudrate] = {name: best(of_one) for name, of_one in samples.items()}
    return _report(results, note, rounds, count)


def _report(results: dict[int, dict[str, Sample]], note: str, rounds: int, count: int) -> Report:
    names = ("ampgate", "libmodbus", "pymodbus")
    rows, data = [], {}
    for baudrate, of_rate in results.items():
        silence = Line("", baudrate).silence
        ours = of_rate["ampgate"]
        row = [f"{baudrate} baud", *_microseconds(silence, ours.p50 - silence, ours.p99 - silence)]
        for name in names:
            row += _microseconds(*of_rate[name]) if name in of_rate else ["—"] * 3
        rows.append(row)
        data[str(baudrate)] = {"silence": silence} | {name: sample._asdict() for name, sample in of_rate.items()}
    figures = [f"{name} {figure}" for name in names for figure in ("p50", "p99", "CPU")]
    return Report(
        title="Modbus RTU, read 10 registers: turnaround (last request byte to first answer byte) and server CPU, µs",
        columns=["", "t3.5", "beyond p50", "beyond p99", *figures],
        rows=rows,
        notes=[
            f"Best of {rounds} rounds of {count} requests, servers in turn; no byte takes time on the line.",
            "ampgate keeps silent for 3.5 characters (t3.5) before it answers, as the specification asks; what it",
            "takes on top is beyond, with the wake-up of the master. libmodbus and pymodbus do not wait for t3.5.",
            note,
        ],
        data=data,
    )


def _microseconds(*seconds: float) -> list[str]:
    return [f"{value * 1e6:.0f}" for value in seconds]
