from __future__ import annotations

import re

import pytest

from ampgate.registers import lint
from ampgate.registers.catalogue import source

pytestmark = pytest.mark.unit

VENDOR = "charger,27,10,info,vendor,Charge Point Vendor,string,R,,both,original"
MODEL = "charger,37,10,info,model,Charge Point Model,string,R,,both,original"
RESERVED = "charger,75,1,authorize,,,reserved,,,bms,original"


def test_the_packaged_map_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.check(source()) == []
    assert lint.main() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("row", "changed", "problem"),
    [
        (VENDOR, VENDOR.replace("charger,", "charge,"), "block 'charge' is not one of"),
        (VENDOR, VENDOR.replace("string", "text"), "type 'text' is not one of"),
        (VENDOR, VENDOR.replace(",R,", ",RO,"), "access 'RO' is not one of"),
        (VENDOR, VENDOR.replace("both", "all"), "mode 'all' is not one of"),
        (VENDOR, VENDOR.replace("27", "x"), "invalid literal for int"),
        (VENDOR, VENDOR.replace(",R,,", ",R,No,"), "invalid literal for int"),
        (VENDOR, "charger,27", "is not one of"),
        (VENDOR, VENDOR.replace("27,10", "27,11"), "info.vendor: a string cannot have 11 registers"),
        (VENDOR, VENDOR.replace("string", "float32"), "info.vendor: a float32 cannot have 10 registers"),
        (VENDOR, VENDOR.replace("vendor", "model"), "info.model: the key is used 2 times"),
        (VENDOR, VENDOR.replace(",R,,", ",R,0=No,"), "info.vendor: only a uint16 can be an enumeration"),
        (VENDOR, VENDOR.replace(",R,", ",,"), "info.vendor: reserved words, and only they"),
        (RESERVED, RESERVED.replace("reserved,,", "reserved,R,"), "reserved words, and only they"),
        (VENDOR, VENDOR.replace("27,", "28,"), "charger 37: info.model overlaps info.vendor"),
        (VENDOR, VENDOR.replace("27,", "28,"), "charger 27: no row covers this register"),
        (VENDOR, "", "charger 27: no row covers this register"),
        (VENDOR, VENDOR.replace("27,", "-10,"), "charger -10: info.vendor is outside the block"),
        (MODEL, MODEL.replace("37,", "1995,"), "charger 2000: info.model is outside the block"),
    ],
)
def test_a_broken_map(row: str, changed: str, problem: str) -> None:
    text = source()
    assert text.count(row + "\n") == 1
    problems = lint.check(text.replace(row, changed))
    assert any(problem in found for found in problems), problems


def test_wrong_header() -> None:
    assert lint.check("block,offset\n") == [f"line 1: columns must be {source().splitlines()[0]}"]
    assert lint.check("") != []


def test_main_prints_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(lint, "source", lambda: source().replace(VENDOR, VENDOR.replace("27", "x")))
    assert lint.main() == 1
    assert re.match(r"signals\.csv: line \d+: invalid literal for int", capsys.readouterr().err)
