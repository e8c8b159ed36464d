"""The world around the virtual gateway, over the line to ``hil/virtual/world.c``."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Final

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from hil.drivers.lamps import Change, TimedLamps
from hil.drivers.machine import GatewayMachineDriver
from hil.drivers.protocols import LAMPS, FrontProtocol, ResistorProtocol

BUTTON: Final = 5
INPUT, OUTPUT, CONFIGURATION = 0, 1, 3
"""Registers of the TCA9534."""
TERMINATION, BIAS = 1 << 4, 1 << 5
ANSWER_TIMEOUT: Final = 60.0
_NAMES = {line: name for name, line in LAMPS.items()}


class WorldError(Exception):
    """The world in the guest refused, or did not answer."""


@target_factory.reg_driver
@attr.s(eq=False)
class WorldDriver(TimedLamps, Driver, FrontProtocol, ResistorProtocol):  # type: ignore[misc]
    """Switches, button and lamps of the machine."""

    bindings = {"machine": {GatewayMachineDriver}}  # noqa: RUF012 - how labgrid declares them

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        TimedLamps.__init__(self)
        self.starts = 0
        """How often the machine has started since `connect`."""
        self._answers: queue.Queue[str] = queue.Queue()
        self._socket: socket.socket | None = None
        self._pressed = False
        self._inputs = 0xFF

    def connect(self) -> None:
        """Reach the world of a machine that was just switched on.

        Its system starts, now and after each reset, as soon as button and switches stand there as they stand here.
        """
        self.disconnect()
        self.changes.clear()
        self.starts = 0
        self._answers = queue.Queue()
        self._socket = self.machine.world
        self._socket.setblocking(True)
        threading.Thread(target=self._listen, args=(self._socket,), daemon=True).start()

    def disconnect(self) -> None:
        """The machine is off."""
        self._socket = None

    def press(self, pressed: bool) -> None:
        """The button pulls its line down."""
        self._pressed = pressed
        if self.starts and self._socket is not None:
            self._ask(self._button())

    def switches(self, one: bool, two: bool, three: bool) -> None:
        """ON closes the contact: 0."""
        self._inputs = 0xF8 | (not one) | (not two) << 1 | (not three) << 2
        if self.starts and self._socket is not None:
            self.expander(INPUT, self._inputs)

    def _button(self) -> str:
        return f"pull {BUTTON} {int(not self._pressed)}"

    def expander(self, register: int, value: int | None = None) -> int:
        """Read or write a register of the expander."""
        return int(self._ask(f"expander {register}" + ("" if value is None else f" {value}")))

    def resistors(self) -> tuple[bool, bool]:
        """A pin that is still an input drives nothing."""
        driven = self.expander(OUTPUT) & ~self.expander(CONFIGURATION)
        return bool(driven & TERMINATION), bool(driven & BIAS)

    def _ask(self, command: str) -> str:
        assert self._socket is not None, "the machine is off"
        self._socket.sendall(command.encode() + b"\n")
        try:
            verdict, _, rest = self._answers.get(timeout=ANSWER_TIMEOUT).partition(" ")
        except queue.Empty:
            raise WorldError(f"no answer to {command!r} within {ANSWER_TIMEOUT:g} s") from None
        if verdict != "ok":
            raise WorldError(f"{command!r}: {rest}")
        return rest

    def _listen(self, connection: socket.socket) -> None:
        rest = b""
        while True:
            try:
                data = connection.recv(4096)
            except OSError:
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                words = line.decode("ascii", "replace").split()
                if words == ["ready"]:
                    setting = (self._button(), f"expander {INPUT} {self._inputs}", "power-on")
                    connection.sendall("".join(f"@{command}\n" for command in setting).encode())
                elif words == ["started"]:
                    with self._news:
                        self.starts += 1
                        self._news.notify_all()
                elif words[:1] == ["lamp"]:
                    self._changed(Change(int(words[1]), _NAMES[int(words[2])], words[3] == "1"))
                else:
                    self._answers.put(" ".join(words))
