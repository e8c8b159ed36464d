"""Modbus RTU framing without a serial port: bytes of the line in, bytes to send out.

Modbus over serial line 1.02 §2.5: address, PDU and CRC, frames apart by 3.5 characters of silence. A request is
recognised by its length and CRC, so that the answer does not have to wait for a silence to be noticed; the silence is
needed only for functions whose length is not known, and to forget half frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from ampgate.modbus.pdu import ExceptionCode, exception

BROADCAST: Final = 0
MAX_FRAME: Final = 256
_DIAGNOSTICS: Final = 8
_REPORT_SERVER_ID: Final = 17
_ECHOED: Final = frozenset((5, 6, _DIAGNOSTICS, 22))
"""Functions whose answer is the request itself: an echo of it on the line cannot be told from a repetition."""
_FIXED: Final = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6, 43: 7}
_COUNTED: Final = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}
"""Functions whose length depends on a byte count, and where it is in the frame."""

Execute = Callable[[bytes], bytes]


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def crc(data: bytes) -> bytes:
    """CRC-16 of a frame as it goes on the line, low byte first (§6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def request_length(frame: bytes) -> int | None:
    """Length of the request that begins here, CRC included; None while it is not known.

    0 stands for a function whose length only a silence can tell.
    """
    if len(frame) < 2:
        return None
    function = frame[1]
    if function in _FIXED:
        return _FIXED[function]
    at = _COUNTED.get(function)
    if at is None:
        return 0
    return at + 1 + frame[at] + 2 if len(frame) > at else None


class Diagnostic(IntEnum):
    """Sub-functions of Diagnostics (application protocol §6.8)."""

    RETURN_QUERY_DATA = 0
    RESTART_COMMUNICATIONS = 1
    RETURN_DIAGNOSTIC_REGISTER = 2
    FORCE_LISTEN_ONLY = 4
    CLEAR_COUNTERS = 10
    BUS_MESSAGES = 11
    BUS_ERRORS = 12
    EXCEPTIONS = 13
    SERVER_MESSAGES = 14
    NO_RESPONSES = 15
    NAKS = 16
    BUSY = 17
    OVERRUNS = 18


class Statistics:
    """Counters of the line since power-up or since Clear Counters."""

    __slots__ = ("bus_errors", "bus_messages", "busy", "exceptions", "no_responses", "overruns", "server_messages")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """All counters 0."""
        self.bus_messages = 0
        """Frames with a right CRC on the line, for whomever."""
        self.bus_errors = 0
        """Silences after bytes that made no frame: bad CRC, noise, half frames."""
        self.exceptions = 0
        self.server_messages = 0
        """Requests to this address and broadcasts."""
        self.no_responses = 0
        """Requests that got no answer: broadcasts, and all in listen-only mode."""
        self.busy = 0
        self.overruns = 0
        """Bytes lost because no frame is this long."""

    def of(self, diagnostic: Diagnostic) -> int:
        """The counter that a sub-function returns."""
        return {
            Diagnostic.BUS_MESSAGES: self.bus_messages,
            Diagnostic.BUS_ERRORS: self.bus_errors,
            Diagnostic.EXCEPTIONS: self.exceptions,
            Diagnostic.SERVER_MESSAGES: self.server_messages,
            Diagnostic.NO_RESPONSES: self.no_responses,
            Diagnostic.BUSY: self.busy,
            Diagnostic.OVERRUNS: self.overruns,
        }.get(diagnostic, 0)


class Server:
    """The slaves of this device on the line: one for each address of ``units`` (1…247).

    A broadcast is executed by all of them. ``server_id`` is the text of Report Server ID. Feed it with `receive` and
    `silence`.
    """

    def __init__(self, units: Mapping[int, Execute], server_id: str = "") -> None:
        self._units = dict(units)
        self.statistics = Statistics()
        self.listen_only = False
        self.echoes: bool | None = None
        """Whether the line brings back what is sent; None while it is not known."""
        self._server_id = server_id.encode("ascii", "replace")[:64]
        self._buffer = b""
        self._sent = b""

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes from the line; returns the frame to answer with once they complete a request to this slave."""
        self._buffer += data
        if self._sent and not self._echo_settled():
            return None
        answer = None
        while (found := self._find()) is not None:
            frame, self._buffer = found
            answer = self._handle(frame)
        if len(self._buffer) > MAX_FRAME:
            self.statistics.overruns += len(self._buffer) - MAX_FRAME
            self._buffer = self._buffer[-MAX_FRAME:]
        return answer

    def silence(self) -> bytes | None:
        """3.5 characters have passed without a byte: what is left is a frame of unknown function, or is dropped."""
        frame, self._buffer, self._sent = self._buffer, b"", b""
        if not frame:
            return None
        if len(frame) >= 4 and (frame[0] in self._units or frame[0] == BROADCAST) and crc(frame[:-2]) == frame[-2:]:
            return self._handle(frame)
        if len(frame) >= 4 and crc(frame[:-2]) == frame[-2:]:
            self.statistics.bus_messages += 1  # between the master and another slave
        else:
            self.statistics.bus_errors += 1
        return None

    def _find(self) -> tuple[bytes, bytes] | None:
        """The first complete request in the buffer and what follows it.

        Noise may precede a request to this slave; a broadcast or another slave's request must begin the buffer.
        """
        buffer = self._buffer
        for start, byte in enumerate(buffer):
            if start and byte not in self._units:
                continue
            length = request_length(buffer[start:])
            if not length:
                continue
            frame = buffer[start : start + length]
            if len(frame) == length and crc(frame[:-2]) == frame[-2:]:
                return frame, buffer[start + length :]
        return None

    def _handle(self, frame: bytes) -> bytes | None:
        self.statistics.bus_messages += 1
        address, request = frame[0], frame[1:-2]
        if address == BROADCAST:
            self._broadcast(request)
            return None
        if address not in self._units:
            return None
        self.statistics.server_messages += 1
        answer = self._answer(address, request)
        if answer is not None and answer[0] & 0x80:
            self.statistics.exceptions += 1
            self.statistics.busy += answer[1] == ExceptionCode.SERVER_DEVICE_BUSY
        if answer is None:
            self.statistics.no_responses += 1
            return None
        out = frame[:1] + answer
        self._sent = out + crc(out)
        if self.echoes is False:
            sent, self._sent = self._sent, b""
            return sent
        return self._sent

    def _broadcast(self, request: bytes) -> None:
        self.statistics.server_messages += 1
        self.statistics.no_responses += 1
        for address in self._units:
            self._answer(address, request)

    def _answer(self, address: int, request: bytes) -> bytes | None:
        if self.listen_only:
            if request[:3] == struct.pack(">BH", _DIAGNOSTICS, Diagnostic.RESTART_COMMUNICATIONS):
                self.listen_only = False
            return None
        if request[0] == _DIAGNOSTICS:
            return self._diagnose(request)
        if request[0] == _REPORT_SERVER_ID:
            if len(request) != 1:
                return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
            return bytes((request[0], len(self._server_id) + 2, address)) + b"\xff" + self._server_id
        return self._units[address](request)

    def _diagnose(self, request: bytes) -> bytes | None:
        """Diagnostics; only Return Query Data takes any data, the others want 0 (restart: or FF00)."""
        if len(request) < 5:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        code, value = struct.unpack(">HH", request[1:5])
        try:
            diagnostic = Diagnostic(code)
        except ValueError:
            return exception(request[0], ExceptionCode.ILLEGAL_FUNCTION)
        if diagnostic is Diagnostic.RETURN_QUERY_DATA:
            return request
        restart = diagnostic is Diagnostic.RESTART_COMMUNICATIONS
        if len(request) != 5 or value not in ((0, 0xFF00) if restart else (0,)):
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        if diagnostic is Diagnostic.FORCE_LISTEN_ONLY:
            self.listen_only = True
            return None
        if restart or diagnostic is Diagnostic.CLEAR_COUNTERS:
            self.statistics.clear()
            return request
        return request[:3] + (self.statistics.of(diagnostic) & 0xFFFF).to_bytes(2)

    def _echo_settled(self) -> bool:
        """Take away the echo of the last answer; False while the bytes so far may still become one.

        Adapters without receiver control bring every answer back. It is learnt from answers that no master would
        send; of the others (`_ECHOED`) a doubtful first one is taken for an echo, as answering it would never end.
        """
        sent, buffer = self._sent, self._buffer
        if len(buffer) < len(sent) and sent.startswith(buffer):
            return False
        self._sent = b""
        if not buffer.startswith(sent):
            self.echoes = False
        else:
            self._buffer = buffer[len(sent) :]
            if sent[1] not in _ECHOED:
                self.echoes = True
        return True
