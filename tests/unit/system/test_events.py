"""The event log on the data partition: what is kept, and how little is written."""

import json

import pytest

from ampgate.system.events import LARGEST, EventLog, follow, journalctl, line

ENTRY = {
    "__CURSOR": "s=1;i=2",
    "__REALTIME_TIMESTAMP": "1700000000000000",
    "PRIORITY": "4",
    "SYSLOG_IDENTIFIER": "ampgate",
    "MESSAGE": "no DHCP lease\n  at all",
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events(tmp_path, clock):
    return EventLog(tmp_path, clock)


def test_a_warning_is_a_line():
    assert line(ENTRY) == "2023-11-14T22:13:20Z warning ampgate: no DHCP lease at all"


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"PRIORITY": "3"}, True),
        ({"PRIORITY": "5"}, False),
        ({"_TRANSPORT": "kernel"}, False),
        ({"_TRANSPORT": "kernel", "PRIORITY": "3"}, True),
    ],
)
def test_what_is_kept(changes, kept):
    assert (line(ENTRY | changes) is not None) is kept


def test_bytes_and_long_lines():
    assert line(ENTRY | {"MESSAGE": [104, 105, 255]}).endswith("ampgate: hi\N{REPLACEMENT CHARACTER}")
    assert len(line(ENTRY | {"MESSAGE": "x" * 5000})) < 1100


def test_garbage_is_passed_over(events):
    lines = [b"{", b"", b"[]", json.dumps(ENTRY).encode(), b'{"__CURSOR": "s=9"}']
    assert follow(lines, events) == "s=9"
    events.write()
    assert events.path.read_text() == line(ENTRY) + "\n"


def test_it_goes_on_where_it_ended():
    assert "--after-cursor=s=1" in journalctl("s=1")
    assert "--boot" in journalctl("")


def test_a_flood_is_cut_and_counted(events, clock):
    for _ in range(1000):
        events.add("again")
    events.write()
    assert len(events.path.read_text().splitlines()) == 60
    clock.now = 61.0
    events.write()
    assert events.path.read_text().endswith("warning ampgate: 940 more, not kept\n")


def test_two_files_at_most(events, clock, tmp_path):
    for minute in range(40):
        clock.now = 61.0 * minute
        for _ in range(60):
            events.add("x" * 1000)
        events.write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.log", "events.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * LARGEST + 2 * 61000


def test_nothing_new_writes_nothing(events):
    events.write()
    assert not events.path.exists()
