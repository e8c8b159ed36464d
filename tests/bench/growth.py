"""How start, memory and CPU grow with the number of chargers (one process; above 32 chargers several unit ids)."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.bench.chargers import fleet, meter_values
from tests.bench.process import cpu_seconds, gateway, resident
from tests.bench.report import Report

SIZES = (1, 20, 100, 500)
IDLE = 2.0


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rows, data = [], {}
    for chargers in SIZES[:3] if quick else SIZES:
        with ExitStack() as stack:
            ours = stack.enter_context(gateway(chargers, 7))
            empty = resident(ours.pid)
            connected = fleet(stack, ours.ocpp, chargers)
            frames = [meter_values(1, 16.0) for _ in connected]
            rounds = max(1, 1000 // chargers)
            cpu = cpu_seconds(ours.pid)
            for _ in range(rounds):
                for charger, frame in zip(connected, frames, strict=True):
                    charger.call(frame)
            message = (cpu_seconds(ours.pid) - cpu) / (rounds * chargers)
            full = resident(ours.pid)
            cpu = cpu_seconds(ours.pid)
            time.sleep(IDLE)
            idle = (cpu_seconds(ours.pid) - cpu) / IDLE
        rows.append(
            [str(chargers), f"{ours.ready:.2f}", f"{empty:.1f}", f"{full:.1f}", f"{message * 1e6:.0f}", f"{idle:.2%}"]
        )
        data[str(chargers)] = {"ready": ours.ready, "empty": empty, "full": full, "message": message, "idle": idle}
    return Report(
        title="Growth with the number of chargers, seven connectors each, full map",
        columns=["chargers", "start s", "MB empty", "MB connected", "MeterValues µs", "idle CPU"],
        rows=rows,
        notes=["Start: from exec until the control socket answers with both ports open. Messages one at a time."],
        data=data,
    )
