"""Every expected byte string is written by hand: 123.456 is 42 F6 E9 79 in IEEE 754 single precision."""

from __future__ import annotations

import math

import pytest

from ampgate.registers.catalogue import Type
from ampgate.registers.codec import ByteOrder, codec

pytestmark = pytest.mark.unit

BIG, LITTLE = ByteOrder.BIG, ByteOrder.LITTLE
WORD_INVERTED_BIG, WORD_INVERTED_LITTLE = ByteOrder.WORD_INVERTED_BIG, ByteOrder.WORD_INVERTED_LITTLE


def test_names_of_the_setting() -> None:
    assert [str(order) for order in ByteOrder] == ["big", "little", "word-inverted-big", "word-inverted-little"]


WIDE = [  # ABCD, DCBA, CDAB, BADC: in the order of `ByteOrder`
    ("float32", 123.456, ("42 F6 E9 79", "79 E9 F6 42", "E9 79 42 F6", "F6 42 79 E9")),
    ("float32", -1.5, ("BF C0 00 00", "00 00 C0 BF", "00 00 BF C0", "C0 BF 00 00")),
    ("float32", 0, ("00 00 00 00", "00 00 00 00", "00 00 00 00", "00 00 00 00")),
    # 2026-01-31T12:00:00Z = 1 769 860 800
    ("epoch32", 1769860800, ("69 7D EE C0", "C0 EE 7D 69", "EE C0 69 7D", "7D 69 C0 EE")),
    ("epoch32", 1769860800.9, ("69 7D EE C0", "C0 EE 7D 69", "EE C0 69 7D", "7D 69 C0 EE")),
    ("uint32", 0x12345678, ("12 34 56 78", "78 56 34 12", "56 78 12 34", "34 12 78 56")),
]


@pytest.mark.parametrize(("kind", "value", "by_order"), WIDE)
def test_32_bit_values(kind: Type, value: float, by_order: tuple[str, ...]) -> None:
    for order, expected in zip(ByteOrder, map(bytes.fromhex, by_order), strict=True):
        encode, decode = codec(kind, 2, order)
        assert encode(value) == expected, order
        assert decode(expected) == pytest.approx(value, rel=1e-6)
        assert encode(decode(expected)) == expected


@pytest.mark.parametrize("order", ByteOrder)
def test_one_register_is_always_high_byte_first(order: ByteOrder) -> None:
    encode, decode = codec("uint16", 1, order)
    assert encode(0x1234) == b"\x12\x34"
    assert decode(b"\x12\x34") == 0x1234


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("uint16", -1, "FF FF"),  # list version "not supported"
        ("uint16", 65536 + 7, "00 07"),  # a long transaction id keeps its low word
        ("uint16", 230.9, "00 E6"),
        ("uint16", True, "00 01"),
        ("float32", 1e39, "7F 7F FF FF"),
        ("float32", -1e39, "FF 7F FF FF"),
        ("float32", 1e-50, "00 00 00 00"),
        ("epoch32", -5, "00 00 00 00"),
        ("epoch32", 2**40, "FF FF FF FF"),
        ("uint32", 2**32 + 1, "00 00 00 01"),
    ],
)
def test_values_beyond_the_range(kind: Type, value: float, expected: str) -> None:
    registers = len(bytes.fromhex(expected)) // 2
    assert codec(kind, registers, BIG).encode(value) == bytes.fromhex(expected)


def test_nan_stays_nan() -> None:
    encode, decode = codec("float32", 2, BIG)
    assert math.isnan(decode(encode(math.nan)))


STRINGS = [
    (3, "CP001", b"CP001\0", b"PC00\x001"),
    (3, "", b"\0\0\0\0\0\0", b"\0\0\0\0\0\0"),
    (3, "ABCDEF", b"ABCDEF", b"BADCFE"),
    (3, "ABCDEFGH", b"ABCDEF", b"BADCFE"),  # truncated
    (3, "\u00dcn\u00eft\u00e9", b"\xdcn\xeft\xe9\0", b"n\xdct\xef\0\xe9"),  # ISO 8859-1
    (3, "5\u20ac \u2126\U0001f600", b"5? ??\0", b"?5? \0?"),  # not in ISO 8859-1
]


@pytest.mark.parametrize(("registers", "text", "plain", "swapped"), STRINGS)
def test_strings(registers: int, text: str, plain: bytes, swapped: bytes) -> None:
    for order in (BIG, WORD_INVERTED_BIG):
        assert codec("string", registers, order).encode(text) == plain
    for order in (LITTLE, WORD_INVERTED_LITTLE):
        assert codec("string", registers, order).encode(text) == swapped


@pytest.mark.parametrize("order", ByteOrder)
def test_string_ends_at_the_first_nul(order: ByteOrder) -> None:
    encode, decode = codec("string", 10, order)
    assert decode(encode("CP001")) == "CP001"
    assert decode(bytes(20)) == ""
    assert decode(encode("A\0B")) == "A"
    assert decode(encode("\u00e9" * 30)) == "\u00e9" * 20


def test_width_of_every_encoding() -> None:
    for order in ByteOrder:
        assert len(codec("string", 13, order).encode("x")) == 26
        assert len(codec("float32", 2, order).encode(1)) == 4
        assert len(codec("reserved", 1, order).encode(0)) == 2
