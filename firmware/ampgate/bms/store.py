"""What the BMS keeps over a restart: SQLite in its state directory.

What `Store.keep` has taken survives a power cut.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from ampgate.bms.records import Charge, ChargerRecord

FILE_NAME: Final = "bms.db"
SCHEMA: Final = 1
KEPT: Final = 100_000
"""Completed sessions that can be looked up; older ones go."""

_TABLES: Final = """
CREATE TABLE charger (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE charge (number INTEGER PRIMARY KEY AUTOINCREMENT, charger TEXT NOT NULL, charge TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The state cannot be kept, with what to do about it."""


class Store:
    """The state of one BMS in ``directory``, which is made when it is missing.

    Every method raises `StoreError` when the file cannot be read or written, or is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the state directory {directory} cannot be used: {error}") from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        try:
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if version > SCHEMA:
            raise StoreError(f"{self._path} has schema {version}, this version of ampgate reads {SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def charger(self, name: str) -> ChargerRecord | None:
        """What was kept of a charger."""
        try:
            row = self._db.execute("SELECT record FROM charger WHERE name = ?", (name,)).fetchone()
            return msgspec.json.decode(row[0], type=ChargerRecord) if row else None
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._unusable(error) from error

    @property
    def last_transaction(self) -> int:
        """The last transaction id that was given; 0 when there was none."""
        try:
            row = self._db.execute("SELECT value FROM counter WHERE name = 'transaction'").fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return int(row[0]) if row else 0

    def keep(self, name: str, record: ChargerRecord, last_transaction: int, charge: Charge | None = None) -> None:
        """Keep all of this, or nothing: the record of a charger, and the session that has just ended."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                text = msgspec.json.encode(record).decode()
                self._db.execute("INSERT OR REPLACE INTO charger VALUES (?, ?)", (name, text))
                self._db.execute("INSERT OR REPLACE INTO counter VALUES ('transaction', ?)", (last_transaction,))
                if charge is not None:
                    self._add(name, charge)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _add(self, name: str, charge: Charge) -> None:
        text = msgspec.json.encode(charge).decode()
        cursor = self._db.execute("INSERT INTO charge (charger, charge) VALUES (?, ?)", (name, text))
        self._db.execute("DELETE FROM charge WHERE number <= ?", ((cursor.lastrowid or 0) - KEPT,))

    def charges(self, count: int) -> list[tuple[str, Charge]]:
        """The last completed sessions and the names of their chargers, oldest first."""
        try:
            rows = self._db.execute("SELECT charger, charge FROM charge ORDER BY number DESC LIMIT ?", (count,))
            found = [(name, msgspec.json.decode(charge, type=Charge)) for name, charge in rows]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._unusable(error) from error
        return found[::-1]

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path}: {error}; if it is damaged, move it away: counters and last charges begin anew then"
        )
