"""Requests of a charger to the BMS: Authorize, StartTransaction and StopTransaction (configuration guide, appendix 1).

Each handshake reads like the guide's sequence: the gateway fills the registers and sets the flag; the BMS reads,
writes its answer and sets *processed*; the gateway answers the charger and sets flag and processed back to 0.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from ampgate.bridge.results import words
from ampgate.ocpp.v16 import AuthorizationStatus, IdTagInfo, format_timestamp
from ampgate.registers.image import Point

_IDS: Final = 65535
"""How many transaction ids there are."""


class RequestBlock:
    """The registers of one kind of request of one charger, one request at a time; further ones wait in order.

    Use it as an asynchronous context: inside, the block belongs to the caller; at its end flag and *processed* are 0.
    """

    def __init__(self, points: Mapping[str, Point], group: str) -> None:
        self._fields = {
            point.place.signal.name: point for point in points.values() if point.place.signal.group == group
        }
        self._flag = self._fields["flag"]
        self._processed = self._fields["processed"]
        self._processed.watch(self._wrote_processed)
        self._answered: asyncio.Event | None = None
        self._conclude: Callable[[], None] | None = None
        self._turn = asyncio.Lock()
        self.group = group

    @property
    def pending(self) -> bool:
        """Whether a request waits for the BMS."""
        return self._answered is not None

    async def __aenter__(self) -> Self:
        await self._turn.acquire()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._answered = self._conclude = None
        self._flag.set(0)
        self._processed.set(0)
        self._turn.release()

    def present(self, conclude: Callable[[], None] | None = None, /, **values: Any) -> None:
        """Show a request: the R signals get these values, the W signals 0, and last the flag 1.

        ``conclude`` is called once, within the write request in which the BMS sets *processed*.
        """
        for name, point in self._fields.items():
            if point is not self._flag:
                point.clear()
                if name in values:
                    point.set(values[name])
        self._answered, self._conclude = asyncio.Event(), conclude
        self._flag.set(1)

    async def answered(self, timeout: float | None = None) -> bool:
        """Wait until the BMS has processed the request; False when it did not within ``timeout`` seconds.

        After that it is too late: what the BMS writes then concludes nothing.
        """
        assert self._answered is not None, "present() comes first"
        try:
            async with asyncio.timeout(timeout):
                await self._answered.wait()
        except TimeoutError:
            if not self._answered.is_set():
                self._answered = self._conclude = None
                return False
        return True

    def __getitem__(self, name: str) -> Any:
        """What a register of the block holds, e.g. the BMS's ``result``."""
        return self._fields[name].get()

    def __setitem__(self, name: str, value: Any) -> None:
        self._fields[name].set(value)

    def id_tag_info(self) -> IdTagInfo:
        """The BMS's verdict; an empty parent id tag and an expiry of 0 are left out."""
        expiry = self["expiry"]
        return IdTagInfo(
            status=AuthorizationStatus(words(f"{self.group}.result")[self["result"]]),
            expiry_date=format_timestamp(datetime.fromtimestamp(expiry, UTC)) if expiry else None,
            parent_id_tag=self["parent_id_tag"] or None,
        )

    def _wrote_processed(self, value: int) -> None:
        if self._answered is None:
            self._processed.set(0)  # nothing was asked
        elif value and not self._answered.is_set():
            if self._conclude is not None:
                self._conclude()
            self._answered.set()


class TransactionIds:
    """Hands out transaction ids: positive, of 16 bits as the map shows them, none twice while it is in use.

    The numbers go round in a circle. An id of the BMS's choice that lies ahead of the last one, by less than half the
    circle, counts as given out; so both may choose, and an old id comes back as late as possible.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        """Where the search for free ids goes on."""
        self._used: Counter[int] = Counter()

    def take(self, wanted: int = 0) -> int:
        """An id for a new transaction, 1…65535: the one that is wanted, or the next free one when that is 0."""
        taken = wanted or self._next_free()
        if (taken - self.last) % _IDS < _IDS // 2:
            self.last = taken
        return taken

    def keep(self, transaction_id: int) -> None:
        """The id is in use: the transaction runs, or the BMS has still to process its stop."""
        self._used[transaction_id] += 1

    def release(self, transaction_id: int) -> None:
        """Undo one `keep`."""
        self._used[transaction_id] -= 1
        if not self._used[transaction_id]:
            del self._used[transaction_id]

    def _next_free(self) -> int:
        for step in range(_IDS):
            candidate = (self.last + step) % _IDS + 1
            if candidate not in self._used:
                return candidate
        raise RuntimeError("all transaction ids are in use")
