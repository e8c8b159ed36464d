"""Independent clients of our Modbus TCP server: pymodbus, libmodbus and mbpoll read and write what we stored.

Addresses are those of the original map. Connector 1: 714 status, 723 L1 Current.Import, 798 id tag and 810 timestamp of
the transaction. Charger 0: 357 reservation id of Cancel Reservation, 397 connector id, 398 expiry and 400 id tag of
Reserve Now, 476 Remote Start Flag; 147 is no register.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
import subprocess
from collections.abc import Callable, Iterator
from subprocess import PIPE, STDOUT

import pytest
from pymodbus.client import ModbusTcpClient

from ampgate.modbus.pdu import Executor, Identity
from ampgate.registers.codec import ByteOrder
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from tests.conformance.modbus_server import Served, serve
from tests.tools import needs, unavailable

pytestmark = pytest.mark.conformance

CURRENT, EPOCH, TAG = 123.456, 1769860800, "DEMO-\u00e9 1"


@pytest.fixture(params=ByteOrder)
def order(request: pytest.FixtureRequest) -> ByteOrder:
    order: ByteOrder = request.param
    return order


@pytest.fixture
def site(order: ByteOrder) -> Site:
    site = Site([ChargerShape(2)], order=order, extensions=False)
    connector = site.connector(0, 1)
    connector["connector.status"].set(2)
    connector["connector.current_import_l1"].set(CURRENT)
    connector["transaction.timestamp"].set(EPOCH)
    connector["transaction.id_tag"].set(TAG)
    return site


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    with serve({1: Executor(site.images[0], Identity("Vendor", "Code", "1.0", "http://a"))}) as served:
        yield served


# pymodbus


@pytest.fixture
def pymodbus(served: Served) -> Iterator[ModbusTcpClient]:
    client = ModbusTcpClient("127.0.0.1", port=served.port, timeout=5, retries=0)
    assert client.connect()
    yield client
    client.close()


def undo(order: ByteOrder, registers: list[int]) -> list[int]:
    """By hand, what pymodbus has no option for: exchange the bytes of each register of the two little-endian orders."""
    if order in (ByteOrder.LITTLE, ByteOrder.WORD_INVERTED_LITTLE):
        return [(word & 0xFF) << 8 | word >> 8 for word in registers]
    return registers


WORD_ORDER = {
    ByteOrder.BIG: "big",
    ByteOrder.LITTLE: "little",
    ByteOrder.WORD_INVERTED_BIG: "little",
    ByteOrder.WORD_INVERTED_LITTLE: "big",
}


def test_pymodbus_reads_every_type(pymodbus: ModbusTcpClient, order: ByteOrder) -> None:
    types = pymodbus.DATATYPE
    for read in (pymodbus.read_holding_registers, pymodbus.read_input_registers):
        assert read(714, count=1).registers == [2]
        words = undo(order, read(723, count=2).registers)
        current = pymodbus.convert_from_registers(words, types.FLOAT32, word_order=WORD_ORDER[order])
        assert current == pytest.approx(CURRENT, rel=1e-6)
        words = undo(order, read(810, count=2).registers)
        assert pymodbus.convert_from_registers(words, types.UINT32, word_order=WORD_ORDER[order]) == EPOCH
        words = undo(order, read(798, count=10).registers)
        text = pymodbus.convert_from_registers(words, types.STRING, string_encoding="iso-8859-1")
        assert text == TAG


def test_pymodbus_writes_every_type(pymodbus: ModbusTcpClient, order: ByteOrder, site: Site) -> None:
    types, charger = pymodbus.DATATYPE, site.charger(0)
    words = pymodbus.convert_to_registers(EPOCH, types.UINT32, word_order=WORD_ORDER[order])
    assert not pymodbus.write_registers(398, undo(order, words)).isError()
    assert charger["reserve_now.expiry"].get() == EPOCH
    words = pymodbus.convert_to_registers(TAG.ljust(20, "\0"), types.STRING, string_encoding="iso-8859-1")
    assert not pymodbus.write_registers(400, undo(order, words)).isError()
    assert charger["reserve_now.id_tag"].get() == TAG
    assert not pymodbus.write_register(397, 2).isError()
    assert charger["reserve_now.connector_id"].get() == 2


def test_pymodbus_coils_mask_and_read_write(pymodbus: ModbusTcpClient, site: Site) -> None:
    assert pymodbus.read_coils(713, count=3).bits[:3] == [False, True, False]
    assert pymodbus.read_discrete_inputs(714, count=1).bits[0] is True
    assert not pymodbus.write_coil(476, True).isError()
    assert site.charger(0)["remote_start.flag"].get() == 1
    assert not pymodbus.write_coils(397, [True, False, False]).isError()
    assert site.charger(0)["reserve_now.connector_id"].get() == 1
    site.charger(0)["cancel_reservation.reservation_id"].set(0x12)
    assert not pymodbus.mask_write_register(address=357, and_mask=0xF2, or_mask=0x25).isError()
    assert site.charger(0)["cancel_reservation.reservation_id"].get() == 0x17
    answer = pymodbus.readwrite_registers(read_address=357, read_count=1, write_address=357, values=[0xABCD])
    assert answer.registers == [0xABCD]


def test_pymodbus_sees_exceptions_and_identification(pymodbus: ModbusTcpClient) -> None:
    assert pymodbus.read_holding_registers(147).exception_code == 2
    assert pymodbus.write_register(714, 1).exception_code == 2
    assert pymodbus.write_register(476, 2).exception_code == 3
    assert not pymodbus.write_register(476, 1).isError()
    assert pymodbus.write_register(476, 1).exception_code == 6
    assert pymodbus.read_holding_registers(714, device_id=9).exception_code == 11
    assert pymodbus.read_exception_status().exception_code == 1
    basic = pymodbus.read_device_information(read_code=1, object_id=0)
    assert basic.information == {0: b"Vendor", 1: b"Code", 2: b"1.0"}
    assert pymodbus.read_device_information(read_code=4, object_id=3).information == {3: b"http://a"}


# libmodbus


class LibModbus:
    """The C library, one connection."""

    EXCEPTION = 112345678
    """MODBUS_ENOBASE of modbus.h: errno of exception 0."""

    def __init__(self, library: ctypes.CDLL, port: int) -> None:
        library.modbus_new_tcp.restype = ctypes.c_void_p
        self._library = library
        self._context = ctypes.c_void_p(library.modbus_new_tcp(b"127.0.0.1", port))
        assert self("set_slave", 1) == 0
        assert self("connect") == 0

    def __call__(self, function: str, *arguments: object) -> int:
        """Call ``modbus_<function>``; an exception response is returned as its negative code."""
        result: int = getattr(self._library, f"modbus_{function}")(self._context, *arguments)
        return result if result >= 0 else self.EXCEPTION - ctypes.get_errno()

    def read(self, function: str, address: int, quantity: int) -> list[int]:
        """Call a reading function."""
        kind = ctypes.c_uint8 if function.endswith("bits") else ctypes.c_uint16
        data = (kind * quantity)()
        assert self(function, address, quantity, data) == quantity
        return list(data)

    def close(self) -> None:
        """End the connection."""
        self._library.modbus_close(self._context)
        self._library.modbus_free(self._context)


@pytest.fixture
def library() -> ctypes.CDLL:
    name = ctypes.util.find_library("modbus")
    if name is None:
        unavailable("libmodbus is not installed")
    return ctypes.CDLL(name, use_errno=True)


@pytest.fixture
def libmodbus(library: ctypes.CDLL, served: Served) -> Iterator[LibModbus]:
    client = LibModbus(library, served.port)
    yield client
    client.close()


def words(*values: int) -> ctypes.Array[ctypes.c_uint16]:
    return (ctypes.c_uint16 * len(values))(*values)


FLOAT = {
    ByteOrder.BIG: "abcd",
    ByteOrder.LITTLE: "dcba",
    ByteOrder.WORD_INVERTED_BIG: "cdab",
    ByteOrder.WORD_INVERTED_LITTLE: "badc",
}


@pytest.mark.peers
def test_libmodbus_reads_floats_in_every_byte_order(
    libmodbus: LibModbus, library: ctypes.CDLL, order: ByteOrder
) -> None:
    get_float: Callable[..., float] = getattr(library, f"modbus_get_float_{FLOAT[order]}")
    get_float.restype = ctypes.c_float  # type: ignore[attr-defined]
    for function in ("read_registers", "read_input_registers"):
        assert libmodbus.read(function, 714, 1) == [2]
        registers = libmodbus.read(function, 723, 2)
        assert get_float(words(*registers)) == pytest.approx(CURRENT, rel=1e-6)
        assert len(libmodbus.read(function, 612, 125)) == 125


@pytest.mark.peers
def test_libmodbus_bits(libmodbus: LibModbus, site: Site) -> None:
    for function in ("read_bits", "read_input_bits"):
        assert libmodbus.read(function, 713, 3) == [0, 1, 0]
        assert sum(libmodbus.read(function, 612, 300)) > 1
    assert libmodbus("write_bit", 476, 1) == 1
    assert site.charger(0)["remote_start.flag"].get() == 1
    assert libmodbus("write_bits", 397, 3, (ctypes.c_uint8 * 3)(1, 0, 0)) == 3
    assert site.charger(0)["reserve_now.connector_id"].get() == 1


@pytest.mark.peers
def test_libmodbus_registers(libmodbus: LibModbus, site: Site, order: ByteOrder) -> None:
    charger = site.charger(0)
    assert libmodbus("write_register", 397, 2) == 1
    assert charger["reserve_now.connector_id"].get() == 2
    assert libmodbus("write_registers", 400, 2, words(0x4142, 0x4344)) == 2
    swapped = order in (ByteOrder.LITTLE, ByteOrder.WORD_INVERTED_LITTLE)
    assert charger["reserve_now.id_tag"].get() == ("BADC" if swapped else "ABCD")
    charger["cancel_reservation.reservation_id"].set(0x12)
    assert libmodbus("mask_write_register", 357, 0xF2, 0x25) >= 0
    assert charger["cancel_reservation.reservation_id"].get() == 0x17
    answer = words(0, 0)
    assert libmodbus("write_and_read_registers", 357, 1, words(0xABCD), 356, 2, answer) == 2
    assert list(answer) == [0, 0xABCD]


@pytest.mark.peers
def test_libmodbus_sees_exceptions(libmodbus: LibModbus) -> None:
    data = words(*[0] * 125)
    assert libmodbus("read_registers", 147, 1, data) == -2
    assert libmodbus("write_register", 714, 1) == -2
    assert libmodbus("write_register", 476, 2) == -3
    assert libmodbus("write_register", 476, 1) == 1
    assert libmodbus("write_register", 476, 1) == -6
    assert libmodbus("report_slave_id", 125, data) == -1
    assert libmodbus("set_slave", 9) == 0
    assert libmodbus("read_registers", 714, 1, data) == -11


# mbpoll


@pytest.fixture
def mbpoll(served: Served) -> Callable[..., str]:
    (program,) = needs("mbpoll")

    def run(*arguments: str | int) -> str:
        """Poll once with 0-based addresses; returns what it prints."""
        command = [program, "-0", "-1", "-m", "tcp", "-p", str(served.port), "127.0.0.1", *map(str, arguments)]
        done = subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, check=False, timeout=20)
        return done.stdout

    return run


def values(output: str) -> dict[int, str]:
    """``[714]: 2`` lines as a dictionary."""
    lines = [line.split(":", 1) for line in output.splitlines() if line.startswith("[")]
    return {int(place.strip("[]")): value.split()[0] for place, value in lines}


@pytest.mark.peers
@pytest.mark.parametrize("order", [ByteOrder.BIG, ByteOrder.WORD_INVERTED_BIG], indirect=True)
def test_mbpoll(mbpoll: Callable[..., str], order: ByteOrder, site: Site) -> None:
    assert values(mbpoll("-r", 714)) == {714: "2"}
    assert values(mbpoll("-t", "3:hex", "-r", 714)) == {714: "0x0002"}
    high, low = struct.unpack(">HH", struct.pack(">f", CURRENT))
    first, second = (high, low) if order is ByteOrder.BIG else (low, high)
    assert values(mbpoll("-t", "4:hex", "-r", 723, "-c", 2)) == {723: f"0x{first:04X}", 724: f"0x{second:04X}"}
    big = ["-B"] if order is ByteOrder.BIG else []
    assert values(mbpoll("-t", "4:float", *big, "-r", 723)) == {723: "123.456"}
    assert values(mbpoll("-t", "3:int", *big, "-r", 810)) == {810: str(EPOCH)}
    assert values(mbpoll("-t", 0, "-r", 713, "-c", 3)) == {713: "0", 714: "1", 715: "0"}
    assert values(mbpoll("-t", 1, "-r", 714)) == {714: "1"}
    mbpoll("-r", 397, "2")
    assert site.charger(0)["reserve_now.connector_id"].get() == 2
    mbpoll("-t", "4:int", *big, "-r", 398, str(EPOCH))
    assert site.charger(0)["reserve_now.expiry"].get() == EPOCH
    mbpoll("-t", 0, "-r", 476, "1")
    assert site.charger(0)["remote_start.flag"].get() == 1
    assert "Illegal data address" in mbpoll("-r", 147)
