"""Authorisation, start and stop of the transactions of one charger, shown to the BMS one after the other.

What the charger or the BMS was told is in the journal before they hear it, so that after a restart or a power cut
running transactions and unprocessed stops are there again, and a message sent twice is answered alike and shown once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from ampgate.bridge.activity import Activity
from ampgate.bridge.policy import Fallback
from ampgate.bridge.requests import RequestBlock, TransactionIds
from ampgate.bridge.results import StatusOrder, numbers
from ampgate.bridge.transactions import Changed, Running, Transaction
from ampgate.journal import Journal, PendingStop
from ampgate.ocpp import v16
from ampgate.registers.image import Point
from ampgate.tasks import Tasks


class Settings(msgspec.Struct):
    """What the sessions of all chargers share."""

    now: Callable[[], datetime]
    fallback: Fallback
    activity: Activity
    transaction_ids: TransactionIds
    journal: Journal
    bms_absent: Callable[[], bool]
    """Whether the BMS is known to be away, so that there is no point in waiting for it."""
    status_order: StatusOrder = StatusOrder.MANUAL
    answer_timeout: float = 15.0
    """Seconds that the BMS has to process a request."""


_Response = TypeVar("_Response", bound=v16.Message)


class Sessions:
    """Answers Authorize, StartTransaction and StopTransaction of one charger."""

    def __init__(self, identity: str, points: Mapping[str, Point], settings: Settings, changed: Changed) -> None:
        self._id = identity
        self._settings = settings
        self._journal = settings.journal
        self._changed = changed
        self._points = points
        self.authorize_block = RequestBlock(points, "authorize")
        self.start_block = RequestBlock(points, "start_transaction")
        self.stop_block = RequestBlock(points, "stop_transaction")
        self.running = Running(self._running_changed)
        self._answers: dict[str, asyncio.Task[Any]] = {}
        self._tasks = Tasks()

    def restore(self) -> None:
        """Show what the journal knows: running transactions, then the stops that the BMS has still to process."""
        for record in self._journal.running(self._id):
            self.running.begin(msgspec.json.decode(record, type=Transaction))
        for stop in self._journal.pending_stops(self._id):
            self._queue(stop)

    async def close(self) -> None:
        """End all handshakes; what is pending stays in the journal."""
        await self._tasks.close()

    @property
    def waiting(self) -> list[str]:
        """The kinds of request that wait for the BMS."""
        return [block.group for block in (self.authorize_block, self.start_block, self.stop_block) if block.pending]

    # Authorize

    async def authorize(self, request: v16.AuthorizeRequest) -> v16.Message:
        """Ask the BMS, or decide by the policy."""
        id_tag = v16.text(request.id_tag)
        async with self.authorize_block as block:
            block.present(id_tag=id_tag)
            answered = await block.answered(self._patience())
            info = block.id_tag_info() if answered else self._judge(id_tag)
        self._tell(f"Authorize {id_tag}: {info.status} by {_judge_name(answered)}")
        return v16.AuthorizeResponse(id_tag_info=info)

    def _patience(self) -> float:
        return 0.0 if self._settings.bms_absent() else self._settings.answer_timeout

    def _judge(self, id_tag: str) -> v16.IdTagInfo:
        return v16.IdTagInfo(status=self._settings.fallback.decide(id_tag))

    # StartTransaction

    async def start(self, request: v16.StartTransactionRequest) -> v16.Message:
        """Always answered with a transaction id and a verdict on the id tag (OCPP 1.6 §4.8)."""
        message = _message("start", request.connector_id, request.id_tag, request.meter_start, request.timestamp)
        return await self._once(
            message,
            v16.StartTransactionResponse,
            lambda: self._start(request, message),
            again=lambda answer: _timed(request) or answer.transaction_id in self.running,
        )

    async def _start(self, request: v16.StartTransactionRequest, message: str) -> v16.Message:
        id_tag = v16.text(request.id_tag)
        started = v16.parse_timestamp(request.timestamp, self._settings.now())
        response: v16.StartTransactionResponse | None = None

        def conclude(info: v16.IdTagInfo, transaction_id: int) -> v16.StartTransactionResponse:
            ids = self._settings.transaction_ids
            transaction = Transaction(
                ids.take(transaction_id),
                request.connector_id,
                id_tag,
                round(request.meter_start),
                started.timestamp(),
                info.status == v16.AuthorizationStatus.ACCEPTED,
            )
            response = v16.StartTransactionResponse(id_tag_info=info, transaction_id=transaction.id)
            self._journal.started(
                self._id,
                message,
                connector=transaction.connector,
                transaction_id=transaction.id,
                record=msgspec.json.encode(transaction),
                response=v16.encode(response),
                last_id=ids.last,
            )
            block["transaction_id"] = transaction.id
            self._points["charger_state.start_transaction_id"].set(transaction.id)
            self.running.begin(transaction)
            return response

        def processed() -> None:
            # In the very request of the BMS that says so: once that is confirmed, it must not be asked again.
            nonlocal response
            response = conclude(block.id_tag_info(), block["transaction_id"])

        async with self.start_block as block:
            block.present(
                processed,
                connector_id=request.connector_id,
                id_tag=id_tag,
                meter=request.meter_start,
                reservation_id=request.reservation_id or 0,
                timestamp=started.timestamp(),
            )
            answered = await block.answered(self._patience())
            if response is None:
                response = conclude(self._judge(id_tag), 0)
            await self._journal.flush()
        self._tell(
            f"StartTransaction {response.transaction_id} on connector {request.connector_id}, {id_tag}: "
            f"{response.id_tag_info.status} by {_judge_name(answered)}"
        )
        return response

    def _running_changed(self, transaction: Transaction, runs: bool) -> None:
        ids = self._settings.transaction_ids
        (ids.keep if runs else ids.release)(transaction.id)
        self._changed(transaction, runs)

    # StopTransaction

    async def stop(self, request: v16.StopTransactionRequest) -> v16.Message:
        """A stop cannot be refused: the charger gets its answer in time, the BMS sees it for as long as it needs."""
        message = _message("stop", request.transaction, request.meter_stop, request.timestamp)
        return await self._once(
            message,
            v16.StopTransactionResponse,
            lambda: self._stop(request, message),
            again=lambda _: _timed(request) or request.transaction > 0,
        )

    def _stop(self, request: v16.StopTransactionRequest, message: str) -> Coroutine[Any, Any, v16.Message]:
        # Up to the journal in one step with the search for an answer: the BMS may be about to process this very stop,
        # which was restored, and then it must not be taken for a new one.
        processed = None
        if not any(known.message == message for known in self._journal.pending_stops(self._id)):
            stop = self._journal.stopping(self._id, message, request.transaction, v16.encode(request))
            self.running.end(request.transaction)
            processed = self._queue(stop)
        return self._confirm(processed)

    async def _confirm(self, processed: asyncio.Task[v16.StopTransactionResponse] | None) -> v16.Message:
        """The answer to a stop: the BMS's if it comes in time; a stop that was shown before is not held up."""
        if processed is not None:
            await asyncio.wait({processed}, timeout=self._patience())
        response = processed.result() if processed is not None and processed.done() else v16.StopTransactionResponse()
        await self._journal.flush()
        return response

    def _queue(self, stop: PendingStop) -> asyncio.Task[v16.StopTransactionResponse]:
        request = v16.decode(v16.StopTransactionRequest, stop.request)
        self._settings.transaction_ids.keep(request.transaction)
        return self._tasks.start(self._present_stop(stop, request))

    async def _present_stop(
        self, stop: PendingStop, request: v16.StopTransactionRequest
    ) -> v16.StopTransactionResponse:
        reasons = numbers("stop_transaction.reason")
        reason = request.reason or v16.Reason.LOCAL  # OCPP-J errata 2.5
        response: v16.StopTransactionResponse | None = None

        def processed() -> None:
            nonlocal response
            response = v16.StopTransactionResponse(id_tag_info=block.id_tag_info())
            self._journal.stopped(self._id, stop, v16.encode(response))
            self._settings.transaction_ids.release(request.transaction)

        async with self.stop_block as block:
            self._points["charger_state.stop_transaction_id"].set(request.transaction)
            block.present(
                processed,
                id_tag=v16.text(request.id_tag),
                meter=request.meter_stop,
                timestamp=v16.parse_timestamp(request.timestamp, self._settings.now()).timestamp(),
                transaction_id=request.transaction,
                reason=reasons.get(reason, reasons["Other"]),
            )
            self._tell(f"StopTransaction {request.transaction} ({reason}), {request.meter_stop} Wh")
            await block.answered()
            await self._journal.flush()
        assert response is not None
        self._tell(f"StopTransaction {request.transaction}: processed by the BMS")
        return response

    # Both

    async def _once(
        self,
        message: str,
        type_: type[_Response],
        work: Callable[[], Coroutine[Any, Any, v16.Message]],
        *,
        again: Callable[[_Response], bool],
    ) -> v16.Message:
        """Do what a message asks once: a repetition, also after a restart, gets the same answer.

        ``again`` says whether a message that was answered like this before is a repetition: without a time and with
        a meter that counts each session from 0, all sessions look alike.
        """
        before = self._journal.answer(self._id, message)
        if before is not None and again(answer := v16.decode(type_, before)):
            await self._journal.flush()  # it may have been written a moment ago, for a connection that is gone
            return answer
        task = self._answers.get(message)
        if task is None:
            task = self._tasks.start(work())
            self._answers[message] = task
            task.add_done_callback(lambda _: self._answers.pop(message, None))
        # The connection may go before the BMS has answered; the handshake goes on without it.
        result: v16.Message = await asyncio.shield(task)
        return result

    def _tell(self, text: str) -> None:
        self._settings.activity.add(self._id, text)


def _timed(request: v16.StartTransactionRequest | v16.StopTransactionRequest) -> bool:
    return v16.read_timestamp(request.timestamp) is not None


def _message(*parts: Any) -> str:
    """What makes a transaction message the same as one before."""
    return msgspec.json.encode(parts).decode()


def _judge_name(answered: bool) -> str:
    return "the BMS" if answered else "the gateway, the BMS did not answer"
