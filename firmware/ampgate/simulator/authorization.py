"""What a charge point knows of id tags by itself: local list and cache (OCPP 1.6 §3.5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ampgate.ocpp import v16

MAX_LIST: Final = 1000
MAX_CACHE: Final = 1000
_ACCEPTED = v16.AuthorizationStatus.ACCEPTED


def same_tag(one: str, other: str) -> bool:
    """Id tags are compared without regard to case (OCPP 1.6 §7.28)."""
    return one.lower() == other.lower()


class KnownTags:
    """Local list and cache; an entry of the list goes before one of the cache."""

    def __init__(self) -> None:
        self.version = 0
        """Version of the local list; 0 while it is empty."""
        self._list: dict[str, v16.IdTagInfo] = {}
        self._cache: dict[str, v16.IdTagInfo] = {}

    def remember(self, id_tag: str, info: v16.IdTagInfo) -> None:
        """Put an answer of the central system into the cache."""
        self._cache.pop(id_tag.lower(), None)
        self._cache[id_tag.lower()] = info
        if len(self._cache) > MAX_CACHE:
            del self._cache[next(iter(self._cache))]

    def clear_cache(self) -> None:
        """Forget what the central system answered."""
        self._cache.clear()

    def accepts(self, id_tag: str, *, use_list: bool, use_cache: bool) -> bool:
        """Whether an unexpired entry says Accepted."""
        info = self._list.get(id_tag.lower()) if use_list else None
        if info is None and use_cache:
            info = self._cache.get(id_tag.lower())
        if info is None or info.status is not _ACCEPTED:
            return False
        expiry = v16.read_timestamp(info.expiry_date)
        return expiry is None or expiry > datetime.now(UTC)

    def update(self, request: v16.SendLocalListRequest) -> v16.UpdateStatus:
        """SendLocalList (OCPP 1.6 §5.15): all of it or nothing."""
        entries = request.local_authorization_list or []
        if request.list_version <= 0:
            return v16.UpdateStatus.FAILED
        if request.update_type is v16.UpdateType.FULL:
            if any(entry.id_tag_info is None for entry in entries):
                return v16.UpdateStatus.FAILED
            updated: dict[str, v16.IdTagInfo] = {}
        else:
            if request.list_version <= self.version:
                return v16.UpdateStatus.VERSION_MISMATCH
            updated = dict(self._list)
        for entry in entries:
            if entry.id_tag_info is None:
                updated.pop(entry.id_tag.lower(), None)
            else:
                updated[entry.id_tag.lower()] = entry.id_tag_info
        if len(updated) > MAX_LIST:
            return v16.UpdateStatus.FAILED
        self._list, self.version = updated, request.list_version
        return v16.UpdateStatus.ACCEPTED
