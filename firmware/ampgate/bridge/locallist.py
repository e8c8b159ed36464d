"""The local authorisation list of one charger, edited by the BMS one entry at a time (SEQ_SendLocalList).

The gateway keeps entries and version, so that a differential update that the charger refuses can be followed by the
whole list (OCPP 1.6 §5.15).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from ampgate.bridge.operations import InvalidRequest, Parameters
from ampgate.bridge.results import Result, result_of, words
from ampgate.journal import Journal
from ampgate.ocpp import v16

GROUP: Final = "send_local_list"
_UNSUPPORTED: Final = -1

Call = Callable[[v16.Message], Awaitable[v16.Message]]
Keep = Callable[[int | None, bytes], None]
"""Called with version and entries (JSON) when they have changed."""


class LocalList:
    """Entries by lower-case id tag, and the version that the charger has; None when it is not known."""

    def __init__(
        self, entries: Iterable[v16.AuthorizationData] = (), version: int | None = None, *, keep: Keep | None = None
    ) -> None:
        self.entries = {entry.id_tag.lower(): entry for entry in entries}
        self.version = version
        self._keep = keep
        self._lost = False
        """Whether the charger has lost what was sent to it: then the whole list is sent, not a change."""

    @classmethod
    def kept(cls, journal: Journal, identity: str) -> LocalList:
        """The list of a charger as the journal knows it, and kept there from now on."""
        record = journal.charger(identity)
        entries = msgspec.json.decode(record.list_entries or b"[]", type=list[v16.AuthorizationData])
        return cls(entries, record.list_version, keep=partial(journal.local_list, identity))

    def heard(self, version: int) -> None:
        """The charger has told its version; one below what it had says that it lost its list."""
        self._lost = self.version is not None and version < self.version
        self.version = None if version == _UNSUPPORTED else version

    async def edit(self, of: Parameters, call: Call) -> Result:
        """Add, change or delete one entry at the charger; the own copy follows when the charger has accepted it."""
        entry = entry_of(of)
        if self.version is None:
            response = await call(v16.GetLocalListVersionRequest())
            assert isinstance(response, v16.GetLocalListVersionResponse)
            if response.list_version == _UNSUPPORTED:
                return Result.NOT_SUPPORTED
            self.version = response.list_version
        edited = dict(self.entries)
        if entry.id_tag_info is None:
            edited.pop(entry.id_tag.lower(), None)
        else:
            edited[entry.id_tag.lower()] = entry
        result = Result.FAILED
        if not self._lost:
            result = await self._send(call, v16.UpdateType.DIFFERENTIAL, [entry])
        if result in (Result.FAILED, Result.VERSION_MISMATCH):
            result = await self._send(call, v16.UpdateType.FULL, list(edited.values()))
        if result is Result.ACCEPTED:
            self.entries, self._lost = edited, False
        elif result is Result.VERSION_MISMATCH:
            self.version = None
        if self._keep is not None:
            self._keep(self.version, msgspec.json.encode(list(self.entries.values())))
        return result

    async def _send(self, call: Call, kind: v16.UpdateType, entries: list[v16.AuthorizationData]) -> Result:
        version = (self.version or 0) + 1
        response = await call(
            v16.SendLocalListRequest(list_version=version, update_type=kind, local_authorization_list=entries)
        )
        assert isinstance(response, v16.SendLocalListResponse)
        result = result_of(response.status)
        if result is Result.ACCEPTED:
            self.version = version
        return result


def entry_of(of: Parameters) -> v16.AuthorizationData:
    """The entry that the registers describe; one without id tag info deletes."""
    operation = of["operation"]
    if words(f"{GROUP}.operation").get(operation) is None:
        raise InvalidRequest(f"operation {operation} is not 1 (add), 2 (delete) or 3 (modify)")
    if of.word("operation") == "DeleteEntry":
        return v16.AuthorizationData(id_tag=of.id_tag())
    info = v16.IdTagInfo(
        status=v16.AuthorizationStatus(of.word("status")),
        expiry_date=of.time("expiry"),
        parent_id_tag=of["parent_id_tag"] or None,
    )
    return v16.AuthorizationData(id_tag=of.id_tag(), id_tag_info=info)
