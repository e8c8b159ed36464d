"""The box: lamps, push button, DIP switch and the resistors of the EIA-485 port.

Everything that `open_board` gives is synchronous, so that an early unit can use it as well as the gateway.
"""

from __future__ import annotations

from pathlib import Path

from ampgate.board.description import BoardError, Raspberry, describe
from ampgate.board.ports import Backend, Board, Switches
from ampgate.board.raspberry import RaspberryBackend
from ampgate.board.simulated import SimulatedBackend

__all__ = ["Board", "BoardError", "Switches", "make_board", "open_board"]


def open_board(path: Path | None) -> Board:
    """The box that the ``board.toml`` at ``path`` describes, open, all lamps off; without a path a simulated one.

    A part that is missing becomes one of `Board.alarms`; a description that cannot be used raises `BoardError`. The I²C
    bus is not touched yet.
    """
    board = make_board(path)
    board.open()
    return board


def make_board(path: Path | None, memory: Path | None = None) -> Board:
    """The same, not open yet; ``memory`` is the file in which a simulated box keeps the positions of its switches."""
    description = describe(path)
    backend: Backend = RaspberryBackend(description) if isinstance(description, Raspberry) else SimulatedBackend(memory)
    return Board(description.name, description.serial.device, backend)
