"""The journal against what can happen to a file: kill −9, damage, a second process, a reader in the way.

A power cut cannot be had here. What stands in for it: the bytes that `Journal.flush` has synced, with a write-ahead
log behind them that is cut off or filled with garbage at any place, must still hold everything that was flushed.
Not tried: a medium that acknowledges a sync and loses the data, and reordered writes to the database file itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ampgate import journal as module
from ampgate.journal import ChargerRecord, Journal

PAGE = 4096
DEADLINE = 3.0
"""Seconds; less than the five for which SQLite waits for a lock by itself."""


def start(journal: Journal, number: int, charger: str = "CP0", **changes: Any) -> None:
    """Transaction ``number`` starts on the connector of the same number."""
    values = {
        "connector": number,
        "transaction_id": number,
        "record": b'{"id":%d}' % number,
        "response": b'{"transactionId":%d}' % number,
        "last_id": number,
    }
    journal.started(charger, f'"start {number}"', **values | changes)


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def content(path: Path) -> bytes:
    return path.read_bytes()


def size(path: Path) -> int:
    return path.stat().st_size


def stop(journal: Journal, number: int, charger: str = "CP0") -> module.PendingStop:
    return journal.stopping(charger, f'"stop {number}"', number, b'{"transactionId":%d}' % number)


def write_60_kb(journal: Journal, number: int) -> None:
    journal.booted("CP0", b'"%s"' % (b"%03d" % number * 20000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


@pytest.fixture
def killed(journal: Journal, path: Path, tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    """The journal as a process finds it whose predecessor was killed at this moment."""
    opened: list[Journal] = []

    def copy() -> Journal:
        directory = tmp_path / f"killed-{len(opened)}"
        directory.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", directory / f"{path.name}{suffix}")
        opened.append(Journal(directory / path.name))
        return opened[-1]

    yield copy
    for other in opened:
        other.close()


# What is kept


def test_chargers(journal: Journal, killed: Callable[[], Journal]) -> None:
    assert journal.charger("CP0") == ChargerRecord()
    journal.booted("CP0", b'{"a":1}')
    journal.booted("CP0", b'{"a":2}')
    journal.local_list("CP1", 7, b"[]")
    journal.local_list("CP0", 3, b"[1]")
    journal.local_list("CP0", None, b"[2]")
    for each in (journal, killed()):
        assert each.charger("CP0") == ChargerRecord(boot=b'{"a":2}', list_version=None, list_entries=b"[2]")
        assert each.charger("CP1") == ChargerRecord(boot=None, list_version=7, list_entries=b"[]")


def test_a_boot_that_is_known_costs_no_write(journal: Journal, path: Path) -> None:
    journal.booted("CP0", b'{"a":1}')
    before = size(log_of(path))
    journal.booted("CP0", b'{"a":1}')
    assert size(log_of(path)) == before
    journal.booted("CP0", b'{"a":2}')
    assert size(log_of(path)) > before


def test_transactions(journal: Journal, killed: Callable[[], Journal]) -> None:
    start(journal, 2)
    start(journal, 1)
    start(journal, 3, "CP1")
    for each in (journal, killed()):
        assert each.running("CP0") == [b'{"id":1}', b'{"id":2}']
        assert each.running("CP1") == [b'{"id":3}']
        assert each.running("CP2") == []
        assert each.answer("CP0", '"start 2"') == b'{"transactionId":2}'
        assert each.answer("CP1", '"start 2"') is None
        assert each.last_transaction_id == 3


def test_a_connector_has_one_transaction(journal: Journal) -> None:
    start(journal, 1, connector=1)
    start(journal, 2, connector=1)
    assert journal.running("CP0") == [b'{"id":2}']


def test_an_id_given_twice_means_the_newer_transaction_of_that_charger(journal: Journal) -> None:
    start(journal, 1, "CP1", connector=1)
    start(journal, 1, connector=1)
    start(journal, 1, connector=2, record=b'{"id":1,"connector":2}')
    assert journal.running("CP0") == [b'{"id":1,"connector":2}']
    assert journal.running("CP1") == [b'{"id":1}']


def test_the_last_id_is_what_the_caller_says(journal: Journal, killed: Callable[[], Journal]) -> None:
    assert journal.last_transaction_id == 0
    start(journal, 5, last_id=900)
    assert killed().last_transaction_id == 900


def test_stops_stay_in_order_until_they_are_processed(journal: Journal, killed: Callable[[], Journal]) -> None:
    for number in (1, 2):
        start(journal, number)
    start(journal, 9, "CP1")
    stops = [stop(journal, number) for number in (2, 1)]
    other = stop(journal, 9, "CP1")
    unknown = stop(journal, -1)
    for each in (journal, killed()):
        assert each.running("CP0") == each.running("CP1") == []
        assert each.pending_stops("CP0") == [*stops, unknown]
        assert each.pending_stops("CP1") == [other]
        assert [pending.request for pending in each.pending_stops("CP0")] == [
            b'{"transactionId":2}',
            b'{"transactionId":1}',
            b'{"transactionId":-1}',
        ]
        assert each.answer("CP0", '"stop 2"') is None
    journal.stopped("CP0", stops[0], b'{"x":1}')
    for each in (journal, killed()):
        assert each.pending_stops("CP0") == [stops[1], unknown]
        assert each.answer("CP0", '"stop 2"') == b'{"x":1}'


def test_a_stop_of_one_charger_leaves_the_same_id_of_another_running(journal: Journal) -> None:
    start(journal, 1)
    stop(journal, 1, "CP1")
    assert journal.running("CP0") == [b'{"id":1}']


def test_a_stop_that_waits_already_is_refused_and_changes_nothing(journal: Journal) -> None:
    pending = stop(journal, 1)
    start(journal, 1)
    with pytest.raises(sqlite3.IntegrityError):
        stop(journal, 1)
    assert journal.pending_stops("CP0") == [pending]
    assert journal.running("CP0") == [b'{"id":1}']  # rolled back whole
    start(journal, 2)  # and the journal goes on


def test_numbers_of_stops_are_not_used_again(journal: Journal, killed: Callable[[], Journal]) -> None:
    numbers = []
    for round_ in range(3):
        pending = stop(journal, round_)
        numbers.append(pending.number)
        journal.stopped("CP0", pending, b"{}")
    pending = stop(killed(), 7)
    assert numbers == sorted(set(numbers))
    assert pending.number > numbers[-1]


def test_old_answers_are_pruned(journal: Journal, killed: Callable[[], Journal]) -> None:
    excess = 7
    for number in range(module.REMEMBERED + excess):
        start(journal, number, f"CP{number % 3}", connector=1)
    for each in (journal, killed()):
        kept = [each.answer(f"CP{number % 3}", f'"start {number}"') for number in range(module.REMEMBERED + excess)]
        assert kept[:excess] == [None] * excess
        assert None not in kept[excess:]


def test_an_answer_given_again_counts_as_new(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    for number in (1, 2, 1, 3):
        start(journal, number)
    assert [journal.answer("CP0", f'"start {number}"') is not None for number in (1, 2, 3)] == [True, False, True]


def test_closing_leaves_one_file_with_everything(path: Path) -> None:
    journal = Journal(path)
    start(journal, 1)
    journal.close()
    assert [each.name for each in path.parent.iterdir()] == ["journal.db"]
    with closing(Journal(path)) as again:
        assert again.running("CP0") == [b'{"id":1}']


async def test_a_journal_in_memory_needs_no_file() -> None:
    with closing(Journal(":memory:")) as journal:
        start(journal, 1)
        await journal.flush()
        assert journal.running("CP0") == [b'{"id":1}']


# On the medium


class Syncs:
    """Stands in for ``os.fsync``: notes which files are synced, and when it is allowed to return."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.threads: set[int] = set()
        self.called = threading.Event()
        self.may_return = threading.Event()
        self.may_return.set()
        self._fsync = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.threads.add(threading.get_ident())
        self.called.set()
        assert self.may_return.wait(DEADLINE)
        self._fsync(descriptor)
        self.files.append(os.readlink(f"/proc/self/fd/{descriptor}"))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    syncs = Syncs()
    monkeypatch.setattr("os.fsync", syncs)
    return syncs


async def test_flush_syncs_the_write_ahead_log(journal: Journal, path: Path, syncs: Syncs) -> None:
    assert size(log_of(path))  # the log, and not the database, is what holds it
    start(journal, 1)
    assert syncs.files == []  # writing alone does not wait for the medium
    await journal.flush()
    assert syncs.files == [f"{path}-wal"]
    assert threading.get_ident() not in syncs.threads


async def test_flush_returns_after_the_sync_and_does_not_block_the_loop(journal: Journal, syncs: Syncs) -> None:
    start(journal, 1)
    syncs.may_return.clear()
    flushing = asyncio.create_task(journal.flush())
    assert await asyncio.to_thread(syncs.called.wait, DEADLINE)
    start(journal, 2)  # the gateway goes on, and so does the journal
    assert not flushing.done()
    syncs.may_return.set()
    async with asyncio.timeout(DEADLINE):
        await flushing
    assert syncs.files


async def test_a_sync_that_fails_is_told(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fail)
    start(journal, 1)
    with pytest.raises(OSError, match="Input/output error"):
        await journal.flush()


async def test_what_is_flushed_survives_any_end_of_the_log(journal: Journal, path: Path, tmp_path: Path) -> None:
    for number in range(5):
        start(journal, number)
    await journal.flush()
    flushed = size(log_of(path))
    for number in range(5, 15):
        start(journal, number)
    log = content(log_of(path))
    dice = random.Random(1)
    for attempt in range(40):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        shutil.copy(path, directory / path.name)
        cut = dice.randrange(flushed, len(log) + 1)
        tail = bytes(len(log) - cut) if attempt % 2 else dice.randbytes(len(log) - cut) if attempt % 3 else b""
        log_of(directory / path.name).write_bytes(log[:cut] + tail)
        with closing(Journal(directory / path.name)) as after:
            records = after.running("CP0")
            assert records == [b'{"id":%d}' % number for number in range(len(records))]  # whole steps, in order
            assert len(records) >= 5
            assert after.last_transaction_id == len(records) - 1


async def test_the_log_stays_small(journal: Journal, path: Path) -> None:
    largest = 0
    for number in range(300):
        write_60_kb(journal, number)
        await journal.flush()
        largest = max(largest, size(log_of(path)))
    assert 1 << 19 < largest < 1.2 * (1 << 20)  # of 18 MB that were written
    assert size(path) < 1 << 20  # and the database does not keep what is gone
    assert journal.charger("CP0").boot == b'"%s"' % (b"299" * 20000)


async def test_a_reader_delays_the_checkpoint_and_nothing_else(
    journal: Journal, path: Path, killed: Callable[[], Journal]
) -> None:
    """Somebody looks at the journal with the sqlite3 tool, and leaves it open."""
    start(journal, 1)
    log = log_of(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM running").fetchone() == (1,)
        async with asyncio.timeout(DEADLINE):
            for number in range(30):
                write_60_kb(journal, number)
                flushing = asyncio.create_task(journal.flush())
                await asyncio.sleep(0)
                start(journal, 2 + number)  # while the checkpoint may be tried
                await flushing
        assert size(log) > 1 << 20
        assert reader.execute("SELECT count(*) FROM running").fetchone() == (1,)
        assert len(killed().running("CP0")) == 31
    await journal.flush()
    assert size(log) < 1 << 20
    assert len(journal.running("CP0")) == 31


async def test_a_checkpoint_that_fails_does_not_fail_the_flush(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("sqlite3.connect", full)
    for number in range(20):
        write_60_kb(journal, number)
    await journal.flush()
    assert "database or disk is full" in caplog.text
    monkeypatch.undo()
    await journal.flush()
    assert size(log_of(path)) == 0


# Damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal with some of everything."""
    path = tmp_path_factory.mktemp("sound") / "journal.db"
    with closing(Journal(path)) as journal:
        for number in range(200):
            start(journal, number, f"CP{number % 5}", record=b'{"filler":"%s"}' % (b"x" * 90))
        for number in range(100):
            stop(journal, number, f"CP{number % 5}")
            journal.local_list(f"LL{number}", number, b'["%s"]' % (b"y" * 90))
    return path.read_bytes()


def opens_anew(path: Path, data: bytes) -> None:
    """The file is moved aside as it is, and a journal that works takes its place."""
    path.write_bytes(data)
    with closing(Journal(path)) as journal:
        assert journal.running("CP0") == journal.pending_stops("CP0") == []
        assert journal.charger("LL0") == ChargerRecord()
        assert 0 <= journal.last_transaction_id < 65535
        start(journal, 1)
        journal.stopped("CP0", stop(journal, 1), b"{}")
    aside = [each for each in path.parent.glob("journal.db.damaged-*") if each.stat().st_size]
    assert [each.read_bytes() for each in aside if not each.name.endswith(("-wal", "-shm"))] == [data]
    with closing(Journal(path)) as journal:
        assert journal.answer("CP0", '"stop 1"') == b"{}"


@pytest.mark.parametrize("size", [99, 100, 512, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE])
def test_a_truncated_file(size: int, path: Path, sound: bytes, caplog: pytest.LogCaptureFixture) -> None:
    opens_anew(path, sound[:size])
    assert f"{path} is damaged" in caplog.text


def test_a_file_of_random_bytes(path: Path) -> None:
    opens_anew(path, random.Random(2).randbytes(10 * PAGE))


def test_a_text_file(path: Path) -> None:
    opens_anew(path, b"This is not a journal.\n")


def test_zero_bytes_in_any_page(tmp_path: Path, sound: bytes) -> None:
    pages = len(sound) // PAGE
    assert pages > 15
    for page in range(pages):
        directory = tmp_path / str(page)
        directory.mkdir()
        opens_anew(directory / "journal.db", sound[: page * PAGE] + bytes(PAGE) + sound[(page + 1) * PAGE :])


def test_zero_bytes_within_a_record(path: Path, sound: bytes) -> None:
    at = sound.index(b'{"filler":"xxx')
    opens_anew(path, sound[: at + 20] + bytes(16) + sound[at + 36 :])


def test_a_header_that_has_lost_its_version(path: Path, sound: bytes) -> None:
    opens_anew(path, sound[:60] + bytes(4) + sound[64:])


def test_a_database_of_something_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE song (title TEXT); PRAGMA user_version = 1;")
    with closing(Journal(path)) as journal:
        start(journal, 1)
    (aside,) = path.parent.glob("journal.db.damaged-*")
    with closing(sqlite3.connect(aside)) as other:
        assert other.execute("SELECT count(*) FROM song").fetchone() == (0,)


def test_ids_do_not_begin_at_1_after_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1769860800.0)
    path.write_bytes(b"damaged")
    with closing(Journal(path)) as journal:
        assert journal.last_transaction_id == 1769860800 % 65535


def test_a_damaged_file_with_a_log(path: Path, sound: bytes) -> None:
    """What SQLite cannot use of a log it drops; the new journal must not meet the old one's."""
    path.write_bytes(sound[: 5 * PAGE])
    log_of(path).write_bytes(random.Random(4).randbytes(3 * PAGE))
    with closing(Journal(path)) as journal:
        start(journal, 1)
    with closing(Journal(path)) as journal:
        assert journal.running("CP0") == [b'{"id":1}']


def test_an_empty_file_is_a_new_journal(path: Path) -> None:
    path.touch()
    with closing(Journal(path)) as journal:
        start(journal, 1)
    assert [each.name for each in path.parent.iterdir()] == ["journal.db"]


# A file that is sound but cannot be used


def test_a_newer_schema_is_refused_and_left_alone(path: Path, sound: bytes) -> None:
    path.write_bytes(sound)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {module.SCHEMA + 1}")
    before = path.read_bytes()
    with pytest.raises(
        sqlite3.OperationalError,
        match=rf"journal\.db has schema {module.SCHEMA + 1}, this version of ampgate reads {module.SCHEMA}$",
    ):
        Journal(path)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*damaged*"))


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        Journal(tmp_path / "none" / "journal.db")


# Processes

WRITER = """
import sys
from ampgate.journal import Journal

journal = Journal(sys.argv[1])
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    stop = journal.stopping("CP0", f'"stop {number}"', number, b'{"transactionId":%d}' % number)
    print(number, stop.number, flush=True)
"""


def write_in_another_process(path: Path, first: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(end)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_on_one_journal(journal: Journal, path: Path) -> None:
    """A second gateway is refused elsewhere; should two write all the same, neither loses or doubles anything."""
    count = 150
    with write_in_another_process(path, count, 2 * count) as other:
        assert other.stdout is not None
        own = {number: stop(journal, number).number for number in range(count)}
        told = dict(map(int, line.split()) for line in other.stdout)
    assert other.returncode == 0
    pending = {pending.request: pending.number for pending in journal.pending_stops("CP0")}
    assert pending == {b'{"transactionId":%d}' % number: at for number, at in (own | told).items()}
    assert len(set(pending.values())) == 2 * count


def test_what_a_method_has_written_survives_kill_9(path: Path) -> None:
    dice = random.Random(3)
    told = 0
    for _ in range(4):
        with write_in_another_process(path, told, 100_000) as writer:
            assert writer.stdout is not None
            for _ in range(dice.randrange(1, 60)):
                assert writer.stdout.readline() == f"{told} {told + 1}\n"
                told += 1
            writer.send_signal(signal.SIGKILL)
            told += len([line for line in writer.stdout if line.endswith("\n")])
        with closing(Journal(path)) as journal:
            numbers = [pending.number for pending in journal.pending_stops("CP0")]
            assert len(numbers) - told in (0, 1)  # the last one may have been written and not told
            assert numbers == list(range(1, len(numbers) + 1))
            told = len(numbers)


# External central system


def test_a_journal_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as older:
        older.executescript(f"{module._TABLES[0]} PRAGMA user_version = 1;")
        older.execute("INSERT INTO counter VALUES ('transaction', 77)")
        older.commit()
    journal = Journal(path)
    assert journal.last_transaction_id == 77
    assert journal.kept_count("CP1") == 0
    journal.close()


def test_messages_are_kept_in_order_those_of_one_kind_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.keep("CP1", "M", "a", "1", b"{}") == 1
    assert journal.keep("CP1", "M", "a", "1 again", b"{}") == 0
    assert journal.keep("CP1", "B", None, "2", b"{}", replaces=True) == 1
    assert journal.keep("CP1", "B", None, "3", b"{}", replaces=True) == 0
    assert journal.keep("CP2", "M", "a", "other", b'{"x":1}') == 1
    journal.close()
    journal = Journal(tmp_path / "journal.db")
    frames = []
    while kept := journal.kept("CP1", "B"):
        frames.append(kept.frame)
        journal.delivered("CP1", kept)
    assert frames == ["3", "1"]
    assert (journal.kept_count("CP1"), journal.kept_count("CP2")) == (0, 1)
    assert journal.replies("CP1") == {"a": b"{}"}
    assert not journal.drop_oldest("CP1", "M")
    assert journal.drop_oldest("CP2", "M")
    assert journal.kept("CP2", "B") is None
    journal.close()


def test_what_was_delivered_is_forgotten_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELIVERED", 2)
    monkeypatch.setattr(module, "TRANSLATED", 2)
    monkeypatch.setattr(module, "ID_TAGS", 2)
    journal = Journal(tmp_path / "journal.db")
    for number in range(5):
        journal.keep("CP1", "S", f"{number}", "x", b"{}", started=number)
        journal.judged(f"tag{number}", b"{}")
        if number < 4:
            kept = journal.kept("CP1", "")
            assert kept is not None
            journal.delivered("CP1", kept, 100 + number)
    assert list(journal.replies("CP1")) == ["2", "3", "4"]  # the last is not delivered yet
    assert journal.translations("CP1") == {2: 102, 3: 103}
    assert [journal.verdict(f"tag{number}") for number in range(5)] == [None, None, None, b"{}", b"{}"]
    assert journal.last_transaction_id == 4
    journal.close()


def test_transactions_of_an_external_central_system(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.began("CP1", 1, 7, b'"a"')
    journal.began("CP1", 1, 8, b'"b"')
    journal.began("CP1", 2, 9, b'"c"')
    journal.ended("CP1", 9)
    assert journal.running("CP1") == [b'"b"']
    journal.close()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT number FROM outbox WHERE charger = 'x' AND NOT delivered ORDER BY number LIMIT 1",
        "SELECT number FROM outbox WHERE charger = 'x' AND kind = 'k' AND NOT delivered ORDER BY number LIMIT 1",
        "SELECT number FROM outbox WHERE charger = 'x' AND delivered ORDER BY number DESC LIMIT 1 OFFSET 9",
    ],
)
def test_a_long_store_is_not_searched_row_by_row(query: str) -> None:
    journal = Journal(":memory:")
    plan = [row[3] for row in journal._db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH outbox USING INDEX outbox_")
    journal.close()
