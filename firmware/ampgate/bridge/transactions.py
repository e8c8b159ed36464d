"""The transactions that run at one charger, whoever decides over them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Transaction(msgspec.Struct, frozen=True):
    """A running transaction."""

    id: int
    connector: int
    id_tag: str
    meter_start: int
    """Wh."""
    started: float
    """Unix time in seconds."""
    accepted: bool = True
    """Whether the id tag was accepted; only then the connector shows the transaction."""


Changed = Callable[[Transaction, bool], None]
"""Called with a transaction and whether it runs now (True) or has ended."""


class Running(dict[int, Transaction]):
    """Running transactions by id; a connector has one at a time."""

    def __init__(self, changed: Changed) -> None:
        super().__init__()
        self._changed = changed

    def begin(self, transaction: Transaction) -> None:
        """A transaction runs from now on; the stop of one of the same connector or id was lost."""
        for older in list(self.values()):
            if older.connector == transaction.connector or older.id == transaction.id:
                self.end(older.id)
        self[transaction.id] = transaction
        self._changed(transaction, True)

    def end(self, transaction_id: int) -> Transaction | None:
        """A transaction has ended; None when it was not known to run."""
        transaction = self.pop(transaction_id, None)
        if transaction is not None:
            self._changed(transaction, False)
        return transaction

    def full_id(self, shown: int) -> int:
        """The id of the running transaction that has these 16 bits, or what was given when there is none."""
        return next((full for full in self if full & 0xFFFF == shown), shown)
