"""Brings the device from one state to the next: off, powered, logged in, serving."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attr
from labgrid.binding import BindingState
from labgrid.driver import ExecutionError
from labgrid.factory import target_factory
from labgrid.strategy import Strategy

from hil import lan
from hil.drivers.protocols import Bus

CONFIG_FILE: Final = "/data/ampgate/config.toml"
FALLBACK: Final = "192.168.100.246"
BOOT: Final = 300.0
"""Seconds within which an emulated device on a busy computer has to serve."""


@target_factory.reg_driver
@attr.s(eq=False)
class GatewayStrategy(Strategy):  # type: ignore[misc]
    """The virtual gateway."""

    bindings = {  # noqa: RUF012 - how labgrid declares them
        "machine": "GatewayMachineDriver",
        "world": "WorldDriver",
        "shell": "ShellDriver",
    }

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.target.activate(self.machine)
        self.target.activate(self.world)
        self.rs485 = Bus(self.machine.rs485, virtual=True)

    def power_on(self, *, pressed: bool = False, dip: tuple[bool, bool, bool] = (False, False, False)) -> None:
        """Switch on, with the button held and the switches set before."""
        self.world.press(pressed)
        self.world.switches(*dip)
        self.machine.on()
        self.world.connect()

    def power_cut(self) -> None:
        """Pull the plug."""
        self.target.deactivate(self.shell)
        self.world.disconnect()
        self.machine.cut()

    def restart(self, **world: Any) -> None:
        """Pull the plug and put it in again."""
        self.power_cut()
        self.power_on(**world)

    def reboot(self, times: int = 1) -> None:
        """Restart through the system, and wait until it has come round; a bad one does so more than once."""
        before = self.world.starts
        self.run("systemd-run --quiet --on-active=2 systemctl reboot")  # lets the console answer first
        self.started(before + times)

    def started(self, times: int) -> None:
        """Wait until the system has started so often since power came on; the console is a new one then."""
        self.target.deactivate(self.shell)
        self.world.until(lambda: self.world.starts >= times, f"start {times}", BOOT)

    def restart_gateway(self) -> None:
        """The next start of the gateway, which reads the switches."""
        self.run("systemctl restart ampgate-gateway")
        until(lambda: listens(self.address, 502), "Modbus TCP")

    def factory_fresh(self, **world: Any) -> None:
        """A device out of the box, switched on."""
        self.power_cut()
        self.machine.reflash()
        self.power_on(**world)

    def run(self, command: str, timeout: float = 120.0) -> str:
        """What a command on the device's console prints; `ExecutionError` when it fails."""
        output, code = self.run_code(command, timeout)
        if code:
            raise ExecutionError(f"{command}: exit code {code}\n{output}")
        return output

    def run_code(self, command: str, timeout: float = 120.0) -> tuple[str, int]:
        """What a command on the device's console prints, and its exit code."""
        if self.shell.state is not BindingState.active:
            self.target.activate(self.shell)
            # Kernel and systemd would talk into the answers (the signal SIGRTMIN+21, systemd(1)).
            self.shell.run("dmesg -n 1; kill -55 1; export SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 TERM=dumb")
        output, errors, code = self.shell.run(command, timeout=timeout)
        return "\n".join(output + errors), code

    def configure(self, text: str) -> None:
        """Save a configuration as all is saved on the data partition, and have the gateway use it."""
        until(lambda: self.run_code("mountpoint -q /data")[1] == 0, "/data")
        self.run(f"cat >/run/config.toml <<'EOF'\n{text}EOF")
        self.run(f"install -m 640 -o ampgate -g ampgate /run/config.toml {CONFIG_FILE}.new")
        self.run(f"ampgate check --config {CONFIG_FILE}.new && sync && mv {CONFIG_FILE}.new {CONFIG_FILE} && sync")
        self.run("systemctl restart ampgate-gateway")

    def status(self) -> dict[str, Any]:
        """What `ampgate status` knows."""
        answer: dict[str, Any] = json.loads(self.run("ampgate status --state /data/ampgate --json"))
        return answer

    def read_file(self, path: str) -> bytes:
        """A file of the device; it sends it over the network."""
        with socket.create_server((lan.OURS, 0)) as server, ThreadPoolExecutor(1) as pool:
            server.settimeout(60.0)
            received = pool.submit(_receive, server)
            code = 'import socket, sys; socket.create_connection(("%s", %d)).sendfile(open("%s", "rb"))'
            self.run(f"python3 -I -c '{code % (lan.OURS, server.getsockname()[1], path)}'")
            return received.result()


def _receive(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def until(condition: Callable[[], Any], what: str, timeout: float = BOOT, every: float = 0.2) -> Any:
    """Wait until ``condition`` is true and return it."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(every)


def serves(host: str) -> bool:
    """Whether a gateway with the factory's ports answers: Modbus TCP and OCPP."""
    return listens(host, 502) and listens(host, 9000)


def listens(host: str, port: int) -> bool:
    """Whether a TCP port is open."""
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True
