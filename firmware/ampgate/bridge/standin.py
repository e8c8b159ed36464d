"""Stands in for an external central system that is away: answers the charger and keeps what upstream must get.

What upstream must get is in the journal before the charger hears that it was taken, and leaves it when upstream has
answered; so nothing is lost and, as a repetition of the charger is recognised, nothing comes twice. Frames are kept as
they came. One thing in them may change: a transaction that began while upstream was away has an id of the gateway's,
and upstream gives it another one when it gets the start. From then on each side sees the id it knows.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from ampgate.bridge.charger import NOTIFICATIONS
from ampgate.bridge.policy import Trust
from ampgate.bridge.sessions import Settings
from ampgate.journal import Kept
from ampgate.ocpp import rpc, v16
from ampgate.ocpp.relay import Frame
from ampgate.ocpp.relayed import Delivery, Reply

log = logging.getLogger(__name__)

MOST_KEPT: Final = 20_000
"""Messages of a charger that wait for upstream. With more, the oldest meter values are given up; nothing else is."""
TRIES: Final = 12
"""How often upstream gets a message that it does not answer or fails at; then it is given up, so that it does not stand
in the way for ever. A BootNotification is never given up: nothing goes without it."""
TRIES_OF_BAD: Final = 3
"""The same of a message that upstream finds bad."""
RETRY_DELAYS: Final = (2.0, 300.0)
"""Seconds before the second try, doubled before each further one, and the most; 12 tries take 23 minutes."""
_BAD: Final = frozenset(
    (
        *("FormationViolation", "FormatViolation", "ProtocolError", "PropertyConstraintViolation"),
        *("OccurenceConstraintViolation", "OccurrenceConstraintViolation", "TypeConstraintViolation"),
        *("NotImplemented", "NotSupported"),
    )
)
"""Errors that no further try mends, as OCPP and its implementations spell them."""
PENDING_DELAYS: Final = (1.0, 3600.0, 30.0)
"""Least and most seconds between two BootNotifications that upstream does not accept, and when it gives no interval."""
LOCAL_IDS: Final = 0x7000_0000
"""Transaction ids of the gateway's begin here, far from what central systems give out."""

_BOOT, _METER, _START, _STOP = "BootNotification", "MeterValues", "StartTransaction", "StopTransaction"
_REPEATED: Final[dict[str, type[v16.Message]]] = {
    _METER: v16.MeterValuesRequest,
    _START: v16.StartTransactionRequest,
    _STOP: v16.StopTransactionRequest,
}
"""What a charger sends again, unchanged, until it hears an answer (OCPP 1.6 §3.7, §4.8)."""
_CARRIES_ID: Final = frozenset((_METER, _STOP, "RemoteStopTransaction", "SetChargingProfile"))
"""CALLs with the id of a transaction."""
_TRANSACTION_ID = re.compile(r'("transactionId"\s*:\s*"?)(-?\d+)(?=["\s,}])')
"""In the text of a frame: within a JSON string the quotes would be escaped."""


class StandIn:
    """Stands in for the central system of one charger.

    ``trust`` says who may charge meanwhile; ``used`` gives the ids of running transactions; ``heartbeat_interval`` in
    seconds is told to a charger that boots, unless upstream has told another one before.
    """

    def __init__(
        self,
        identity: str,
        settings: Settings,
        trust: Trust,
        used: Callable[[], Iterable[int]],
        heartbeat_interval: int,
    ) -> None:
        self._id = identity
        self._settings = settings
        self._journal = settings.journal
        self._trust = trust
        self._used = used
        self.heartbeat_interval = heartbeat_interval
        self._rpc = rpc.Rpc()
        self._replies = self._journal.replies(identity)
        self._upstream_ids = self._journal.translations(identity)
        self._local_ids = {upstream: local for local, upstream in self._upstream_ids.items()}
        self._tries: Counter[int] = Counter()
        self.count = self._journal.kept_count(identity)
        """Messages that upstream has still to get."""
        self.given_up = 0
        self._handlers: dict[type[v16.Message], Callable[[Any], v16.Message]] = {
            v16.BootNotificationRequest: self._booted,
            v16.HeartbeatRequest: self._heartbeat,
            v16.AuthorizeRequest: lambda request: v16.AuthorizeResponse(id_tag_info=self._judge(request.id_tag)),
            v16.StartTransactionRequest: self._started,
        }
        for request, response in _ACKNOWLEDGED.items():
            self._handlers[request] = partial(_acknowledge, response)

    # While upstream is away

    def reply(self, frame: Frame) -> Reply:
        """Answer a CALL in place of upstream."""
        event = self._rpc.receive(frame)
        if isinstance(event, rpc.Refused):
            return Reply(event.reply.decode())
        if not isinstance(event, rpc.Call):
            return Reply(None)
        handler = self._handlers.get(type(event.request))
        if handler is None:
            error = rpc.CallError(rpc.ErrorCode.NOT_SUPPORTED, "this is a message to a charge point")
            return Reply(self._rpc.error(event.id, error).decode())
        response = handler(event.request)
        stored = type(event.request) not in _NOT_KEPT
        if stored:
            try:
                self._keep(rpc.read(frame), frame, event.request, response)
            except sqlite3.Error:
                log.exception("%s: a message cannot be kept for the central system", self._id)
                error = rpc.CallError(rpc.ErrorCode.INTERNAL_ERROR, "the gateway cannot keep this; see its log")
                return Reply(self._rpc.error(event.id, error).decode())
        return Reply(self._rpc.result(event, response).decode(), stored)

    def _keep(self, envelope: rpc.Envelope, frame: Frame, request: v16.Message, response: v16.Message) -> None:
        action = v16.ACTION_OF[type(request)].name
        message = _message(envelope, request)
        kind, replaces = action, action == _BOOT
        if isinstance(request, v16.StatusNotificationRequest):
            # Upstream is told how things are, not how they were (OCPP 1.6 §4.9).
            kind, replaces = f"{action} {request.connector_id}", True
        self.count += self._journal.keep(
            self._id,
            kind,
            message,
            frame if isinstance(frame, str) else frame.decode("utf-8", "replace"),
            v16.encode(response),
            replaces=replaces,
            started=response.transaction_id if isinstance(response, v16.StartTransactionResponse) else None,
        )
        if message is not None:
            self._replies[message] = v16.encode(response)
        if self.count > MOST_KEPT and self._journal.drop_oldest(self._id, _METER):
            self.count -= 1
            self.given_up += 1
            if self.given_up % 1000 == 1:
                log.error("%s: no room for more: the oldest meter values are given up", self._id)

    def repeated(self, envelope: rpc.Envelope) -> Frame | None:
        """The answer to a CALL that was kept before: upstream has got it or will."""
        kind = _REPEATED.get(_action(envelope)) if self._replies else None
        request = _payload(kind, envelope, 3) if kind else None
        response = self._replies.get(_message(envelope, request) or "") if request else None
        if response is None:
            return None
        return msgspec.json.encode([rpc.CALLRESULT, envelope.id, msgspec.Raw(response)]).decode()

    def _booted(self, request: v16.BootNotificationRequest) -> v16.Message:
        return v16.BootNotificationResponse(
            status=v16.RegistrationStatus.ACCEPTED,
            current_time=v16.format_timestamp(self._settings.now()),
            interval=self.heartbeat_interval,
        )

    def _heartbeat(self, request: v16.HeartbeatRequest) -> v16.Message:
        return v16.HeartbeatResponse(current_time=v16.format_timestamp(self._settings.now()))

    def _started(self, request: v16.StartTransactionRequest) -> v16.Message:
        return v16.StartTransactionResponse(transaction_id=self._new_id(), id_tag_info=self._judge(request.id_tag))

    def _new_id(self) -> int:
        """An id whose 16 low bits, which the map shows, no running transaction of the charger has."""
        ids = self._settings.transaction_ids
        used = {number & 0xFFFF for number in self._used()}
        while (low := ids.take()) in used:
            pass
        return LOCAL_IDS | low

    def _judge(self, id_tag: Any) -> v16.IdTagInfo:
        tag = v16.text(id_tag)
        known = self._journal.verdict(tag.lower()) if self._trust is Trust.KNOWN else None
        if known:
            info = msgspec.json.decode(known, type=v16.IdTagInfo)
            now = self._settings.now()
            if info.expiry_date and v16.parse_timestamp(info.expiry_date, now) < now:
                return v16.IdTagInfo(status=v16.AuthorizationStatus.EXPIRED)
            return info
        accepted = self._trust is Trust.ACCEPT
        return v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED if accepted else v16.AuthorizationStatus.INVALID)

    def judged(self, id_tag: str, info: v16.IdTagInfo | None) -> None:
        """Upstream has judged an id tag: remember it, if it is asked for that."""
        if info is not None and id_tag and self._trust is Trust.KNOWN:
            if info.status is v16.AuthorizationStatus.CONCURRENT_TX:
                return  # true at that moment only
            self._journal.judged(id_tag.lower(), v16.encode(info))

    # When upstream is there again

    def next(self) -> Delivery | None:
        """What is to be delivered now, the charger's boot first; None when there is nothing left."""
        kept = self._journal.kept(self._id, _BOOT)
        if kept is None:
            return None
        envelope = rpc.read(kept.frame)
        return Delivery(str(envelope.id), self.outward(envelope, kept.frame), kept)

    def delivered(self, delivery: Delivery, answer: rpc.Envelope | None) -> float:
        """Upstream has answered, or (None) has not in time; returns seconds to wait before the next delivery."""
        kept: Kept = delivery.kept
        transaction_id: int | None = None
        if answer is None or answer.kind != rpc.CALLRESULT:
            return self._try_again(kept, answer)
        if kept.kind == _BOOT:
            boot = _payload(v16.BootNotificationResponse, answer)
            if boot is None or boot.status is not v16.RegistrationStatus.ACCEPTED:
                least, most, default = PENDING_DELAYS
                return max(least, min(most, boot.interval or default)) if boot else default
            self.heartbeat_interval = boot.interval or self.heartbeat_interval
        if kept.kind == _START:
            start = _payload(v16.StartTransactionResponse, answer)
            if start is None:
                return self._try_again(kept, answer)
            transaction_id = start.transaction_id
            self.judged(self._tag_of(kept), start.id_tag_info)
        self._done(kept, transaction_id)
        return 0.0

    def _tag_of(self, kept: Kept) -> str:
        request = _payload(v16.StartTransactionRequest, rpc.read(kept.frame), 3)
        return v16.text(request.id_tag) if request else ""

    def _try_again(self, kept: Kept, answer: rpc.Envelope | None) -> float:
        self._tries[kept.number] += 1
        tries = self._tries[kept.number]
        bad = answer is not None and answer.kind == rpc.CALLERROR and _action(answer) in _BAD
        if kept.kind == _BOOT or tries < (TRIES_OF_BAD if bad else TRIES):
            first, most = RETRY_DELAYS
            return min(most, first * 2.0 ** min(tries - 1, 16))
        self.given_up += 1
        log.error("%s: given up after %d tries: %s", self._id, tries, kept.frame)
        self._done(kept, None)
        return 0.0

    def _done(self, kept: Kept, transaction_id: int | None) -> None:
        self._tries.pop(kept.number, None)
        self.count -= self._journal.delivered(self._id, kept, transaction_id)
        if not self.count:
            self._replies = self._journal.replies(self._id)  # without what is too old to be sent again
        if kept.started is not None and transaction_id is not None:
            self._upstream_ids = self._journal.translations(self._id)
            self._local_ids = {upstream: local for local, upstream in self._upstream_ids.items()}

    async def flush(self) -> None:
        """Return when all that was kept is on the medium."""
        await self._journal.flush()

    # Transaction ids

    def outward(self, envelope: rpc.Envelope, frame: Frame) -> Frame:
        """A CALL of the charger as upstream is to have it."""
        return _translate(self._upstream_ids, envelope, frame)

    def inward(self, envelope: rpc.Envelope, frame: Frame) -> Frame:
        """A CALL of upstream as the charger is to have it."""
        return _translate(self._local_ids, envelope, frame)


_ACKNOWLEDGED: Final[dict[type[v16.Message], v16.Message]] = {
    v16.StopTransactionRequest: v16.StopTransactionResponse(),
    v16.MeterValuesRequest: v16.MeterValuesResponse(),
    v16.StatusNotificationRequest: v16.StatusNotificationResponse(),
    v16.DataTransferRequest: v16.DataTransferResponse(status=v16.DataTransferStatus.REJECTED),
    v16.SignCertificateRequest: v16.SignCertificateResponse(status=v16.GenericStatus.REJECTED),
    **{request: response() for request, response in NOTIFICATIONS.items()},
}
_NOT_KEPT: Final = frozenset(
    (v16.HeartbeatRequest, v16.AuthorizeRequest, v16.DataTransferRequest, v16.SignCertificateRequest)
)


def _acknowledge(response: v16.Message, request: v16.Message) -> v16.Message:
    return response


def _action(envelope: rpc.Envelope) -> str:
    """The action of a CALL, the code of a CALLERROR; empty when there is none."""
    try:
        return msgspec.json.decode(envelope.parts[2], type=str)
    except (IndexError, msgspec.DecodeError):
        return ""


def _message(envelope: rpc.Envelope, request: v16.Message) -> str | None:
    """What makes a message the same as one before; None for one that is not sent again, or has no time.

    Without a time, and with a meter that counts each session from 0, all sessions look alike.
    """
    match request:
        case v16.StartTransactionRequest() | v16.StopTransactionRequest():
            times = [request.timestamp]
        case v16.MeterValuesRequest():
            times = [value.timestamp for value in request.meter_value]
        case _:
            return None
    if any(v16.read_timestamp(time) is None for time in times):
        return None
    return f"{_action(envelope)} {hashlib.sha256(bytes(envelope.parts[3])).hexdigest()}"


def _translate(ids: dict[int, int], envelope: rpc.Envelope, frame: Frame) -> Frame:
    if not ids or not isinstance(frame, str) or _action(envelope) not in _CARRIES_ID:
        return frame

    def other(match: re.Match[str]) -> str:
        number = int(match[2])
        return f"{match[1]}{ids[number]}" if number in ids else match[0]

    return _TRANSACTION_ID.sub(other, frame)


def _payload(kind: type[Any], envelope: rpc.Envelope, place: int = 2) -> Any:
    try:
        return v16.decode(kind, envelope.parts[place])
    except (IndexError, v16.PayloadError):
        return None
