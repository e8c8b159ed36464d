"""Which transactions run at a charger."""

from __future__ import annotations

import pytest

from ampgate.bridge.transactions import Running, Transaction

pytestmark = pytest.mark.unit


def test_a_connector_has_one_transaction_and_an_id_too() -> None:
    heard: list[tuple[int, bool]] = []
    running = Running(lambda transaction, runs: heard.append((transaction.id, runs)))
    for number, connector in ((1, 1), (2, 2), (3, 1), (2, 3)):
        running.begin(Transaction(number, connector, "TAG", 0, 0.0))
    assert heard == [(1, True), (2, True), (1, False), (3, True), (2, False), (2, True)]
    assert {number: transaction.connector for number, transaction in running.items()} == {3: 1, 2: 3}
    assert running.end(3) is not None
    assert running.end(3) is None
    assert heard[-1] == (3, False)


def test_16_bits_find_the_whole_id() -> None:
    running = Running(lambda *_: None)
    running.begin(Transaction(0x10007, 1, "TAG", 0, 0.0))
    assert running.full_id(7) == 0x10007
    assert running.full_id(8) == 8
