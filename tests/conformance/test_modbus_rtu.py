"""Modbus RTU over pseudo-terminals: every function, the rules of a shared line, and independent masters.

The function table is that of Modbus TCP. CRCs of literal frames come from pymodbus, as do those that are computed.
Reads in these tests: PDU ``03 02CA 0001`` is status of connector 1 of charger 0, which holds 2. Addresses of what
masters read and write are those of `test_modbus_peers`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from subprocess import PIPE, STDOUT
from typing import Any, NamedTuple

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.framer.rtu import FramerRTU

from ampgate.modbus import serial
from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.rtu import Execute
from ampgate.modbus.serial import Line
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from tests.conformance.modbus_server import LOOPS
from tests.conformance.serial_line import SILENCE, Cable, Pty, SerialServed, cable, pty, serve_line
from tests.conformance.test_modbus_functions import CASES, IDENTITY, WORDS, Case, memory, wide_image
from tests.tools import needs, unavailable

pytestmark = pytest.mark.conformance

READ = bytes.fromhex("01 03 02 CA 00 01 A5 8C")
READ_ANSWER = bytes.fromhex("01 03 02 00 02 39 85")
FAST = 115200
Units = Mapping[int, Execute]


def with_crc(frame: bytes | str) -> bytes:
    data = bytes.fromhex(frame) if isinstance(frame, str) else frame
    return data + FramerRTU.compute_CRC(data).to_bytes(2)


class Bench(NamedTuple):
    """A server on a line, the master's end of it, and what lies behind."""

    line: Pty
    served: SerialServed
    site: Site

    def ask(self, pdu: bytes | str, unit: int = 1) -> bytes | None:
        """The response PDU; None when nothing comes."""
        data = bytes.fromhex(pdu) if isinstance(pdu, str) else pdu
        self.line.send(with_crc(bytes((unit,)) + data))
        answer = self.line.receive(2)
        if not answer:
            return None
        length = {3: 1, 4: 1, 1: 1, 2: 1, 23: 1, 17: 1}.get(answer[1])
        if answer[1] & 0x80:
            rest = self.line.receive(3)
        elif length:
            count = self.line.receive(1)
            rest = count + self.line.receive(count[0] + 2)
        else:
            rest = self.line.answer()
        frame = answer + rest
        assert frame == with_crc(frame[:-2])
        assert frame[0] == unit
        return frame[1:-2]

    def still_answers(self) -> None:
        """A request is answered, and nothing but its answer comes."""
        self.line.send(READ)
        assert self.line.receive(len(READ_ANSWER)) == READ_ANSWER
        assert self.line.answer() == b""


@pytest.fixture(scope="module", params=LOOPS)
def running(request: pytest.FixtureRequest) -> Iterator[Bench]:
    site = Site([ChargerShape(7), ChargerShape(1, frozenset({"Power.Factor"}))], extensions=False)
    units = {1: Executor(site.images[0], IDENTITY).execute, 2: Executor(wide_image(), IDENTITY).execute}
    with pty() as line, serve_line(units, Line(line.path, FAST), loop=request.param, server_id="ampgate 1") as served:
        yield Bench(line, served, site)


@pytest.fixture
def bench(running: Bench) -> Bench:
    running.site.images[0].words[:] = memory(WORDS)
    running.served.inside(
        lambda: (running.served.server.server.reset(echoes=False), running.served.server.server.statistics.clear())
    )
    return running


@pytest.fixture
def site() -> Site:
    site = Site([ChargerShape(2)], extensions=False)
    connector = site.connector(0, 1)
    connector["connector.status"].set(2)
    connector["connector.current_import_l1"].set(123.456)
    return site


@pytest.fixture
def units(site: Site) -> Units:
    return {1: Executor(site.images[0], Identity("Vendor", "Code", "1.0", "http://a")).execute}


# Functions


def on_serial(function: int) -> bool:
    """Whether the table of Modbus TCP holds for it: 08 and 17 exist here; 80 and above are responses."""
    return function < 0x80 and function not in (0x08, 0x11)


@pytest.mark.parametrize("case", [case for case in CASES if on_serial(bytes.fromhex(case.values[0].request)[0])])
def test_function(bench: Bench, case: Case) -> None:
    bench.line.send(with_crc("01 " + case.request))
    expected = with_crc("01 " + case.response)
    assert bench.line.receive(len(expected)) == expected
    assert bench.site.images[0].words == memory({**WORDS, **case.stored})
    assert bench.served.server.server.statistics.exceptions == case.response.startswith(("8", "9", "A", "C", "E", "F"))


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        ("08 0000 A537", "08 0000 A537"),
        ("08 0001 FF00", "08 0001 FF00"),
        ("08 0002 0000", "08 0002 0000"),
        ("08 0003 0A00", "88 01"),
        ("08 0004 1234", "88 03"),
        ("08 000A 0000", "08 000A 0000"),
        ("08 000B 0000", "08 000B 0001"),
        ("08 000C 0000", "08 000C 0000"),
        ("08 000D 0000", "08 000D 0000"),
        ("08 000E 0000", "08 000E 0001"),
        ("08 000F 0000", "08 000F 0000"),
        ("08 0010 0000", "08 0010 0000"),
        ("08 0011 0000", "08 0011 0000"),
        ("08 0012 0000", "08 0012 0000"),
        ("08 0013 0000", "88 01"),
        ("08 000B 0001", "88 03"),
        ("08", "88 03"),
        ("11", "11 0B 01 FF 61 6D 70 67 61 74 65 20 31"),
        ("11 01", "91 03"),
    ],
)
def test_serial_line_function(bench: Bench, request_: str, response: str) -> None:
    """Modbus Application Protocol V1.1b3 §6.8 and §6.13; counters count this request."""
    assert bench.ask(request_) == bytes.fromhex(response)


def test_listen_only_mode(bench: Bench) -> None:
    for silent in ("08 0004 0000", "06 0165 1234", "03 02CA 0001", "08 0001 FF00"):
        bench.line.send(with_crc("01 " + silent))
        assert bench.line.answer() == b""
    assert bench.site.images[0].words == memory(WORDS)
    bench.still_answers()


def test_the_longest_frames(bench: Bench) -> None:
    data = bytearray(250)
    data[204:206], data[222:226] = b"\x00\x02", b"\x42\xf6\xe9\x79"
    assert bench.ask("03 0264 007D") == bytes((3, 250)) + data
    block = bytes(range(1, 247))
    assert bench.ask(bytes.fromhex("10 0001 007B F6") + block, unit=2) == bytes.fromhex("10 0001 007B")
    assert bench.ask("03 0001 007B", unit=2) == b"\x03\xf6" + block


# Silence


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        pytest.param("01 03 02 CA 00 01 A5 8D", "bus_errors", id="bad CRC"),
        pytest.param("01 03 02 CA 00 01 8C A5", "bus_errors", id="CRC high byte first"),
        pytest.param("01 03 02 CA 00 01", "bus_errors", id="no CRC"),
        pytest.param("01", "bus_errors", id="address alone"),
        pytest.param("3A 30 31 30 33 30 32 43 41 30 30 30 31 32 46 0D 0A", "bus_errors", id="Modbus ASCII"),
        pytest.param("00 01 00 00 00 06 01 03 02 CA 00 01", "bus_errors", id="Modbus TCP"),
        pytest.param("03 03 02 CA 00 01 A4 6E", "bus_messages", id="another address"),
        pytest.param("F7 06 01 65 12 34 81 C8", "bus_messages", id="address 247"),
        pytest.param("FF 03 02 CA 00 01 B0 52", "bus_messages", id="address 255"),
        pytest.param("03 41 C1 70", "bus_messages", id="another address, unknown function"),
        pytest.param("01 83 02 C0 F1", "bus_messages", id="an exception response with our address"),
        pytest.param("00 06 01 65 12 34 94 8F", "server_messages", id="broadcast"),
        pytest.param("00 03 02 CA 00 01 A4 5D", "server_messages", id="broadcast of a read"),
        pytest.param("00 41 C1 80", "server_messages", id="broadcast of an unknown function"),
    ],
)
def test_nothing_is_sent(bench: Bench, frame: str, counter: str) -> None:
    bench.line.send(frame)
    bench.served.counted(**{counter: 1})
    assert bench.line.answer() == b""
    written = {0x0165: 0x1234} if frame.startswith("00 06") else {}
    assert bench.site.images[0].words == memory({**WORDS, **written})
    bench.still_answers()


def test_a_broadcast_reaches_every_unit(bench: Bench) -> None:
    bench.line.send(with_crc("00 10 0165 0001 02 5678"))
    bench.served.counted(server_messages=1, no_responses=1)
    assert bench.ask("03 0165 0001") == bytes.fromhex("03 02 5678")
    assert bench.ask("03 0165 0001", unit=2) == bytes.fromhex("03 02 5678")
    assert bench.line.answer() == b""


# Noise and gaps


@pytest.mark.parametrize(
    "noise", ["00", "FF", "FF FF FF", "01", "01 03 02", "00 06 01", "01 10 0165 0078 F0", "06 03 F0"]
)
def test_noise_before_and_after(bench: Bench, noise: str) -> None:
    bench.line.send(bytes.fromhex(noise) + READ)
    assert bench.line.receive(7) == READ_ANSWER
    bench.line.send(READ + bytes.fromhex(noise))
    assert bench.line.receive(7) == READ_ANSWER
    bench.line.send(noise)
    bench.served.eventually(lambda: not bench.served.server.server._buffer)
    bench.still_answers()


@pytest.mark.parametrize("gap", [0.0005, 0.003, 0.01])
def test_gaps_inside_a_request(gap: float, site: Site, units: Units, monkeypatch: pytest.MonkeyPatch) -> None:
    """1.5 characters are allowed; system and adapters make more of it (3.5 characters are 1.75 ms here)."""
    monkeypatch.setattr(serial, "PATIENCE", 5.0)  # this process may be slower than that
    with pty() as line, serve_line(units, Line(line.path, FAST)):
        for cut in range(1, len(READ)):
            line.send(READ[:cut])
            time.sleep(gap)
            line.send(READ[cut:])
            assert line.receive(7) == READ_ANSWER


def test_half_a_request_then_a_whole_one(bench: Bench) -> None:
    for cut in range(1, len(READ)):
        bench.line.send(READ[:cut])
        bench.line.send(READ)
        assert bench.line.receive(7) == READ_ANSWER
    bench.still_answers()


# Others on the line


EXCHANGES = [
    ("06 03 0000 000A", "06 03 14 0000 0103 02CA 0001 A58C 0000 0000 0000 0000 0000"),
    ("06 03 0000 0004", "06 03 08 0103 02CA 0001 A58C"),  # a request to us, CRC and all
    ("06 04 0000 0008", "06 04 10 0106 0165 1234 955E 0106 0165 1234 955E"),
    ("06 03 0000 0005", "06 03 0A 0000 0006 0165 1234 948F"),  # a broadcast
    ("06 06 0165 1234", "06 06 0165 1234"),
    ("06 10 0000 0005 0A 0106 0165 1234 955E 0000", "06 10 0000 0005"),
    ("06 17 0000 0004 0000 0004 08 0106 0165 1234 955E", "06 17 08 0106 0165 1234 955E"),
    ("06 01 0000 0018", "06 01 03 CDDB 01"),
    ("06 03 FFFF 0001", "06 83 02"),
    ("06 11", "06 11 05 06 FF 41 42 43"),
    ("06 08 0000 A537", "06 08 0000 A537"),
]


@pytest.mark.parametrize(("request_", "response"), EXCHANGES)
@pytest.mark.parametrize("pause", ["none", "before the response", "before us", "everywhere"])
def test_exchanges_of_others(bench: Bench, request_: str, response: str, pause: str) -> None:
    """Nothing inside them is taken for a request, and the next request to us is answered, however close it is."""
    assert with_crc("01 06 0165 1234") == bytes.fromhex("01 06 0165 1234 955E")
    for frame, place in ((with_crc(request_), "before the response"), (with_crc(response), "before us")):
        bench.line.send(frame)
        if pause in (place, "everywhere"):
            time.sleep(0.003)  # 3.5 characters are 1.75 ms here
    bench.line.send(READ)
    assert bench.line.receive(7) == READ_ANSWER
    bench.served.counted(bus_messages=3, bus_errors=0, server_messages=1)
    assert bench.site.images[0].words == memory(WORDS)
    assert bench.line.answer() == b""


def test_a_response_of_another_that_stops_half_way(bench: Bench) -> None:
    bench.line.send(with_crc("06 03 0000 000A"))
    bench.line.send(with_crc("06 03 14 0000 0103 02CA 0001 A58C 0000 0000 0000 0000 0000")[:-9])
    bench.line.send(READ)
    assert bench.line.receive(7) == READ_ANSWER
    bench.still_answers()


# A line that echoes


WRITE = with_crc("01 06 0165 1234")
SAME_ANSWER = [WRITE, with_crc("01 05 0165 FF00"), with_crc("01 16 0165 00F2 0025"), with_crc("01 08 0000 A537")]


def echo(line: Pty, request: bytes, answer: bytes) -> None:
    """Send a request; its answer comes back as adapters without receiver control bring it."""
    line.send(request)
    assert line.receive(len(answer)) == answer
    line.send(answer)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("first", [READ, *SAME_ANSWER])
def test_a_line_that_echoes(loop: str, first: bytes, site: Site, units: Units, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is executed once, from the first on; no echo is answered."""
    monkeypatch.setattr(serial, "PATIENCE", 5.0)  # this process may be slower than a line
    requests = [first, *SAME_ANSWER * 2, READ, *SAME_ANSWER, WRITE, WRITE]
    with pty() as line, serve_line(units, Line(line.path, FAST), loop=loop) as served:
        for request in requests:
            echo(line, request, READ_ANSWER if request == READ else request)
        served.counted(server_messages=len(requests), bus_messages=len(requests), bus_errors=0)
        assert line.answer() == b""
        assert served.server.server.echoes is True


@pytest.mark.parametrize("request_", SAME_ANSWER)
@pytest.mark.parametrize("before", [READ, with_crc("01 06 0165 0001")])
def test_repetitions_on_a_line_without_echo(bench: Bench, before: bytes, request_: bytes) -> None:
    bench.served.inside(bench.served.server.server.reset)
    for request in (before, *[request_] * 5):
        answer = READ_ANSWER if request == READ else request
        bench.line.send(request)
        assert bench.line.receive(len(answer)) == answer
    bench.served.counted(server_messages=6)
    bench.still_answers()


def test_slow_repetitions_before_anything_is_known(bench: Bench) -> None:
    """A master that does nothing but write the same value now and then."""
    bench.served.inside(bench.served.server.server.reset)
    for _ in range(3):
        bench.line.send(WRITE)
        assert bench.line.receive(8) == WRITE
        bench.served.eventually(lambda: not bench.served.server.server._sent)  # no echo is awaited any more


# Turnaround


@pytest.mark.parametrize(
    ("baudrate", "parity", "stopbits", "silence"),
    [
        (1200, "even", 1, 32.08e-3),
        (2400, "none", 1, 14.58e-3),
        (9600, "even", 1, 4.01e-3),
        (19200, "even", 1, 2.005e-3),
        (19200, "none", 1, 1.823e-3),
        (38400, "none", 1, 1.75e-3),
        (115200, "even", 1, 1.75e-3),
    ],
)
@pytest.mark.parametrize("loop", LOOPS)
def test_the_answer_leaves_no_chars_early(loop: str, baudrate: int, parity: str, stopbits: int, silence: float) -> None:
    """Modbus over serial line 1.02 §2.5.1.1, measured by the master from the last byte of the request."""
    site = Site([ChargerShape(1)])
    units = {1: Executor(site.images[0], IDENTITY).execute}
    with pty() as line, serve_line(units, Line(line.path, baudrate, parity, stopbits), loop=loop):
        for _ in range(5):
            line.send(READ[:5])
            sent = time.monotonic()
            line.send(READ[5:])
            assert line.receive(1) == b"\x01"
            assert time.monotonic() - sent >= silence
            line.receive(6)


# Independent masters


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    """A cable; pseudo-terminals have no parity bit, and the C library calls that an error."""
    real = termios.tcsetattr

    def without_parity(fd: int, when: int, attributes: list[Any]) -> None:
        real(fd, when, [*attributes[:2], attributes[2] & ~termios.PARENB, *attributes[3:]])

    monkeypatch.setattr(termios, "tcsetattr", without_parity)
    with cable() as wire:
        yield wire


@pytest.fixture
def served(wire: Cable, units: Units) -> Iterator[SerialServed]:
    with serve_line(units, Line(wire.server, 19200, "even", 1), server_id="ampgate 1") as served:
        yield served


PARITY = {"none": "N", "even": "E", "odd": "O"}


@pytest.mark.parametrize(
    ("baudrate", "parity", "stopbits"),
    [
        *itertools.product([9600, 115200], PARITY, [1, 2]),
        *((rate, "even", 1) for rate in (1200, 2400, 4800, 19200, 38400, 57600)),
    ],
)
def test_pymodbus_with_every_setting(wire: Cable, units: Units, baudrate: int, parity: str, stopbits: int) -> None:
    client = ModbusSerialClient(
        wire.client, baudrate=baudrate, parity=PARITY[parity], stopbits=stopbits, timeout=5, retries=0
    )
    with serve_line(units, Line(wire.server, baudrate, parity, stopbits)), client:
        assert client.read_holding_registers(714, count=1, device_id=1).registers == [2]


@pytest.fixture
def pymodbus(wire: Cable, served: SerialServed) -> Iterator[ModbusSerialClient]:
    with ModbusSerialClient(wire.client, baudrate=19200, parity="E", timeout=5, retries=0) as client:
        yield client


def test_pymodbus(pymodbus: ModbusSerialClient, site: Site) -> None:
    types, charger = pymodbus.DATATYPE, site.charger(0)
    for read in (pymodbus.read_holding_registers, pymodbus.read_input_registers):
        current = pymodbus.convert_from_registers(read(723, count=2).registers, types.FLOAT32)
        assert current == pytest.approx(123.456, rel=1e-6)
        assert len(read(612, count=125).registers) == 125
    assert pymodbus.read_coils(713, count=3).bits[:3] == [False, True, False]
    assert pymodbus.read_discrete_inputs(714, count=1).bits[0] is True
    for value in (2, 2, 1, 1):
        assert not pymodbus.write_register(397, value).isError()
        assert charger["reserve_now.connector_id"].get() == value
    words = pymodbus.convert_to_registers("DEMO-1".ljust(20, "\0"), types.STRING)
    assert not pymodbus.write_registers(400, words).isError()
    assert charger["reserve_now.id_tag"].get() == "DEMO-1"
    assert not pymodbus.write_coil(476, True).isError()
    assert charger["remote_start.flag"].get() == 1
    assert not pymodbus.write_coils(397, [False, False, False]).isError()
    assert charger["reserve_now.connector_id"].get() == 0
    charger["cancel_reservation.reservation_id"].set(0x12)
    assert not pymodbus.mask_write_register(address=357, and_mask=0xF2, or_mask=0x25).isError()
    assert charger["cancel_reservation.reservation_id"].get() == 0x17
    answer = pymodbus.readwrite_registers(read_address=357, read_count=1, write_address=357, values=[0xABCD])
    assert answer.registers == [0xABCD]


def test_pymodbus_sees_exceptions(pymodbus: ModbusSerialClient) -> None:
    assert pymodbus.read_holding_registers(147).exception_code == 2
    assert pymodbus.write_register(714, 1).exception_code == 2
    assert pymodbus.write_register(476, 2).exception_code == 3
    assert not pymodbus.write_register(476, 1).isError()
    assert pymodbus.write_register(476, 1).exception_code == 6
    assert pymodbus.read_exception_status().exception_code == 1


def test_pymodbus_uses_the_serial_line_functions(pymodbus: ModbusSerialClient) -> None:
    assert pymodbus.diag_clear_counters().message == 0
    assert pymodbus.diag_query_data(b"\xa5\x37").message == b"\xa5\x37"
    assert pymodbus.read_holding_registers(147).isError()
    assert pymodbus.diag_read_bus_message_count().message == 3
    assert pymodbus.diag_read_bus_comm_error_count().message == 0
    assert pymodbus.diag_read_bus_exception_error_count().message == 1
    assert pymodbus.diag_read_device_message_count().message == 6
    assert pymodbus.diag_read_device_no_response_count().message == 0
    assert pymodbus.diag_read_device_nak_count().message == 0
    assert pymodbus.diag_read_device_busy_count().message == 0
    assert pymodbus.diag_read_bus_char_overrun_count().message == 0
    assert pymodbus.diag_read_diagnostic_register().message == 0
    assert pymodbus.report_device_id().identifier == b"\x01\xffampgate 1"
    basic = pymodbus.read_device_information(read_code=1, object_id=0)
    assert basic.information == {0: b"Vendor", 1: b"Code", 2: b"1.0"}


class LibModbusRtu:
    """The C library on a serial line."""

    EXCEPTION = 112345678
    """MODBUS_ENOBASE of modbus.h: errno of exception 0."""

    def __init__(self, library: ctypes.CDLL, device: str) -> None:
        library.modbus_new_rtu.restype = ctypes.c_void_p
        library.modbus_new_rtu.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int]
        self._library = library
        self._context = ctypes.c_void_p(library.modbus_new_rtu(device.encode(), 19200, b"E", 8, 1))
        assert self("set_slave", 1) == 0
        assert self("set_response_timeout", 5, 0) == 0
        assert self("connect") == 0

    def __call__(self, function: str, *arguments: object) -> int:
        """Call ``modbus_<function>``; an exception response is returned as its negative code."""
        result: int = getattr(self._library, f"modbus_{function}")(self._context, *arguments)
        return result if result >= 0 else self.EXCEPTION - ctypes.get_errno()

    def close(self) -> None:
        """End the connection."""
        self._library.modbus_close(self._context)
        self._library.modbus_free(self._context)


@pytest.fixture
def libmodbus(wire: Cable, served: SerialServed) -> Iterator[LibModbusRtu]:
    name = ctypes.util.find_library("modbus")
    if name is None:
        unavailable("libmodbus is not installed")
    client = LibModbusRtu(ctypes.CDLL(name, use_errno=True), wire.client)
    yield client
    client.close()


def words(*values: int) -> ctypes.Array[ctypes.c_uint16]:
    return (ctypes.c_uint16 * len(values))(*values)


@pytest.mark.peers
def test_libmodbus(libmodbus: LibModbusRtu, site: Site, served: SerialServed) -> None:
    data = words(*[0] * 125)
    for function in ("read_registers", "read_input_registers"):
        assert libmodbus(function, 723, 2, data) == 2
        assert struct.unpack(">f", struct.pack(">HH", *data[:2]))[0] == pytest.approx(123.456, rel=1e-6)
        assert libmodbus(function, 612, 125, data) == 125
    for value in (2, 2, 1):
        assert libmodbus("write_register", 397, value) == 1
        assert site.charger(0)["reserve_now.connector_id"].get() == value
    assert libmodbus("write_registers", 400, 2, words(0x4142, 0x4344)) == 2
    assert site.charger(0)["reserve_now.id_tag"].get() == "ABCD"
    assert libmodbus("write_bit", 476, 1) == 1
    assert site.charger(0)["remote_start.flag"].get() == 1
    assert libmodbus("write_and_read_registers", 357, 1, words(0xABCD), 356, 2, data) == 2
    assert data[:2] == [0, 0xABCD]
    report = (ctypes.c_uint8 * 125)()
    assert libmodbus("report_slave_id", 125, report) == 11
    assert bytes(report[:11]) == b"\x01\xffampgate 1"
    assert libmodbus("read_registers", 147, 1, data) == -2
    assert libmodbus("write_register", 714, 1) == -2
    assert libmodbus("write_register", 476, 2) == -3
    assert libmodbus("write_register", 476, 1) == -6
    assert libmodbus("set_slave", 0) == 0
    assert libmodbus("set_response_timeout", 0, int(SILENCE * 1e6)) == 0
    libmodbus("write_register", 397, 2)  # broadcast: it waits for an answer in vain
    assert site.charger(0)["reserve_now.connector_id"].get() == 2
    served.counted(no_responses=1)


@pytest.mark.peers
def test_mbpoll(wire: Cable, served: SerialServed, site: Site) -> None:
    (program,) = needs("mbpoll")

    def run(*arguments: str | int) -> str:
        command = [program, "-0", "-1", "-m", "rtu", "-b", "19200", "-P", "even", "-o", "5", *map(str, arguments)]
        done = subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, check=False, timeout=20)
        return done.stdout

    assert "[714]: \t2" in run("-r", 714, wire.client)
    assert "[723]: \t123.456" in run("-t", "4:float", "-B", "-r", 723, wire.client)
    assert "[714]: \t1" in run("-t", 0, "-r", 714, wire.client)
    assert "Written 1 references" in run("-r", 397, wire.client, 2)
    assert site.charger(0)["reserve_now.connector_id"].get() == 2
    assert "Illegal data address" in run("-r", 147, wire.client)
    assert "ampgate 1" in run("-u", wire.client)
