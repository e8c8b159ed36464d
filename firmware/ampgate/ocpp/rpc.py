"""OCPP-J remote procedure calls without I/O: frames in, events out; requests and answers in, frames out.

OCPP-J 1.6 §4: CALL ``[2, id, action, payload]``, CALLRESULT ``[3, id, payload]``, CALLERROR ``[4, id, code,
description, details]``. One CALL of ours is outstanding at a time (§4.1.1); those of the peer never wait for it. What
real charge points send is read as well as can be: see `repair`.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from ampgate.ocpp import v16

CALL, CALLRESULT, CALLERROR = 2, 3, 4
MAX_ID: Final = 36
"""Characters of a message id (§4.1.4); longer ones are echoed all the same."""


class ErrorCode(StrEnum):
    """Error codes of a CALLERROR, spelled as in OCPP-J 1.6 §4.2.3 (errata: the misspelling is the standard)."""

    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMATION_VIOLATION = "FormationViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"


class CallError(Exception):
    """A CALLERROR: raised to answer with one, and raised at the caller that got one."""

    def __init__(self, code: str, description: str = "", details: Any = None) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.details = details if details is not None else {}

    def __str__(self) -> str:
        return f"{self.code}: {self.description}" if self.description else self.code


class Call(msgspec.Struct, frozen=True):
    """The peer asks something; it must be answered with `Rpc.result` or `Rpc.error`."""

    id: str | int
    request: v16.Message


class Refused(msgspec.Struct, frozen=True):
    """The peer asked something that could not be read; ``reply`` is the CALLERROR to send back."""

    reply: bytes
    error: CallError


class Result(msgspec.Struct, frozen=True):
    """The answer to our outstanding CALL."""

    response: v16.Message


class Failure(msgspec.Struct, frozen=True):
    """Our outstanding CALL was answered with a CALLERROR, or with an answer that could not be read."""

    error: CallError


class Garbage(msgspec.Struct, frozen=True):
    """A frame that cannot be answered: no message id, an unknown message type or an answer nobody waits for."""

    reason: str


Event = Call | Refused | Result | Failure | Garbage

_frame = msgspec.json.Decoder(list[msgspec.Raw])
_number = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str)
_id = msgspec.json.Decoder(str | int)
_encode = msgspec.json.encode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes of a peer; the last for JSON that is nested too deeply."""

# A string, or one of the two mistakes: a value left out after a colon, a comma where no element is. A string that never
# ends goes to the end of the frame: looking for its end anew from each quote would take quadratic time.
_BROKEN = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)|(:)(?=\s*[,}])|,(?=\s*[\]},])|(?<=[\[{])(\s*),', re.DOTALL)


def repair(frame: bytes) -> bytes:
    """Mend the two kinds of broken JSON that charge points are known to send; texts are left alone.

    ``"transactionId":,`` becomes null, that is missing; superfluous commas as in ``[,{…}]`` are dropped.
    """

    def mend(match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            return match[1]
        return b":null" if match[2] else b""

    return _BROKEN.sub(mend, frame)


class Unreadable(Exception):
    """A frame without a message type and id, and why."""


class Envelope(NamedTuple):
    """A frame as far as one must read it to know what it is."""

    kind: int
    """`CALL`, `CALLRESULT`, `CALLERROR` or a number that this version does not know."""
    id: str | int
    parts: list[msgspec.Raw]
    """All elements of the frame, as they were sent."""
    repaired: bool
    """Whether it had to be mended."""


def read(frame: bytes | str) -> Envelope:
    """Read message type and id of a frame; `Unreadable` when it has none, whatever it holds."""
    repaired = False
    try:
        parts = _frame.decode(frame)
    except _UNREADABLE:
        try:
            parts = _frame.decode(repair(frame.encode() if isinstance(frame, str) else frame))
        except _UNREADABLE as error:
            raise Unreadable(f"not a JSON array: {error}") from None
        repaired = True
    try:
        return Envelope(_number.decode(parts[0]), _id.decode(parts[1]), parts, repaired)
    except (IndexError, *_UNREADABLE) as error:
        raise Unreadable(f"no message type and id: {error}") from None


_ids = itertools.count(time.time_ns() // 1_000_000)


def _next_id() -> str:
    """A message id that no connection has had, before a restart neither: a late answer must not fit another CALL."""
    return str(next(_ids))


class Rpc:
    """One end of a connection; which end it is makes no difference."""

    def __init__(self, new_id: Callable[[], str] | None = None) -> None:
        self._new_id = new_id or _next_id
        self._waiting: tuple[str, v16.Action] | None = None
        self.received = 0
        self.malformed = 0
        """CALLs and answers of the peer that could not be read, and garbage."""
        self.repaired = 0

    @property
    def waiting(self) -> bool:
        """Whether our CALL is still to be answered."""
        return self._waiting is not None

    def call(self, request: v16.Message) -> bytes:
        """The frame of a new CALL; `RuntimeError` while another one is outstanding."""
        if self._waiting is not None:
            raise RuntimeError("a CALL is outstanding")
        action = v16.ACTION_OF[type(request)]
        message_id = self._new_id()
        self._waiting = message_id, action
        return _encode([CALL, message_id, action.name, request])

    def forget(self) -> None:
        """Give up on the outstanding CALL; an answer that comes later is garbage."""
        self._waiting = None

    def result(self, call: Call, response: v16.Message) -> bytes:
        """The frame that answers a CALL of the peer."""
        return _encode([CALLRESULT, call.id, response])

    def error(self, call_id: str | int, error: CallError) -> bytes:
        """The frame that refuses a CALL of the peer (description: at most 255 characters, §4.2.3)."""
        return _encode([CALLERROR, call_id, error.code, error.description[:255], error.details])

    def receive(self, frame: bytes | str) -> Event:
        """Read one frame; never raises, whatever it holds."""
        self.received += 1
        try:
            envelope = read(frame)
        except Unreadable as error:
            return self._garbage(str(error))
        self.repaired += envelope.repaired
        if envelope.kind == CALL:
            return self._call(envelope.id, envelope.parts)
        if envelope.kind in (CALLRESULT, CALLERROR):
            return self._answer(envelope.kind, envelope.id, envelope.parts)
        # §4.1.3: the payload of an unknown message type is ignored.
        return self._garbage(f"unknown message type {envelope.kind}")

    def _garbage(self, reason: str) -> Garbage:
        self.malformed += 1
        return Garbage(reason)

    def _call(self, message_id: str | int, parts: list[msgspec.Raw]) -> Call | Refused:
        try:
            if len(parts) != 4:
                raise CallError(ErrorCode.FORMATION_VIOLATION, f"a CALL has 4 elements, this one {len(parts)}")
            try:
                name = _text.decode(parts[2])
            except _UNREADABLE:
                raise CallError(ErrorCode.FORMATION_VIOLATION, "the action is not a string") from None
            action = v16.ACTIONS.get(name)
            if action is None:
                raise CallError(ErrorCode.NOT_IMPLEMENTED, f"unknown action {name[:50]!r}")
            return Call(message_id, self._payload(action.request, parts[3]))
        except CallError as error:
            self.malformed += 1
            return Refused(self.error(message_id, error), error)

    def _answer(self, kind: int, message_id: str | int, parts: list[msgspec.Raw]) -> Result | Failure | Garbage:
        if self._waiting is None or str(message_id) != self._waiting[0]:
            return self._garbage(f"answer to {message_id!r}, which was not asked")
        _, action = self._waiting
        self._waiting = None
        if kind == CALLERROR:
            return Failure(_read_error(parts))
        try:
            if len(parts) != 3:
                raise CallError(ErrorCode.FORMATION_VIOLATION, f"a CALLRESULT has 3 elements, this one {len(parts)}")
            return Result(self._payload(action.response, parts[2]))
        except CallError as error:
            self.malformed += 1
            return Failure(error)

    @staticmethod
    def _payload(type_: type[v16.Message], payload: msgspec.Raw) -> v16.Message:
        try:
            return v16.decode(type_, payload)
        except v16.PayloadError as error:
            raise CallError(error.code, error.description) from None


def _read_error(parts: list[msgspec.Raw]) -> CallError:
    """Read a CALLERROR leniently: some charge points leave out description or details."""
    values: list[Any] = []
    for part in parts[2:5]:
        try:
            values.append(msgspec.json.decode(part))
        except _UNREADABLE:
            values.append(None)
    code, description, details = [*values, None, None, None][:3]
    return CallError(str(code or ErrorCode.GENERIC_ERROR), str(description or ""), details)
