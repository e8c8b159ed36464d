"""The person in front of the bench, who is asked at the terminal to do and to see what a machine would."""

from __future__ import annotations

import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from hil.drivers.protocols import FrontProtocol, Light, ResistorProtocol

T = TypeVar("T")

CONTROLLING_TERMINAL: Final = "/dev/tty"
PROMPT: Final = " > "
NAMES: Final = {
    "port_a": "LED 1 (Port A, green)",
    "ethernet": "LED 2 (Ethernet, red)",
    "feedback_green": "feedback LED, green",
    "feedback_red": "feedback LED, red",
    "button": "LED in the push button, green",
}
"""Lamps in the order in which the person is asked for them."""
LETTERS: Final = {"+": Light.ON, "-": Light.OFF, "*": Light.BLINKING}
BIASED: Final = 0.2
"""Volts between B+ and A− from which a line is biased (docs/serial.md)."""
LOADED: Final = 1.5
"""Volts that a biased port without a cable stays below when it is terminated: 0.44 V, else some 4.5 V."""
TERMINATED: Final = 1000.0
"""Ohms that a port without a cable stays below when it is terminated: 120 Ω, else at least the receiver's 12 kΩ."""


class OperatorError(Exception):
    """There is nobody to ask, or the person could not do what was asked."""


class Terminal:
    """Questions and answers past everything that pytest captures: the terminal itself is opened."""

    def __init__(self, path: str = CONTROLLING_TERMINAL) -> None:
        self._path = path
        self._asked = 0

    def do(self, task: str) -> None:
        """Have something done; `OperatorError` with the person's words when it could not be."""
        trouble = self._answer(task, "Enter when done, or what is wrong")
        if trouble:
            raise OperatorError(f"{task} The operator says: {trouble}")

    def ask(self, question: str, hint: str, parse: Callable[[str], T]) -> T:
        """The answer to a question; asked again as long as ``parse`` raises ValueError."""
        while True:
            try:
                return parse(self._answer(question, hint))
            except ValueError as error:
                question = f"That cannot be understood: {error}"

    def _answer(self, text: str, hint: str) -> str:
        self._asked += 1
        try:
            with open(os.open(self._path, os.O_RDWR | os.O_NOCTTY), "r+b", buffering=0) as terminal:
                termios.tcflush(terminal, termios.TCIFLUSH)  # an Enter too many answers nothing
                terminal.write(f"\a\n\n[{self._asked}] {text}\n    {hint}{PROMPT}".encode())
                line = terminal.readline()
        except (OSError, termios.error) as error:
            reason = f"these tests ask an operator, and there is no terminal: {error}"
            raise OperatorError(reason) from None
        if not line:
            raise OperatorError("the operator has gone (end of input)")
        return line.decode("utf-8", "replace").strip()


class Operator(FrontProtocol, ResistorProtocol):
    """A person with a finger, a screwdriver, eyes and a multimeter."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._switches: tuple[bool, bool, bool] | None = None

    def power(self, on: bool) -> None:
        """Connect or disconnect the supply."""
        self._terminal.do("Connect the device to power." if on else "Disconnect the device from power.")

    def press(self, pressed: bool) -> None:
        """Press or release the push button."""
        self._terminal.do("Press the push button and keep it pressed." if pressed else "Release the push button.")

    def hold_at_power_up(self, seconds: int, power_on: Callable[[], None] | None = None) -> dict[str, Light]:
        """Power up with the button held for so long, 0: until all lamps go dark; what was to be seen meanwhile.

        The device must be without power. ``power_on`` connects it; without, the person does.
        """
        end = f"{seconds} seconds later, counted slowly," if seconds else "When all LEDs have gone off,"
        wait = f"Wait until the feedback LED turns on red, and look at the LEDs. {end} release the button."
        if power_on is None:
            self._terminal.do(f"Press and hold the push button, and connect the device to power. {wait}")
        else:
            self.press(True)
            power_on()
            self._terminal.do(wait)
        return self._lights("What did the LEDs show while the button was held?")

    def configure(self, path: Path) -> None:
        """Put a configuration onto the device, which is without power before and after."""
        self._terminal.do(f"Copy {path} to the data partition of the device's card, as ampgate/config.toml.")

    def switches(self, one: bool, two: bool, three: bool) -> None:
        """Set the DIP switch; asked only when it stands otherwise."""
        if self._switches != (one, two, three):
            positions = ", ".join(f"{number} {'ON' if on else 'OFF'}" for number, on in enumerate((one, two, three), 1))
            self._terminal.do(f"Set the DIP switches: {positions}.")
            self._switches = (one, two, three)

    def look(self) -> dict[str, Light]:
        """What each lamp shows."""
        return self._lights("Look at the LEDs for about three seconds. What do they show?")

    def resistors(self) -> tuple[bool, bool]:
        """Whether termination and bias are on, from voltage and resistance at a port without its cable."""
        volts = self._terminal.ask(
            "Pull the EIA-485 plug out of the device, leave its power on. What is the voltage from A3 (B+) to A2 (A−)?",
            "volts, such as 0.01",
            number,
        )
        bias = volts >= BIASED
        if bias:
            termination = volts < LOADED
        else:
            ohms = self._terminal.ask("What is the resistance between A3 and A2?", "ohms, such as 120 or 15k", number)
            termination = ohms < TERMINATED
        self._terminal.do("Put the EIA-485 plug back.")
        return termination, bias

    def _lights(self, question: str) -> dict[str, Light]:
        hint = "one sign for each: + on, - off, * blinking or flickering, such as +-*-+"
        return self._terminal.ask("\n    ".join((question, *NAMES.values())), hint, lights)


def lights(text: str) -> dict[str, Light]:
    """What the signs for the lamps mean, in the order of `NAMES`."""
    signs = text.replace(" ", "")
    if len(signs) != len(NAMES) or not set(signs) <= LETTERS.keys():
        raise ValueError(f"{text!r} is not {len(NAMES)} signs of {' '.join(LETTERS)}")
    return {name: LETTERS[sign] for name, sign in zip(NAMES, signs, strict=True)}


def number(text: str) -> float:
    """A number as people type it; k and M for thousands and millions, "open" where nothing conducts."""
    plain = text.replace(",", ".").replace(" ", "").rstrip("VvΩ")
    if plain.lower() in ("open", "ol", "inf"):
        return float("inf")
    factor = {"k": 1e3, "M": 1e6}.get(plain[-1:], 1.0)
    return float(plain.rstrip("kM")) * factor
