"""How values lie in registers: the types of the map in the four byte orders.

Manual 1.6 §2.6 lists the orders. With the bytes of a 32-bit value named A (most significant) to D they put on the wire:
big ABCD, little DCBA, word-inverted big CDAB, word-inverted little BADC. A single 16-bit register is always high
byte first, as Modbus says. Strings hold two characters a register, high byte first, NUL padded, ISO 8859-1; the two
little-endian orders swap the characters of a register.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from ampgate.registers.catalogue import Type


class ByteOrder(StrEnum):
    """Byte order of the whole map (one setting)."""

    BIG = "big"
    LITTLE = "little"
    WORD_INVERTED_BIG = "word-inverted-big"
    WORD_INVERTED_LITTLE = "word-inverted-little"


class Codec(NamedTuple):
    """The two directions of one type."""

    encode: Callable[[Any], bytes]
    """Value to wire bytes, always ``2 * registers`` long."""
    decode: Callable[[bytes], Any]
    """Wire bytes to value."""


_LITTLE_BYTES = (ByteOrder.LITTLE, ByteOrder.WORD_INVERTED_LITTLE)
_WORD_INVERTED = (ByteOrder.WORD_INVERTED_BIG, ByteOrder.WORD_INVERTED_LITTLE)
_MAX_U32 = 0xFFFF_FFFF
_MAX_FLOAT32 = 3.4028234663852886e38


def _swap_words(data: bytes) -> bytes:
    return data[2:] + data[:2]


def _swap_bytes(data: bytes) -> bytes:
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return bytes(swapped)


def _uint16() -> Codec:
    word = struct.Struct(">H")
    # Modulo, so that −1 (list version "not supported") reads 65535 and a long transaction id keeps its low word.
    return Codec(lambda value: word.pack(int(value) & 0xFFFF), lambda data: word.unpack(data)[0])


def _wide(kind: str, order: ByteOrder, limit: Callable[[Any], Any]) -> Codec:
    # CDAB is ABCD with its words exchanged, BADC is DCBA with its words exchanged.
    number = struct.Struct(("<" if order in _LITTLE_BYTES else ">") + kind)
    pack, unpack = number.pack, number.unpack

    def encode(value: Any) -> bytes:
        try:
            return pack(value)
        except (struct.error, OverflowError):
            return pack(limit(value))

    if order in _WORD_INVERTED:
        return Codec(lambda value: _swap_words(encode(value)), lambda data: unpack(_swap_words(data))[0])
    return Codec(encode, lambda data: unpack(data)[0])


def _to_float32(value: float) -> float:
    # A double beyond single precision: the register shows the nearest value.
    return max(-_MAX_FLOAT32, min(_MAX_FLOAT32, value))


def _to_epoch(value: float) -> int:
    return max(0, min(_MAX_U32, int(value)))


def _string(registers: int, order: ByteOrder) -> Codec:
    size = 2 * registers

    def encode(value: str) -> bytes:
        data = value.encode("iso-8859-1", "replace")[:size].ljust(size, b"\0")
        return _swap_bytes(data) if order in _LITTLE_BYTES else data

    def decode(data: bytes) -> str:
        plain = _swap_bytes(data) if order in _LITTLE_BYTES else bytes(data)
        return plain.partition(b"\0")[0].decode("iso-8859-1")

    return Codec(encode, decode)


@cache
def codec(type_: Type, registers: int, order: ByteOrder) -> Codec:
    """The codec of a signal type.

    ``uint16`` and ``uint32`` take any int (modulo 2¹⁶ and 2³²); ``float32`` any float (limited to single precision,
    NaN kept); ``epoch32`` seconds since 1970 UTC (limited to 0…2³²−1); ``string`` any text (longer text is truncated,
    a character outside ISO 8859-1 becomes ``?``).
    """
    match type_:
        case "uint16" | "reserved":
            return _uint16()
        case "float32":
            return _wide("f", order, _to_float32)
        case "uint32":
            return _wide("I", order, lambda value: int(value) & _MAX_U32)
        case "epoch32":
            return _wide("I", order, _to_epoch)
        case "string":
            return _string(registers, order)
