"""The reset as a whole, on the simulated board: its order, and a power cut between any two of its steps."""

import contextlib

import pytest

from ampgate.board import open_board
from ampgate.system.factory import Reset, ResetError


class PowerCut(BaseException):
    pass


class Device:
    """What survives a power cut: the boot loader's variable and the data partition."""

    def __init__(self):
        self.requested_ = False
        self.data = "owner's"
        self.steps_left = None

    def step(self):
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise PowerCut
            self.steps_left -= 1

    # as Environment
    def requested(self):
        self.step()
        return self.requested_

    def store(self):
        self.step()
        self.requested_ = True
        self.step()

    def clear(self):
        self.step()
        self.requested_ = False
        self.step()

    def wipe(self):
        self.step()
        self.data = "torn"
        self.step()
        self.data = "empty"
        self.step()


class Person:
    """Holds the button for some seconds, and watches the lamps."""

    def __init__(self, seconds, board):
        self.now = 0.0
        self.board = board
        self.seconds = seconds
        self.seen = []
        board.backend.press(seconds > 0)

    def sleep(self, seconds):
        self.now += seconds
        self.board.backend.press(self.now < self.seconds)
        lit = frozenset(name for name, lamp in self.board.lamps.items() if lamp.on)
        if not self.seen or self.seen[-1] != lit:
            self.seen.append(lit)


def power_up(device, seconds=0.0):
    board = open_board(None)
    person = Person(seconds, board)
    reset = Reset(device, device.wipe, board, clock=lambda: person.now, sleep=person.sleep)
    done = reset.run()
    return done, person


def test_without_the_button_nothing_happens():
    device = Device()
    done, person = power_up(device)
    assert not done
    assert device.data == "owner's"
    assert person.now == 0.0  # the start of the device is not delayed
    assert not person.seen


def test_nine_seconds_do_nothing():
    device = Device()
    done, person = power_up(device, 9.0)
    assert not done
    assert device.data == "owner's"
    assert not device.requested_
    assert not any(lamp.on for lamp in person.board.lamps.values())


def test_ten_seconds_reset_and_all_lamps_blink_once():
    device = Device()
    done, person = power_up(device, 11.0)
    assert done
    assert device.data == "empty"
    assert not device.requested_
    assert person.seen[:2] == [{"feedback_red", "button", "port_a"}, {"feedback_red", "button", "ethernet"}]
    assert person.seen[-3:] == [frozenset(), frozenset(person.board.lamps), frozenset()]


def test_a_stored_request_is_completed_without_the_button():
    device = Device()
    device.requested_ = True
    done, person = power_up(device)
    assert done
    assert device.data == "empty"
    assert not device.requested_
    assert person.seen[-2] == frozenset(person.board.lamps)


@pytest.mark.parametrize("steps", range(9))
def test_a_power_cut_leaves_reset_or_not_reset(steps):
    device = Device()
    device.steps_left = steps
    with contextlib.suppress(PowerCut):
        power_up(device, 11.0)
    requested = device.requested_
    device.steps_left = None
    power_up(device)
    assert device.data == ("empty" if requested or steps >= 6 else "owner's")
    assert not device.requested_


def test_the_steps_above_are_all_of_them():
    device = Device()
    device.steps_left = 8
    assert power_up(device, 11.0)[0]


def test_a_file_system_that_cannot_be_made_keeps_the_request():
    device = Device()

    def fail():
        raise ResetError("mkfs.ext4: no such device")

    device.wipe = fail
    with pytest.raises(ResetError):
        power_up(device, 11.0)
    assert device.requested_
