"""Modbus RTU framing without a serial port: bytes of the line in, bytes to send out.

Modbus over serial line 1.02 §2.5: address, PDU and CRC, frames apart by 3.5 characters of silence. Frames are
recognised by length and CRC, those between the master and other slaves too: so nothing inside them is taken for a
request, and the next request is found however the system cuts or joins what it reads. Only frames whose length their
function does not tell, and requests behind noise, need the silence to be recognised.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from ampgate.modbus.pdu import ExceptionCode, exception

BROADCAST: Final = 0
MIN_FRAME: Final = 4
MAX_FRAME: Final = 256
_DIAGNOSTICS: Final = 8
_REPORT_SERVER_ID: Final = 17
_ERROR: Final = 0x80
"""This bit in a function code marks an exception response."""
_NOT_A_FRAME: Final = b"\xff"
"""An address that nobody has."""
_ECHOED: Final = frozenset((5, 6, _DIAGNOSTICS, 22))
"""Functions whose response is the request itself: an echo of it on the line cannot be told from a repetition."""

Lengths = Mapping[int, tuple[int, int]]
"""Length of a frame by its function; where a byte count in the frame adds to it, the place of that count, else 0."""
_REQUESTS: Final[Lengths] = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, _DIAGNOSTICS), (8, 0)),
    **dict.fromkeys((7, 11, 12, _REPORT_SERVER_ID), (4, 0)),
    **dict.fromkeys((15, 16), (9, 6)),
    **dict.fromkeys((20, 21), (5, 2)),
    22: (10, 0),
    23: (13, 10),
    24: (6, 0),
    43: (7, 0),
}
_RESPONSES: Final[Lengths] = {
    **dict.fromkeys((1, 2, 3, 4, 12, _REPORT_SERVER_ID, 20, 21, 23), (5, 2)),
    **dict.fromkeys((5, 6, _DIAGNOSTICS, 11, 15, 16), (8, 0)),
    7: (5, 0),
    22: (10, 0),
    **dict.fromkeys(range(_ERROR + 1, 0x100), (5, 0)),
}

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


def _is_frame(data: bytes) -> bool:
    # The CRC of a frame with its CRC is 0.
    return MIN_FRAME <= len(data) <= MAX_FRAME and crc(data) == b"\0\0"


def _length(lengths: Lengths, data: bytes) -> int:
    """Length of the frame that begins here, CRC included; 0 while or where it cannot be told."""
    length, count = lengths.get(data[1], (0, 0)) if len(data) > 1 else (0, 0)
    if not count:
        return length
    return length + data[count] if len(data) > count else 0


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
    """Counters of the line since power-up or since they were cleared (application protocol §6.8.1)."""

    __slots__ = ("bus_errors", "bus_messages", "busy", "exceptions", "no_responses", "overruns", "server_messages")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """All counters 0."""
        self.bus_messages = 0
        """Frames with a right CRC on the line, for whomever."""
        self.bus_errors = 0
        """Runs of bytes that made no frame: bad CRC, noise, half frames."""
        self.exceptions = 0
        """Requests that were refused, broadcasts too."""
        self.server_messages = 0
        """Requests to this slave and broadcasts."""
        self.no_responses = 0
        """Requests that got no answer: broadcasts, and all in listen-only mode."""
        self.busy = 0
        """Requests that were refused with exception 06."""
        self.overruns = 0
        """How often bytes were dropped because no frame is this long."""

    def of(self, diagnostic: Diagnostic) -> int:
        """The counter that a sub-function returns; 0 for what there is nothing to count of."""
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

    A broadcast is executed by all of them. ``server_id`` is the text of Report Server ID. Tell it what happens on the
    line with `receive`, `silence` and `forget`; they never raise, and keep at most `MAX_FRAME` bytes.
    """

    def __init__(self, units: Mapping[int, Execute], server_id: str = "") -> None:
        self._units = dict(units)
        self._server_id = server_id.encode("ascii", "replace")[:64]
        self.statistics = Statistics()
        self.listen_only = False
        self.reset()

    def reset(self, echoes: bool | None = None) -> None:
        """Begin on a line about which nothing else is known than whether it echoes, if that is."""
        self.echoes = echoes
        """Whether the line brings back what is sent; None while it is not known."""
        self._buffer = b""
        self._answer: bytes | None = None
        self._sent = b""
        """The last answer, as long as it may come back."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the line. A request that they complete is executed; its answer has to wait for `silence`."""
        self._buffer += data
        while length := self._frame_length():
            frame, self._buffer = self._buffer[:length], self._buffer[length:]
            self._take(frame)
        if len(self._buffer) > MAX_FRAME:
            self.statistics.overruns += 1
            self._buffer = _NOT_A_FRAME + self._buffer[1 - MAX_FRAME :]

    def silence(self) -> bytes | None:
        """3.5 characters have passed without a byte: returns the frame to send now, if there is one."""
        if self._answer is None and self._buffer:
            if _is_frame(self._buffer):
                frame, self._buffer = self._buffer, b""
                self._take(frame)
            elif request := self._request_behind_noise():
                self._drop_noise()
                self._take(request, certain=False)
        answer, self._answer = self._answer, None
        if answer is not None:
            self._drop_noise()
            self._sent = b"" if self.echoes is False and answer[1] in _ECHOED else answer
        return answer

    def forget(self) -> None:
        """Nothing has come for so long that no frame goes on, and no echo either: half frames and noise are dropped."""
        if self._buffer:
            self._drop_noise()
            self._sent = b""
        elif self._sent:
            self.echoes = self.echoes or False
            if self._sent[1] in _ECHOED and not self.echoes:
                self._sent = b""  # the same frame is a repetition from now on; any other is an echo, however late

    def _drop_noise(self) -> None:
        self.statistics.bus_errors += bool(self._buffer)
        self._buffer = b""

    def _frame_length(self) -> int:
        """Length of the frame that the buffer begins with; 0 while there is none."""
        buffer, sent = self._buffer, self._sent
        if sent and buffer.startswith(sent):
            return len(sent)
        if not buffer or sent.startswith(buffer):
            return 0
        # What looks like a response of this slave may be the beginning of a longer request to it.
        mine = buffer[0] == BROADCAST or buffer[0] in self._units
        for lengths in (_REQUESTS,) if mine else (_REQUESTS, _RESPONSES):
            length = _length(lengths, buffer)
            if length <= len(buffer) and _is_frame(buffer[:length]):
                return length
        return 0

    def _request_behind_noise(self) -> bytes:
        """The request to this slave at the end of the buffer, of a function that tells its length; else nothing."""
        for start in range(1, len(self._buffer) - MIN_FRAME + 1):
            frame = self._buffer[start:]
            if frame[0] in self._units and _length(_REQUESTS, frame) == len(frame) and _is_frame(frame):
                return frame
        return b""

    def _take(self, frame: bytes, *, certain: bool = True) -> None:
        """A frame has passed on the line.

        Adapters without receiver control bring every answer back, before anything else. Whether this one does is
        learnt: from a response that no master would send, from a ``certain`` frame (no noise before it) that is
        something else, or from no byte at all (see `forget`). While it is not known, a repetition counts as an echo,
        as answering echoes would never end.
        """
        sent, self._sent = self._sent, b""
        if frame == sent:
            self.echoes = self.echoes if sent[1] in _ECHOED else True
            return
        if sent and certain:
            self.echoes = self.echoes or False
        self._answer = None  # whatever it was to be, the master has gone on
        self.statistics.bus_messages += 1
        address, request = frame[0], frame[1:-2]
        if not request[0] & _ERROR:
            if address == BROADCAST:
                self._broadcast(request)
            elif address in self._units:
                self._serve(address, request)

    def _broadcast(self, request: bytes) -> None:
        self.statistics.server_messages += 1
        self.statistics.no_responses += 1
        for address in self._units:
            self._execute(address, request)

    def _serve(self, address: int, request: bytes) -> None:
        self.statistics.server_messages += 1
        answer = self._execute(address, request)
        if answer is None:
            self.statistics.no_responses += 1
        else:
            out = bytes((address,)) + answer
            self._answer = out + crc(out)

    def _execute(self, address: int, request: bytes) -> bytes | None:
        """The response of one slave; None when it has to keep silent."""
        if self.listen_only:
            if request[:3] == struct.pack(">BH", _DIAGNOSTICS, Diagnostic.RESTART_COMMUNICATIONS):
                self.listen_only = False
                self.statistics.clear()
            return None
        if request[0] == _DIAGNOSTICS:
            answer = self._diagnose(request)
        elif request[0] == _REPORT_SERVER_ID:
            answer = self._report(address, request)
        else:
            answer = self._units[address](request)
        if answer is not None and answer[0] & _ERROR:
            self.statistics.exceptions += 1
            self.statistics.busy += answer[1] == ExceptionCode.SERVER_DEVICE_BUSY
        return answer

    def _report(self, address: int, request: bytes) -> bytes:
        """Report Server ID (§6.13): the address as id, run indicator on, and a text."""
        if len(request) != 1:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        return bytes((request[0], 2 + len(self._server_id), address, 0xFF)) + self._server_id

    def _diagnose(self, request: bytes) -> bytes | None:
        """Diagnostics (§6.8); only Return Query Data takes any data, the others want 0 (restart: or FF00)."""
        if len(request) < 5:
            return exception(request[0], ExceptionCode.ILLEGAL_DATA_VALUE)
        code, value = struct.unpack_from(">HH", request, 1)
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
