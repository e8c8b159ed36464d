"""`make hil-rehearsal`: all that `make hil-bench` does, with a gateway on this computer in the place of the device.

The bus is made of pseudo-terminals, and the operator is a script that reads the tasks at the terminal and carries them
out on the gateway's simulated board. It shows that the tests and their drivers work; of hardware it shows nothing.
Runs in a network namespace of its own, as the device's ports are fixed.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ampgate import control
from hil.bench import SITE
from hil.drivers.lamps import LOOK
from hil.line import Line
from hil.person import LETTERS, NAMES, PROMPT
from hil.ptybus import PtyBus
from tests.integration.peers import GatewayProcess

ADDRESS: Final = "127.0.0.1"
TASK: Final = re.compile(rf"\[\d+\] (?P<task>.*){PROMPT}$", re.DOTALL)
"""How `hil.person` asks."""
BEYOND: Final = ["test_front.py::test_the_button_released_early_changes_nothing"]
"""What the gateway alone has not: the button at power-up belongs to the device's system."""
OPEN_BIASED, LOADED_BIASED = "4.5", "0.44"
"""Volts without and with termination."""


class Table:
    """The device on the table, and the hands, eyes and multimeter of somebody who stands before it."""

    def __init__(self, directory: Path, port: Path) -> None:
        self._directory = directory
        self._config: dict[str, Any] = tomllib.loads(SITE.read_text(encoding="utf-8"))
        self._config["modbus"]["rtu"] = {"device": str(port)}
        self._gateway: GatewayProcess | None = None
        self._tasks: dict[str, Callable[..., str]] = {
            r"Connect the device to power": self.connect,
            r"Disconnect the device from power": self.disconnect,
            r"Set the DIP switches: 1 (ON|OFF), 2 (ON|OFF), 3 (ON|OFF)": self.switches,
            r"Look at the LEDs": self.lamps,
            r"What is the voltage": self.volts,
            r"What is the resistance": self.ohms,
            r"Put the EIA-485 plug back": str,
        }

    def answer(self, task: str) -> str:
        """Carry a task out, and what is typed then."""
        for pattern, work in self._tasks.items():
            if match := re.search(pattern, task):
                return work(*match.groups())
        return "this rehearsal cannot do that"

    def connect(self) -> str:
        self._gateway = GatewayProcess(self._config, self._directory, self._directory / "state")
        asyncio.run(self._gateway.ready())
        return ""

    def disconnect(self) -> str:
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway = None
        return ""

    def switches(self, *positions: str) -> str:
        wanted = {number: position == "ON" for number, position in enumerate(positions, 1)}
        self._ask("board", on=[n for n, on in wanted.items() if on], off=[n for n, on in wanted.items() if not on])
        return ""

    def lamps(self) -> str:
        time.sleep(LOOK)
        signs = {light: sign for sign, light in LETTERS.items()}
        lamps = self._ask("status")["board"]["lamps"]
        return "".join(signs[lamps[name]["shows"]] for name in NAMES)

    def volts(self) -> str:
        board = self._ask("status")["board"]
        return (LOADED_BIASED if board["termination"] else OPEN_BIASED) if board["bias"] else "0.01"

    def ohms(self) -> str:
        return "120" if self._ask("status")["board"]["termination"] else "open"

    def _ask(self, request: str, **fields: Any) -> dict[str, Any]:
        assert self._gateway is not None, "the device is without power"
        answer: dict[str, Any] = control.ask(self._gateway.state / "control.sock", request, **fields)
        return answer


def play(command: list[str], table: Table, bus: PtyBus) -> int:
    """Run a command at a terminal of its own and do what it asks there; its exit code."""
    child, terminal = pty.fork()  # before the bus has its thread
    if not child:
        os.execvp(command[0], command)
    with bus:
        try:
            attend(terminal, table)
        finally:
            table.disconnect()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attend(terminal: int, table: Table) -> None:
    """Show what comes, answer what is asked, until the other end closes."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    unanswered = ""
    while True:
        try:
            text = decode(os.read(terminal, 4096))
        except OSError:  # how a terminal says that nobody has it open any more
            return
        print(text, end="", flush=True)
        unanswered += text.replace("\r", "")
        if question := TASK.search(unanswered):
            os.write(terminal, table.answer(question["task"]).encode() + b"\n")
            unanswered = ""


def main(arguments: list[str]) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        bus = PtyBus(3, Line())
        device, adapter, listener = bus.paths
        command = ["make", "--no-print-directory", "hil-bench", f"HOST={ADDRESS}", f"RS485={adapter}"]
        arguments = [*(f"--deselect={name}" for name in BEYOND), *arguments]
        command += [f"LISTENER={listener}", f"ARGS={shlex.join(arguments)}"]
        return play(command, Table(Path(directory), device), bus)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
