"""What the bridge adds: from a register write to the frame at the charger, and from MeterValues to the register.

Meanwhile 20 chargers send MeterValues every second and 5 further Modbus clients poll ten times a second, from another
process.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from ampgate.registers.layout import address
from tests.bench.chargers import Charger, fleet, meter_values
from tests.bench.process import ROOT, gateway, percentile
from tests.bench.report import Report

LOADED, PROBE = 20, 20
"""Chargers of the background load, and the one that is measured."""
POLLERS = 5


class Modbus:
    """A blocking Modbus TCP client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, pdu: bytes) -> None:
        """Send a request to unit 1."""
        self.socket.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu)

    def receive(self) -> bytes:
        """The response PDU; `ValueError` for an exception."""
        answer = self.socket.recv(300)
        if len(answer) < 9 or answer[7] & 0x80:
            raise ValueError(f"not a normal response: {answer.hex(' ')}")
        return answer[7:]

    def read(self, start: int, quantity: int) -> bytes:
        """Registers as bytes."""
        self.send(struct.pack(">BHH", 3, start, quantity))
        return self.receive()[2:]


def write_to_frame(bms: Modbus, charger: Charger) -> float:
    """Seconds from sending the write of a Remote Stop flag until the charger has the CALL."""
    flag = address("remote_stop.flag", PROBE)
    bms.send(struct.pack(">BHHBHH", 16, flag, 2, 4, 1, 7))
    begin = time.perf_counter()
    frame = charger.socket.recv(timeout=10, decode=False)
    elapsed = time.perf_counter() - begin
    bms.receive()
    message_id = frame.split(b'"')[1].decode()
    charger.socket.send(f'[3,"{message_id}",{{"status":"Accepted"}}]')
    while any(bms.read(flag, 1)):
        pass
    return elapsed


def make_frame_to_register() -> Callable[[Modbus, Charger], float]:
    """The same charger sends another current each time."""
    current = 0.0

    def frame_to_register(bms: Modbus, charger: Charger) -> float:
        """Seconds from sending MeterValues until its answer, before which the register must hold the new value."""
        nonlocal current
        current = (current + 1) % 1000
        frame = meter_values(1, current)
        begin = time.perf_counter()
        charger.call(frame)
        elapsed = time.perf_counter() - begin
        if bms.read(address("connector.current_import_l1", PROBE, 1), 2) != struct.pack(">f", current):
            raise ValueError("the register does not hold the value that was answered")
        return elapsed

    return frame_to_register


def load(modbus: int, ocpp: int) -> None:
    """The background, until it is killed."""
    with ExitStack() as stack:
        chargers = fleet(stack, ocpp, LOADED)
        clients = [Modbus(modbus) for _ in range(POLLERS)]
        frames = [meter_values(1, 16.0 + number) for number in range(LOADED)]
        print("ready", flush=True)
        start, step = time.perf_counter(), 0
        while True:
            step += 1
            for client in clients:
                client.read(address("connector.unlock", 0, 0), 100)
            for number in range(step * 2 % LOADED, step * 2 % LOADED + 2):
                chargers[number].call(frames[number])
            time.sleep(max(0.0, start + step / 10 - time.perf_counter()))


def run(quick: bool = False) -> Report:
    """Measure and report."""
    rounds, count = (3, 150) if quick else (7, 500)
    kinds = {
        "register write → CALL at the charger": write_to_frame,
        "MeterValues → register, answered": make_frame_to_register(),
    }
    figures: dict[str, list[list[float]]] = {name: [] for name in kinds}
    with ExitStack() as stack:
        ours = stack.enter_context(gateway(LOADED + 1, 7))
        command = [sys.executable, "-m", "tests.bench.latency", str(ours.modbus), str(ours.ocpp)]
        background = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
        stack.callback(background.kill)
        assert background.stdout is not None
        background.stdout.readline()
        charger = Charger(ours.ocpp, PROBE)
        stack.callback(charger.socket.close)
        bms = Modbus(ours.modbus)
        for _ in range(rounds):
            for name, probe in kinds.items():
                figures[name].append([probe(bms, charger) for _ in range(count)])
    rows, data = [], {}
    for name, of_kind in figures.items():
        p50 = percentile([value for values in of_kind for value in values], 0.5)
        p99 = min(percentile(values, 0.99) for values in of_kind)
        rows.append([name, f"{p50 * 1e6:.0f}", f"{p99 * 1e6:.0f}"])
        data[name] = {"p50": p50, "p99": p99}
    return Report(
        title=f"Latency of the bridge: {LOADED} chargers send MeterValues each second, {POLLERS + 1} clients poll",
        columns=["", "p50 µs", "best p99 µs"],
        rows=rows,
        notes=[f"{rounds} rounds of {count}; p99 is that of the best round. Includes both sockets and the prober."],
        data=data,
    )


if __name__ == "__main__":
    load(int(sys.argv[1]), int(sys.argv[2]))
