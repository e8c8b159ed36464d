"""The operator at a terminal: what is asked, what is understood, and what happens when nobody is there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from hil.drivers.protocols import Light
from hil.person import NAMES, PROMPT, Operator, OperatorError, Terminal, lights, number

pytestmark = pytest.mark.unit

DEADLINE = 20.0


class Person:
    """Sits at the other end of a pseudo-terminal and types the next of their answers at each question."""

    def __init__(self) -> None:
        self._screen, self._terminal = os.openpty()
        self.operator = Operator(Terminal(os.ttyname(self._terminal)))
        self.read = ""

    def does(self, work: Callable[[], object], *answers: str) -> object:
        """What ``work`` returns or raises when these answers are typed."""
        thread = threading.Thread(target=self._type, args=(answers,))
        thread.start()
        try:
            return work()
        finally:
            thread.join(DEADLINE)
            assert not thread.is_alive(), f"not asked for all of {answers}: {self.read}"

    def _type(self, answers: tuple[str, ...]) -> None:
        for answer in answers:
            begin = len(self.read)
            while not self.read[begin:].endswith(PROMPT):
                self.read += os.read(self._screen, 1).decode("utf-8", "replace")
            os.write(self._screen, answer.encode())

    def close(self) -> None:
        os.close(self._screen)
        os.close(self._terminal)


@pytest.fixture
def person() -> Iterator[Person]:
    person = Person()
    yield person
    person.close()


def test_a_task_is_done_with_enter(person):
    person.does(lambda: person.operator.power(False), "\n")
    assert "Disconnect the device from power." in person.read
    person.does(lambda: person.operator.power(True), "\n")
    assert "Connect the device to power." in person.read
    person.does(lambda: person.operator.press(True), "\n")
    assert "Press the push button and keep it pressed." in person.read


def test_what_was_wrong_ends_the_test_in_the_persons_words(person):
    with pytest.raises(OperatorError, match=r"Connect the device to power\. The operator says: no plug"):
        person.does(lambda: person.operator.power(True), "no plug\n")


def test_nobody_there(person):
    with pytest.raises(OperatorError, match="gone"):
        person.does(lambda: person.operator.power(True), "\x04")


def test_no_terminal(tmp_path):
    for path in (tmp_path / "missing", "/dev/null"):
        with pytest.raises(OperatorError, match="there is no terminal"):
            Operator(Terminal(str(path))).power(True)


def test_an_enter_too_many_answers_nothing(person):
    os.write(person._screen, b"\n\n")
    with pytest.raises(OperatorError, match="wait"):
        person.does(lambda: person.operator.power(True), "wait\n")


def test_switches_are_set_only_when_they_stand_otherwise(person):
    person.does(lambda: person.operator.switches(True, False, True), "\n")
    assert "Set the DIP switches: 1 ON, 2 OFF, 3 ON." in person.read
    person.does(lambda: person.operator.switches(True, False, True))
    person.does(lambda: person.operator.switches(False, False, True), "\n")
    assert "Set the DIP switches: 1 OFF, 2 OFF, 3 ON." in person.read


def test_a_look_asks_until_it_understands(person):
    seen = person.does(person.operator.look, "++\n", "+-*x+\n", "+ - * - +\n")
    assert seen == {
        "port_a": Light.ON,
        "ethernet": Light.OFF,
        "feedback_green": Light.BLINKING,
        "feedback_red": Light.OFF,
        "button": Light.ON,
    }
    assert all(name in person.read for name in NAMES.values())
    assert person.read.count("That cannot be understood") == 2


@pytest.mark.parametrize(
    ("measured", "resistors"),
    [
        (("0.01", "15k"), (False, False)),
        (("-0,02 V", "OL"), (False, False)),
        (("0", "121 Ω"), (True, False)),
        (("4.6",), (False, True)),
        (("0.44",), (True, True)),
    ],
)
def test_resistors_from_what_the_multimeter_shows(person, measured, resistors):
    """5 V, 620 Ω up and down, 120 Ω across (docs/hardware.md)."""
    answers = [f"{value}\n" for value in (*measured, "")]
    assert person.does(person.operator.resistors, *answers) == resistors


def test_the_button_held_at_power_up(person):
    held = person.does(lambda: person.operator.hold_at_power_up(5), "\n", "**-++\n")
    assert held["feedback_red"] is Light.ON and held["port_a"] is Light.BLINKING
    assert "Press and hold the push button, and connect the device to power." in person.read
    assert "5 seconds later" in person.read


def test_the_button_held_while_a_relay_switches(person):
    order = []
    person.does(lambda: person.operator.hold_at_power_up(0, lambda: order.append(person.read)), "\n", "\n", "**-++\n")
    assert "keep it pressed" in order[0] and "all LEDs have gone off" not in order[0]
    assert "all LEDs have gone off" in person.read and "connect" not in person.read


def test_a_configuration_is_copied(person, tmp_path):
    person.does(lambda: person.operator.configure(tmp_path / "config.toml"), "\n")
    assert f"Copy {tmp_path / 'config.toml'} to the data partition" in person.read


@pytest.mark.parametrize("text", ["", "+-+-", "+-+-+-", "+-+-o", "12345"])
def test_signs_that_mean_nothing(text):
    with pytest.raises(ValueError, match="is not 5 signs of"):
        lights(text)


@pytest.mark.parametrize(("text", "value"), [("120", 120), ("15k", 15e3), ("1,2 MΩ", 1.2e6), ("0.44 V", 0.44)])
def test_numbers_as_people_type_them(text, value):
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "k", "high", "1 2 x"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError):
        number(text)
