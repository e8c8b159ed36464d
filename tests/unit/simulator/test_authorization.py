"""Local list and cache of a charge point (OCPP 1.6 §3.5, §5.15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ampgate.ocpp import v16
from ampgate.simulator import authorization
from ampgate.simulator.authorization import KnownTags, same_tag

ACCEPTED = v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED)
BLOCKED = v16.IdTagInfo(status=v16.AuthorizationStatus.BLOCKED)
FULL, DIFFERENTIAL = v16.UpdateType.FULL, v16.UpdateType.DIFFERENTIAL


def until(seconds: float) -> v16.IdTagInfo:
    expiry = v16.format_timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
    return v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED, expiry_date=expiry)


def update(tags: KnownTags, version: int, kind: v16.UpdateType, **entries: v16.IdTagInfo | None) -> str:
    listed = [v16.AuthorizationData(id_tag=id_tag, id_tag_info=info) for id_tag, info in entries.items()]
    request = v16.SendLocalListRequest(list_version=version, update_type=kind, local_authorization_list=listed)
    return tags.update(request).value


def accepts(tags: KnownTags, id_tag: str, *, use_list: bool = True, use_cache: bool = True) -> bool:
    return tags.accepts(id_tag, use_list=use_list, use_cache=use_cache)


def test_tags_have_no_case():
    assert same_tag("AbC", "aBc")
    assert not same_tag("abc", "abd")


def test_the_list_goes_before_the_cache():
    tags = KnownTags()
    tags.remember("A", ACCEPTED)
    assert accepts(tags, "a")
    assert not accepts(tags, "a", use_cache=False)
    update(tags, 1, FULL, A=BLOCKED)
    assert not accepts(tags, "a")
    assert accepts(tags, "a", use_list=False)


def test_an_expired_entry_does_not_count():
    tags = KnownTags()
    update(tags, 1, FULL, OLD=until(-5), NEW=until(60))
    assert not accepts(tags, "OLD")
    assert accepts(tags, "NEW")


def test_the_cache_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(authorization, "MAX_CACHE", 2)
    tags = KnownTags()
    for id_tag in ("A", "B", "A", "C"):
        tags.remember(id_tag, ACCEPTED)
    assert [accepts(tags, id_tag) for id_tag in "ABC"] == [True, False, True]
    tags.clear_cache()
    assert not accepts(tags, "A")


def test_a_differential_update_adds_changes_and_deletes():
    tags = KnownTags()
    assert update(tags, 1, FULL, A=ACCEPTED, B=ACCEPTED) == "Accepted"
    assert update(tags, 2, DIFFERENTIAL, A=None, B=BLOCKED, C=ACCEPTED) == "Accepted"
    assert [accepts(tags, id_tag) for id_tag in "ABC"] == [False, False, True]
    assert tags.version == 2


@pytest.mark.parametrize(
    ("version", "kind", "status"),
    [(0, FULL, "Failed"), (-1, FULL, "Failed"), (5, DIFFERENTIAL, "VersionMismatch"), (6, FULL, "Failed")],
)
def test_what_cannot_be_applied_changes_nothing(monkeypatch, version, kind, status):
    tags = KnownTags()
    update(tags, 5, FULL, A=ACCEPTED)
    monkeypatch.setattr(authorization, "MAX_LIST", 1)
    assert update(tags, version, kind, B=ACCEPTED, C=ACCEPTED) == status
    assert tags.version == 5
    assert accepts(tags, "A")


def test_a_full_list_has_no_deletions():
    assert update(KnownTags(), 1, FULL, A=None) == "Failed"
