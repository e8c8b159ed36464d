"""OCPP 1.6 certification, central system: the local authorisation list, with a BMS that acts through registers alone.

Addresses (see `octt`): Get Local List Version flag 386, version 391; Send Local List flag 436, operation 437 (1 add,
2 delete, 3 modify), id tag 438–447, parent id tag 448–457, expiry 458–459, status 460, result 463.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp.v16 import call_result

from tests.conformance.octt import VALID, PackageStation
from tests.integration.peers import NOON, NOON_EPOCH, words_of_text

pytestmark = pytest.mark.conformance

ADD, DELETE = 1, 2
NOON_WORDS = list(divmod(NOON_EPOCH, 0x10000))


def entry(operation: int, id_tag: str, parent: str = "", expiry: list[int] | None = None) -> list[int]:
    """Registers 437…460; status 0 is Accepted."""
    return [operation, *words_of_text(id_tag, 10), *words_of_text(parent, 10), *(expiry or [0, 0]), 0]


def sent(station: PackageStation) -> list[dict[str, Any]]:
    """The SendLocalList messages that the charge point got."""
    return [payload for action, payload in station.asked if action == "SendLocalList"]


async def edit(station: PackageStation, *registers: int) -> int:
    await station.bms.write(437, *registers)
    return await station.operate(436, 463)


def version(station: PackageStation, number: int) -> None:
    station.charger.replies["GetLocalListVersion"] = call_result.GetLocalListVersion(list_version=number)


async def test_tc_042_1_csms(scripted: PackageStation) -> None:
    """TC_042_1_CSMS: version of a list that is not supported: −1, which 16 bits show as 65535."""
    version(scripted, -1)
    assert await scripted.operate(386, 391) == 65535
    assert scripted.asked == [("GetLocalListVersion", {})]


async def test_tc_042_2_csms(scripted: PackageStation) -> None:
    """TC_042_2_CSMS: version of an empty list: 0."""
    assert await scripted.operate(386, 391) == 0
    assert scripted.asked == [("GetLocalListVersion", {})]


async def test_tc_043_1_csms(scripted: PackageStation) -> None:
    """TC_043_1_CSMS: the charger answers NotSupported: the result is 3 and nothing is sent again."""
    scripted.answers("SendLocalList", "NotSupported")
    assert await edit(scripted, *entry(ADD, VALID)) == 3
    [payload] = sent(scripted)
    assert payload["list_version"] > 0


async def test_tc_043_3_csms(scripted: PackageStation) -> None:
    """TC_043_3_CSMS: the charger answers Failed, to the whole list too: the result is 8; the next edit is a new one."""
    version(scripted, 4)
    scripted.answers("SendLocalList", "Failed")
    assert await edit(scripted, *entry(ADD, VALID)) == 8
    assert [(payload["update_type"], payload["list_version"]) for payload in sent(scripted)] == [
        ("Differential", 5),
        ("Full", 5),
    ]
    scripted.answers("SendLocalList", "Accepted")
    assert await edit(scripted, *entry(ADD, VALID)) == 0
    assert sent(scripted)[-1]["list_version"] == 5


async def test_tc_043_4_csms(scripted: PackageStation) -> None:
    """TC_043_4_CSMS: full list: follows a differential update that the charger cannot apply.

    The whole list has every entry with idTagInfo, and a version that is neither 0 nor −1; the result is 0.
    """
    assert await edit(scripted, *entry(ADD, "VALID-TAG-2")) == 0
    scripted.forget()
    mismatch = asyncio.get_running_loop().create_future()
    scripted.charger.replies["SendLocalList"] = mismatch
    await scripted.bms.write(437, *entry(ADD, VALID, "FAMILY"))
    await scripted.bms.write(436, 1)
    await scripted.charger.until_asked("SendLocalList")
    scripted.answers("SendLocalList", "Accepted")
    mismatch.set_result(call_result.SendLocalList(status="VersionMismatch"))
    await scripted.bms.until(436, 0)
    assert await scripted.bms.word(463) == 0
    full = sent(scripted)[-1]
    assert full["update_type"] == "Full"
    assert full["list_version"] > 0
    assert full["local_authorization_list"] == [
        {"id_tag": "VALID-TAG-2", "id_tag_info": {"status": "Accepted"}},
        {"id_tag": VALID, "id_tag_info": {"status": "Accepted", "parent_id_tag": "FAMILY"}},
    ]


async def test_tc_043_5_csms(scripted: PackageStation) -> None:
    """TC_043_5_CSMS: differential update: the version is asked first, each change raises it by one.

    An entry that is added has idTagInfo with what the registers say, one that is deleted has none.
    """
    version(scripted, 41)
    assert await edit(scripted, *entry(ADD, VALID, "FAMILY", NOON_WORDS)) == 0
    assert await edit(scripted, *entry(DELETE, VALID)) == 0
    info = {"status": "Accepted", "parent_id_tag": "FAMILY", "expiry_date": NOON}
    changes = [{"id_tag": VALID, "id_tag_info": info}, {"id_tag": VALID}]
    assert scripted.asked == [("GetLocalListVersion", {})] + [
        (
            "SendLocalList",
            {"list_version": number, "update_type": "Differential", "local_authorization_list": [change]},
        )
        for number, change in enumerate(changes, start=42)
    ]
