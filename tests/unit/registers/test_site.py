from __future__ import annotations

import pytest

from ampgate.registers.codec import ByteOrder
from ampgate.registers.image import Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.unit


def test_points_by_block() -> None:
    site = Site([ChargerShape(2), ChargerShape(1)], extensions=False)
    clock = ("second", "minute", "hour", "day", "month", "year")
    assert [site.gateway[f"bms.{name}"].place.address for name in ("heartbeat", *clock)] == [0, 1, 2, 3, 4, 5, 6]
    assert site.charger(1)["info.vendor"].place.address == 2127
    assert site.connector(0, 2)["connector.status"].place.address == 814
    assert "connector.status" not in site.connector(1, 2)  # charger 1 has one connector
    assert not any(point.place.signal.reserved for point in site.charger(0).values())


def test_number_of_active_signals() -> None:
    """Appendix 2 lists 138 signals: 7 of the gateway, 72 of a charger, 59 of a connector."""
    assert Site([], extensions=False).active == 7
    assert Site([ChargerShape(1)], extensions=False).active == 7 + 72 + 2 * 59
    assert Site([ChargerShape(7)] * 20, extensions=False).active == 7 + 20 * (72 + 8 * 59)
    assert Site([ChargerShape(1, frozenset({"SoC"}))], extensions=False).active == 7 + 72 + 2 * 59 - 2


def test_a_gateway_without_chargers_has_its_own_block() -> None:
    site = Site([], extensions=False)
    assert len(site.images) == 1
    assert site.images[0].view(0, 7) is not None
    assert site.images[0].view(100, 1) is None


def test_charger_32_is_charger_0_of_the_next_unit() -> None:
    site = Site([ChargerShape(1)] * 33, extensions=False)
    first, second = site.images
    site.charger(0)["info.model"].set("first")
    site.charger(32)["info.model"].set("second")
    assert bytes(first.words[2 * 137 : 2 * 140]) == b"first\0"
    assert bytes(second.words[2 * 137 : 2 * 140]) == b"second"
    assert second.view(0, 1) is None  # the gateway block is in the first unit alone
    heard: list[int] = []
    site.charger(32)["reset.flag"].watch(heard.append)
    assert first.write(426, b"\0\1") is Refusal.NONE
    assert heard == []
    assert second.write(426, b"\0\2") is Refusal.NONE
    assert heard == [2]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (ByteOrder.BIG, "42F6E979"),
        (ByteOrder.LITTLE, "79E9F642"),
        (ByteOrder.WORD_INVERTED_BIG, "E97942F6"),
        (ByteOrder.WORD_INVERTED_LITTLE, "F64279E9"),
    ],
)
def test_one_byte_order_for_the_whole_map(order: ByteOrder, expected: str) -> None:
    site = Site([ChargerShape(1)], order=order)
    site.connector(0, 1)["connector.current_import_l1"].set(123.456)
    assert site.images[0].words[2 * 723 : 2 * 725].hex().upper() == expected
    site.images[0].words[2 * 723 : 2 * 725] = bytes.fromhex(expected)
    assert site.connector(0, 1)["connector.current_import_l1"].get() == pytest.approx(123.456, rel=1e-6)
