from __future__ import annotations

import struct

import pytest

from ampgate.modbus.mbap import Connection, FramingError, Statistics
from ampgate.modbus.pdu import Executor, Identity
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.unit

READ = bytes.fromhex("0001 0000 0006 01 03 02CA 0001")
ANSWER = bytes.fromhex("0001 0000 0005 01 03 02 0002")
UNKNOWN = bytes.fromhex("0002 0000 0002 01 41")
REFUSAL = bytes.fromhex("0002 0000 0003 01 C1 01")


@pytest.fixture
def site() -> Site:
    site = Site([ChargerShape(7)], extensions=False)
    site.connector(0, 1)["connector.status"].set(2)
    return site


@pytest.fixture
def statistics() -> Statistics:
    return Statistics()


@pytest.fixture
def connection(site: Site, statistics: Statistics) -> Connection:
    other = Site([ChargerShape(1)], extensions=False)
    other.connector(0, 1)["connector.status"].set(8)
    first, second = (Executor(each.images[0], Identity("Vendor", "Code", "1.0")) for each in (site, other))
    return Connection({1: first, 0: first, 255: first, 2: second}, statistics)


def test_one_request(connection: Connection) -> None:
    assert connection.receive(READ) == ANSWER


@pytest.mark.parametrize("cut", range(len(READ + UNKNOWN + READ)))
def test_any_cut(connection: Connection, cut: int) -> None:
    stream = READ + UNKNOWN + READ
    assert connection.receive(stream[:cut]) + connection.receive(stream[cut:]) == ANSWER + REFUSAL + ANSWER


def test_byte_by_byte(connection: Connection) -> None:
    stream = READ + UNKNOWN
    answers = [connection.receive(stream[at : at + 1]) for at in range(len(stream))]
    assert answers == [b""] * 11 + [ANSWER] + [b""] * 7 + [REFUSAL]


def test_units(connection: Connection) -> None:
    """The same registers in another unit are others; 0 and 255 are the first unit."""
    for _ in range(2):  # the second time they are remembered
        assert connection.receive(READ) == ANSWER
        assert connection.receive(READ[:6] + b"\x02" + READ[7:]) == bytes.fromhex("0001 0000 0005 02 03 02 0008")
        assert connection.receive(READ[:6] + b"\xff" + READ[7:]) == bytes.fromhex("0001 0000 0005 FF 03 02 0002")
        assert connection.receive(READ[:6] + b"\x09" + READ[7:]) == bytes.fromhex("0001 0000 0003 09 83 0B")


def test_a_remembered_read_is_live(connection: Connection, site: Site) -> None:
    status = site.connector(0, 1)["connector.status"]
    for value in (2, 3, 300):
        status.set(value)
        assert connection.receive(b"\xab\xcd" + READ[2:]) == b"\xab\xcd" + ANSWER[2:9] + value.to_bytes(2)


def test_more_reads_than_are_remembered(connection: Connection) -> None:
    def read(quantity: int, address: int) -> bytes:
        return struct.pack(">HHHBBHH", address, 0, 6, 1, 3, address, quantity)

    wanted = [(quantity, address) for quantity in range(1, 4) for address in range(612, 612 + 790)]
    for _ in range(2):
        for quantity, address in wanted:
            answer = connection.receive(read(quantity, address))
            assert answer[:9] == struct.pack(">HHHBBB", address, 0, 3 + 2 * quantity, 1, 3, 2 * quantity)
            assert len(answer) == 9 + 2 * quantity
    assert len(connection._polls) == 512


def test_invalid_reads_are_not_remembered(connection: Connection, statistics: Statistics) -> None:
    for count in (1, 2):
        assert connection.receive(bytes.fromhex("0001 0000 0006 01 03 0093 0001")).hex() == "000100000003018302"
        assert statistics.exceptions == count
    assert not connection._polls


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("0001 0001 0006", "protocol id 1 instead of 0"),
        ("0001 FFFF FFFF", "protocol id 65535 instead of 0"),
        ("0001 0000 0001", "length 1 instead of 2…254"),
        ("0001 0000 00FF", "length 255 instead of 2…254"),
    ],
)
def test_framing_error(connection: Connection, statistics: Statistics, header: str, reason: str) -> None:
    connection.receive(READ[:4])
    with pytest.raises(FramingError) as caught:
        connection.receive(READ[4:] + UNKNOWN + bytes.fromhex(header))
    assert str(caught.value) == reason
    assert caught.value.answers == ANSWER + REFUSAL
    assert (statistics.requests, statistics.exceptions, statistics.framing_errors) == (2, 1, 1)


def test_statistics(connection: Connection, statistics: Statistics) -> None:
    connection.receive(READ * 5 + UNKNOWN + READ[:5])
    assert (statistics.requests, statistics.exceptions, statistics.framing_errors) == (6, 1, 0)
    assert statistics.refused == 0
