"""Arbitrary requests, byte streams and writes: answered by the specification, or refused with a documented error.

The oracles are restated here from Modbus Application Protocol V1.1b3, Modbus Messaging on TCP/IP 1.0b and the facts of
the register map in ``tests/conformance/data``; they share no code with the firmware.
"""

from __future__ import annotations

import csv
import struct
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ampgate.modbus.mbap import Connection, FramingError, Statistics
from ampgate.modbus.pdu import Executor, Identity
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.fuzz

CHARGERS, CONNECTORS = 2, 2


# The map, from the facts


class Word(NamedTuple):
    """What one register of the map allows."""

    access: str
    """R, W, RW, or - for reserved."""
    values: frozenset[int] | None = None
    command: bool = False


def facts() -> dict[int, Word]:
    """Every valid address of the site."""
    found = {}
    path = Path(__file__).parents[1] / "conformance" / "data" / "register-map.csv"
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        block, offset = row["block"], int(row["offset"])
        starts = {
            "gateway": [0],
            "charger": [100 + 2000 * charger for charger in range(CHARGERS)],
            "connector": [
                612 + 2000 * charger + 100 * connector
                for charger in range(CHARGERS)
                for connector in range(CONNECTORS + 1)
            ],
        }[block]
        values = frozenset(int(item.partition("=")[0]) for item in row["values"].split(";") if item) or None
        if (block, offset) == ("connector", 0):
            values = frozenset({0, 1})  # Unlock Connector: the guide leaves them open
        if (block, offset) == ("charger", 326):
            values = frozenset({0, 1, 2})  # Reset Flag: 2 is a hard reset
        command = row["access"] == "RW" and (row["signal"].endswith("Flag") or (block, offset) == ("connector", 0))
        for start in starts:
            for at in range(int(row["registers"])):
                found[start + offset + at] = Word(row["access"], values if "W" in row["access"] else None, command)
    return found


FACTS = facts()
COMMANDS = sorted(address for address, word in FACTS.items() if word.command)
EDGES = sorted(
    address + near
    for address in FACTS
    for near in (-1, 0, 1)
    if (address - 1 not in FACTS or address + 1 not in FACTS) and 0 <= address + near < 65536
)

SITE = Site([ChargerShape(CONNECTORS)] * CHARGERS, extensions=False)
IMAGE = SITE.images[0]
EXECUTOR = Executor(IMAGE, Identity("Vendor", "Code", "1.0", "http://a" * 8, "P" * 64, "M" * 64, "A" * 64))


def reset() -> bytes:
    """The same contents before every example: R signals hold something, one command runs."""
    IMAGE.words[:] = bytes(2 * 65536)
    for address, word in FACTS.items():
        if word.access == "R":
            IMAGE.words[2 * address : 2 * address + 2] = (address * 7 & 0xFFFF).to_bytes(2)
    IMAGE.words[2 * COMMANDS[1] + 1] = 1
    return bytes(IMAGE.words)


# Requests

addresses = st.one_of(st.sampled_from(sorted(FACTS)), st.sampled_from(EDGES), st.integers(0, 65535))
small = st.one_of(st.integers(0, 5), st.integers(0, 65535))
quantities = st.one_of(st.integers(0, 130), st.sampled_from([1968, 1969, 2000, 2001, 65535]))


@st.composite
def formed(draw: st.DrawFn) -> bytes:
    """A request of a supported function: mostly well-formed, sometimes cut or with a byte too many."""
    function = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43]))
    address = draw(addresses)
    if function in (1, 2, 3, 4):
        fields = struct.pack(">HH", address, draw(quantities))
    elif function in (5, 6):
        value = draw(st.one_of(st.sampled_from([0, 1, 0xFF00]), small))
        fields = struct.pack(">HH", address, value)
    elif function in (15, 16):
        data = draw(st.one_of(st.binary(max_size=246), st.lists(small, max_size=30).map(pack_words)))
        quantity = 8 * len(data) - draw(st.integers(0, 8)) if function == 15 else len(data) // 2
        fields = struct.pack(">HHB", address, max(0, quantity), len(data)) + data
    elif function == 22:
        fields = struct.pack(">HHH", address, draw(small), draw(small))
    elif function == 23:
        data = draw(st.lists(small, max_size=121).map(pack_words))
        fields = struct.pack(">HHHHB", draw(addresses), draw(quantities), address, len(data) // 2, len(data)) + data
    else:
        fields = bytes((draw(st.sampled_from([14, 14, 13])), draw(st.integers(0, 5)), draw(st.integers(0, 8))))
    request = bytes((function,)) + fields
    spoilt = draw(st.sampled_from([0, 0, 0, 0, -1, -2, 1]))
    return (request[:spoilt] if spoilt < 0 else request + bytes(spoilt))[:253] or request[:1]


def pack_words(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(2) for word in words)


requests = st.one_of(formed(), st.binary(min_size=1, max_size=253))


def check_response(request: bytes, response: bytes) -> None:
    """§4.1 and §6: an exception response, or the normal response to this very request."""
    function = request[0]
    assert 2 <= len(response) <= 253
    if response[0] & 0x80:
        assert response[0] == function | 0x80
        assert len(response) == 2
        assert response[1] in (1, 2, 3, 6)
        assert (response[1] == 1) == (function not in (1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43)) or function == 43
        return
    assert response[0] == function
    if function in (1, 2):
        quantity = int.from_bytes(request[3:5])
        assert len(response) == 2 + response[1]
        assert response[1] == (quantity + 7) // 8
        assert int.from_bytes(response[2:], "little") >> quantity == 0  # unused bits are zero
    elif function in (3, 4, 23):
        assert response[1] == 2 * int.from_bytes(request[3:5])
        assert len(response) == 2 + response[1]
    elif function in (5, 6, 22):
        assert response == request
    elif function in (15, 16):
        assert response == request[:5]
    else:
        assert (response[1:4], response[4] in (0x00, 0xFF)) == (b"\x0e" + request[2:3] + b"\x82", True)
        rest = response[7:]
        for _ in range(response[6]):
            rest = rest[2 + rest[1] :]
        assert rest == b""


@settings(max_examples=1500)
@given(requests)
@example(b"\x10\xff\xff\x00\x7b\xf6" + bytes(246))
@example(b"\x17\xff\xff\x00\x7d\xff\xff\x00\x79\xf2" + bytes(242))
@example(b"\x0f\xff\xff\x07\xb0\xf6" + bytes(246))
def test_any_request(request: bytes) -> None:
    before = reset()
    response = EXECUTOR.execute(request)
    check_response(request, response)
    if response[0] & 0x80:
        assert IMAGE.words == before
    assert len(IMAGE.words) == 2 * 65536
    for address in range(65536) if IMAGE.words != before else ():
        old, new = (int.from_bytes(words[2 * address : 2 * address + 2]) for words in (before, IMAGE.words))
        if new != old:
            word = FACTS[address]  # a KeyError: a register outside the map was written
            assert "W" in word.access
            assert word.values is None or new in word.values
            assert address != COMMANDS[1]  # the one that runs


# Byte streams


def adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


UNITS = {0: EXECUTOR, 1: EXECUTOR, 255: EXECUTOR}
good = st.builds(adu, st.integers(0, 65535), st.sampled_from([0, 1, 1, 1, 2, 255]), requests)
poll = st.sampled_from([struct.pack(">BHH", 3, address, 2) for address in (6, 64, 177, 397, 714, 723)])
polls = st.builds(adu, st.integers(0, 65535), st.sampled_from([1, 255]), poll)
bad = st.one_of(
    st.builds(lambda pdu: b"\0\1\0\2" + pdu, st.binary(max_size=20)),
    st.builds(
        lambda length, pdu: b"\0\1\0\0" + length.to_bytes(2) + pdu, st.integers(0, 65535), st.binary(max_size=300)
    ),
    st.binary(max_size=40),
)
streams = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(st.one_of(polls, good), max_size=12), bad)


def expected(stream: bytes) -> tuple[bytes, bool]:
    """What a server sends for this stream, and whether it then closes the connection."""
    reset()
    answers = b""
    while len(stream) >= 6:
        transaction, protocol, length = struct.unpack(">HHH", stream[:6])
        if protocol != 0 or not 2 <= length <= 254:
            return answers, True
        if len(stream) < 6 + length:
            break
        unit, pdu, stream = stream[6], stream[7 : 6 + length], stream[6 + length :]
        response = EXECUTOR.execute(pdu) if unit in UNITS else bytes((pdu[0] | 0x80, 0x0B))
        answers += adu(transaction, unit, response)
    return answers, False


def received(stream: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    """What our connection makes of the stream in these segments."""
    reset()
    connection, answers = Connection(UNITS, Statistics()), b""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        try:
            answers += connection.receive(stream[start:end])
        except FramingError as error:
            return answers + error.answers, True
        assert len(connection._rest) < 6 + 254
    return answers, False


@settings(max_examples=800)
@given(streams, st.lists(st.integers(0, 4000), max_size=20))
def test_any_stream_in_any_segments(stream: bytes, cuts: list[int]) -> None:
    wanted = expected(stream)
    image = bytes(IMAGE.words)
    assert received(stream, []) == wanted
    assert IMAGE.words == image
    assert received(stream, cuts) == wanted
    assert IMAGE.words == image
    if len(stream) < 200:
        assert received(stream, list(range(len(stream)))) == wanted


# Writes against a model


class Writes(RuleBasedStateMachine):
    """The image beside a dictionary of its words."""

    def __init__(self) -> None:
        super().__init__()
        IMAGE.words[:] = bytes(2 * 65536)
        self.words = dict.fromkeys(FACTS, 0)

    @rule(address=st.one_of(st.sampled_from(COMMANDS), addresses), values=st.lists(small, min_size=1, max_size=30))
    def write(self, address: int, values: list[int]) -> None:
        """The BMS writes: all or nothing, whatever the words are."""
        targets = [(address + at, FACTS.get(address + at)) for at in range(len(values))]
        running = [word is not None and word.command and self.words[at] != 0 for at, word in targets]
        if any(word is None or word.access == "R" for _, word in targets):
            refusal = 2
        elif any(
            word is not None and word.values is not None and value not in word.values
            for (_, word), value in zip(targets, values, strict=True)
        ):
            refusal = 3
        elif any(runs and value for runs, value in zip(running, values, strict=True)):
            refusal = 6
        else:
            refusal = 0
            for (at, word), value, runs in zip(targets, values, running, strict=True):
                if not runs and word is not None and word.access != "-":
                    self.words[at] = value
        assert IMAGE.write(address, pack_words(values)) == refusal

    @rule(address=st.sampled_from(COMMANDS))
    def finish(self, address: int) -> None:
        """The gateway ends an operation."""
        self.words[address] = 0
        IMAGE.words[2 * address : 2 * address + 2] = b"\0\0"

    @rule(address=addresses, quantity=st.integers(1, 125))
    def read(self, address: int, quantity: int) -> None:
        """The BMS reads."""
        wanted = [self.words.get(at) for at in range(address, address + quantity)]
        view = IMAGE.view(address, quantity)
        if None in wanted:
            assert view is None
        else:
            assert view is not None
            assert bytes(view) == pack_words([word for word in wanted if word is not None])

    @invariant()
    def nothing_else_is_stored(self) -> None:
        stored = sum(map(bool, self.words.values()))
        assert 65536 * 2 - IMAGE.words.count(0) <= 2 * stored


TestWrites = Writes.TestCase
TestWrites.settings = settings(max_examples=150, stateful_step_count=30)
TestWrites.pytestmark = [pytest.mark.fuzz]  # type: ignore[attr-defined]
