"""The box as the gateway runs it: lamps by a timer, I²C in a thread of its own, so that neither delays the bridge.

A GPIO line is switched in some microseconds, but a transfer on a stuck I²C bus takes seconds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Any, Final

from ampgate.board.dip import Resistors, resistors
from ampgate.board.panel import Panel, Signs
from ampgate.board.patterns import STEP, Trouble
from ampgate.board.ports import Board, Part, Switches
from ampgate.board.simulated import SimulatedBackend

log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 1.0
"""Seconds between two looks at the DIP switch, and at what is wrong."""
STUCK: Final = 5.0
"""Seconds after which a transfer on the I²C bus counts as stuck."""
_STOP_TIMEOUT: Final = 2.0


class Alarm(IntFlag):
    """What is wrong with the box; bits of the register Alarms."""

    EXPANDER = 1 << 8
    LINES = 1 << 9
    SWITCHES_DIFFER = 1 << 10


class Box:
    """Runs the parts of a board; ``signs`` says what the lamps have to show, but for the troubles of the box itself.

    The DIP switch counts as it stood at the first time that it could be read (manual 1.12 §5.1: a change takes effect
    after a restart). Termination and bias are set again at each look, as an expander that has lost its power forgets
    them.
    """

    def __init__(self, board: Board, signs: Callable[[], Signs]) -> None:
        self.board = board
        self._signs = signs
        self._panel = Panel(board.lamps)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._thread = threading.Thread(target=self._watch_expander, name="expander", daemon=True)
        self._end = threading.Event()
        self._transfer_since: float | None = None
        self._trouble: Trouble | None = None
        self._told: set[str] = set()
        self._next_look = 0.0
        self.at_start: Switches | None = None
        """The DIP switch at the start, None while it could not be read."""
        self.present: Switches | None = None
        """The DIP switch now, None while it cannot be read."""

    def start(self) -> None:
        """Light the lamps, read the DIP switch and switch the resistors."""
        self.board.open()
        self._thread.start()
        self._due = asyncio.get_running_loop().time()
        self._step()

    async def stop(self) -> None:
        """Put the lamps out; termination and bias stay, for the others on the bus."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._end.set()
        await asyncio.to_thread(self._thread.join, _STOP_TIMEOUT)
        if self._thread.is_alive():  # a stuck bus, still in use there, must not hold up the end
            self.board.darken()
        else:
            self.board.close()

    @property
    def wanted(self) -> Resistors | None:
        """What the DIP switch asked for at the start."""
        return resistors(self.at_start) if self.at_start is not None else None

    @property
    def alarms(self) -> list[str]:
        """What is wrong, in clear text."""
        texts = self.board.alarms
        if self._stuck():
            texts.append(f"DIP switch, termination and bias: the I²C bus has not answered for {STUCK:g} s")
        if self.wanted is not None and self.wanted.warning:
            texts.append(self.wanted.warning)
        return texts

    @property
    def alarm(self) -> Alarm:
        """The same as bits."""
        faults = self.board.faults
        alarm = Alarm(0)
        if faults.texts(Part.EXPANDER) or self._stuck():
            alarm |= Alarm.EXPANDER
        if faults.texts(Part.LINES):
            alarm |= Alarm.LINES
        if self.wanted is not None and self.wanted.warning:
            alarm |= Alarm.SWITCHES_DIFFER
        return alarm

    def status(self) -> dict[str, Any]:
        """What ``ampgate status`` shows."""
        board = self.board
        return {
            "name": board.name,
            "lamps": {
                name: {"shows": self._panel.shows(name), "on": lamp.on, "switched": lamp.switched}
                for name, lamp in board.lamps.items()
            },
            "button": board.button.pressed(),
            "switches": {"at_start": self.at_start, "now": self.present},
            "termination": board.eia485.termination,
            "bias": board.eia485.bias,
            "alarms": self.alarms,
        }

    def registers(self) -> dict[str, int]:
        """What the registers ``gateway_state`` show; 2 is unknown."""
        known = {False: 0, True: 1, None: 2}
        eia485 = self.board.eia485
        return {
            "dip_switch": _bits(self.at_start),
            "dip_switch_now": _bits(self.present),
            "termination": known[eia485.termination],
            "bias": known[eia485.bias],
        }

    def operate(self, on: Sequence[int] = (), off: Sequence[int] = (), pressed: bool | None = None) -> None:
        """Set DIP switches (1, 2, 3) ON or OFF, press or release the button of a simulated board.

        Raises `ValueError` for a real board, and for a switch that does not exist or should be both.
        """
        backend = self.board.backend
        if not (on or off) and pressed is None:
            return
        if not isinstance(backend, SimulatedBackend):
            raise ValueError(f"the board {self.board.name} is no simulation: move its switches and button by hand")
        positions = list(backend.switches())
        for number in (*on, *off):
            if number not in (1, 2, 3):
                raise ValueError(f"DIP switch {number} must be 1, 2 or 3")
            if number in on and number in off:
                raise ValueError(f"DIP switch {number} cannot be ON and OFF")
            positions[number - 1] = number in on
        if on or off:
            backend.move(Switches(*positions))
            self.present = self.board.dip.read()
        if pressed is not None:
            backend.press(bool(pressed))

    def _step(self) -> None:
        loop = asyncio.get_running_loop()
        if self._due >= self._next_look:
            self._next_look = self._due + POLL_INTERVAL
            self._look()
        self._panel.step(self._worst(self._signs()))
        # After a delay go on from now: to catch up would only flicker.
        self._due = max(self._due + STEP, loop.time())
        self._timer = loop.call_at(self._due, self._step)

    def _worst(self, signs: Signs) -> Signs:
        """These signs with the box's own trouble, when that is the smaller number."""
        if self._trouble is None or (signs.trouble is not None and signs.trouble < self._trouble):
            return signs
        return signs._replace(trouble=self._trouble)

    def _look(self) -> None:
        """See what is wrong, and tell what has changed."""
        alarm, alarms = self.alarm, set(self.alarms)
        self._trouble = Trouble.SWITCHES if alarm & Alarm.SWITCHES_DIFFER else Trouble.PARTS if alarm else None
        for text in sorted(alarms - self._told):
            log.error("%s", text)
        for text in sorted(self._told - alarms):
            log.info("well again: %s", text)
        self._told = alarms

    def _stuck(self) -> bool:
        since = self._transfer_since
        return since is not None and time.monotonic() - since > STUCK

    def _watch_expander(self) -> None:
        """In a thread, as each transfer may take its time."""
        board = self.board
        while True:
            self._transfer_since = time.monotonic()
            self.present = board.dip.read()
            if self.at_start is None and self.present is not None:
                self.at_start = self.present
                log.info("%s", _words(self.present, resistors(self.present)))
            if self.wanted is not None:
                board.eia485.apply(self.wanted.termination, self.wanted.bias)
            self._transfer_since = None
            if self._end.wait(POLL_INTERVAL):
                return


def _bits(switches: Switches | None) -> int:
    return sum(on << number for number, on in enumerate(switches or ()))


def _words(switches: Switches, wanted: Resistors) -> str:
    positions = ", ".join(f"{number} {'ON' if on else 'OFF'}" for number, on in enumerate(switches, 1))
    return (
        f"DIP switch {positions}: termination {'on' if wanted.termination else 'off'}, "
        f"bias {'on' if wanted.bias else 'off'}"
    )
