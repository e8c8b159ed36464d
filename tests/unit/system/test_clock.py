"""The BMS sets the system's clock; NTP stands back first."""

import time
from datetime import timedelta

import pytest

from ampgate.system import clock


@pytest.fixture
def kernel(monkeypatch):
    """The clock of a machine; that of this one is left alone."""
    calls = []
    monkeypatch.setattr(time, "clock_gettime", lambda which: 1000.0)
    monkeypatch.setattr(time, "clock_settime", lambda which, value: calls.append((which, value)))
    return calls


def test_the_clock_is_set_by_the_difference(kernel, tmp_path):
    assert clock.adjust(timedelta(hours=-1, seconds=2.5), tmp_path / "marker")
    assert kernel == [(time.CLOCK_REALTIME, 1000.0 - 3600 + 2.5)]


def test_ntp_is_told_before(monkeypatch, kernel, tmp_path):
    marker = tmp_path / "marker"
    order = []
    monkeypatch.setattr(time, "clock_settime", lambda *_: order.append(marker.exists()))
    clock.adjust(timedelta(1), marker)
    assert order == [True]


def test_without_the_right_an_offset_is_kept(monkeypatch, kernel, tmp_path):
    def refuse(*_):
        raise PermissionError("no CAP_SYS_TIME")

    monkeypatch.setattr(time, "clock_settime", refuse)
    assert not clock.adjust(timedelta(1), tmp_path / "marker")
    assert not clock.adjust(timedelta(1), tmp_path / "missing/marker")
