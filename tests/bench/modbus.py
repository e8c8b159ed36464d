"""Modbus TCP: CPU a request of our server, libmodbus' select server and pymodbus' server.

Each server has a process of its own; this process is the load: six clients with plain blocking sockets, each with
``depth`` requests on their way. Rounds of the servers alternate, so that all of them see the same machine; the best
round counts. CPU is user and system time of the server's process.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from ampgate.registers.layout import address
from tests.bench.process import ROOT, build_libmodbus, cpu_seconds
from tests.bench.report import Report

CLIENTS = 6
LIBMODBUS_SOURCE = Path(__file__).with_name("libmodbus_server.c")


class Load(NamedTuple):
    """One kind of traffic."""

    name: str
    function: int
    registers: int
    depth: int


class Sample(NamedTuple):
    """One round."""

    cpu: float
    """Seconds of the server's CPU for one request."""
    rate: float
    """Requests a second over all clients."""


LOADS = [
    Load(f"{name}, {'one at a time' if depth == 1 else f'{depth} pipelined'}", function, registers, depth)
    for depth in (1, 16)
    for name, function, registers in (("read 10", 3, 10), ("read 125", 3, 125), ("write 10", 16, 10))
]


# Servers


class Server(NamedTuple):
    """A server that runs."""

    name: str
    pid: int
    port: int
    pipelines: bool


@contextmanager
def started(name: str, command: Sequence[str], pipelines: bool) -> Iterator[Server]:
    """Run a server that prints its port first; it is killed at the end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip().isdigit():
                raise RuntimeError(f"the {name} server did not start: {' '.join(command)}")
            yield Server(name, process.pid, int(line), pipelines)
        finally:
            process.kill()


# Load


def request(load: Load, transaction: int, charger: int) -> bytes:
    """One ADU; each client reads measurands, or writes an id tag, of a charger of its own."""
    if load.function == 3:
        pdu = struct.pack(">BHH", 3, address("connector.unlock", charger, 0), load.registers)
    else:
        tag = bytes(range(65, 65 + 2 * load.registers))
        start = address("remote_start.id_tag", charger)
        pdu = struct.pack(">BHHB", 16, start, load.registers, len(tag)) + tag
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, 1) + pdu


class Client:
    """One connection with a batch of requests that it sends again and again."""

    def __init__(self, port: int, load: Load, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Not settimeout(), which would poll before each call.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 10, 0))
        requests = [request(load, 100 * number + place, number) for place in range(load.depth)]
        self.batch = b"".join(requests)
        read = load.function == 3
        self._size = 9 + 2 * load.registers if read else 12
        # A response begins like its request, but for the length and, after a read, the byte count.
        length = (self._size - 6).to_bytes(2)
        count = bytes((2 * load.registers,)) if read else requests[0][8:9]
        self._starts = [request[:4] + length + request[6:8] + count for request in requests]
        self.size = load.depth * self._size

    def receive(self) -> bytes:
        """All answers to the batch."""
        return self.socket.recv(self.size, socket.MSG_WAITALL)

    def check(self, answers: bytes) -> None:
        """`ValueError` for anything but the normal responses."""
        starts = [answers[at : at + 9] for at in range(0, len(answers), self._size)]
        if len(answers) != self.size or starts != self._starts:
            raise ValueError(f"not the expected answers: {answers.hex(' ')}")


def measure(server: Server, load: Load, seconds: float) -> Sample:
    """One round."""
    with ExitStack() as stack:
        clients = [Client(server.port, load, number) for number in range(CLIENTS)]
        for client in clients:
            stack.enter_context(client.socket)
            client.socket.send(client.batch)
            client.check(client.receive())
            client.socket.send(client.batch)
        count, begin, cpu, elapsed = 0, time.perf_counter(), cpu_seconds(server.pid), 0.0
        ends = [(client.socket.recv, client.socket.send, client.batch) for client in clients]
        size = clients[0].size
        while elapsed < seconds:
            for _ in range(10):
                for receive, send, batch in ends:
                    if len(receive(size, socket.MSG_WAITALL)) != size:
                        raise ConnectionError(f"{server.name} did not answer")
                    send(batch)
            count += 10 * CLIENTS * load.depth
            elapsed = time.perf_counter() - begin
        sample = Sample((cpu_seconds(server.pid) - cpu) / count, count / elapsed)
        for client in clients:
            client.check(client.receive())
        return sample


def best(samples: Sequence[Sample]) -> Sample:
    """The least CPU and the highest rate that were seen."""
    return Sample(min(sample.cpu for sample in samples), max(sample.rate for sample in samples))


# Report


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rounds, seconds = (5, 0.12) if quick else (9, 0.4)
    library, note = build_libmodbus(LIBMODBUS_SOURCE)
    with ExitStack() as stack:
        python = [sys.executable, "-m", "tests.bench.servers"]
        servers = [stack.enter_context(started("ampgate", [*python, "ampgate"], True))]
        if library is not None:
            servers.append(stack.enter_context(started("libmodbus", [str(library)], True)))
        servers.append(stack.enter_context(started("pymodbus", [*python, "pymodbus"], False)))
        results: dict[str, dict[str, Sample]] = {}
        for load in LOADS:
            able = [server for server in servers if load.depth == 1 or server.pipelines]
            samples: dict[str, list[Sample]] = {server.name: [] for server in able}
            for _ in range(rounds):
                for server in able:
                    samples[server.name].append(measure(server, load, seconds))
            results[load.name] = {name: best(of_one) for name, of_one in samples.items()}
    return _report(results, note, rounds, seconds)


def _report(results: dict[str, dict[str, Sample]], note: str, rounds: int, seconds: float) -> Report:
    rows = []
    for load, of_load in results.items():
        reference = of_load.get("libmodbus")
        for name, sample in of_load.items():
            ratio = f"{sample.cpu / reference.cpu:.2f}" if reference else "—"
            rows.append([load, name, f"{sample.cpu * 1e6:.2f}", ratio, f"{sample.rate:,.0f}"])
        if "pymodbus" not in of_load:
            rows.append([load, "pymodbus", "—", "—", "—"])
    return Report(
        title=f"Modbus TCP, {CLIENTS} clients",
        columns=["registers", "server", "CPU µs/request", "× libmodbus", "requests/s"],
        rows=rows,
        notes=[
            f"Best of {rounds} rounds of {seconds} s each, servers in turn. CPU is user + system of the server;",
            "requests/s is what one process can ask, so it is bounded by the load as well.",
            "ampgate runs with allow-list, counters, trace and watchers on, 20 chargers of 7 connectors.",
            note,
            "— pymodbus answers only one of several requests in a segment: it cannot be measured pipelined.",
        ],
        data={load: {name: sample._asdict() for name, sample in of_load.items()} for load, of_load in results.items()},
    )
