"""Every supported function code over real sockets, as a table.

Requests and responses are written out after Modbus Application Protocol V1.1b3 (§6 for the functions with their state
diagrams, §7 for the exception codes); nothing is computed with the code under test. Addresses are those of the
original map for charger 0 with seven connectors and charger 1 with one, where Power.Factor is inactive:

    0064–0092  info                                  R       0093 is outside the map
    00A4       Authorization Flag                    R
    00A5–00AE  Id Tag Authorization                  R
    00AF–00B0  reserved
    00B1       Authorization processed               W       0, 1
    00B2–00BB  Parent Id Tag                         W
    00BE       Authorization result                  W       0…4
    00BF–00C1  reserved
    0164       Cancel Reservation Flag               RW      0, 1
    0165       Reservation ID                        W
    0166–0168  reserved
    0169       Result                                R
    016E       Clear Cache Flag                      RW      running in these tests
    01B5       Send Local List Operation             W       1…3
    01DC       Remote Start Flag                     RW      0, 1
    01DD       Connector ID                          W
    0264–0583  connectors 0 to 7, 100 registers each         0584 is outside the map
    02CA       connector 1, status                   R
    02D3–02D4  connector 1, L1 Current.Import        R       123.456 = 42 F6 E9 79
    0AD2       charger 1, connector 1, Power.Factor  inactive
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from ampgate.modbus.pdu import Executor, Identity
from ampgate.registers.catalogue import Signal
from ampgate.registers.image import Image
from ampgate.registers.layout import ChargerShape, Place
from ampgate.registers.site import Site
from tests.conformance.modbus_server import LOOPS, Served, Wire, serve

pytestmark = pytest.mark.conformance

WORDS = {
    0x00A4: 1,
    0x00A5: 0x4142,
    0x00BE: 3,
    0x0165: 0x0012,
    0x016E: 1,
    0x02CA: 2,
    0x02D3: 0x42F6,
    0x02D4: 0xE979,
}
"""What the registers hold before each request."""

IDENTITY = Identity("Vendor", "Code", "1.0", "http://a", "Product", "Model", "App")


class Case(NamedTuple):
    """One request and all that it must bring about."""

    name: str
    request: str
    response: str
    stored: Mapping[int, int] = MappingProxyType({})
    """Registers that differ from `WORDS` afterwards; nothing else may."""


def refused(function: int, code: int, *requests: tuple[str, str]) -> list[Case]:
    """Cases with one exception response."""
    return [Case(name, request, f"{function | 0x80:02X} {code:02X}") for name, request in requests]


def reads(function: int, quantity: str, too_many: str) -> list[Case]:
    """What functions 01 to 04 refuse (§6.1 to §6.4), with their largest quantity and one more."""
    fc = f"{function:02X}"
    return [
        *refused(
            function,
            3,
            ("quantity 0", f"{fc} 02CA 0000"),
            ("quantity one too large", f"{fc} 0264 {too_many}"),
            ("quantity 65535", f"{fc} 0264 FFFF"),
            ("quantity is judged before the address", f"{fc} 0093 0000"),
            ("function code alone", fc),
            ("truncated", f"{fc} 02CA 00"),
            ("over-long", f"{fc} 02CA 0001 00"),
        ),
        *refused(
            function,
            2,
            ("outside", f"{fc} 0093 0001"),
            ("crosses the edge", f"{fc} 0092 0002"),
            ("begins before the edge", f"{fc} 0063 0002"),
            ("far outside", f"{fc} FFFF 0001"),
            ("wraps around", f"{fc} FFFF 0002"),
            ("inactive", f"{fc} 0AD2 0002"),
            ("crosses an inactive signal", f"{fc} 0AD0 0004"),
            ("charger that is not configured", f"{fc} 1004 0001"),
            ("largest quantity over the edge", f"{fc} 0583 {quantity}"),
        ),
    ]


READ_COILS = [
    # 00A4 to 00B3: flag and first register of the tag are not 0
    Case("16 coils over reserved words", "01 00A4 0010", "01 02 03 00"),
    Case("3 coils of 8", "01 00A4 0003", "01 01 03"),
    Case("9 coils", "01 02CA 000A", "01 02 01 02"),
    Case("one coil", "01 02CA 0001", "01 01 01"),
    *reads(1, "07D0", "07D1"),
]
READ_DISCRETE_INPUTS = [
    Case("10 inputs", "02 02CA 000B", "02 02 01 06"),
    Case("a reserved word", "02 00AF 0001", "02 01 00"),
    *reads(2, "07D0", "07D1"),
]
READ_HOLDING_REGISTERS = [
    Case("one register", "03 02CA 0001", "03 02 0002"),
    Case("a float", "03 02D3 0002", "03 04 42F6 E979"),
    Case("over reserved words", "03 00AE 0004", "03 08 0000 0000 0000 0000"),
    Case("W signals can be read back", "03 00BE 0001", "03 02 0003"),
    Case("edge of the block", "03 0092 0001", "03 02 0000"),
    *reads(3, "007D", "007E"),
]
READ_INPUT_REGISTERS = [
    Case("the same map", "04 02D3 0002", "04 04 42F6 E979"),
    Case("flag and tag", "04 00A4 0002", "04 04 0001 4142"),
    *reads(4, "007D", "007E"),
]
WRITE_SINGLE_COIL = [
    Case("on", "05 01DC FF00", "05 01DC FF00", {0x01DC: 1}),
    Case("on, over another value", "05 0165 FF00", "05 0165 FF00", {0x0165: 1}),
    Case("off", "05 0165 0000", "05 0165 0000", {0x0165: 0}),
    Case("a reserved word swallows it", "05 00AF FF00", "05 00AF FF00"),
    Case("off is ignored by a running command", "05 016E 0000", "05 016E 0000"),
    *refused(5, 6, ("on, while the command runs", "05 016E FF00")),
    *refused(
        5,
        3,
        ("value 1234", "05 01DC 1234"),
        ("value 0001", "05 01DC 0001"),
        ("value FFFF", "05 01DC FFFF"),
        ("value 00FF", "05 01DC 00FF"),
        ("value is judged before the address", "05 0093 0001"),
        ("value outside an enumeration", "05 01B5 0000"),
        ("truncated", "05 01DC FF"),
        ("over-long", "05 01DC FF00 00"),
        ("function code alone", "05"),
    ),
    *refused(
        5,
        2,
        ("outside", "05 0093 FF00"),
        ("far outside", "05 FFFF FF00"),
        ("inactive", "05 0AD2 FF00"),
        ("read-only", "05 02CA FF00"),
        ("read-only flag", "05 00A4 0000"),
    ),
]
WRITE_SINGLE_REGISTER = [
    Case("value", "06 0165 1234", "06 0165 1234", {0x0165: 0x1234}),
    Case("start", "06 01DC 0001", "06 01DC 0001", {0x01DC: 1}),
    Case("enumeration", "06 00BE 0004", "06 00BE 0004", {0x00BE: 4}),
    Case("heartbeat", "06 0000 FFFF", "06 0000 FFFF", {0x0000: 0xFFFF}),
    Case("a reserved word swallows it", "06 00BF FFFF", "06 00BF FFFF"),
    Case("0 is ignored by a running command", "06 016E 0000", "06 016E 0000"),
    *refused(6, 6, ("1, while the command runs", "06 016E 0001")),
    *refused(
        6,
        3,
        ("value outside an enumeration", "06 00BE 0005"),
        ("flag 2", "06 01DC 0002"),
        ("processed 2", "06 00B1 0002"),
        ("flag 2, while the command runs", "06 016E 0002"),
        ("truncated", "06 0165 12"),
        ("over-long", "06 0165 1234 00"),
        ("function code alone", "06"),
    ),
    *refused(
        6,
        2,
        ("outside", "06 0093 0001"),
        ("far outside", "06 FFFF 0001"),
        ("inactive", "06 0AD2 0001"),
        ("read-only", "06 02CA 0001"),
        ("result", "06 0169 0001"),
    ),
]
WRITE_MULTIPLE_COILS = [
    Case("3 coils, two of them reserved", "0F 0165 0003 01 07", "0F 0165 0003", {0x0165: 1}),
    Case("flag and parameter", "0F 01DC 0002 01 03", "0F 01DC 0002", {0x01DC: 1, 0x01DD: 1}),
    Case("bits after the last are ignored", "0F 0165 0001 01 FE", "0F 0165 0001", {0x0165: 0}),
    Case("9 coils", "0F 00B2 0009 02 01 01", "0F 00B2 0009", {0x00B2: 1, 0x00BA: 1}),
    *refused(15, 6, ("a command runs", "0F 016E 0001 01 01")),
    *refused(
        15,
        3,
        ("quantity 0", "0F 0165 0000 00"),
        ("quantity 0, byte count 1", "0F 0165 0000 01 00"),
        ("quantity one too large", f"0F 0165 07B1 F7 {'00 ' * 247}"),
        ("byte count too small", "0F 00B2 0009 01 01"),
        ("byte count too large", "0F 0165 0001 02 01 00"),
        ("byte count is more than there is", "0F 00B2 0009 02 01"),
        ("byte count is less than there is", "0F 0165 0001 01 01 00"),
        ("without data", "0F 0165 0001 01"),
        ("without byte count", "0F 0165 0001"),
        ("truncated", "0F 0165 00"),
        ("function code alone", "0F"),
        ("value outside an enumeration", "0F 01B5 0001 01 00"),
    ),
    *refused(
        15,
        2,
        ("outside", "0F 0093 0001 01 01"),
        ("crosses into a read-only signal", "0F 0165 0005 01 1F"),
        ("far outside", "0F FFFF 0002 01 03"),
        ("inactive", "0F 0AD2 0001 01 01"),
        ("read-only", "0F 02CA 0001 01 01"),
    ),
]
WRITE_MULTIPLE_REGISTERS = [
    Case("one register", "10 0165 0001 02 1234", "10 0165 0001", {0x0165: 0x1234}),
    Case("over reserved words", "10 0165 0004 08 0001 0002 0003 0004", "10 0165 0004", {0x0165: 1}),
    Case("flag before its parameter", "10 01DC 0002 04 0001 0007", "10 01DC 0002", {0x01DC: 1, 0x01DD: 7}),
    Case(
        "a text",
        "10 00B2 000A 14 4445 4D4F 2D31 0000 0000 0000 0000 0000 0000 0000",
        "10 00B2 000A",
        {0x00B2: 0x4445, 0x00B3: 0x4D4F, 0x00B4: 0x2D31},
    ),
    *refused(16, 6, ("a command runs", "10 016E 0001 02 0001")),
    *refused(
        16,
        3,
        ("quantity 0", "10 0165 0000 00"),
        ("quantity one too large", f"10 0165 007C F6 {'00 ' * 246}"),
        ("quantity 65535", "10 0165 FFFF FE 0001"),
        ("quantity is judged before the address", "10 0093 0000 00"),
        ("byte count odd", "10 0165 0001 01 12"),
        ("byte count too small", "10 01DC 0002 02 0001"),
        ("byte count too large", "10 0165 0001 04 0001 0002"),
        ("byte count is more than there is", "10 01DC 0002 04 0001 00"),
        ("byte count is less than there is", "10 0165 0001 02 0001 00"),
        ("byte count modulo 256", "10 0165 0080 00"),
        ("without data", "10 0165 0001 02"),
        ("without byte count", "10 0165 0001"),
        ("truncated", "10 0165 00"),
        ("function code alone", "10"),
        ("second value outside its enumeration", "10 00BD 0002 04 0001 0005"),
    ),
    *refused(
        16,
        2,
        ("outside", "10 0093 0001 02 0001"),
        ("crosses the edge", "10 0006 0002 04 0001 0002"),
        ("crosses into a read-only signal", "10 0165 0005 0A 0001 0002 0003 0004 0005"),
        ("far outside", "10 FFFF 0002 04 0001 0002"),
        ("inactive", "10 0AD2 0002 04 0001 0002"),
        ("read-only", "10 02CA 0001 02 0001"),
    ),
]
MASK_WRITE_REGISTER = [
    # §6.16: 12 AND F2 OR (25 AND NOT F2) = 17
    Case("the specification's example", "16 0165 00F2 0025", "16 0165 00F2 0025", {0x0165: 0x0017}),
    Case("AND 0: OR alone counts", "16 0165 0000 8001", "16 0165 0000 8001", {0x0165: 0x8001}),
    Case("AND FFFF: nothing changes", "16 0165 FFFF FFFF", "16 0165 FFFF FFFF"),
    Case("a reserved word swallows it", "16 00BF 0000 FFFF", "16 00BF 0000 FFFF"),
    Case("start", "16 01DC FFFE 0001", "16 01DC FFFE 0001", {0x01DC: 1}),
    *refused(22, 6, ("a command runs", "16 016E FFFF 0001")),
    *refused(
        22,
        3,
        ("result outside an enumeration", "16 00BE FFFB 0004"),
        ("truncated", "16 0165 00F2 00"),
        ("without OR mask", "16 0165 00F2"),
        ("over-long", "16 0165 00F2 0025 00"),
        ("function code alone", "16"),
    ),
    *refused(
        22,
        2,
        ("outside", "16 0093 0000 0000"),
        ("far outside", "16 FFFF 0000 0000"),
        ("inactive", "16 0AD2 0000 0000"),
        ("read-only", "16 02CA 0000 0000"),
    ),
]
READ_WRITE_MULTIPLE_REGISTERS = [
    Case("other registers", "17 02D3 0002 0165 0001 02 00FF", "17 04 42F6 E979", {0x0165: 0x00FF}),
    # §6.17: the write operation is performed before the read
    Case("writes before it reads", "17 0165 0001 0165 0001 02 00FF", "17 02 00FF", {0x0165: 0x00FF}),
    Case("reserved words", "17 00BF 0001 00BF 0001 02 FFFF", "17 02 0000"),
    *refused(23, 6, ("a command runs", "17 02D3 0002 016E 0001 02 0001")),
    *refused(
        23,
        3,
        ("read quantity 0", "17 02D3 0000 0165 0001 02 00FF"),
        ("read quantity one too large", "17 0264 007E 0165 0001 02 00FF"),
        ("write quantity 0", "17 02D3 0002 0165 0000 00"),
        ("write quantity one too large", f"17 02D3 0002 0165 007A F2 {'00 ' * 242}"),
        ("byte count too small", "17 02D3 0002 01DC 0002 02 0001"),
        ("byte count too large", "17 02D3 0002 0165 0001 04 0001 0002"),
        ("byte count is more than there is", "17 02D3 0002 01DC 0002 04 0001 00"),
        ("over-long", "17 02D3 0002 0165 0001 02 00FF 00"),
        ("without byte count", "17 02D3 0002 0165 0001"),
        ("truncated", "17 02D3 0002 01"),
        ("function code alone", "17"),
        ("value outside an enumeration", "17 02D3 0002 00BE 0001 02 0005"),
    ),
    *refused(
        23,
        2,
        ("reads outside, writes nothing", "17 0093 0001 0165 0001 02 00FF"),
        ("reads over the edge", "17 0092 0002 0165 0001 02 00FF"),
        ("reads an inactive signal", "17 0AD2 0001 0165 0001 02 00FF"),
        ("writes outside", "17 02D3 0002 0093 0001 02 00FF"),
        ("writes over the edge", "17 02D3 0002 0006 0002 04 00FF 00FF"),
        ("writes a read-only signal", "17 02D3 0002 02CA 0001 02 00FF"),
    ),
]
READ_DEVICE_IDENTIFICATION = [
    Case(
        "basic",
        "2B 0E 01 00",
        "2B 0E 01 82 00 00 03"
        "00 06 56 65 6E 64 6F 72"  # Vendor
        "01 04 43 6F 64 65"  # Code
        "02 03 31 2E 30",  # 1.0
    ),
    Case("basic, from object 2", "2B 0E 01 02", "2B 0E 01 82 00 00 01  02 03 31 2E 30"),
    Case(
        "regular, from object 3",
        "2B 0E 02 03",
        "2B 0E 02 82 00 00 04"
        "03 08 68 74 74 70 3A 2F 2F 61"  # http://a
        "04 07 50 72 6F 64 75 63 74"  # Product
        "05 05 4D 6F 64 65 6C"  # Model
        "06 03 41 70 70",  # App
    ),
    # An object that does not exist: from the beginning (§6.21)
    Case(
        "basic, unknown object",
        "2B 0E 01 55",
        "2B 0E 01 82 00 00 03  00 06 56 65 6E 64 6F 72  01 04 43 6F 64 65  02 03 31 2E 30",
    ),
    Case(
        "basic, object of another category",
        "2B 0E 01 03",
        "2B 0E 01 82 00 00 03  00 06 56 65 6E 64 6F 72  01 04 43 6F 64 65  02 03 31 2E 30",
    ),
    # Beyond the conformity level: answered as the level is (§6.21)
    Case(
        "extended, from object 5",
        "2B 0E 03 05",
        "2B 0E 03 82 00 00 02  05 05 4D 6F 64 65 6C  06 03 41 70 70",
    ),
    Case("one object", "2B 0E 04 01", "2B 0E 04 82 00 00 01  01 04 43 6F 64 65"),
    *refused(
        43,
        1,
        ("CANopen (MEI type 13)", "2B 0D 00 00"),
        ("MEI type 0", "2B 00 01 00"),
    ),
    *refused(
        43,
        2,
        ("one object that does not exist", "2B 0E 04 07"),
        ("one private object", "2B 0E 04 80"),
    ),
    *refused(
        43,
        3,
        ("device id code 0", "2B 0E 00 00"),
        ("device id code 5", "2B 0E 05 00"),
        ("truncated", "2B 0E 01"),
        ("MEI type alone", "2B 0E"),
        ("function code alone", "2B"),
        ("over-long", "2B 0E 01 00 00"),
    ),
]
UNKNOWN = [
    # Serial line only (07, 08, 0B, 0C, 11), files (14, 15), FIFO (18), user defined, reserved, and 0, which is none
    Case(f"function {function:02X}", f"{function:02X} {data}", f"{function | 0x80:02X} 01")
    for function in (0x00, 0x07, 0x08, 0x0B, 0x0C, 0x11, 0x14, 0x15, 0x18, 0x41, 0x64, 0x7F, 0x80, 0x83, 0xFF)
    for data in ("", "02CA 0001")
]

TABLES = {
    "01": READ_COILS,
    "02": READ_DISCRETE_INPUTS,
    "03": READ_HOLDING_REGISTERS,
    "04": READ_INPUT_REGISTERS,
    "05": WRITE_SINGLE_COIL,
    "06": WRITE_SINGLE_REGISTER,
    "15": WRITE_MULTIPLE_COILS,
    "16": WRITE_MULTIPLE_REGISTERS,
    "22": MASK_WRITE_REGISTER,
    "23": READ_WRITE_MULTIPLE_REGISTERS,
    "43": READ_DEVICE_IDENTIFICATION,
    "unknown": UNKNOWN,
}
CASES = [pytest.param(case, id=f"{table} {case.name}") for table, cases in TABLES.items() for case in cases]


# The server


class Bench(NamedTuple):
    """A running server, one connection to it, and what lies behind it."""

    wire: Wire
    served: Served
    site: Site
    wide: Image


def wide_image() -> Image:
    """2100 plain registers in a row, for quantities that no block of the real map holds."""
    register = Signal("gateway", 0, 1, "wide", "register", "", "uint16", "W", {}, "both", "original")
    image = Image()
    image.define(Place(register, 0, address, None, None, True) for address in range(2100))
    return image


@pytest.fixture(scope="module", params=LOOPS)
def running(request: pytest.FixtureRequest) -> Iterator[Bench]:
    site = Site([ChargerShape(7), ChargerShape(1, frozenset({"Power.Factor"}))], extensions=False)
    wide = wide_image()
    first = Executor(site.images[0], IDENTITY)
    texts = Identity(*("VCRUPMA"[number] * 64 for number in range(7)))
    units = {1: first, 0: first, 255: first, 2: Executor(wide, texts)}
    with serve(units, loop=request.param) as served, served.connect() as wire:
        yield Bench(wire, served, site, wide)


def memory(words: Mapping[int, int]) -> bytearray:
    image = bytearray(2 * 65536)
    for address, value in words.items():
        image[2 * address : 2 * address + 2] = value.to_bytes(2)
    return image


@pytest.fixture
def bench(running: Bench) -> Bench:
    running.site.images[0].words[:] = memory(WORDS)
    running.wide.words[:] = memory({})
    return running


# The tests


@pytest.mark.parametrize("case", CASES)
def test_function(bench: Bench, case: Case) -> None:
    assert bench.wire.ask(bytes.fromhex(case.request)) == bytes.fromhex(case.response)
    assert bench.site.images[0].words == memory({**WORDS, **case.stored})


@pytest.mark.parametrize("case", CASES)
def test_the_same_once_more(bench: Bench, case: Case) -> None:
    """A request that was answered before is answered alike: by unit 255, and after the registers changed."""
    for unit in (0, 255):
        bench.site.images[0].words[:] = memory(WORDS)
        assert bench.wire.ask(bytes.fromhex(case.request), unit=unit) == bytes.fromhex(case.response)
    assert bench.site.images[0].words == memory({**WORDS, **case.stored})


def test_a_repeated_read_shows_what_changed(bench: Bench) -> None:
    status = bytes.fromhex("03 02CA 0001")
    assert bench.wire.ask(status) == bytes.fromhex("03 02 0002")
    bench.site.connector(0, 1)["connector.status"].set(5)
    assert bench.wire.ask(status) == bytes.fromhex("03 02 0005")
    assert bench.wire.ask(bytes.fromhex("06 0165 ABCD")) == bytes.fromhex("06 0165 ABCD")
    assert bench.wire.ask(bytes.fromhex("03 0165 0001")) == bytes.fromhex("03 02 ABCD")
    assert bench.wire.ask(bytes.fromhex("04 0165 0001")) == bytes.fromhex("04 02 ABCD")


# The largest quantities


@pytest.mark.parametrize("function", [3, 4])
def test_125_registers(bench: Bench, function: int) -> None:
    """Connectors 0 and 1, from 0264: status is the 103rd, L1 Current.Import the 112th and 113th."""
    data = bytearray(250)
    data[204:206] = b"\x00\x02"
    data[222:226] = b"\x42\xf6\xe9\x79"
    assert bench.wire.ask(bytes((function, 0x02, 0x64, 0x00, 0x7D))) == bytes((function, 250)) + data


@pytest.mark.parametrize("function", [1, 2])
def test_2000_coils(bench: Bench, function: int) -> None:
    bench.wide.words[1] = 1  # coil 0
    bench.wide.words[2 * 1999] = 0x80  # coil 1999
    bits = b"\x01" + bytes(248) + b"\x80"
    assert bench.wire.ask(bytes((function, 0, 0, 0x07, 0xD0)), unit=2) == bytes((function, 250)) + bits


@pytest.mark.parametrize("function", [1, 2])
def test_800_coils_of_the_real_map(bench: Bench, function: int) -> None:
    """The whole of connectors 0 to 7; status of connector 1 is bit 102, L1 Current.Import bits 111 and 112."""
    bits = bytearray(100)
    bits[12], bits[13], bits[14] = 0x40, 0x80, 0x01
    assert bench.wire.ask(bytes((function, 0x02, 0x64, 0x03, 0x20))) == bytes((function, 100)) + bits
    assert bench.wire.ask(bytes((function, 0x02, 0x64, 0x03, 0x21))) == bytes((function | 0x80, 2))


def test_1968_coils_written(bench: Bench) -> None:
    request = bytes.fromhex("0F 0000 07B0 F6") + b"\x01" + bytes(244) + b"\x80"
    assert bench.wire.ask(request, unit=2) == bytes.fromhex("0F 0000 07B0")
    assert bench.wide.words == memory({0: 1, 1967: 1})


def test_123_registers_written(bench: Bench) -> None:
    data = bytes(range(246))
    assert bench.wire.ask(bytes.fromhex("10 0001 007B F6") + data, unit=2) == bytes.fromhex("10 0001 007B")
    assert bench.wide.words == bytes(2) + data + bytes(2 * 65536 - 248)


def test_125_registers_read_and_121_written(bench: Bench) -> None:
    data = bytes(range(242))
    request = bytes.fromhex("17 0000 007D 0002 0079 F2") + data
    assert bench.wire.ask(request, unit=2) == bytes.fromhex("17 FA") + bytes(4) + data + bytes(4)


def test_identification_in_several_responses(bench: Bench) -> None:
    """Seven objects of 64 bytes: three fit a response, "more follows" says where to go on (§6.21)."""

    def objects(first: int, names: str) -> bytes:
        return b"".join(bytes((first + at, 64)) + name.encode() * 64 for at, name in enumerate(names))

    ask = bench.wire.ask
    assert ask(b"\x2b\x0e\x02\x00", unit=2) == b"\x2b\x0e\x02\x82\xff\x03\x03" + objects(0, "VCR")
    assert ask(b"\x2b\x0e\x02\x03", unit=2) == b"\x2b\x0e\x02\x82\xff\x06\x03" + objects(3, "UPM")
    assert ask(b"\x2b\x0e\x02\x06", unit=2) == b"\x2b\x0e\x02\x82\x00\x00\x01" + objects(6, "A")
    assert ask(b"\x2b\x0e\x04\x06", unit=2) == b"\x2b\x0e\x04\x82\x00\x00\x01" + objects(6, "A")


def test_an_operation_that_fails_inside_is_exception_04(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.site.charger(1)["remote_start.flag"].watch(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    assert bench.wire.ask(bytes.fromhex("06 09AC 0001")) == b"\x86\x04"  # 2000 + 476
    assert bench.wire.ask(bytes.fromhex("03 02CA 0001")) == b"\x03\x02\x00\x02"
    assert "ZeroDivisionError" in caplog.text
