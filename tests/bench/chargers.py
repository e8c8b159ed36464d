"""Charge points that only load a central system: websockets with frames made beforehand."""

from __future__ import annotations

import json
from contextlib import ExitStack

from websockets.sync.client import ClientConnection, connect

from tests.bench.process import identity

BOOT = b'[2,"boot","BootNotification",{"chargePointVendor":"Bench","chargePointModel":"Load"}]'


def meter_values(connector: int, current: float, timestamp: str = "2026-01-31T12:00:00Z") -> bytes:
    """A MeterValues CALL of ten samples, about 1.5 kB, as a three-phase charger sends every minute."""

    def sample(measurand: str, value: float, unit: str, phase: str | None = None) -> dict[str, str]:
        fields = {"value": f"{value}", "context": "Sample.Periodic", "format": "Raw", "measurand": measurand}
        return fields | {"location": "Outlet", "unit": unit} | ({"phase": phase} if phase else {})

    samples = [sample("Current.Import", current + n, "A", f"L{n + 1}") for n in range(3)]
    samples += [sample("Voltage", 230.0 + n, "V", f"L{n + 1}-N") for n in range(3)]
    samples += [
        sample("Power.Active.Import", 11003.5, "W"),
        sample("Energy.Active.Import.Register", 123456, "Wh"),
        sample("SoC", 55, "Percent"),
        sample("Temperature", 31.5, "Celsius"),
    ]
    values = [{"timestamp": timestamp, "sampledValue": samples}]
    payload = {"connectorId": connector, "transactionId": 7, "meterValue": values}
    return json.dumps([2, "meter", "MeterValues", payload]).encode()


class Charger:
    """One booted charge point."""

    def __init__(self, port: int, number: int) -> None:
        url = f"ws://127.0.0.1:{port}/{identity(number)}"
        self.socket: ClientConnection = connect(
            url, subprotocols=["ocpp1.6"], compression=None, ping_interval=None, max_size=None
        )
        self.call(BOOT)

    def call(self, frame: bytes) -> None:
        """Send a CALL and wait for its answer, which has to be a CALLRESULT."""
        self.socket.send(frame, text=True)
        self.answered()

    def answered(self) -> None:
        """Wait for a CALLRESULT."""
        answer = self.socket.recv(timeout=10, decode=False)
        if not answer.replace(b" ", b"").startswith(b"[3,"):
            raise ValueError(f"not a CALLRESULT: {answer!r}")


def fleet(stack: ExitStack, port: int, count: int) -> list[Charger]:
    """Connect and boot this many charge points; they are closed with ``stack``."""
    chargers = []
    for number in range(count):
        chargers.append(Charger(port, number))
        stack.callback(chargers[-1].socket.close)
    return chargers
