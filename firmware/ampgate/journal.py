"""What must survive a restart or a power cut: SQLite on the state directory, in WAL mode.

Two steps make a record safe. Each method that writes has committed when it returns, which survives the end of the
process (kill −9); `Journal.flush` returns when all of it is on the medium, which survives a power cut, and is awaited
before a charger hears that something is stored. Only that second step is slow, so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

log = logging.getLogger(__name__)

FILE_NAME: Final = "journal.db"
REMEMBERED: Final = 5000
"""Answers to transaction messages of all chargers that are kept, to recognise messages that are sent again."""
_CHECKPOINT_BYTES: Final = 1 << 20
_DAMAGE: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR))
"""What SQLite says of a file that is not, or not any more, what this module wrote."""

DELIVERED: Final = 500
"""Messages of a charger that are kept after their delivery, to recognise them when they are sent again."""
TRANSLATED: Final = 100
"""Transactions of a charger whose two ids are kept."""
ID_TAGS: Final = 2000
"""Id tags whose last verdict is kept."""

_TABLES: Final = (
    """
CREATE TABLE charger (id TEXT PRIMARY KEY, boot TEXT, list_version INTEGER, list_entries TEXT) WITHOUT ROWID;
CREATE TABLE running (charger TEXT NOT NULL, connector INTEGER NOT NULL, id INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (charger, connector)) WITHOUT ROWID;
CREATE TABLE answered (number INTEGER PRIMARY KEY, charger TEXT NOT NULL, message TEXT NOT NULL, response TEXT NOT NULL,
    UNIQUE (charger, message));
CREATE TABLE pending_stop (number INTEGER PRIMARY KEY AUTOINCREMENT, charger TEXT NOT NULL, message TEXT NOT NULL,
    request TEXT NOT NULL, UNIQUE (charger, message));
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
""",
    """
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, charger TEXT NOT NULL, kind TEXT NOT NULL, message TEXT,
    frame TEXT NOT NULL, response TEXT NOT NULL, started INTEGER, delivered INTEGER NOT NULL DEFAULT 0,
    UNIQUE (charger, message));
CREATE INDEX outbox_due ON outbox (charger, number) WHERE NOT delivered;
CREATE INDEX outbox_kind ON outbox (charger, kind, number) WHERE NOT delivered;
CREATE INDEX outbox_delivered ON outbox (charger, number) WHERE delivered;
CREATE TABLE translated (charger TEXT NOT NULL, local INTEGER NOT NULL, upstream INTEGER NOT NULL,
    number INTEGER PRIMARY KEY, UNIQUE (charger, local));
CREATE TABLE id_tag (number INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, info TEXT NOT NULL);
""",
)
"""What each schema adds to the one before it."""
SCHEMA: Final = len(_TABLES)
_JSON: Final = (
    ("charger", "boot"),
    ("charger", "list_entries"),
    ("running", "record"),
    ("answered", "message"),
    ("answered", "response"),
    ("pending_stop", "message"),
    ("pending_stop", "request"),
    ("outbox", "response"),
    ("id_tag", "info"),
)
"""Table and column of every value that must be JSON."""


class ChargerRecord(msgspec.Struct, frozen=True):
    """What is known of a charger from before."""

    boot: bytes | None = None
    """JSON of its last accepted BootNotification."""
    list_version: int | None = None
    list_entries: bytes | None = None


class PendingStop(msgspec.Struct, frozen=True):
    """A StopTransaction that the BMS has not processed yet."""

    number: int
    message: str
    request: bytes


class Kept(NamedTuple):
    """A message of a charger that its external central system has still to get."""

    number: int
    kind: str
    """What sort of message it is, as `Journal.keep` was told."""
    frame: str
    started: int | None
    """The transaction id that the charger was told, when this is a StartTransaction."""


class Damaged(Exception):
    """The file is no journal, or one that has lost something."""


class Journal:
    """The journal of one gateway. ``path`` is a file, or ``:memory:`` for none.

    Messages, records, requests and responses are JSON. Raises `sqlite3.OperationalError` when the file cannot be used;
    a damaged one is moved aside, and a new one begins.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._db = _open(self._path)
        self._thread = ThreadPoolExecutor(1, "journal")
        self._wal = -1 if self._path == ":memory:" else os.open(f"{self._path}-wal", os.O_RDONLY)

    def close(self) -> None:
        """Write everything to the medium and close the file."""
        self._thread.shutdown()
        if self._wal >= 0:
            os.close(self._wal)
        self._db.close()

    async def flush(self) -> None:
        """Return when everything written so far is on the medium."""
        if self._wal >= 0:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync)

    def _sync(self) -> None:
        os.fsync(self._wal)
        if os.fstat(self._wal).st_size > _CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, timeout=0)) as db:
                # The first step is the slow one and lets the gateway write; the second then locks it out for a moment,
                # and waits for nobody. What they cannot do now is done after a later flush.
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning("%s: checkpoint failed: %s", self._path, error)

    # Chargers

    def charger(self, identity: str) -> ChargerRecord:
        """What is known of a charger; an empty record for an unknown one."""
        row = self._db.execute(
            "SELECT boot, list_version, list_entries FROM charger WHERE id = ?", (identity,)
        ).fetchone()
        return ChargerRecord(*row) if row else ChargerRecord()

    def booted(self, identity: str, boot: bytes) -> None:
        """Keep the BootNotification that was accepted; nothing is written when it is the one that is kept."""
        if self.charger(identity).boot != boot:
            self._keep(identity, "boot", boot)

    def local_list(self, identity: str, version: int | None, entries: bytes) -> None:
        """Keep version and entries of a charger's local list."""
        with self._transaction():
            self._keep(identity, "list_version", version)
            self._keep(identity, "list_entries", entries)

    def _keep(self, identity: str, column: str, value: Any) -> None:
        self._db.execute(
            f"INSERT INTO charger (id, {column}) VALUES (?, ?) "
            f"ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}",
            (identity, value),
        )

    # Transactions

    def answer(self, identity: str, message: str) -> bytes | None:
        """The answer that a transaction message got before, as JSON."""
        row = self._db.execute(
            "SELECT response FROM answered WHERE charger = ? AND message = ?", (identity, message)
        ).fetchone()
        return row[0] if row else None

    def started(
        self,
        identity: str,
        message: str,
        *,
        connector: int,
        transaction_id: int,
        record: bytes,
        response: bytes,
        last_id: int,
    ) -> None:
        """A StartTransaction was answered: a transaction runs. One of the same connector or id gives way.

        ``last_id`` is where the search for free transaction ids goes on.
        """
        with self._transaction():
            self._forget(identity, transaction_id)
            self._db.execute(
                "INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?)", (identity, connector, transaction_id, record)
            )
            self._db.execute("INSERT OR REPLACE INTO counter VALUES ('transaction', ?)", (last_id,))
            self._answered(identity, message, response)

    def stopping(self, identity: str, message: str, transaction_id: int, request: bytes) -> PendingStop:
        """A StopTransaction has arrived: it is kept until the BMS has processed it."""
        with self._transaction():
            self._forget(identity, transaction_id)
            cursor = self._db.execute(
                "INSERT INTO pending_stop (charger, message, request) VALUES (?, ?, ?)", (identity, message, request)
            )
        return PendingStop(cursor.lastrowid or 0, message, request)

    def stopped(self, identity: str, stop: PendingStop, response: bytes) -> None:
        """The BMS has processed a StopTransaction."""
        with self._transaction():
            self._db.execute("DELETE FROM pending_stop WHERE number = ?", (stop.number,))
            self._answered(identity, stop.message, response)

    def _forget(self, identity: str, transaction_id: int) -> None:
        # Ids come from the BMS and from chargers: that two chargers use the same one must not mix them up.
        self._db.execute("DELETE FROM running WHERE charger = ? AND id = ?", (identity, transaction_id))

    def running(self, identity: str) -> list[bytes]:
        """The records of a charger's running transactions, one a connector at most."""
        rows = self._db.execute("SELECT record FROM running WHERE charger = ? ORDER BY connector", (identity,))
        return [row[0] for row in rows]

    def pending_stops(self, identity: str) -> list[PendingStop]:
        """The stops that the BMS has still to process, oldest first."""
        rows = self._db.execute(
            "SELECT number, message, request FROM pending_stop WHERE charger = ? ORDER BY number", (identity,)
        )
        return [PendingStop(*row) for row in rows]

    @property
    def last_transaction_id(self) -> int:
        """Where the search for free transaction ids goes on; 0 when there was no transaction."""
        row = self._db.execute("SELECT value FROM counter WHERE name = 'transaction'").fetchone()
        return int(row[0]) if row else 0

    # External central system

    def began(self, identity: str, connector: int, transaction_id: int, record: bytes) -> None:
        """A transaction runs that the external central system has answered. As `started`, without an answer to keep."""
        with self._transaction():
            self._forget(identity, transaction_id)
            self._db.execute(
                "INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?)", (identity, connector, transaction_id, record)
            )

    def ended(self, identity: str, transaction_id: int) -> None:
        """A transaction does not run any more."""
        self._forget(identity, transaction_id)

    def keep(
        self,
        identity: str,
        kind: str,
        message: str | None,
        frame: str,
        response: bytes,
        *,
        replaces: bool = False,
        started: int | None = None,
    ) -> int:
        """Keep a message for the external central system, and what the charger is told; returns how many more wait.

        One of the same ``message`` is kept once. One that ``replaces`` takes the place of an older one of its
        ``kind``. ``started`` is the transaction id that answers a StartTransaction.
        """
        replaced = 0
        with self._transaction():
            if replaces:
                replaced = self._db.execute(
                    "DELETE FROM outbox WHERE charger = ? AND kind = ? AND NOT delivered", (identity, kind)
                ).rowcount
            if started is not None:
                self._db.execute("INSERT OR REPLACE INTO counter VALUES ('transaction', ?)", (started & 0xFFFF,))
            added = self._db.execute(
                "INSERT OR IGNORE INTO outbox (charger, kind, message, frame, response, started) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (identity, kind, message, frame, response, started),
            ).rowcount
        return added - replaced

    def kept(self, identity: str, first: str) -> Kept | None:
        """The message that is to be delivered next: one of the kind ``first``, else the oldest."""
        for which, values in (("AND kind = ?", (identity, first)), ("", (identity,))):
            row = self._db.execute(
                f"SELECT number, kind, frame, started FROM outbox WHERE charger = ? {which} AND NOT delivered "
                "ORDER BY number LIMIT 1",
                values,
            ).fetchone()
            if row:
                return Kept(*row)
        return None

    def kept_count(self, identity: str) -> int:
        """How many messages of a charger are to be delivered."""
        row = self._db.execute(
            "SELECT count(*) FROM outbox WHERE charger = ? AND NOT delivered", (identity,)
        ).fetchone()
        return int(row[0])

    def drop_oldest(self, identity: str, kind: str) -> bool:
        """Give up the oldest message of a kind, for want of room; False when there is none."""
        cursor = self._db.execute(
            "DELETE FROM outbox WHERE number = "
            "(SELECT min(number) FROM outbox WHERE charger = ? AND kind = ? AND NOT delivered)",
            (identity, kind),
        )
        return cursor.rowcount > 0

    def delivered(self, identity: str, kept: Kept, transaction_id: int | None = None) -> bool:
        """A message was delivered; a StartTransaction was answered with this transaction id.

        False when it does not wait any more: another one has taken its place meanwhile.
        """
        with self._transaction():
            cursor = self._db.execute("UPDATE outbox SET delivered = 1 WHERE number = ?", (kept.number,))
            if kept.started is not None and transaction_id is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO translated (charger, local, upstream) VALUES (?, ?, ?)",
                    (identity, kept.started, transaction_id),
                )
                self._trim("translated", identity, TRANSLATED)
            self._trim("outbox", identity, DELIVERED, "AND delivered")
        return cursor.rowcount > 0

    def _trim(self, table: str, identity: str, count: int, which: str = "") -> None:
        """Forget all but the newest rows of a charger."""
        self._db.execute(
            f"DELETE FROM {table} WHERE charger = ? {which} AND number <= "
            f"(SELECT number FROM {table} WHERE charger = ? {which} ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (identity, identity, count),
        )

    def replies(self, identity: str) -> dict[str, bytes]:
        """What the charger was told by message, of what is to be delivered and what was delivered lately."""
        rows = self._db.execute(
            "SELECT message, response FROM outbox WHERE charger = ? AND message IS NOT NULL ORDER BY number",
            (identity,),
        )
        return dict(rows.fetchall())

    def translations(self, identity: str) -> dict[int, int]:
        """The external central system's transaction ids by those that the charger was told."""
        rows = self._db.execute("SELECT local, upstream FROM translated WHERE charger = ? ORDER BY number", (identity,))
        return dict(rows.fetchall())

    def judged(self, tag: str, info: bytes) -> None:
        """Keep the last verdict on an id tag; nothing is written when it is the one that is kept."""
        if self.verdict(tag) == info:
            return
        with self._transaction():
            cursor = self._db.execute("INSERT OR REPLACE INTO id_tag (tag, info) VALUES (?, ?)", (tag, info))
            self._db.execute("DELETE FROM id_tag WHERE number <= ?", ((cursor.lastrowid or 0) - ID_TAGS,))

    def verdict(self, tag: str) -> bytes | None:
        """The last verdict on an id tag, as JSON."""
        row = self._db.execute("SELECT info FROM id_tag WHERE tag = ?", (tag,)).fetchone()
        return row[0] if row else None

    def _answered(self, identity: str, message: str, response: bytes) -> None:
        cursor = self._db.execute(
            "INSERT OR REPLACE INTO answered (charger, message, response) VALUES (?, ?, ?)",
            (identity, message, response),
        )
        self._db.execute("DELETE FROM answered WHERE number <= ?", ((cursor.lastrowid or 0) - REMEMBERED,))

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # as a context it commits, or rolls back when an exception leaves it


def _open(path: str) -> sqlite3.Connection:
    try:
        return _connect(path)
    except Damaged as error:
        # A damaged journal must not keep the gateway from working; it is kept for whoever can read it.
        aside = f"{path}.damaged-{int(time.time())}"
        log.error("%s is damaged (%s): moved to %s, a new one begins", path, error, aside)
        for suffix in _suffixes(path):
            os.replace(path + suffix, aside + suffix)
    db = _connect(path)
    # Transactions may run that are not known any more: their ids are unlikely to be given out again soon.
    db.execute("INSERT INTO counter VALUES ('transaction', ?)", (int(time.time()) % 65535,))
    return db


def _suffixes(path: str) -> Iterator[str]:
    return (suffix for suffix in ("", "-wal", "-shm") if os.path.exists(path + suffix))


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _DAMAGE:
            raise Damaged(str(error)) from error
        raise
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")  # done by flush(), which does not hold up the gateway
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for number, tables in enumerate(_TABLES[version:], version + 1):
        db.executescript(f"BEGIN; {tables} PRAGMA user_version = {number}; COMMIT;")
    if version > SCHEMA:
        raise sqlite3.OperationalError(f"{path} has schema {version}, this version of ampgate reads {SCHEMA}")
    _check(db)


def _check(db: sqlite3.Connection) -> None:
    """Raise `Damaged` now rather than fail in the middle of a transaction."""
    fault = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if fault != "ok":
        raise Damaged(fault.splitlines()[-1])
    for table, column in _JSON:
        for (value,) in db.execute(f"SELECT CAST({column} AS BLOB) FROM {table} WHERE {column} IS NOT NULL"):
            try:
                msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Damaged(f"{table}.{column}: {error}") from error
