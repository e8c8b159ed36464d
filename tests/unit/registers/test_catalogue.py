from __future__ import annotations

import pytest

from ampgate.registers.catalogue import COLUMNS, ROWS, SIGNALS, parse, parse_values, source

pytestmark = pytest.mark.unit

HEADER = ",".join(COLUMNS)


def line(**values: str) -> str:
    row = dict.fromkeys(COLUMNS, "")
    row |= {"block": "charger", "offset": "5", "registers": "1", "type": "uint16", "access": "R", "mode": "both"}
    return ",".join((row | values).values())


def test_a_row_becomes_a_signal() -> None:
    (signal,) = parse([HEADER, line(group="info", name="model", signal="Charge Point Model", values="0=No;12=Yes")])
    assert (signal.block, signal.offset, signal.registers) == ("charger", 5, 1)
    assert (signal.key, signal.label) == ("info.model", "Charge Point Model")
    assert (signal.type, signal.access, signal.mode) == ("uint16", "R", "both")
    assert signal.values == {0: "No", 12: "Yes"}
    assert not signal.reserved


@pytest.mark.parametrize(
    ("access", "name", "writable", "command"),
    [
        ("R", "flag", False, False),  # a request of the charger: the gateway sets it
        ("W", "processed", True, False),
        ("RW", "heartbeat", True, False),
        ("RW", "flag", True, True),
        ("RW", "unlock", True, True),
    ],
)
def test_access(access: str, name: str, writable: bool, command: bool) -> None:
    (signal,) = parse([HEADER, line(group="x", name=name, access=access)])
    assert (signal.writable, signal.command) == (writable, command)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(offset="five"), "line 4: invalid literal"),
        (line(values="Accepted"), "line 4: invalid literal"),
        ("charger,1", "line 4"),
    ],
)
def test_a_bad_row_is_named_by_its_line(bad: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse([HEADER, line(name="a"), "", bad])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="line 2: 'registers'"):
        parse(["block,offset", "charger,1"])


def test_enumeration() -> None:
    assert parse_values("") == {}
    assert parse_values("0=Accepted;11=Not implemented") == {0: "Accepted", 11: "Not implemented"}


def test_the_packaged_map() -> None:
    assert tuple(source().splitlines()[0].split(",")) == COLUMNS
    assert len({signal.key for signal in ROWS if not signal.reserved}) == len(SIGNALS)
    assert {signal.key for signal in SIGNALS.values() if signal.command} >= {
        "cancel_reservation.flag", "clear_cache.flag", "clear_charging_profile.flag", "get_local_list_version.flag",
        "reserve_now.flag", "reset.flag", "send_local_list.flag", "trigger_message.flag", "remote_start.flag",
        "remote_stop.flag", "connector.unlock",
    }  # fmt: skip
    assert not SIGNALS["authorize.flag"].command
