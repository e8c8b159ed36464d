"""Modbus protocol data units: request bytes and a register image in, response bytes out.

Modbus Application Protocol 1.1b3. The order of the checks is that of its state diagrams: function code (01), quantity,
byte count and value (03), addresses (02), then execution. Coils and discrete inputs show the same map: coil *n* is
register *n*, 1 when the register is not 0.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from ampgate.registers.image import Image

log = logging.getLogger(__name__)


class ExceptionCode(IntEnum):
    """Exception codes (§7)."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    SERVER_DEVICE_BUSY = 6
    GATEWAY_TARGET_FAILED_TO_RESPOND = 11


class Identity(NamedTuple):
    """Objects of Read Device Identification (§6.21), each at most 64 ASCII characters."""

    vendor: str
    product_code: str
    revision: str
    url: str = ""
    product_name: str = ""
    model_name: str = ""
    application_name: str = ""


MAX_PDU: Final = 253
_MAX_READ_REGISTERS: Final = 125
_MAX_WRITE_REGISTERS: Final = 123
_MAX_READ_WRITE_WRITTEN: Final = 121
_MAX_READ_BITS: Final = 2000
_MAX_WRITE_BITS: Final = 1968

_TWO = struct.Struct(">HH")
_THREE = struct.Struct(">HHH")
_FOUR = struct.Struct(">HHHH")
_BIT_VALUES: Final = {0xFF00: b"\0\1", 0x0000: b"\0\0"}
_BASIC, _REGULAR, _EXTENDED, _INDIVIDUAL = 1, 2, 3, 4
_CONFORMITY: Final = 0x82  # regular identification, stream and individual access


def exception(function: int, code: int) -> bytes:
    """The exception response to a request with this function code."""
    return bytes((function | 0x80, code))


class Executor:
    """Answers requests from one image."""

    def __init__(self, image: Image, identity: Identity) -> None:
        self._image = image
        self._identity = [text.encode("ascii", "replace")[:64] for text in identity]
        self._functions: list[Callable[[bytes], bytes] | None] = [None] * 256
        for function, handler in (
            (1, self._read_bits),
            (2, self._read_bits),
            (3, self._read_registers),
            (4, self._read_registers),
            (5, self._write_bit),
            (6, self._write_register),
            (15, self._write_bits),
            (16, self._write_registers),
            (22, self._mask_write),
            (23, self._read_write),
            (43, self._identification),
        ):
            self._functions[function] = handler

    def execute(self, request: bytes) -> bytes:
        """Answer one request PDU (1…253 bytes: function code and data) with one response PDU. Never raises.

        Exception 04 says that the request was accepted, but what it should have started failed (see the log).
        """
        handler = self._functions[request[0]]
        if handler is None:
            return exception(request[0], ExceptionCode.ILLEGAL_FUNCTION)
        try:
            return handler(request)
        except struct.error:
            # The implied length is wrong, which §7 counts as an illegal data value.
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        except Exception:
            log.exception("request %s failed", request.hex())
            return exception(request[0], ExceptionCode.SERVER_DEVICE_FAILURE)

    def polled(self, request: bytes) -> memoryview | None:
        """The registers that a valid request of function 03 or 04 reads, live; None for any other request."""
        if len(request) != 5 or request[0] not in (3, 4):
            return None
        address, quantity = _TWO.unpack_from(request, 1)
        return self._image.view(address, quantity) if 1 <= quantity <= _MAX_READ_REGISTERS else None

    # Registers

    def _read_registers(self, request: bytes) -> bytes:
        address, quantity = _TWO.unpack(request[1:])
        if not 1 <= quantity <= _MAX_READ_REGISTERS:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        registers = self._image.view(address, quantity)
        if registers is None:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return bytes((request[0], 2 * quantity)) + registers

    def _write_register(self, request: bytes) -> bytes:
        address, _ = _TWO.unpack(request[1:])
        refusal = self._image.write(address, request[3:])
        return exception(request[0], refusal) if refusal else request

    def _write_registers(self, request: bytes) -> bytes:
        address, quantity = _TWO.unpack(request[1:5])
        data = request[6:]
        if not 1 <= quantity <= _MAX_WRITE_REGISTERS or not _counted(request, 5, 2 * quantity):
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        refusal = self._image.write(address, data)
        return exception(request[0], refusal) if refusal else request[:5]

    def _mask_write(self, request: bytes) -> bytes:
        address, and_mask, or_mask = _THREE.unpack(request[1:])
        # A signal that may be written can also be read, so one check of the write range is enough.
        current = int.from_bytes(self._image.words[2 * address : 2 * address + 2])
        value = (current & and_mask) | (or_mask & ~and_mask)
        refusal = self._image.write(address, (value & 0xFFFF).to_bytes(2))
        return exception(request[0], refusal) if refusal else request

    def _read_write(self, request: bytes) -> bytes:
        read_address, read_quantity, address, quantity = _FOUR.unpack(request[1:9])
        if (
            not 1 <= read_quantity <= _MAX_READ_REGISTERS
            or not 1 <= quantity <= _MAX_READ_WRITE_WRITTEN
            or not _counted(request, 9, 2 * quantity)
        ):
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        registers = self._image.view(read_address, read_quantity)
        if registers is None:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_ADDRESS)
        refusal = self._image.write(address, request[10:])
        if refusal:
            return exception(request[0], refusal)
        # §6.17: the write comes before the read; the view shows what was written.
        return bytes((request[0], 2 * read_quantity)) + registers

    # Coils and discrete inputs

    def _read_bits(self, request: bytes) -> bytes:
        address, quantity = _TWO.unpack(request[1:])
        if not 1 <= quantity <= _MAX_READ_BITS:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        data = self._image.view(address, quantity)
        if data is None:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_ADDRESS)
        bits = 0
        for number in range(quantity):
            if data[2 * number] or data[2 * number + 1]:
                bits |= 1 << number
        size = (quantity + 7) // 8
        return bytes((request[0], size)) + bits.to_bytes(size, "little")

    def _write_bit(self, request: bytes) -> bytes:
        address, value = _TWO.unpack(request[1:])
        data = _BIT_VALUES.get(value)
        if data is None:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        refusal = self._image.write(address, data)
        return exception(request[0], refusal) if refusal else request

    def _write_bits(self, request: bytes) -> bytes:
        address, quantity = _TWO.unpack(request[1:5])
        if not 1 <= quantity <= _MAX_WRITE_BITS or not _counted(request, 5, (quantity + 7) // 8):
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        bits = int.from_bytes(request[6:], "little")
        data = b"".join(_BIT_VALUES[0xFF00 if bits >> number & 1 else 0] for number in range(quantity))
        refusal = self._image.write(address, data)
        return exception(request[0], refusal) if refusal else request[:5]

    # Identification

    def _identification(self, request: bytes) -> bytes:
        if len(request) > 1 and request[1] != 0x0E:
            # MEI types other than Read Device Identification are functions that we do not have (§6.19).
            return exception(request[0], ExceptionCode.ILLEGAL_FUNCTION)
        if len(request) != 4 or not _BASIC <= request[2] <= _INDIVIDUAL:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        access, first = request[2], request[3]
        if access == _INDIVIDUAL:
            if first >= len(self._identity):
                return exception(request[0], ExceptionCode.ILLEGAL_DATA_ADDRESS)
            wanted = range(first, first + 1)
        else:
            # An object id that does not exist starts from the beginning (§6.21); so does an empty extended list.
            last = 3 if access == _BASIC else len(self._identity)
            wanted = range(first if first < last else 0, last)
        return self._objects(request[0], access, wanted)

    def _objects(self, function: int, access: int, wanted: range) -> bytes:
        room = MAX_PDU - 7
        body, count, more, following = b"", 0, 0, 0
        for number in wanted:
            text = self._identity[number]
            if len(body) + 2 + len(text) > room:
                more, following = 0xFF, number
                break
            body += bytes((number, len(text))) + text
            count += 1
        return bytes((function, 0x0E, access, _CONFORMITY, more, following, count)) + body


def _counted(request: bytes, at: int, expected: int) -> bool:
    """Whether the byte count at this place and the bytes after it are both what the quantity asks for."""
    return len(request) == at + 1 + expected and request[at] == expected
