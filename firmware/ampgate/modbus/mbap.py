"""Modbus TCP framing without sockets: bytes of a connection in, bytes to send back out.

Modbus Messaging on TCP/IP 1.0b §3.1.3: a header of transaction id, protocol id 0, length and unit id before each PDU.
Any segmentation is accepted; pipelined requests are answered in order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from ampgate.modbus.pdu import ExceptionCode, Executor, exception

_HEADER = struct.Struct(">HIB")
"""Transaction id; protocol id and length as one number, which is the length since the protocol id is 0; unit id."""
_LENGTH = struct.Struct(">I").unpack_from
_MIN_LENGTH: Final = 2
_MAX_LENGTH: Final = 254
_POLL_SIZE: Final = 12
_MAX_POLLS: Final = 512


class FramingError(Exception):
    """The peer does not speak Modbus TCP; the connection cannot be synchronised again and must be closed."""

    def __init__(self, reason: str, answers: bytes) -> None:
        super().__init__(reason)
        self.answers = answers
        """Responses to the requests before the error; they have been executed."""


class Statistics:
    """What went over all connections; read by whoever shows it."""

    __slots__ = ("exceptions", "framing_errors", "refused", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.exceptions = 0
        self.framing_errors = 0
        self.refused = 0
        """Connections closed at once: too many clients, or not on the allow-list."""


class Connection:
    """The server's end of one connection.

    ``units`` holds the executor of each unit id and does not change while the connection lives; another unit id gets
    exception 0B.
    """

    __slots__ = ("_polls", "_rest", "_statistics", "_units")

    def __init__(self, units: Mapping[int, Executor], statistics: Statistics) -> None:
        self._units = units
        self._statistics = statistics
        self._rest = b""
        # A BMS polls the same registers for ever, and a valid request stays valid. So each one is remembered by its
        # bytes after the transaction id, with what its response consists of: constant bytes, then live registers.
        self._polls: dict[bytes, tuple[bytes, memoryview]] = {}

    def receive(self, data: bytes) -> bytes:
        """Take received bytes, return the responses to every request that they complete (perhaps none).

        Raises `FramingError` after a wrong protocol id or length.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        answers: list[bytes] = []
        polls, size, at, length = self._polls, len(data), 0, _MIN_LENGTH
        while size - at >= 6:
            poll = polls.get(data[at + 2 : at + _POLL_SIZE])
            if poll is not None:
                start, registers = poll
                answers.append(data[at : at + 2] + start + registers)
                at += _POLL_SIZE
                continue
            (length,) = _LENGTH(data, at + 2)
            end = at + 6 + length
            if end > size or not _MIN_LENGTH <= length <= _MAX_LENGTH:
                break
            answers.append(self._answer(data[at:end]))
            at = end
        self._statistics.requests += len(answers)
        if not _MIN_LENGTH <= length <= _MAX_LENGTH:
            self._statistics.framing_errors += 1
            raise FramingError(_complaint(length), b"".join(answers))
        if at < size:
            self._rest = data[at:]
        return b"".join(answers)

    def _answer(self, request: bytes) -> bytes:
        transaction, _, unit = _HEADER.unpack_from(request)
        pdu = request[_HEADER.size :]
        executor = self._units.get(unit)
        if executor is None:
            response = exception(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
        else:
            response = executor.execute(pdu)
        answer = _HEADER.pack(transaction, len(response) + 1, unit) + response
        if response[0] & 0x80:
            self._statistics.exceptions += 1
        elif executor is not None and len(request) == _POLL_SIZE and len(self._polls) < _MAX_POLLS:
            registers = executor.polled(pdu)
            if registers is not None:
                self._polls[request[2:]] = answer[2 : -len(registers)], registers
        return answer


def _complaint(length: int) -> str:
    if length > 0xFFFF:
        return f"protocol id {length >> 16} instead of 0"
    return f"length {length} instead of {_MIN_LENGTH}…{_MAX_LENGTH}"
