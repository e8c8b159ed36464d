from __future__ import annotations

import pytest

from ampgate.registers.layout import ChargerShape, Place, address, places

pytestmark = pytest.mark.unit


def find(site: list[Place], key: str, charger: int | None = None, connector: int | None = None) -> Place:
    (place,) = (p for p in site if (p.signal.key, p.charger, p.connector) == (key, charger, connector))
    return place


@pytest.mark.parametrize(
    ("key", "charger", "connector", "expected"),
    [
        ("bms.heartbeat", None, None, 0),
        ("info.vendor", 0, None, 127),
        ("info.vendor", 1, None, 2127),
        ("connector.status", 0, 0, 614),
        ("connector.status", 0, 1, 714),
        ("connector.status", 31, 7, 63314),
        ("connector.status", 33, 1, 2714),  # in the second unit id
    ],
)
def test_address(key: str, charger: int | None, connector: int | None, expected: int) -> None:
    assert address(key, charger, connector) == expected


@pytest.mark.parametrize(
    ("key", "charger", "connector"),
    [
        ("bms.heartbeat", 0, None),
        ("info.vendor", None, None),
        ("info.vendor", 0, 1),
        ("connector.status", 0, None),
        ("connector.status", None, 1),
        ("connector.status", 0, 8),
        ("connector.status", 0, -1),
        ("connector.status", -1, 1),
    ],
)
def test_address_that_does_not_fit(key: str, charger: int | None, connector: int | None) -> None:
    with pytest.raises(ValueError, match=r"does not fit|must be"):
        address(key, charger, connector)


def test_unknown_key() -> None:
    with pytest.raises(KeyError):
        address("connector.colour", 0, 1)


def test_order_and_number_of_places() -> None:
    site = list(places([ChargerShape(1), ChargerShape(2)], extensions=False))
    blocks = list(dict.fromkeys((place.charger, place.connector) for place in site))
    assert blocks == [
        (None, None), (0, None), (0, 0), (0, 1), (1, None), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip
    assert all(place.active for place in site if place.signal.area == "original")
    assert len({(place.unit, place.address) for place in site}) == len(site)


def test_inactive_by_key_and_by_label() -> None:
    shapes = [ChargerShape(1, frozenset({"connector.power_factor", "SoC", "Charge Point Model"})), ChargerShape(1)]
    site = list(places(shapes))
    hidden = {(place.signal.key, place.charger, place.connector) for place in site if not place.active}
    assert hidden == {
        ("connector.power_factor", 0, 0), ("connector.power_factor", 0, 1),
        ("connector.soc", 0, 0), ("connector.soc", 0, 1),
        ("info.model", 0, None),
    }  # fmt: skip


def test_external_mode_hides_what_needs_the_bms() -> None:
    site = list(places([ChargerShape(1)], external=True))
    for key in ("authorize.id_tag", "reset.flag", "send_local_list.flag"):
        assert not find(site, key, 0).active
    assert not find(site, "bms.heartbeat").active
    for key in ("info.vendor", "remote_start.flag", "cancel_reservation.flag"):
        assert find(site, key, 0).active
    assert find(site, "transaction.id_tag", 0, 1).active
    reserved = {place.address: place.active for place in site if place.signal.reserved}
    assert not reserved[175]  # of authorize
    assert reserved[358]  # of cancel_reservation


def test_extensions_can_be_left_out() -> None:
    site = list(places([ChargerShape(1)], extensions=False))
    assert {place.active for place in site if place.signal.area == "extension"} <= {False}


def test_33_chargers_take_two_units() -> None:
    site = list(places([ChargerShape(1)] * 33))
    assert [find(site, "info.vendor", charger).unit for charger in (0, 31, 32)] == [0, 0, 1]
    assert find(site, "info.vendor", 32).address == 127
    assert {place.charger for place in site if place.unit == 1} == {32}
