"""What the log looks like on standard error."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from ampgate import logs
from ampgate.logs import LogFormat

log = logging.getLogger("ampgate.ocpp.link")


@pytest.fixture(autouse=True)
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the process's logging back as it was."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root, ours = logging.getLogger(), logging.getLogger("ampgate")
    before = root.handlers[:], ours.handlers[:], root.level, ours.level, ours.propagate
    yield
    root.handlers[:], ours.handlers[:], ours.propagate = before[0], before[1], before[4]
    root.setLevel(before[2])
    ours.setLevel(before[3])


def fail() -> None:
    try:
        raise ZeroDivisionError("so it went")
    except ZeroDivisionError:
        log.exception("it failed")


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LogFormat.TEXT)
    log.info("charger %s is here", "CP1")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    ocpp\.link: charger CP1 is here\n", capsys.readouterr().err
    )


def test_journal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LogFormat.JOURNAL, "DEBUG")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "line")
    # The priorities of syslog(3), which the journal reads from the angle brackets.
    assert capsys.readouterr().err.splitlines() == [f"<{number}>ocpp.link: line" for number in (7, 6, 4, 3, 2)]


def test_each_line_of_the_journal_has_its_priority(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LogFormat.JOURNAL)
    fail()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>ocpp.link: ") for line in lines)
    assert lines[-1] == "<3>ocpp.link: ZeroDivisionError: so it went"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LogFormat.JSON)
    log.warning('a "quote"\nand a line')
    fail()
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first == {"level": "warning", "room": "ocpp.link", "message": 'a "quote"\nand a line'}
    assert second["level"] == "error"
    assert second["message"].startswith("it failed\nTraceback")


@pytest.mark.parametrize(("journal", "begin"), [(True, "<6>"), (False, "2")])
def test_under_systemd_it_is_the_journal(
    journal: bool, begin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    logs.start()
    log.info("x")
    assert capsys.readouterr().err.startswith(begin)


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LogFormat.TEXT, "WARNING")
    log.info("quiet")
    log.warning("loud")
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_libraries_speak_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()  # those of pytest
    logs.start(LogFormat.TEXT, "DEBUG")
    logging.getLogger("websockets").warning("chatter")
    logging.getLogger("asyncio").error("trouble")
    assert [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()] == ["ERROR   asyncio: trouble"]


def test_starting_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.start(LogFormat.TEXT)
    log.info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
