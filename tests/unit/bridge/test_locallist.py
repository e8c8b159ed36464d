"""The local list, one entry at a time, at charge points that accept, refuse and disagree (OCPP 1.6 §5.15, §6.41)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ampgate.bridge.locallist import LocalList, entry_of
from ampgate.bridge.operations import Context, InvalidRequest, Parameters
from ampgate.bridge.results import Result
from ampgate.journal import Journal
from ampgate.ocpp import v16

ADD, DELETE, MODIFY = 1, 2, 3
CONTEXT = Context(1, lambda shown: shown)


def parameters(operation: int, id_tag: str, status: int = 0, expiry: int = 0, parent: str = "") -> Parameters:
    values = {"operation": operation, "id_tag": id_tag, "status": status, "expiry": expiry, "parent_id_tag": parent}
    return Parameters("send_local_list", values, CONTEXT)


class Station:
    """A charge point that answers with ``statuses``, Accepted when there is none left."""

    def __init__(self, version: int = 0, *statuses: str) -> None:
        self.version = version
        self.statuses = list(statuses)
        self.asked: list[Any] = []

    async def call(self, request: v16.Message) -> v16.Message:
        self.asked.append(msgspec.json.decode(v16.encode(request)))
        if isinstance(request, v16.GetLocalListVersionRequest):
            return v16.GetLocalListVersionResponse(list_version=self.version)
        assert isinstance(request, v16.SendLocalListRequest)
        status = self.statuses.pop(0) if self.statuses else "Accepted"
        return v16.SendLocalListResponse(status=v16.UpdateStatus(status))

    @property
    def sent(self) -> list[tuple[str, int, list[str]]]:
        """Kind, version and id tags of each list."""
        return [
            (frame["updateType"], frame["listVersion"], [entry["idTag"] for entry in frame["localAuthorizationList"]])
            for frame in self.asked
            if frame
        ]


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        (parameters(ADD, "TAG"), {"idTag": "TAG", "idTagInfo": {"status": "Accepted"}}),
        (
            parameters(MODIFY, "TAG", 4, 1769860800, "FAMILY"),
            {
                "idTag": "TAG",
                "idTagInfo": {
                    "status": "ConcurrentTx",
                    "expiryDate": "2026-01-31T12:00:00Z",
                    "parentIdTag": "FAMILY",
                },
            },
        ),
        (parameters(DELETE, "TAG", 1, 5, "FAMILY"), {"idTag": "TAG"}),  # without id tag info: deleted
    ],
)
def test_entry(given: Parameters, entry: dict[str, Any]) -> None:
    assert msgspec.json.decode(v16.encode(entry_of(given))) == entry


@pytest.mark.parametrize(
    "given", [parameters(0, "TAG"), parameters(4, "TAG"), parameters(ADD, ""), parameters(DELETE, "")]
)
def test_no_entry(given: Parameters) -> None:
    with pytest.raises(InvalidRequest):
        entry_of(given)


async def test_the_version_is_asked_once_and_counted_up() -> None:
    station, entries = Station(version=7), LocalList()
    for tag in ("A", "B"):
        assert await entries.edit(parameters(ADD, tag), station.call) is Result.ACCEPTED
    assert station.asked[0] == {}
    assert station.sent == [("Differential", 8, ["A"]), ("Differential", 9, ["B"])]
    assert entries.version == 9


async def test_an_empty_list_begins_with_version_1() -> None:
    station, entries = Station(version=0), LocalList()
    await entries.edit(parameters(ADD, "A"), station.call)
    assert station.sent == [("Differential", 1, ["A"])]  # listVersion is never 0 (errata 3.52)


async def test_a_charger_without_a_list() -> None:
    station, entries = Station(version=-1), LocalList()
    assert await entries.edit(parameters(ADD, "A"), station.call) is Result.NOT_SUPPORTED
    assert station.asked == [{}]
    assert (entries.version, entries.entries) == (None, {})


async def test_modify_and_delete() -> None:
    station, entries = Station(), LocalList()
    await entries.edit(parameters(ADD, "Tag-A"), station.call)
    await entries.edit(parameters(ADD, "Tag-B"), station.call)
    await entries.edit(parameters(MODIFY, "TAG-A", 1), station.call)
    assert [(entry.id_tag, entry.id_tag_info.status) for entry in entries.entries.values() if entry.id_tag_info] == [
        ("TAG-A", "Blocked"),
        ("Tag-B", "Accepted"),
    ]
    await entries.edit(parameters(DELETE, "tag-b"), station.call)  # id tags do not know case
    assert list(entries.entries) == ["tag-a"]
    await entries.edit(parameters(DELETE, "nobody"), station.call)  # deleted twice is deleted
    assert station.sent[-1] == ("Differential", 5, ["nobody"])


@pytest.mark.parametrize("refusal", ["Failed", "VersionMismatch"])
async def test_a_difference_that_does_not_fit_is_followed_by_the_whole_list(refusal: str) -> None:
    station, entries = Station(), LocalList()
    await entries.edit(parameters(ADD, "A"), station.call)
    station.statuses = [refusal]
    assert await entries.edit(parameters(ADD, "B"), station.call) is Result.ACCEPTED
    assert station.sent[1:] == [("Differential", 2, ["B"]), ("Full", 2, ["A", "B"])]
    assert entries.version == 2
    assert list(entries.entries) == ["a", "b"]


async def test_a_list_that_is_refused_is_not_kept() -> None:
    station, entries = Station(3, "Failed", "Failed"), LocalList()
    assert await entries.edit(parameters(ADD, "A"), station.call) is Result.FAILED
    assert (entries.entries, entries.version) == ({}, 3)
    station.statuses = ["NotSupported"]
    assert await entries.edit(parameters(ADD, "A"), station.call) is Result.NOT_SUPPORTED
    assert station.sent[2:] == [("Differential", 4, ["A"])]  # no whole list to one who has none


async def test_after_a_mismatch_the_version_is_asked_again() -> None:
    station, entries = Station(3, "VersionMismatch", "VersionMismatch"), LocalList()
    assert await entries.edit(parameters(ADD, "A"), station.call) is Result.VERSION_MISMATCH
    station.version = 40
    assert await entries.edit(parameters(ADD, "A"), station.call) is Result.ACCEPTED
    assert station.sent[-1] == ("Differential", 41, ["A"])


async def test_the_list_survives_a_restart() -> None:
    journal = Journal(":memory:")
    station = Station(version=7)
    await LocalList.kept(journal, "CP1").edit(parameters(ADD, "A", 1, 1769860800, "P"), station.call)
    again = LocalList.kept(journal, "CP1")
    assert again.version == 8
    assert again.entries == {"a": entry_of(parameters(ADD, "A", 1, 1769860800, "P"))}
    assert LocalList.kept(journal, "CP2").version is None
    journal.close()
