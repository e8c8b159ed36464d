"""Settings on trial: confirmed or rolled back; what is on the data partition is never on trial."""

import json
import threading

import pytest

from ampgate.system import places
from ampgate.system.network.apply import Device, request_id, restore, run_trial, start

STATIC = 'address = "10.0.0.5/24"\nntp = ["ntp.example.com"]\nhostname = "garage"\n'


class Clock:
    """Time that goes by with each look."""

    def __init__(self, step):
        self.now = 0.0
        self.step = step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def device(tmp_path, monkeypatch):
    for name in ("requests", "answers", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("ampgate.system.network.apply._LOOK", 0.001)
    commands, names = [], []
    found = Device(
        requests=tmp_path / "requests",
        answers=tmp_path / "answers",
        confirmed=tmp_path / "data/settings.toml",
        networkd=tmp_path / "networkd",
        interface="lo",
        command=commands.append,
        set_host_name=names.append,
    )
    found.commands, found.names = commands, names
    return found


def state(device):
    return json.loads(device.state.read_text())


def request(device, text):
    (device.requests / places.NETWORK_REQUEST).write_text(text)


def network_file(device):
    return (device.networkd / "50-ethernet.network").read_text()


def confirm_when_on_trial(device):
    """What a person does who reaches the device under its new address."""

    def wait():
        while not device.state.exists() or state(device)["outcome"] != "on trial":
            pass
        while not device.commands:
            pass
        (device.requests / places.NETWORK_CONFIRMATION).touch()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_without_settings_those_of_the_factory_hold(device):
    assert start(device) == 0
    assert "DHCP=yes" in network_file(device)
    assert state(device)["outcome"] == "factory"
    assert device.names == ["ampgate-000000"]
    assert not device.static_flag.exists()


def test_confirmed_settings_hold_after_a_start(device):
    device.confirmed.write_text(STATIC)
    start(device)
    assert "Address=10.0.0.5/24" in network_file(device)
    assert device.static_flag.exists()
    assert (device.answers / "chrony.sources").read_text() == "server ntp.example.com iburst\n"
    assert device.names == ["garage"]


@pytest.mark.parametrize("damage", [b"address = 7", b"\xff\xfe", b"x"])
def test_damaged_settings_give_way_to_those_of_the_factory(device, damage):
    device.confirmed.write_bytes(damage)
    start(device)
    assert "DHCP=yes" in network_file(device)
    assert state(device)["problems"]


def test_settings_that_are_confirmed_stay(device):
    start(device)
    request(device, STATIC)
    thread = confirm_when_on_trial(device)
    run_trial(device)
    thread.join(10)
    assert state(device) | {"at": 0} == {
        "outcome": "confirmed",
        "at": 0,
        "request": request_id(STATIC),
        "problems": [],
        "settings": {
            "address": "10.0.0.5/24",
            "gateway": "",
            "dns": [],
            "ntp": ["ntp.example.com"],
            "hostname": "garage",
            "mdns": True,
        },
        "hostname": "garage",
    }
    assert device.confirmed.read_text() == STATIC
    assert ["networkctl", "reload"] in device.commands
    assert not list(device.requests.iterdir())


def test_settings_that_nobody_confirms_are_taken_back(device):
    device.confirmed.write_text('hostname = "before"')
    start(device)
    request(device, STATIC)
    clock = Clock(1.0)
    run_trial(device, clock)
    assert 60 <= clock.now <= 63
    assert "DHCP=yes" in network_file(device)
    assert not device.static_flag.exists()
    assert device.names == ["before", "garage", "before"]
    assert device.confirmed.read_text() == 'hostname = "before"'
    assert state(device)["outcome"] == "rolled back"
    assert device.commands.count(["networkctl", "reload"]) == 2


def test_a_power_cut_during_the_trial_leaves_the_settings_from_before(device):
    device.confirmed.write_text('hostname = "before"')
    start(device)
    request(device, STATIC)

    class PowerCut(Exception):
        pass

    def cut():
        raise PowerCut

    with pytest.raises(PowerCut):
        run_trial(device, cut)
    assert "Address=10.0.0.5/24" in network_file(device)
    start(device)  # the next power-up: all but the data partition is empty
    assert "DHCP=yes" in network_file(device)
    assert device.names[-1] == "before"


def test_a_trial_whose_process_died_is_undone(device, monkeypatch):
    start(device)
    request(device, STATIC)
    with pytest.raises(ZeroDivisionError):
        run_trial(device, lambda: 1 / 0)
    monkeypatch.setattr("ampgate.system.network.apply.Device", lambda: device)
    restore()
    assert "DHCP=yes" in network_file(device)
    assert state(device)["outcome"] == "rolled back"
    commands = len(device.commands)
    restore()
    assert len(device.commands) == commands


def test_a_newer_request_ends_a_trial(device):
    start(device)
    request(device, STATIC)
    newer = 'hostname = "newer"'

    def clock():
        request(device, newer)
        return 0.0

    run_trial(device, clock)
    assert state(device)["outcome"] == "rolled back"
    assert (device.requests / places.NETWORK_REQUEST).read_text() == newer


@pytest.mark.parametrize("text", ['address = "10.0.0.5"', "x", "a = 1"])
def test_settings_with_a_mistake_are_refused(device, text):
    start(device)
    before = network_file(device)
    request(device, text)
    run_trial(device)
    assert state(device)["outcome"] == "refused"
    assert state(device)["request"] == request_id(text)
    assert state(device)["problems"]
    assert network_file(device) == before
    assert not device.commands
    assert not device.confirmed.exists()
    assert not list(device.requests.iterdir())


def test_a_request_that_leads_elsewhere_is_refused(device, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('hostname = "secret"')
    start(device)
    (device.requests / places.NETWORK_REQUEST).symlink_to(secret)
    run_trial(device)
    assert state(device)["outcome"] == "refused"
    assert secret.exists()
    assert not device.commands


def test_a_confirmation_of_an_earlier_trial_does_not_count(device):
    start(device)
    (device.requests / places.NETWORK_CONFIRMATION).touch()
    request(device, STATIC)
    run_trial(device, Clock(30.0))
    assert state(device)["outcome"] == "rolled back"
