"""What the bridge to an external central system costs, beside nginx as a plain websocket proxy, and beside none.

A charger sends CALLs of MeterValues, a central system in a process of its own answers each. nginx comes from Debian
(nginx-light); without it its rows are missing. nginx reads no frame, and has no registers to fill.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.sync.client import ClientConnection, connect

from tests.bench.chargers import BOOT, meter_values
from tests.bench.process import DEADLINE, ROOT, cpu_seconds, gateway, identity, percentile
from tests.bench.report import Report

WINDOW = 32
"""Frames on their way at a time when throughput is measured."""
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class Way(NamedTuple):
    """A way from the charger to the central system."""

    name: str
    port: int
    pids: list[int]
    """Processes in between."""


def central() -> None:
    """The central system, until it is killed: prints its port, answers every CALL."""

    async def answer(websocket: ServerConnection) -> None:
        async for frame in websocket:
            message_id, action = str(frame).split('"', 4)[1:4:2]
            payload = '{"status":"Accepted","currentTime":"2026-01-31T12:00:00Z","interval":300}'
            await websocket.send(f'[3,"{message_id}",{payload if action == "BootNotification" else "{}"}]')

    async def main() -> None:
        async with serve(answer, "127.0.0.1", 0, subprotocols=["ocpp1.6"], compression=None) as server:  # type: ignore[list-item]
            print(server.sockets[0].getsockname()[1], flush=True)
            await server.serve_forever()

    uvloop.run(main())


@contextmanager
def nginx(upstream: int) -> Iterator[Way]:
    """nginx as a websocket proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream))
        with subprocess.Popen(["nginx", "-p", folder, "-e", f"{folder}/error.log", "-c", str(config)]) as process:
            try:
                _wait_for(port)
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                yield Way("nginx", port, [process.pid, *map(int, children)])
            finally:
                process.terminate()


def _wait_for(port: int) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.002)  # between two looks; what is measured comes later
        else:
            return
    raise RuntimeError("nginx did not start")


def latencies(charger: ClientConnection, frame: str, count: int) -> list[float]:
    """Seconds from each CALL to its answer."""
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        charger.send(frame)
        charger.recv(timeout=10)
        found.append(time.perf_counter() - begin)
    return found


def throughput(charger: ClientConnection, frame: str, count: int, cpu: Callable[[], float]) -> tuple[float, float]:
    """CALLs a second with a window, and CPU seconds of what is in between for each."""
    begin, used = time.perf_counter(), cpu()
    for number in range(count + WINDOW):
        if number >= WINDOW:
            charger.recv(timeout=10)
        if number < count:
            charger.send(frame)
    return count / (time.perf_counter() - begin), (cpu() - used) / count


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rounds, count, volume = (3, 200, 1000) if quick else (7, 1000, 5000)
    frame = meter_values(1, 16.0).decode()
    with ExitStack() as stack:
        command = [sys.executable, "-m", "tests.bench.relay"]
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
        stack.callback(process.kill)
        assert process.stdout is not None
        upstream = int(process.stdout.readline())
        ours = stack.enter_context(gateway(1, 7, upstream))
        ways = [Way("no proxy", upstream, []), Way("ampgate", ours.ocpp, [ours.pid])]
        if shutil.which("nginx"):
            ways.append(stack.enter_context(nginx(upstream)))
        chargers = {}
        for way in ways:
            url = f"ws://127.0.0.1:{way.port}/{identity(0)}"
            chargers[way.name] = stack.enter_context(connect(url, subprotocols=["ocpp1.6"], compression=None))  # type: ignore[list-item]
            chargers[way.name].send(BOOT.decode())
            chargers[way.name].recv(timeout=10)
        waits: dict[str, list[list[float]]] = {way.name: [] for way in ways}
        flows: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                charger = chargers[way.name]
                waits[way.name].append(latencies(charger, frame, count))
                used = lambda pids=way.pids: sum(map(cpu_seconds, pids))  # noqa: E731
                flows[way.name].append(throughput(charger, frame, volume, used))
    p50 = {name: percentile([value for values in of_way for value in values], 0.5) for name, of_way in waits.items()}
    p99 = {name: min(percentile(values, 0.99) for values in of_way) for name, of_way in waits.items()}
    rows, data = [], {}
    for way in ways:
        rate, cpu = max(flow[0] for flow in flows[way.name]), min(flow[1] for flow in flows[way.name])
        added50, added99 = (figures[way.name] - figures["no proxy"] for figures in (p50, p99))
        rows.append(
            [
                way.name,
                *(f"{value * 1e6:.0f}" for value in (p50[way.name], p99[way.name])),
                *(f"{value * 1e6:.0f}" if way.pids else "" for value in (added50, added99)),
                f"{rate:.0f}",
                f"{cpu * 1e6:.0f}" if way.pids else "",
            ]
        )
        data[way.name] = {"p50": p50[way.name], "p99": p99[way.name], "calls_per_second": rate, "cpu": cpu}
    missing = [] if "nginx" in waits else ["nginx is not installed (Debian: apt install nginx-light): not compared."]
    return Report(
        title="External central system: one charger, MeterValues of 10 samples and their answers",
        columns=["", "p50 µs", "best p99 µs", "added p50", "added p99", "CALLs/s", "CPU µs a CALL"],
        rows=rows,
        notes=[
            f"{rounds} rounds of {count} CALLs one by one, and of {volume} with {WINDOW} on their way; p99, CALLs/s "
            "and CPU are those of the best round. Charger and central system are Python and take most of the time.",
            *missing,
        ],
        data=data,
    )


if __name__ == "__main__":
    central()
