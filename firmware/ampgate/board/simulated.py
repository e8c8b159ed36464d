"""The box of a computer that has none: lamps to look at, switches to set."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ampgate.board.description import LAMPS
from ampgate.board.ports import Switches


class _Memory(msgspec.Struct):
    """What fingers have done to the box; as with the real one, it outlives the process."""

    switches: Switches = Switches(False, False, False)
    pressed: bool = False


class SimulatedBackend:
    """Keeps what real parts would do.

    Positions of switches and button are kept in the file ``memory``, if there is one, so that they are found at the
    next start; a damaged file counts as all off.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._path = memory
        self._memory = _Memory()
        self.lamps = dict.fromkeys(LAMPS, False)
        self.termination = self.bias = False
        if memory is not None:
            with contextlib.suppress(OSError, msgspec.DecodeError):
                self._memory = msgspec.json.decode(memory.read_bytes(), type=_Memory)

    def lamp(self, name: str, on: bool) -> None:
        """Switch a lamp."""
        self.lamps[name] = on

    def button(self) -> bool:
        """Whether the push button is pressed."""
        return self._memory.pressed

    def switches(self) -> Switches:
        """Where the DIP switch stands."""
        return self._memory.switches

    def resistors(self, termination: bool, bias: bool) -> None:
        """Switch the resistors of the EIA-485 port."""
        self.termination, self.bias = termination, bias

    def close(self) -> None:
        """Nothing to give back."""

    def move(self, switches: Switches) -> None:
        """Set the DIP switch, as a finger would."""
        self._memory.switches = switches
        self._keep()

    def press(self, pressed: bool) -> None:
        """Press or release the push button."""
        self._memory.pressed = pressed
        self._keep()

    def _keep(self) -> None:
        if self._path is not None:
            self._path.write_bytes(msgspec.json.encode(self._memory))
