"""Transaction ids, and the registers of a request; `Sessions` gives those their life, see test_sessions.

Registers are those of Authorize of charger 0 (configuration guide r1.2, appendix 2): flag 164, id tag 165–174,
processed 177, parent id tag 178–187, expiry 188–189, result 190.
"""

from __future__ import annotations

import asyncio
import struct

import pytest

from ampgate.bridge.requests import RequestBlock, TransactionIds
from ampgate.registers.image import Image, Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from tests.integration.peers import until


def give(ids: TransactionIds, wanted: int = 0) -> int:
    """Take an id and use it."""
    taken = ids.take(wanted)
    ids.keep(taken)
    return taken


def test_ids_count_up_from_the_last() -> None:
    ids = TransactionIds(41)
    assert [give(ids), give(ids), ids.last] == [42, 43, 43]


def test_the_first_id_is_1() -> None:
    assert TransactionIds().take() == 1


def test_ids_have_16_bits_and_are_positive() -> None:
    ids = TransactionIds(65534)
    assert [give(ids), give(ids), give(ids)] == [65535, 1, 2]


def test_ids_in_use_are_passed_over() -> None:
    ids = TransactionIds(5)
    for used in (6, 7, 9, -1, 100000):
        ids.keep(used)
    assert [give(ids), give(ids)] == [8, 10]


def test_an_id_is_free_when_all_who_kept_it_have_released_it() -> None:
    ids = TransactionIds()
    ids.keep(1)
    ids.keep(1)
    ids.release(1)
    assert TransactionIds.take(ids) == 2
    ids.last = 0
    ids.release(1)
    assert ids.take() == 1


def test_the_choice_of_the_bms_is_taken_and_counted_on_from() -> None:
    ids = TransactionIds(10)
    assert [give(ids, 500), give(ids), ids.last] == [500, 501, 501]


@pytest.mark.parametrize("behind", [1, 9, 10, 60000])
def test_a_choice_that_lies_behind_turns_nothing_back(behind: int) -> None:
    ids = TransactionIds(10)
    assert [ids.take(behind), ids.last] == [behind, 10]
    assert ids.take() == 11


def test_a_choice_across_the_end_of_the_circle_lies_ahead() -> None:
    ids = TransactionIds(65000)
    assert [ids.take(3), ids.last, ids.take()] == [3, 3, 4]


def test_no_id_is_free() -> None:
    ids = TransactionIds()
    for used in range(1, 65536):
        ids.keep(used)
    with pytest.raises(RuntimeError, match="all transaction ids are in use"):
        ids.take()


# Requests


@pytest.fixture
def site() -> Site:
    return Site([ChargerShape(1)])


@pytest.fixture
def image(site: Site) -> Image:
    return site.images[0]


@pytest.fixture
def block(site: Site) -> RequestBlock:
    return RequestBlock(site.charger(0), "authorize")


def read(image: Image, address: int, count: int = 1) -> list[int]:
    return list(struct.unpack(f">{count}H", image.words[2 * address : 2 * (address + count)]))


def write(image: Image, address: int, *values: int) -> None:
    assert image.write(address, struct.pack(f">{len(values)}H", *values)) is Refusal.NONE


async def test_a_request_and_its_answer(block: RequestBlock, image: Image) -> None:
    write(image, 178, 0x4142)
    write(image, 188, 1, 2, 4)  # left over from whatever the BMS thought of
    async with block:
        assert not block.pending
        block.present(id_tag="TAG")
        assert block.pending
        assert read(image, 164, 3) == [1, 0x5441, 0x4700]
        assert read(image, 175, 16) == [0] * 16
        write(image, 178, 0x5000)
        write(image, 188, 0x697D, 0xEEC0, 2)
        write(image, 177, 1)
        assert await block.answered(1)
        info = block.id_tag_info()
        assert (info.status, info.parent_id_tag, info.expiry_date) == ("Expired", "P", "2026-01-31T12:00:00Z")
        assert read(image, 164) == [1]
    assert not block.pending
    assert read(image, 164) == [0]
    assert read(image, 177) == [0]


async def test_what_the_bms_leaves_out(block: RequestBlock, image: Image) -> None:
    async with block:
        block.present(id_tag="TAG")
        write(image, 177, 1)
        await block.answered()
        info = block.id_tag_info()
    assert (info.status, info.parent_id_tag, info.expiry_date) == ("Accepted", None, None)


async def test_processed_concludes_once_and_in_its_own_request(block: RequestBlock, image: Image) -> None:
    concluded = []
    async with block:
        block.present(lambda: concluded.append(read(image, 190)), id_tag="TAG")
        write(image, 177, 0)
        assert concluded == []
        write(image, 177, 1, *[0] * 12, 3)  # 177…190: what is written with it is there already
        assert concluded == [[3]]
        write(image, 177, 1)
        assert concluded == [[3]]
        assert await block.answered(0)


async def test_an_answer_that_comes_too_late(block: RequestBlock, image: Image) -> None:
    concluded = []
    async with block:
        block.present(lambda: concluded.append(True), id_tag="TAG")
        assert not await block.answered(0)
        assert not block.pending
        write(image, 177, 1)
        assert read(image, 177) == [0]
        assert concluded == []


async def test_processed_with_nothing_asked(block: RequestBlock, image: Image) -> None:
    write(image, 177, 1)
    assert read(image, 177) == [0]


async def test_requests_take_turns(block: RequestBlock, image: Image) -> None:
    order = []

    async def ask(id_tag: str) -> None:
        async with block:
            block.present(id_tag=id_tag)
            await block.answered()
            order.append(id_tag)

    asking = [asyncio.create_task(ask(id_tag)) for id_tag in ("A", "B", "C")]
    for id_tag in ("A", "B", "C"):
        await until(lambda id_tag=id_tag: read(image, 165) == [ord(id_tag) << 8], f"request {id_tag}")
        assert read(image, 177) == [0]
        write(image, 177, 1)
    await asyncio.gather(*asking)
    assert order == ["A", "B", "C"]
    assert read(image, 164) == [0]


async def test_a_request_that_is_given_up_makes_room(block: RequestBlock, image: Image) -> None:
    async def ask() -> None:
        async with block:
            block.present(id_tag="A")
            await block.answered()

    asking = asyncio.create_task(ask())
    await until(lambda: read(image, 164) == [1], "the flag")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert read(image, 164) == [0]
    async with asyncio.timeout(5), block:
        assert not block.pending
