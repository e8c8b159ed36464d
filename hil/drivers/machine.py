"""The virtual gateway: QEMU with a disk of its own, a second serial port for EIA-485, and a line to the world in it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Final

import attr
from labgrid.driver import QEMUDriver
from labgrid.factory import target_factory
from labgrid.step import step
from pexpect import TIMEOUT

START_TIMEOUT: Final = 30.0
"""Seconds that QEMU has to start."""


@target_factory.reg_driver
@attr.s(eq=False)
class GatewayMachineDriver(QEMUDriver):  # type: ignore[misc]
    """QEMUDriver with what a DIN-rail device has besides a console.

    ``disk`` names the image that a factory would write; what the machine writes goes to an overlay, which `reflash`
    throws away. The console stays `/dev/ttyAMA0`; what it says is kept in `console.log` beside the disk image. EIA-485
    port A is the second UART and appears on this computer as the pseudo-terminal `rs485`. `world` is the line to the
    program in the guest that moves switches and sees lamps.
    """

    disk_size = attr.ib(default="1G", validator=attr.validators.instance_of(str))

    def on_activate(self) -> None:
        """Prepare the command line and a fresh disk."""
        super().on_activate()
        directory = Path(self._tempdir)
        world = directory / "world.sock"
        self._world_listener = socket.socket(socket.AF_UNIX)
        self._world_listener.bind(str(world))
        self._world_listener.listen(1)
        self.rs485 = directory / "rs485"
        self._overlay = directory / "disk.qcow2"
        factory = self.target.env.config.get_image_path(self.disk)
        self._factory = Path(factory).resolve()
        self._cmd = [
            word.replace(f"format=raw,file={factory}", f"format=qcow2,file={self._overlay}") for word in self._cmd
        ]
        # No monitor: a device has no door through which it could be stopped. (And QEMU names the pseudo-terminal on its
        # standard output, where labgrid would have the monitor.)
        self._cmd.remove("-S")
        log = self._factory.with_name("console.log")
        console = next(number for number, word in enumerate(self._cmd) if "id=serialsocket" in word)
        self._cmd[console] += f",logfile={log},logappend=on"
        monitor = self._cmd.index("-qmp")
        del self._cmd[monitor : monitor + 2]
        self._cmd += ["-monitor", "none"]
        self._cmd += ["-chardev", f"socket,id=world,path={world}"]
        self._cmd += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=world,name=world"]
        self._cmd += ["-chardev", f"pty,id=rs485,path={self.rs485}", "-serial", "chardev:rs485"]
        self.reflash()

    @step()  # type: ignore[untyped-decorator]
    def reflash(self) -> None:
        """A card fresh from the factory. The machine must be off."""
        assert not self.status
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self._factory), "-F", "raw"]
        subprocess.run([*command, str(self._overlay), self.disk_size], check=True)

    @step()  # type: ignore[untyped-decorator]
    def keep(self, path: Path) -> None:
        """Keep the card as it is now. The machine must be off."""
        assert not self.status
        shutil.copyfile(self._overlay, path)

    @step()  # type: ignore[untyped-decorator]
    def insert(self, path: Path) -> None:
        """Put a copy of a kept card in. The machine must be off."""
        assert not self.status
        shutil.copyfile(path, self._overlay)

    @step()  # type: ignore[untyped-decorator]
    def on(self) -> None:
        """Power."""
        if self.status:
            return
        with open(os.devnull, "r+b") as nothing:
            self._child = subprocess.Popen(self._cmd, stdin=nothing, stdout=nothing)
        for listener in (self._socket, self._world_listener):
            listener.settimeout(START_TIMEOUT)
        self._clientsocket, _ = self._socket.accept()
        self.world, _ = self._world_listener.accept()
        self._said = queue.Queue()
        threading.Thread(target=self._listen, args=(self._clientsocket, self._said), daemon=True).start()
        self.status = 1

    @step()  # type: ignore[untyped-decorator]
    def cut(self) -> None:
        """Power is gone, at once."""
        if self.status:
            self._child.kill()
            self._child.communicate()
            self._child = None
            self.status = 0
            self._clientsocket.close()
            self.world.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.rs485)

    def off(self) -> None:
        """As `cut`: the device has no switch of its own."""
        self.cut()

    @staticmethod
    def _listen(console: socket.socket, said: queue.Queue[bytes]) -> None:
        # Always: a console that nobody reads stops the machine after a few hundred characters.
        with contextlib.suppress(OSError):
            while data := console.recv(4096):
                said.put(data)

    def _read(self, size: int = 1, timeout: float = 10, max_size: int | None = None) -> bytes:
        try:
            return self._said.get(timeout=timeout)
        except queue.Empty:
            raise TIMEOUT(f"console silent for {timeout:.2f} s") from None
