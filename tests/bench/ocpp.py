"""OCPP MeterValues: CPU a message, from the websocket to the registers and back, beside the ``ocpp`` package.

The gateway is the whole process with a full map and its trace; the peer is a central system made from the ``ocpp``
package whose handler does nothing with the values.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from tests.bench.chargers import Charger, fleet, meter_values
from tests.bench.process import ROOT, cpu_seconds, gateway
from tests.bench.report import Report

CHARGERS = 6


class Sample(NamedTuple):
    """One round."""

    cpu: float
    """Seconds of the server's CPU for one message."""
    rate: float
    """Messages a second over all chargers."""


@contextmanager
def peer() -> Iterator[tuple[int, int]]:
    """The central system of the ``ocpp`` package: process id and port."""
    command = [sys.executable, "-m", "tests.bench.servers", "ocpp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def measure(pid: int, chargers: Sequence[Charger], seconds: float) -> Sample:
    """One round: every charger has one message on its way."""
    frames = [meter_values(1, 16.0 + number) for number in range(len(chargers))]
    messages, begin, cpu = 0, time.perf_counter(), cpu_seconds(pid)
    while (elapsed := time.perf_counter() - begin) < seconds:
        for charger, frame in zip(chargers, frames, strict=True):
            charger.socket.send(frame, text=True)
        for charger in chargers:
            charger.answered()
        messages += len(chargers)
    return Sample((cpu_seconds(pid) - cpu) / messages, messages / elapsed)


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rounds, seconds = (3, 0.5) if quick else (7, 1.0)
    samples: dict[str, list[Sample]] = {"ampgate": [], "ocpp": []}
    with ExitStack() as stack:
        ours = stack.enter_context(gateway(20, 7))
        theirs_pid, theirs_port = stack.enter_context(peer())
        servers = {
            "ampgate": (ours.pid, fleet(stack, ours.ocpp, CHARGERS)),
            "ocpp": (theirs_pid, fleet(stack, theirs_port, CHARGERS)),
        }
        for _ in range(rounds):
            for name, (pid, chargers) in servers.items():
                samples[name].append(measure(pid, chargers, seconds))
    best = {
        name: Sample(min(sample.cpu for sample in of_one), max(sample.rate for sample in of_one))
        for name, of_one in samples.items()
    }
    rows = [
        [name, f"{sample.cpu * 1e6:.0f}", f"{sample.rate:.0f}", f"{best['ocpp'].cpu / sample.cpu:.1f}"]
        for name, sample in best.items()
    ]
    return Report(
        title=f"OCPP MeterValues of ten samples ({len(meter_values(1, 16.0))} bytes), {CHARGERS} chargers",
        columns=["", "CPU µs", "messages/s", "× the ocpp package"],
        rows=rows,
        notes=[
            f"Best of {rounds} rounds of {seconds} s each, in turn. Messages a second are bounded by the load.",
            "ampgate: the whole gateway, values in registers before the answer. ocpp: an empty handler.",
        ],
        data={name: sample._asdict() for name, sample in best.items()},
    )
