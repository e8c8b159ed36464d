"""Reads and writes of the BMS; addresses of charger 0 are written out (configuration guide r1.2, appendix 2)."""

from __future__ import annotations

import pytest

from ampgate.registers.image import Image, Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.unit

PROCESSED, PARENT, EXPIRY, RESULT, RESERVED = 177, 178, 188, 190, 191
CANCEL_FLAG, CANCEL_ID, CANCEL_RESERVED, CANCEL_RESULT = 356, 357, 358, 361
LOCAL_LIST_FLAG = 436
START_FLAG, START_CONNECTOR, START_TAG = 476, 477, 478
UNLOCK, AVAILABILITY, STATUS = 712, 713, 714

SHAPES = [ChargerShape(1, frozenset({"Power.Factor"}))]


@pytest.fixture
def site() -> Site:
    return Site(SHAPES, extensions=False)


@pytest.fixture
def image(site: Site) -> Image:
    return site.images[0]


def registers(image: Image, address: int, quantity: int = 1) -> list[int]:
    data = image.view(address, quantity)
    assert data is not None
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


# Reading


@pytest.mark.parametrize(
    ("address", "quantity", "valid"),
    [
        (0, 7, True),  # the gateway block
        (6, 2, False),  # crosses its end
        (7, 1, False),
        (100, 47, True),
        (146, 2, False),
        (164, 110, True),  # three requests with their reserved words
        (356, 125, True),
        (612, 58, True),
        (612, 59, False),  # 670 and 671 are Power.Factor of connector 0: inactive
        (672, 98, True),  # connectors 0 and 1 are neighbours
        (672, 99, False),
        (771, 2, False),  # begins in an invalid register
        (772, 40, True),
        (811, 2, False),  # connector 2 does not exist
        (2100, 1, False),  # nor does charger 1
        (65535, 1, False),
        (65535, 125, False),
    ],
)
def test_valid_ranges(image: Image, address: int, quantity: int, valid: bool) -> None:
    view = image.view(address, quantity)
    assert (view is not None) == valid
    assert view is None or len(view) == 2 * quantity


def test_a_view_is_live_and_cannot_be_written(site: Site, image: Image) -> None:
    view = image.view(STATUS, 1)
    assert view is not None and bytes(view) == b"\0\0"
    site.connector(0, 1)["connector.status"].set(2)
    assert bytes(view) == b"\0\2"
    with pytest.raises(TypeError):
        view[0] = 1


# Writing


def test_write_and_read_back(image: Image) -> None:
    assert image.write(CANCEL_ID, b"\x12\x34") is Refusal.NONE
    assert registers(image, CANCEL_ID) == [0x1234]
    assert image.write(PARENT, b"ABCDEFGHIJKLMNOPQRST") is Refusal.NONE
    assert registers(image, PARENT, 2) == [0x4142, 0x4344]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (STATUS, [1]),  # read-only
        (CANCEL_RESULT, [1]),
        (164, [1]),  # Authorization Flag is the gateway's
        (147, [1]),  # no signal
        (770, [1]),  # inactive
        (65535, [1]),
        (65535, [1, 2]),
        (AVAILABILITY, [1, 2]),  # runs into a read-only signal
        (CANCEL_ID, [7, 0, 0, 0, 1]),  # the same, over reserved words
        (174, [1, 0, 0, 1]),  # begins in a read-only signal
    ],
)
def test_a_refused_write_stores_nothing(image: Image, address: int, words: list[int]) -> None:
    before = bytes(image.words)
    assert image.write(address, b"".join(word.to_bytes(2) for word in words)) is Refusal.ADDRESS
    assert image.words == before


def test_reserved_words_swallow_writes(image: Image) -> None:
    assert image.write(CANCEL_RESERVED, b"\xff\xff") is Refusal.NONE
    assert image.write(175, b"\xff\xff\xff\xff") is Refusal.NONE  # next to read-only signals
    assert registers(image, CANCEL_RESERVED) == [0]
    assert image.write(RESULT, b"\0\3" + b"\xff" * 6) is Refusal.NONE
    assert registers(image, RESULT, 4) == [3, 0, 0, 0]


@pytest.mark.parametrize(
    ("address", "value", "refusal"),
    [
        (RESULT, 4, Refusal.NONE),
        (RESULT, 5, Refusal.VALUE),
        (RESULT, 0x0100, Refusal.VALUE),
        (PROCESSED, 1, Refusal.NONE),
        (PROCESSED, 2, Refusal.VALUE),
        (AVAILABILITY, 1, Refusal.NONE),
        (AVAILABILITY, 2, Refusal.VALUE),
        (START_FLAG, 2, Refusal.VALUE),
        (426, 2, Refusal.NONE),  # Reset Flag: hard
        (426, 3, Refusal.VALUE),
        (437, 0, Refusal.VALUE),  # Send Local List, Operation: 1…3
        (437, 3, Refusal.NONE),
        (0, 65535, Refusal.NONE),  # Heartbeat is no enumeration
    ],
)
def test_enumerations(image: Image, address: int, value: int, refusal: Refusal) -> None:
    assert image.write(address, value.to_bytes(2)) is refusal
    assert registers(image, address) == [0 if refusal else value]


def test_one_bad_value_refuses_the_whole_request(image: Image) -> None:
    before = bytes(image.words)
    parent_expiry_result = b"TAG".ljust(20, b"\0") + b"\0\0\0\1" + b"\0\5"
    assert image.write(PARENT, parent_expiry_result) is Refusal.VALUE
    assert image.words == before


def test_a_running_command_is_busy_and_ignores_0(image: Image) -> None:
    assert image.write(START_FLAG, b"\0\1") is Refusal.NONE
    assert image.write(START_FLAG, b"\0\1") is Refusal.BUSY
    assert image.write(START_FLAG, b"\0\1" + b"\0\7") is Refusal.BUSY
    assert registers(image, START_FLAG, 2) == [1, 0]
    assert image.write(START_FLAG, b"\0\0" + b"\0\7") is Refusal.NONE  # parameters may follow meanwhile
    assert registers(image, START_FLAG, 2) == [1, 7]


def test_a_bad_value_outweighs_busy(image: Image) -> None:
    image.write(START_FLAG, b"\0\1")
    assert image.write(START_FLAG, b"\0\2") is Refusal.VALUE
    assert image.write(LOCAL_LIST_FLAG, b"\0\1") is Refusal.NONE
    assert image.write(LOCAL_LIST_FLAG, b"\0\1\0\2") is Refusal.BUSY
    assert image.write(LOCAL_LIST_FLAG, b"\0\1\0\x09") is Refusal.VALUE  # its operation is 1…3


def test_a_command_can_start_again_after_the_gateway_cleared_it(site: Site, image: Image) -> None:
    image.write(START_FLAG, b"\0\1")
    site.charger(0)["remote_start.flag"].set(0)
    assert image.write(START_FLAG, b"\0\1") is Refusal.NONE


def test_availability_is_no_command(image: Image) -> None:
    assert image.write(AVAILABILITY, b"\0\1") is Refusal.NONE
    assert image.write(AVAILABILITY, b"\0\0") is Refusal.NONE
    assert registers(image, AVAILABILITY) == [0]


# Watchers


def test_watchers_hear_after_everything_is_stored(site: Site, image: Image) -> None:
    heard: list[tuple[int, list[int]]] = []
    site.charger(0)["remote_start.flag"].watch(lambda value: heard.append((value, registers(image, START_FLAG, 3))))
    assert image.write(START_FLAG, b"\0\1\0\2AB") is Refusal.NONE
    assert heard == [(1, [1, 2, 0x4142])]


def test_watchers_do_not_hear_what_was_refused_or_ignored(site: Site, image: Image) -> None:
    heard: list[int] = []
    site.charger(0)["remote_start.flag"].watch(heard.append)
    image.write(START_FLAG, b"\0\2")
    image.write(START_FLAG, b"\0\1")
    image.write(START_FLAG, b"\0\1")
    image.write(START_FLAG, b"\0\0")
    assert heard == [1]


def test_watchers_in_the_order_of_addresses(site: Site, image: Image) -> None:
    heard: list[str] = []
    for key in ("connector.availability", "connector.unlock"):
        site.connector(0, 1)[key].watch(lambda value, key=key: heard.append(f"{key}={value}"))
    assert image.write(UNLOCK, b"\0\1\0\1") is Refusal.NONE
    assert heard == ["connector.unlock=1", "connector.availability=1"]


def test_any_one_register_signal_can_be_watched(site: Site, image: Image) -> None:
    """Heartbeat has neither enumeration nor flag: without a watcher it is an ordinary register."""
    heard: list[int] = []
    assert image.write(0, b"\0\1") is Refusal.NONE
    site.gateway["bms.heartbeat"].watch(heard.append)
    site.gateway["bms.day"].watch(heard.append)
    assert image.write(0, bytes(range(14))) is Refusal.NONE
    assert image.write(1, b"\0\5") is Refusal.NONE
    assert heard == [0x0001, 0x0809]
    assert image.write(2, b"\4\5\6\7\x08\x0a") is Refusal.NONE
    assert heard == [0x0001, 0x0809, 0x080A]
    assert image.write(4, b"\x08\x09") is Refusal.NONE
    assert registers(image, 0, 7) == [0x0001, 5, 0x0405, 0x0607, 0x0809, 0x0A0B, 0x0C0D]


def test_the_gateway_itself_is_not_heard(site: Site) -> None:
    heard: list[int] = []
    point = site.charger(0)["remote_start.flag"]
    point.watch(heard.append)
    point.set(1)
    point.clear()
    assert heard == []


def test_a_watcher_may_write(site: Site, image: Image) -> None:
    charger = site.charger(0)
    charger["remote_start.flag"].watch(
        lambda _: (charger["remote_start.result"].set(21), charger["remote_start.flag"].set(0))
    )
    assert image.write(START_FLAG, b"\0\1") is Refusal.NONE
    assert registers(image, START_FLAG) == [0]
    assert registers(image, 492) == [21]


# Points


def test_points_ignore_access_rights(site: Site, image: Image) -> None:
    vendor = site.charger(0)["info.vendor"]
    vendor.set("Schneider Electric SE+")
    assert bytes(image.words[2 * 127 : 2 * 137]) == b"Schneider Electric S"
    assert vendor.get() == "Schneider Electric S"
    vendor.clear()
    assert vendor.get() == ""
    assert image.words == bytes(2 * 65536)


def test_the_image_keeps_its_size(site: Site, image: Image) -> None:
    for key, point in site.connector(0, 1).items():
        point.set("x" * 99 if point.place.signal.type == "string" else 1)
        assert len(image.words) == 2 * 65536, key


# Modes


def test_read_only_sites_refuse_every_write_but_to_reserved_words() -> None:
    image = Site(SHAPES, read_only=True, extensions=False).images[0]
    for address in (0, START_FLAG, START_TAG, RESULT, AVAILABILITY):
        assert image.write(address, b"\0\1") is Refusal.ADDRESS
    assert image.write(RESERVED, b"\0\1") is Refusal.NONE
    assert image.words == bytes(2 * 65536)


def test_external_sites_do_not_have_what_needs_the_bms() -> None:
    image = Site(SHAPES, external=True, extensions=False).images[0]
    assert image.view(164, 1) is None
    assert image.view(RESERVED, 1) is None
    assert image.write(PROCESSED, b"\0\1") is Refusal.ADDRESS
    assert image.write(START_FLAG, b"\0\1") is Refusal.NONE
