"""The objects at a BMS that nobody polls: what can be shown, what can be written, and what cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ampgate.bms import objects
from ampgate.bms.alarms import Alarms
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import BmsConfig, ChargerTable
from ampgate.bms.records import Charge
from ampgate.bms.service import Bms
from ampgate.bms.store import Store

NOW = datetime(2023, 6, 19, 14, 22).astimezone()


@pytest.fixture
def bms(tmp_path: Path) -> Iterator[Bms]:
    config = BmsConfig(charger=[ChargerTable("CP0", 1), ChargerTable("CP1", 2)])
    with contextlib.closing(Store(tmp_path)) as store:
        yield Bms(config, store, Alarms([]), now=lambda: NOW)


def text(bms: Bms, reference: str) -> str:
    (reading,) = objects.readings(bms, reference)
    return reading.text


def test_containers(bms: Bms) -> None:
    def references(under: str) -> list[str]:
        return [reading.reference for reading in objects.readings(bms, under)]

    assert len(references("")) == 6 + 3 * 24
    assert references("s3.m") == ["S3.M.S", "S3.M.E"]
    assert references("S2.L.C") == ["S2.L.C"]
    assert references("S1.A") == ["S1.A.U", "S1.A.T", "S1.A.TU", "S1.A.RST"]
    with pytest.raises(TaskRefused, match=r"there is no object S4; there are M1\.DL to S3\.F\.D"):
        objects.readings(bms, "S4")


def test_nothing_is_known_before_the_first_poll(bms: Bms) -> None:
    assert text(bms, "S1.M.S") == ""
    assert text(bms, "M1.DS") == "No"


async def test_setup(bms: Bms) -> None:
    assert await objects.write(bms, "m1.dl", "Yard") == "M1.DL = Yard"
    await objects.write(bms, "M1.RR", "300")
    await objects.write(bms, "M1.E", "no")
    assert (bms.label, bms.read_rate, bms.enabled) == ("Yard", 300, False)
    for task in ("Start", "Stop", "Unlock"):
        with pytest.raises(TaskRefused, match="the BMS is not enabled"):
            await objects.write(bms, "S1.A.T", task)


async def test_reset_counters(bms: Bms) -> None:
    charge = Charge(2, 7, "TAG", "User A", NOW, NOW, 1.5, 10, 8)
    bms.systems[2].record.complete(charge)
    await objects.write(bms, "M1.RC", "No")
    assert text(bms, "S3.F.C") == "1"
    await objects.write(bms, "M1.RC", "Yes")
    assert text(bms, "S3.F.C") == "0"
    assert text(bms, "S3.L.C") == "1"


@pytest.mark.parametrize(
    ("reference", "value", "words"),
    [
        ("S1.M.S", "1", r"S1\.M\.S \(Monitor: Charger Status\) can only be read"),
        ("M1.RP", "x", r"M1\.RP \(Modbus Object Reference\) can only be read"),
        ("M1.RR", "0", r"M1\.RR \(Read rate \(s\)\) must be a whole number, 1…300"),
        ("M1.DL", "x" * 21, "must be a text of at most 20 characters in one line"),
        ("S1.A.U", "x" * 121, "must be a text of at most 120 characters in one line"),
        ("S1.A.T", "fly", "must be one of 0=None, 1=Start, 2=Stop, 3=Unlock"),
        ("S1.A.TU", "fly User A", "the first word must be one of 0=None, 1=Start"),
        ("S1.A", "1", r"there is no object S1\.A"),
    ],
)
async def test_what_cannot_be_written(bms: Bms, reference: str, value: str, words: str) -> None:
    with pytest.raises(TaskRefused, match=words):
        await objects.write(bms, reference, value)


async def test_a_user_is_for_one_task(bms: Bms) -> None:
    await objects.write(bms, "S1.A.U", "User A")
    assert bms.systems[0].user == "User A"
    assert await objects.write(bms, "S1.A.T", "None") == "nothing to do"
    assert bms.systems[0].user == ""
    assert await objects.write(bms, "S1.A.RST", "0") == "nothing to do"
