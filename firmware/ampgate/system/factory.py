"""The programs behind ``ampgate-factory-reset*.service``: the data partition is made anew, or not touched at all.

The order makes it safe against a power cut at any moment: the request is stored in the boot loader's environment, then
the file system is made, then the request is cleared. A start that finds a request completes it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ampgate.board import Board, BoardError, open_board
from ampgate.system import files, places
from ampgate.system.holding import ALTERNATION, FAREWELL, POLL, Holding, lamps

log = logging.getLogger(__name__)

VARIABLE: Final = "ampgate_factory_reset"
"""Of the boot loader's environment: 1 while a reset is asked for and not complete."""
BOARD_FILE: Final = Path("/usr/share/ampgate/board.toml")
DATA: Final = Path("/dev/disk/by-partlabel/data")


class ResetError(Exception):
    """A step of the reset failed: which and why."""


@dataclass
class Environment:
    """The variables of the boot loader (libubootenv)."""

    config: Path = Path("/etc/fw_env.config")

    def requested(self) -> bool:
        """Whether a reset is asked for; no when the environment cannot be read."""
        try:
            words = ["fw_printenv", "-c", str(self.config), "-n", VARIABLE]
            result = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError as error:
            log.error("factory reset: fw_printenv: %s", error)
            return False
        return result.stdout.strip() == "1"

    def store(self) -> None:
        """Ask for a reset; on the disk when this returns."""
        _command(["fw_setenv", "-c", str(self.config), VARIABLE, "1"])
        os.sync()

    def clear(self) -> None:
        """The reset is complete; so is what it wrote, on the disk."""
        os.sync()
        _command(["fw_setenv", "-c", str(self.config), VARIABLE])
        os.sync()


def make_file_system(partition: Path = DATA) -> None:
    """Make the data partition anew."""
    _command(["mkfs.ext4", "-q", "-F", "-L", "data", str(partition)])


def _command(words: list[str]) -> None:
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ResetError(f"{words[0]}: {error}") from error
    if result.returncode:
        raise ResetError(f"{' '.join(words)}: {result.stderr.strip() or f'exit code {result.returncode}'}")


@dataclass
class Reset:
    """The reset with everything it acts upon."""

    environment: Environment
    wipe: Callable[[], None]
    board: Board
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> bool:
        """What happens at each start; whether a reset was done. `ResetError` leaves the request for the next start."""
        pending = self.environment.requested()
        if pending:
            log.warning("factory reset: completes the one that was asked for")
        elif not self.board.button.pressed():
            return False
        elif not self._held():
            log.info("factory reset: button released early, nothing done")
            self.show(())
            return False
        else:
            log.warning("factory reset: asked for by the push button")
            self.environment.store()
        self._wipe()
        self.environment.clear()
        log.warning("factory reset: complete")
        for lit, seconds in FAREWELL:
            self.show(lit)
            self.sleep(seconds)
        return True

    def show(self, lit: Iterable[str]) -> None:
        """Switch exactly these lamps on."""
        on = frozenset(lit)
        for name, lamp in self.board.lamps.items():
            lamp.set(name in on)

    def _held(self) -> bool:
        holding = Holding(self.clock())
        while True:
            decision = holding.look(self.clock(), self.board.button.pressed())
            if isinstance(decision, bool):
                return decision
            self.show(decision)
            self.sleep(POLL)

    def _wipe(self) -> None:
        """Make the file system; the lamps keep performing meanwhile."""
        begin = self.clock()
        done = threading.Event()

        def perform() -> None:
            while not done.wait(ALTERNATION / 2):
                self.show(lamps(self.clock() - begin))

        self.show(lamps(0))
        thread = threading.Thread(target=perform, name="lamps", daemon=True)
        thread.start()
        try:
            self.wipe()
        finally:
            done.set()
            thread.join()


def boot() -> int:
    """Each start, before the data partition is mounted."""
    try:
        board = open_board(BOARD_FILE)
    except BoardError as error:
        log.error("factory reset: no button and no lamps: %s", error)
        board = open_board(None)
    try:
        Reset(Environment(), make_file_system, board).run()
    except ResetError as error:
        log.error("factory reset: %s; the next start tries again", error)
        return 1
    finally:
        board.close()
    return 0


def request() -> int:
    """The gateway asks for a reset: store that; the unit then starts the device anew."""
    path = places.REQUESTS / places.RESET_REQUEST
    try:
        files.take(path)
    except ValueError as error:
        log.error("factory reset refused: %s", error)
        return 1
    try:
        Environment().store()
    except ResetError as error:
        log.error("factory reset: %s", error)
        return 1
    log.warning("factory reset: asked for by the gateway, the device starts anew")
    return 0
