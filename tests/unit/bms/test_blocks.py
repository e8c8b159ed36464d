"""Which registers are read and written, against the configuration guide's appendix 2."""

from __future__ import annotations

import pytest

from ampgate.bms import blocks
from ampgate.bms.blocks import Block
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder


@pytest.mark.parametrize(
    ("group", "charger", "address", "registers", "unit"),
    [
        ("authorize", 0, 164, 14, 0),
        ("start_transaction", 0, 194, 21, 0),
        ("stop_transaction", 0, 234, 22, 0),
        ("authorize", 3, 6164, 14, 0),
        ("authorize", 32, 164, 14, 1),
    ],
)
def test_requests(group: str, charger: int, address: int, registers: int, unit: int) -> None:
    block = blocks.request(group, charger)
    assert (block.address, block.registers, block.unit) == (address, registers, unit)


def test_monitor() -> None:
    block = blocks.monitor(3, 2)
    assert (block.address, block.registers) == (6814, 2)


def test_only_the_original_map_is_polled() -> None:
    keys = [*blocks.request("authorize", 0)._fields, *blocks.monitor(0, 1)._fields]
    assert {SIGNALS[key].area for key, _, _ in keys} == {"original"}


@pytest.mark.parametrize("order", list(ByteOrder))
def test_there_and_back(order: ByteOrder) -> None:
    block = Block(["start_transaction.connector_id", "start_transaction.id_tag", "start_transaction.meter"], 0)
    values = {"start_transaction.connector_id": 2, "start_transaction.id_tag": "TAG", "start_transaction.meter": 1.5}
    registers = block.encode(values, order)
    assert len(registers) == block.registers == 13
    assert registers[0] == 2
    assert block.decode(registers, order) == values
    assert block.encode({}, order) == [0] * 13
