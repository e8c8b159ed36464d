"""RTU framing and the serial-line functions, on literal frames.

Most frames are published examples of the functions (slave 17 = 11h, their CRCs with them); the other CRCs come from
pymodbus. `ask` builds the frames whose CRC does not matter to the reader, with pymodbus' CRC too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pymodbus.framer.rtu import FramerRTU

from ampgate.modbus import rtu
from ampgate.modbus.pdu import ExceptionCode, exception

pytestmark = pytest.mark.unit

READ = bytes.fromhex("11 03 00 6B 00 03 76 87")
READ_ANSWER = bytes.fromhex("11 03 06 AE 41 56 52 43 40 49 AD")
WRITE = bytes.fromhex("11 06 00 01 00 03 9A 9B")
"""Answered by itself."""
WRITE_MANY = bytes.fromhex("11 10 00 01 00 02 04 00 0A 01 02 C6 F0")
WRITE_MANY_ANSWER = bytes.fromhex("11 10 00 01 00 02 12 98")
FOREIGN_READ = bytes.fromhex("06 03 00 00 00 0A C4 7A")
BROADCAST = bytes.fromhex("00 06 00 01 00 03 99 DA")


def with_crc(frame: bytes | str) -> bytes:
    data = bytes.fromhex(frame) if isinstance(frame, str) else frame
    return data + FramerRTU.compute_CRC(data).to_bytes(2)


RESPONSES: dict[int, Callable[[bytes], bytes]] = {
    3: lambda _: READ_ANSWER[1:-2],
    5: lambda request: request,
    6: lambda request: request,
    15: lambda request: request[:5],
    16: lambda request: request[:5],
    22: lambda request: request,
}


class Slave:
    """A server with the units 17 and 18, and what they had to execute."""

    def __init__(self) -> None:
        self.executed: list[tuple[int, bytes]] = []
        self.server = rtu.Server({unit: self._unit(unit) for unit in (17, 18)}, "Gate 1.0")
        self.statistics = self.server.statistics

    def _unit(self, unit: int) -> rtu.Execute:
        def execute(request: bytes) -> bytes:
            self.executed.append((unit, request))
            answer = RESPONSES.get(request[0], lambda _: exception(request[0], ExceptionCode.ILLEGAL_FUNCTION))
            return answer(request)

        return execute

    def hear(self, *pieces: bytes) -> bytes | None:
        """What is sent after these bytes and a silence."""
        for piece in pieces:
            self.server.receive(piece)
        return self.server.silence()

    def ask(self, request: str) -> str | None:
        """The response to a PDU, both in hexadecimal digits; None when there is none."""
        answer = self.hear(with_crc(f"11 {request}"))
        self.server.forget()
        if answer is None:
            return None
        assert answer == with_crc(answer[:-2])
        assert answer[0] == 17
        return answer[1:-2].hex(" ", -2).upper()

    def count(self, sub_function: int) -> int:
        """A counter as Diagnostics tells it."""
        answer = self.hear(with_crc(f"11 08 {sub_function:04X} 0000"))
        assert answer is not None
        assert answer[:4] == bytes((17, 8, 0, sub_function))
        return int.from_bytes(answer[4:6])


@pytest.fixture
def slave() -> Slave:
    return Slave()


# CRC


def test_crc_check_value() -> None:
    """CRC-16/MODBUS of the digits 1 to 9 is 4B37; on the line its low byte comes first."""
    assert rtu.crc(b"123456789") == bytes.fromhex("37 4B")


@pytest.mark.parametrize(
    "frame",
    [
        "02 07 41 12",  # Modbus over serial line 1.02 §6.2.2
        "11 01 00 13 00 25 0E 84",
        "11 01 05 CD 6B B2 0E 1B 45 E6",
        "11 02 00 C4 00 16 BA A9",
        "11 02 03 AC DB 35 20 18",
        "11 03 00 6B 00 03 76 87",
        "11 03 06 AE 41 56 52 43 40 49 AD",
        "11 04 00 08 00 01 B2 98",
        "11 04 02 00 0A F8 F4",
        "11 05 00 AC FF 00 4E 8B",
        "11 06 00 01 00 03 9A 9B",
        "11 0F 00 13 00 0A 02 CD 01 BF 0B",
        "11 0F 00 13 00 0A 26 99",
        "11 10 00 01 00 02 04 00 0A 01 02 C6 F0",
        "11 10 00 01 00 02 12 98",
        "11 16 00 04 00 F2 00 25 66 E2",
        "0A 01 04 A1 00 01 AC 63",
        "0A 81 02 B0 53",
    ],
)
def test_crc_of_published_frames(frame: str) -> None:
    data = bytes.fromhex(frame)
    assert rtu.crc(data[:-2]) == data[-2:]


# Requests


REQUESTS = [
    "11 01 00 13 00 25 0E 84",
    "11 02 00 C4 00 16 BA A9",
    "11 03 00 6B 00 03 76 87",
    "11 04 00 08 00 01 B2 98",
    "11 05 00 AC FF 00 4E 8B",
    "11 06 00 01 00 03 9A 9B",
    "11 07 4C 22",
    "11 0B 4C 27",
    "11 0C 0D E5",
    "11 0F 00 13 00 0A 02 CD 01 BF 0B",
    "11 10 00 01 00 02 04 00 0A 01 02 C6 F0",
    "11 14 07 06 00 04 00 01 00 02 D9 70",
    "11 15 0D 06 00 04 00 07 00 03 06 AF 04 BE 10 0D DB C7",
    "11 16 00 04 00 F2 00 25 66 E2",
    "11 17 00 03 00 06 00 0E 00 03 06 00 FF 00 FF 00 FF 4B 54",
    "11 18 04 DE 07 87",
    "11 2B 0E 01 00 B1 B4",
]


@pytest.mark.parametrize("frame", REQUESTS)
def test_a_request_is_executed_with_its_last_byte(slave: Slave, frame: str) -> None:
    """Known by length and CRC, it does not wait for a silence; its answer does."""
    data = bytes.fromhex(frame)
    for at in range(len(data)):
        assert slave.executed == []
        slave.server.receive(data[at : at + 1])
    assert slave.executed == [(17, data[1:-2])]
    answer = slave.server.silence()
    assert answer is not None
    assert answer == with_crc(answer[:-2])
    assert answer[:1] == b"\x11"
    assert slave.server.silence() is None
    assert len(slave.executed) == 1


@pytest.mark.parametrize("frame", REQUESTS)
@pytest.mark.parametrize("gap", ["silence", "no silence"])
def test_a_request_may_be_torn_anywhere(slave: Slave, frame: str, gap: str) -> None:
    """Also for longer than 3.5 characters (1.5 are allowed), as USB adapters do."""
    data = bytes.fromhex(frame)
    for cut in range(1, len(data)):
        slave.executed.clear()
        slave.server.reset(echoes=False)
        slave.server.receive(data[:cut])
        if gap == "silence":
            assert slave.server.silence() is None
        assert slave.hear(data[cut:]) is not None
        assert slave.executed == [(17, data[1:-2])]


@pytest.mark.parametrize(
    "pdu",
    [
        "41",
        "41 01 02 03",
        "00",
        "2B 0D 00 01 02 03 04 05",
        "08 0000 A537 1234",
        "18",
        "03",
        "03 006B 00",
        "10 0001 0002 08 00",
    ],
)
def test_a_frame_of_unknown_length_ends_with_the_silence(slave: Slave, pdu: str) -> None:
    frame = with_crc(f"11 {pdu}")
    slave.server.receive(frame)
    assert slave.executed == []
    answer = slave.server.silence()
    assert answer is not None
    assert answer[0] == 17


def test_a_request_whose_first_bytes_are_a_frame_too(slave: Slave) -> None:
    """Of the response's form: 04 00 is the CRC of what is before it, and byte count and data here."""
    frame = bytes.fromhex("11 10 19 14 00 02 04 00 0A 01 02 A0 53")
    for at in range(len(frame)):
        slave.server.receive(frame[at : at + 1])
    assert slave.executed == [(17, frame[1:-2])]


def test_every_bit_counts(slave: Slave) -> None:
    for bit in range(8 * len(WRITE)):
        damaged = bytearray(WRITE)
        damaged[bit // 8] ^= 1 << bit % 8
        assert slave.hear(bytes(damaged)) is None
        slave.server.forget()
    assert slave.executed == []
    assert slave.statistics.bus_errors == 8 * len(WRITE)
    assert slave.statistics.bus_messages == 0
    assert slave.hear(WRITE) == WRITE


def test_both_units_answer_for_themselves(slave: Slave) -> None:
    assert slave.hear(with_crc("12 06 0001 0003")) == with_crc("12 06 0001 0003")
    assert slave.hear(WRITE) == WRITE
    assert [unit for unit, _ in slave.executed] == [18, 17]


@pytest.mark.parametrize("function", [0x80, 0x83, 0x90, 0xFF])
def test_exception_responses_are_no_requests(slave: Slave, function: int) -> None:
    """Whoever sent it with this address: an answer to an answer would go on for ever."""
    assert slave.hear(with_crc(bytes((17, function, 2)))) is None
    assert slave.hear(with_crc(bytes((17, function)))) is None
    assert slave.executed == []


# Others on the line


@pytest.mark.parametrize(
    "frame",
    [
        "06 03 00 00 00 0A C4 7A",
        "0A 01 04 A1 00 01 AC 63",
        "0A 81 02 B0 53",
        "02 07 41 12",
        "01 04 02 FF FF B8 80",
        "F8 03 00 00 00 01",  # reserved addresses
        "FF 06 00 01 00 03",
        "13 10 00 01 00 02 04 00 0A 01 02",
        "13 10 00 01 00 02",
    ],
)
def test_frames_of_others_are_counted_and_not_answered(slave: Slave, frame: str) -> None:
    data = bytes.fromhex(frame)
    data = data if rtu.crc(data[:-2]) == data[-2:] else with_crc(data)
    slave.server.receive(data)
    assert slave.statistics.bus_messages == 1
    assert slave.server.silence() is None
    slave.server.forget()
    assert slave.executed == []
    assert (slave.statistics.bus_messages, slave.statistics.bus_errors) == (1, 0)
    assert slave.statistics.server_messages == 0


FOREIGN_RESPONSES = [
    with_crc("06 03 14 0000 0001 0002 0003 0004 0005 0006 0007 0008 0009"),
    with_crc("06 01 03 CD 6B B2"),
    with_crc("06 83 02"),
    with_crc("06 10 0001 0002"),
    with_crc("06 17 04 1234 5678"),
    with_crc("06 11 04 06 FF 41 42"),
    with_crc("06 07 6D"),
]


@pytest.mark.parametrize("response", FOREIGN_RESPONSES)
def test_the_next_request_is_found_after_any_exchange_of_others(slave: Slave, response: bytes) -> None:
    """However the system joins or cuts what it reads."""
    traffic = FOREIGN_READ + response + WRITE_MANY
    for size in range(1, len(traffic) + 1):
        slave.executed.clear()
        pieces = [traffic[at : at + size] for at in range(0, len(traffic), size)]
        assert slave.hear(*pieces) == WRITE_MANY_ANSWER
        assert slave.executed == [(17, WRITE_MANY[1:-2])]
    assert slave.statistics.bus_errors == 0
    assert slave.statistics.bus_messages == 3 * len(traffic)


@pytest.mark.parametrize(
    "outer",
    [
        with_crc(b"\x06\x03\x0a" + WRITE + b"\0\0"),
        with_crc(b"\x06\x03\x0a\0\0" + WRITE),
        with_crc(b"\x06\x03\x0a\0\0" + BROADCAST),
        with_crc(b"\x06\x17\x10" + WRITE + WRITE),
        with_crc(b"\x06\x10\x00\x01\x00\x05\x0a" + WRITE + b"\0\0"),
        with_crc(b"\x06\x10\x00\x01\x00\x05\x0a\0\0" + BROADCAST),
        with_crc(b"\x06\x41" + WRITE + b"\0\0"),
    ],
)
def test_a_request_inside_a_frame_of_others_is_none(slave: Slave, outer: bytes) -> None:
    for size in range(1, len(outer) + 1):
        assert slave.hear(*(outer[at : at + size] for at in range(0, len(outer), size))) is None
        slave.server.forget()
    assert slave.executed == []
    assert slave.statistics.bus_messages == len(outer)


def test_the_answer_is_dropped_when_the_master_has_gone_on(slave: Slave) -> None:
    """After a stall of the system: another slave would talk at the same time."""
    assert slave.hear(WRITE + FOREIGN_READ) is None
    assert slave.hear(WRITE + READ) == READ_ANSWER


# Noise


@pytest.mark.parametrize(
    "noise", ["00", "FF", "FF FE", "11", "11 03", "12 10 00 01 00 7B F6", "06 03 FA 00 01", "00 00 06"]
)
def test_noise_before_a_request(slave: Slave, noise: str) -> None:
    assert slave.hear(bytes.fromhex(noise) + WRITE) == WRITE
    assert slave.executed == [(17, WRITE[1:-2])]
    assert slave.statistics.bus_errors == 1


@pytest.mark.parametrize("noise", ["00", "FF", "11", "80 00 FF"])
def test_noise_after_a_request(slave: Slave, noise: str) -> None:
    assert slave.hear(WRITE + bytes.fromhex(noise)) == WRITE
    assert slave.hear(READ, bytes.fromhex(noise)) == READ_ANSWER
    assert slave.statistics.bus_errors == 2


def test_half_a_frame_is_forgotten(slave: Slave) -> None:
    assert slave.hear(WRITE_MANY[:6]) is None
    slave.server.forget()
    assert slave.statistics.bus_errors == 1
    assert slave.hear(WRITE_MANY[6:]) is None
    slave.server.forget()
    assert slave.hear(WRITE) == WRITE
    assert slave.executed == [(17, WRITE[1:-2])]


@pytest.mark.parametrize("half", [WRITE_MANY[:-1], WRITE[:4], FOREIGN_RESPONSES[0][:9], READ[:1]])
def test_half_a_frame_does_not_swallow_the_next(slave: Slave, half: bytes) -> None:
    """Even when the line was never silent for long."""
    assert slave.hear(half) is None
    assert slave.hear(WRITE) == WRITE


def test_more_than_any_frame_holds(slave: Slave) -> None:
    for _ in range(100):
        slave.server.receive(bytes(range(256)))
        assert len(slave.server._buffer) <= 256
    assert slave.statistics.overruns == 99
    assert slave.hear(bytes(1000) + WRITE) == WRITE
    assert slave.executed == [(17, WRITE[1:-2])]


def test_the_longest_request(slave: Slave) -> None:
    frame = with_crc(bytes.fromhex("11 10 0000 007B F6") + bytes(246))
    assert len(frame) == 255
    assert slave.hear(frame) == with_crc("11 10 0000 007B")


def test_what_is_left_of_too_many_bytes_begins_no_frame(slave: Slave) -> None:
    slave.server.receive(bytes([0x55]) * 100 + BROADCAST + bytes([0x55]) * 248)
    slave.server.receive(b"\x55")
    slave.server.receive(bytes([0x55]) * 100 + WRITE + bytes([0x55]) * 248)
    assert slave.hear(b"\x55") is None
    assert slave.executed == []


# Broadcasts


def test_a_broadcast_is_executed_by_all_and_not_answered(slave: Slave) -> None:
    assert slave.hear(BROADCAST) is None
    assert slave.executed == [(17, BROADCAST[1:-2]), (18, BROADCAST[1:-2])]
    assert slave.statistics.server_messages == slave.statistics.no_responses == slave.statistics.bus_messages == 1


def test_a_broadcast_of_unknown_length_too(slave: Slave) -> None:
    assert slave.hear(with_crc("00 41 01 02")) is None
    assert slave.executed == [(17, b"\x41\x01\x02"), (18, b"\x41\x01\x02")]
    assert slave.statistics.exceptions == 2


def test_noise_before_a_frame_of_unknown_length(slave: Slave) -> None:
    """Any end of any noise could be one by chance."""
    assert slave.hear(b"\xff" + with_crc("11 41 01 02")) is None
    slave.server.forget()
    assert slave.executed == []
    assert slave.statistics.bus_errors == 1


def test_noise_is_no_broadcast(slave: Slave) -> None:
    """0 is the commonest byte: after noise it is not worth the risk."""
    assert slave.hear(b"\xff" + BROADCAST) is None
    slave.server.forget()
    assert slave.executed == []


# Echoes


def test_echoes_are_learnt_from_a_response(slave: Slave) -> None:
    assert slave.hear(READ) == READ_ANSWER
    for at in range(len(READ_ANSWER)):
        assert slave.hear(READ_ANSWER[at : at + 1]) is None
    assert slave.server.echoes is True
    for _ in range(3):
        assert slave.hear(WRITE) == WRITE
        assert slave.hear(WRITE) is None  # the echo
    assert len(slave.executed) == 4
    assert slave.statistics.bus_messages == 4
    assert slave.statistics.bus_errors == 0


@pytest.mark.parametrize(
    "request_", [WRITE, with_crc("11 05 00AC FF00"), with_crc("11 16 0004 00F2 0025"), with_crc("11 08 0000 A537")]
)
def test_an_echo_is_not_answered_before_anything_is_known(slave: Slave, request_: bytes) -> None:
    for _ in range(3):
        assert slave.hear(request_) == request_
        assert slave.hear(request_) is None
    assert slave.server.echoes is None


def test_an_echo_together_with_the_next_request(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    assert slave.hear(WRITE + WRITE) == WRITE
    assert slave.hear(WRITE + READ) == READ_ANSWER
    assert slave.hear(READ_ANSWER + READ) == READ_ANSWER
    assert len(slave.executed) == 4


def test_an_echo_behind_noise(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    assert slave.hear(b"\xff" + WRITE) is None
    assert len(slave.executed) == 1


def test_a_late_echo(slave: Slave) -> None:
    """Learnt, though the line was taken for one without echo."""
    assert slave.hear(READ) == READ_ANSWER
    slave.server.forget()
    assert slave.server.echoes is False
    assert slave.hear(READ_ANSWER) is None
    assert slave.server.echoes is True
    assert slave.hear(WRITE) == WRITE
    slave.server.forget()
    assert slave.hear(WRITE) is None


def test_no_echo_is_learnt_from_the_silence_after_a_response(slave: Slave) -> None:
    assert slave.hear(READ) == READ_ANSWER
    slave.server.forget()
    for _ in range(3):
        assert slave.hear(WRITE) == WRITE
    assert len(slave.executed) == 4


def test_no_echo_is_learnt_from_another_request(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    assert slave.hear(READ) == READ_ANSWER
    assert slave.server.echoes is False
    for _ in range(3):
        assert slave.hear(WRITE) == WRITE


def test_no_echo_is_learnt_from_the_silence_after_a_write(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    slave.server.forget()
    for _ in range(3):
        assert slave.hear(WRITE) == WRITE
    assert len(slave.executed) == 4


def test_a_damaged_echo_teaches_nothing(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    assert slave.hear(b"\x55" + WRITE[1:]) is None
    slave.server.forget()
    assert slave.hear(READ) == READ_ANSWER
    assert slave.hear(READ_ANSWER[:-1] + b"\x55") is None
    slave.server.forget()
    assert slave.server.echoes is None


def test_a_request_behind_a_damaged_echo_teaches_nothing(slave: Slave) -> None:
    assert slave.hear(WRITE) == WRITE
    assert slave.hear(b"\x55" + WRITE[1:] + READ) == READ_ANSWER
    assert slave.server.echoes is None


def test_an_echo_whose_first_bytes_are_a_request(slave: Slave) -> None:
    """Reading three registers that hold 0001, 00F3, 8207: F3 82 is the CRC of what is before it."""
    echo = bytes.fromhex("11 04 06 00 01 00 F3 82 07 41 C2")
    RESPONSES[4] = lambda _: echo[1:-2]
    try:
        assert slave.hear(with_crc("11 04 0000 0003")) == echo
        for at in range(len(echo)):
            slave.server.receive(echo[at : at + 1])
        assert slave.server.silence() is None
    finally:
        del RESPONSES[4]
    assert len(slave.executed) == 1
    assert slave.server.echoes is True


def test_what_is_known_of_the_line_can_be_given(slave: Slave) -> None:
    slave.server.reset(echoes=False)
    for _ in range(3):
        assert slave.hear(WRITE) == WRITE
    slave.server.reset()
    assert slave.server.echoes is None


# Diagnostics and Report Server ID


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        ("08 0000 A537", "08 0000 A537"),
        ("08 0000 A537 1234", "08 0000 A537 1234"),
        ("08 0001 0000", "08 0001 0000"),
        ("08 0001 FF00", "08 0001 FF00"),
        ("08 0001 0001", "88 03"),
        ("08 0002 0000", "08 0002 0000"),
        ("08 0002 0001", "88 03"),
        ("08 0003 0000", "88 01"),
        ("08 0004 0001", "88 03"),
        ("08 0005 0000", "88 01"),
        ("08 000A 0000", "08 000A 0000"),
        ("08 000A 0001", "88 03"),
        ("08 000B FF00", "88 03"),
        ("08 000B 0000 0000", "88 03"),
        ("08 0013 0000", "88 01"),
        ("08 0014 0000", "88 01"),
        ("08 FFFF 0000", "88 01"),
        ("08 0000", "88 03"),
        ("08", "88 03"),
        ("11", "11 0A 11 FF 47 61 74 65 20 31 2E 30"),
        ("11 00", "91 03"),
    ],
)
def test_serial_line_functions(slave: Slave, request_: str, response: str) -> None:
    answer = slave.ask(request_)
    assert answer is not None
    assert bytes.fromhex(answer) == bytes.fromhex(response)
    assert slave.executed == []


def test_counters(slave: Slave) -> None:
    """Application protocol §6.8.1; Clear Counters itself is the last that is not counted."""
    RESPONSES[6] = lambda _: exception(6, ExceptionCode.SERVER_DEVICE_BUSY)
    try:
        slave.ask("08 000A 0000")
        slave.ask("41")  # 01
        slave.ask("06 0001 0001")  # 06
        slave.hear(with_crc("12 10 0001 0001 02 0007"))
        slave.hear(FOREIGN_READ)
        slave.hear(FOREIGN_RESPONSES[0])
        slave.hear(BROADCAST)  # 06, twice
        slave.hear(READ[:-1] + b"\0")
        slave.server.forget()
        slave.hear(bytes(300))
        slave.server.forget()
    finally:
        RESPONSES[6] = lambda request: request
    assert slave.count(11) == 7  # six, and this request
    assert slave.count(12) == 2
    assert slave.count(13) == 4
    assert slave.count(14) == 8
    assert slave.count(15) == 1
    assert slave.count(16) == 0
    assert slave.count(17) == 3
    assert slave.count(18) == 1
    slave.ask("08 000A 0000")
    assert slave.count(12) == slave.count(13) == slave.count(15) == slave.count(17) == slave.count(18) == 0


def test_a_counter_has_16_bits(slave: Slave) -> None:
    slave.statistics.bus_errors = 0x1_0005
    assert slave.count(12) == 5


def test_listen_only(slave: Slave) -> None:
    assert slave.ask("08 0004 0000") is None
    assert slave.server.listen_only
    for request in ("06 0001 0001", "03 0000 0001", "11", "08 0000 A537", "08 000A 0000", "41"):
        assert slave.ask(request) is None
    slave.hear(BROADCAST)
    assert slave.executed == []
    assert slave.statistics.no_responses == 8
    assert slave.ask("08 0001 0000") is None
    assert not slave.server.listen_only
    assert slave.statistics.bus_messages == 0
    assert slave.hear(WRITE) == WRITE


def test_listen_only_by_broadcast(slave: Slave) -> None:
    slave.hear(with_crc("00 08 0004 0000"))
    assert slave.hear(WRITE) is None
    slave.hear(with_crc("00 08 0001 FF00"))
    assert slave.hear(WRITE) == WRITE
