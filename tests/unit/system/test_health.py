"""What confirms a system; the checks themselves meet a real gateway in tests/integration/test_device.py."""

import json
import os

import pytest

from ampgate.system import health


@pytest.fixture
def rauc(tmp_path, monkeypatch):
    """A program of this name on the path; returns what sets its exit code, and where it keeps its arguments."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "rauc"
    log = tmp_path / "arguments"

    def exits(code):
        program.write_text(f"#!/bin/sh\necho $* >>{log}\necho no such bus >&2\nexit {code}\n")
        program.chmod(0o755)
        return log

    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return exits


def test_a_working_system_is_marked_good(rauc, tmp_path):
    log = rauc(0)
    confirmed = tmp_path / "confirmed.json"
    assert health.judge(None, "A", "1.0.0", confirmed) == 0
    assert log.read_text() == "status mark-good\n"
    assert json.loads(confirmed.read_text()) == {"A": "1.0.0"}
    assert health.judge(None, "B", "1.1.0", confirmed) == 0
    assert json.loads(confirmed.read_text()) == {"A": "1.0.0", "B": "1.1.0"}


def test_a_new_system_that_does_not_work_starts_again(rauc, tmp_path):
    log = rauc(0)
    confirmed = tmp_path / "confirmed.json"
    assert health.judge("Modbus TCP: refused", "B", "1.1.0", confirmed) == 1
    assert not log.exists()
    confirmed.write_text('{"A": "1.1.0", "B": "1.0.0"}')
    assert health.judge("Modbus TCP: refused", "B", "1.1.0", confirmed) == 1


def test_one_that_has_worked_goes_on(rauc, tmp_path):
    log = rauc(0)
    confirmed = tmp_path / "confirmed.json"
    confirmed.write_text('{"A": "1.0.0"}')
    assert health.judge("Modbus TCP: refused", "A", "1.0.0", confirmed) == os.EX_TEMPFAIL
    assert not log.exists()


def test_a_boot_loader_that_cannot_be_told_is_no_reason_to_start_again(rauc, tmp_path, caplog):
    rauc(1)
    confirmed = tmp_path / "confirmed.json"
    assert health.judge(None, "A", "1.0.0", confirmed) == os.EX_TEMPFAIL
    assert not confirmed.exists()
    assert "no such bus" in caplog.text


def test_without_rauc(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert health.judge(None, "A", "1.0.0", tmp_path / "confirmed.json") == os.EX_TEMPFAIL


def test_it_waits_for_the_gateway(tmp_path):
    now = [0.0]
    problem = health.wait_until_healthy(
        tmp_path / "none", 180.0, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    assert problem
    assert now[0] == 180.0
