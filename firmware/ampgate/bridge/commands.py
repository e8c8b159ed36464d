"""Operations of the BMS at one charger: listens to the flags, calls the charger, writes the outcome."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ampgate.bridge.activity import Activity
from ampgate.bridge.locallist import GROUP as LOCAL_LIST
from ampgate.bridge.locallist import LocalList
from ampgate.bridge.operations import OPERATIONS, Block, Context, InvalidRequest, Operation, outcome
from ampgate.bridge.results import Result
from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError
from ampgate.registers.image import Point
from ampgate.tasks import Tasks

log = logging.getLogger(__name__)

Call = Callable[[v16.Message], Awaitable[v16.Message]]
"""Calls the charger: `CallError` when it refuses, `TimeoutError`, `ConnectionError`."""


class Commands:
    """The operation registers of one charger.

    The charger gets one CALL at a time, in the order in which the flags were set (OCPP-J 1.6 §4.1.1).
    """

    def __init__(
        self,
        identity: str,
        points: Mapping[str, Point],
        call: Call,
        context: Context,
        *,
        local_list: LocalList,
        activity: Activity,
    ) -> None:
        self._id = identity
        self._call = call
        self._context = context
        self._points = points
        self._local_list = local_list
        self._activity = activity
        self._tasks = Tasks()
        for operation in OPERATIONS:
            block = Block(operation.group, points, operation.initial, operation.shared)
            block.on_flag(partial(self._operate, operation, block))
        # Editing the local list takes more than one call, so it is no row of the table; its registers are alike.
        edited = Block(LOCAL_LIST, points)
        edited.on_flag(partial(self._edit_local_list, edited))

    def watch_connector(self, number: int, points: Mapping[str, Point], restore: Callable[[], None]) -> None:
        """Listen to the words Unlock and Availability; ``restore`` shows the charger's own availability again."""
        points["connector.unlock"].watch(partial(self._unlock, number, points["connector.unlock"]))
        points["connector.availability"].watch(partial(self._change_availability, number, restore))

    def ask_for_status(self) -> None:
        """Let the charger send the status of its connectors, on the gateway's own account."""

        async def run() -> None:
            # Whatever comes of it: a charger that cannot do this shows its status when it changes.
            with contextlib.suppress(CallError, TimeoutError, ConnectionError):
                await self._call(v16.TriggerMessageRequest(requested_message=v16.MessageTrigger.STATUS_NOTIFICATION))

        self._tasks.start(run())

    async def close(self) -> None:
        """End all operations."""
        await self._tasks.close()

    def _operate(self, operation: Operation, block: Block) -> None:
        parameters = block.snapshot(self._context)
        shows: dict[str, Any] = {}

        async def work() -> Result:
            response = await self._call(operation.build(parameters))
            shows.update(operation.shows(response))
            if isinstance(response, v16.GetLocalListVersionResponse):
                self._local_list.heard(response.list_version)
            return outcome(response)

        self._tasks.start(self._finish(block, work, shows))

    def _edit_local_list(self, block: Block) -> None:
        parameters = block.snapshot(self._context)
        self._tasks.start(self._finish(block, lambda: self._local_list.edit(parameters, self._call), {}))

    async def _finish(self, block: Block, work: Callable[[], Awaitable[Result]], shows: Mapping[str, Any]) -> None:
        result = await self._result(block.group.replace("_", " "), work)
        block.finish(result, shows)

    def _unlock(self, number: int, point: Point, value: int) -> None:
        if not value:
            return

        async def work() -> Result:
            if number == 0:
                raise InvalidRequest("connector 0 cannot be unlocked")
            return outcome(await self._call(v16.UnlockConnectorRequest(connector_id=number)))

        async def run() -> None:
            self._points["charger_state.unlock_result"].set(await self._result(f"unlock connector {number}", work))
            point.set(0)

        self._tasks.start(run())

    def _change_availability(self, number: int, restore: Callable[[], None], value: int) -> None:
        kind = v16.AvailabilityType.OPERATIVE if value else v16.AvailabilityType.INOPERATIVE

        async def work() -> Result:
            return outcome(await self._call(v16.ChangeAvailabilityRequest(connector_id=number, type=kind)))

        async def run() -> None:
            result = await self._result(f"connector {number} {kind.lower()}", work)
            self._points["charger_state.availability_result"].set(result)
            if result not in (Result.ACCEPTED, Result.SCHEDULED):
                restore()

        self._tasks.start(run())

    async def _result(self, what: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """What became of an operation; every way to fail has its own number."""
        reason = ""
        try:
            result = await work()
        except InvalidRequest as error:
            result, reason = Result.INVALID_REQUEST, str(error)
        except TimeoutError:
            result = Result.TIMEOUT
        except ConnectionError:
            result = Result.OFFLINE
        except CallError as error:
            result, reason = Result.CALL_ERROR, str(error)
        except Exception:
            # A full disk, say. The flag has to go back to 0 all the same, or the operation stays busy for ever.
            log.exception("%s: %s failed", self._id, what)
            result, reason = Result.FAILED, "see the log"
        self._activity.add(self._id, f"BMS: {what}: {result.words}{f' ({reason})' if reason else ''}")
        return result
