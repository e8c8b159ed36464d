"""What is kept over a restart."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ampgate.bms import store as module
from ampgate.bms.records import Charge, ChargerRecord, ConnectorRecord, Use
from ampgate.bms.store import Store, StoreError

NOW = datetime(2023, 6, 19, 14, 22).astimezone()


def charge(transaction: int) -> Charge:
    return Charge(1, transaction, "TAG", "User A", NOW, NOW, 1.5, 10, 8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "a" / "b")) as store:
        yield store


def test_a_new_one_is_empty(store: Store) -> None:
    assert store.charger("CP0") is None
    assert store.last_transaction == 0
    assert store.charges(10) == []


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    record = ChargerRecord({1: ConnectorRecord(counter=5, total=Use(5, 1.25, 30))})
    with contextlib.closing(Store(tmp_path)) as store:
        store.keep("CP0", record, 7, charge(7))
    with contextlib.closing(Store(tmp_path)) as store:
        assert store.charger("CP0") == record
        assert store.charger("CP1") is None
        assert store.last_transaction == 7
        assert store.charges(10) == [("CP0", charge(7))]


def test_the_last_sessions_in_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for transaction in range(1, 6):
        store.keep("CP0", ChargerRecord({}), transaction, charge(transaction))
    assert [kept.transaction for _, kept in store.charges(2)] == [4, 5]
    assert [kept.transaction for _, kept in store.charges(100)] == [3, 4, 5]


def test_all_or_nothing(tmp_path: Path) -> None:
    with contextlib.closing(Store(tmp_path)) as store:
        store.keep("CP0", ChargerRecord({}), 1)
        with contextlib.closing(sqlite3.connect(tmp_path / module.FILE_NAME)) as other:
            other.execute("DROP TABLE charge")
        with pytest.raises(StoreError, match=r"bms\.db: no such table: charge"):
            store.keep("CP0", ChargerRecord({1: ConnectorRecord(counter=9)}), 2, charge(2))
        assert store.charger("CP0") == ChargerRecord({})
        assert store.last_transaction == 1
        with pytest.raises(StoreError, match="move it away"):
            store.charges(1)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"state directory .*file cannot be used"):
        Store(tmp_path / "file")
    (tmp_path / module.FILE_NAME).write_text("not a database " * 100)
    with pytest.raises(StoreError, match="not a database; if it is damaged, move it away"):
        Store(tmp_path)


def test_a_newer_schema(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / module.FILE_NAME)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="has schema 9, this version of ampgate reads 1"):
        Store(tmp_path)


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    with contextlib.closing(Store(tmp_path)) as store:
        store.keep("CP0", ChargerRecord({}), 1)
        with contextlib.closing(sqlite3.connect(tmp_path / module.FILE_NAME)) as other:
            other.execute("UPDATE charger SET record = '{'")
            other.commit()
        with pytest.raises(StoreError, match=r"bms\.db"):
            store.charger("CP0")
