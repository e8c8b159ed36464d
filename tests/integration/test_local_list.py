"""A charger that has lost its local list, as seen through registers (addresses of charger 0)."""

from __future__ import annotations

from ocpp.v16 import call_result

from tests.integration.peers import Bms, Charger, words_of_text


async def add(bms: Bms, id_tag: str) -> None:
    await bms.write(437, 1, *words_of_text(id_tag, 10), *([0] * 10), 0, 0, 0)
    await bms.write(436, 1)
    await bms.until(436, 0)
    assert await bms.word(463) == 0


async def ask_version(bms: Bms, charger: Charger, version: int) -> None:
    charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=version)
    await bms.write(386, 1)
    await bms.until(386, 0)
    assert await bms.word(391) == version


async def test_a_lost_list_is_sent_whole_once_the_version_shows_it(bms: Bms, charger: Charger) -> None:
    await add(bms, "TAG-1")
    await add(bms, "TAG-2")
    await ask_version(bms, charger, 0)  # it had 2
    await add(bms, "TAG-3")
    await add(bms, "TAG-4")
    lists = [payload for action, payload in charger.asked if action == "SendLocalList"]
    assert [
        (sent["update_type"], sent["list_version"], [entry["id_tag"] for entry in sent["local_authorization_list"]])
        for sent in lists
    ] == [
        ("Differential", 1, ["TAG-1"]),
        ("Differential", 2, ["TAG-2"]),
        ("Full", 1, ["TAG-1", "TAG-2", "TAG-3"]),
        ("Differential", 2, ["TAG-4"]),
    ]


async def test_a_newer_list_from_elsewhere_is_kept(bms: Bms, charger: Charger) -> None:
    await add(bms, "TAG-1")
    await ask_version(bms, charger, 9)
    await add(bms, "TAG-2")
    lists = [payload for action, payload in charger.asked if action == "SendLocalList"]
    assert [(sent["update_type"], sent["list_version"]) for sent in lists] == [
        ("Differential", 1),
        ("Differential", 10),
    ]
