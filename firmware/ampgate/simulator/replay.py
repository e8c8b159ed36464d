"""Recorded conversations of chargers, played again to a gateway: what ``ampgate trace --save`` has written.

Only what the charger said is sent; what the gateway answered then is compared with what it answers now. Everything
keeps its recorded order, also whether the charger waited for an answer before it said the next thing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CALL, CALLERROR, CALLRESULT
from ampgate.simulator.events import reason
from ampgate.trace import LONGEST

ANSWER_TIMEOUT: Final = 60.0
"""Real seconds that an answer may take: a BMS may have to think."""
_PREFIX: Final = "ocpp "
_NEVER_SAME: Final = ("currentTime",)
"""Fields of answers that are not compared."""
_BOOT: Final = {"chargePointVendor": "ampgate", "chargePointModel": "Replay"}


class ReplayError(Exception):
    """Why a file cannot be played: file, line, and what is wrong there."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a trace: a frame."""

    at: float
    """Unix time in seconds."""
    peer: str
    sent: bool
    """By the gateway."""
    data: str


@dataclass(slots=True)
class Step:
    """One frame of a conversation."""

    at: float
    sent: bool
    """By the gateway."""
    text: str
    frame: list[Any] | None
    """None when it is not a frame of OCPP-J."""

    @property
    def kind(self) -> int:
        """Its message type; 0 when it has none."""
        return self.frame[0] if self.frame is not None else 0


@dataclass(slots=True)
class Report:
    """How one conversation went."""

    charger: str
    sent: int = 0
    """CALLs of the charger."""
    same: int = 0
    """Answers that were those of the recording."""
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be played or compared."""
    failure: str = ""
    """Why it could not be played to its end."""

    @property
    def good(self) -> bool:
        """Whether it was played to its end and every answer was the same."""
        return not (self.failure or self.differences)


def read(path: Path) -> dict[str, list[Step]]:
    """The conversations of a file by charger; `ReplayError` when it cannot be read. Modbus frames are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ReplayError(f"{path}: {reason(error)}") from None
    conversations: dict[str, list[Step]] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReplayError(
                f"{path}:{number}: not a line of a trace ({error}); `ampgate trace --save {path}` writes such files"
            ) from None
        if line.peer.startswith(_PREFIX):
            step = Step(line.at, line.sent, line.data, _frame(line.data))
            conversations.setdefault(line.peer.removeprefix(_PREFIX), []).append(step)
    if not conversations:
        raise ReplayError(f"{path}: holds no frame of a charger (peer {_PREFIX}…)")
    return conversations


def _frame(text: str) -> list[Any] | None:
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    sound = isinstance(frame, list) and len(frame) >= 3 and frame[0] in (CALL, CALLRESULT, CALLERROR)
    return frame if sound and (frame[0] != CALL or len(frame) >= 4) else None


class Player:
    """Plays one conversation to the central system at ``url``, which is without the identity.

    ``pace`` is how many times as fast as recorded, infinite for as fast as the answers come. With ``now`` the
    timestamps are moved to the present. ``tell`` gets lines for people while it plays.
    """

    def __init__(
        self,
        url: str,
        charger: str,
        steps: list[Step],
        *,
        pace: float = 1.0,
        now: bool = False,
        tls: ssl.SSLContext | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/{quote(charger, safe='')}"
        self._tls: dict[str, Any] = {"ssl": tls} if tls is not None and url.startswith("wss:") else {}
        self._steps = steps
        self._pace = pace
        self._shift = timedelta(seconds=time.time() - steps[0].at) if now else timedelta(0)
        self._tell = tell
        self.report = Report(charger)
        self._answers: dict[str, asyncio.Future[list[Any]]] = {}
        self._calls: dict[str, str] = {}
        """Actions of the charger's CALLs by message id."""
        self._transactions: dict[int, int] = {}
        """Transaction ids of now by those of the recording."""
        self._recorded: dict[str, list[Any] | None] = {}
        """What the gateway answered to the last CALL with a message id; many chargers use their ids again."""
        self._expected = list(_asked(steps))
        """CALLs of the gateway that are still to come, with what the charger answered."""

    async def run(self) -> Report:
        """Play it to its end."""
        try:
            async with connect(
                self._url,
                subprotocols=[Subprotocol("ocpp1.6")],
                compression=None,
                open_timeout=10,
                ping_interval=None,
                close_timeout=2,
                proxy=None,
                **self._tls,
            ) as websocket:
                parts = [asyncio.create_task(part) for part in (self._play(websocket), self._listen(websocket))]
                try:
                    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                    for part in done:
                        part.result()
                    if parts[0] not in done:
                        self.report.failure = "the connection was closed"
                finally:
                    for part in parts:
                        part.cancel()
                    await asyncio.gather(*parts, return_exceptions=True)
        except InvalidStatus as error:
            self.report.failure = f"refused with HTTP {error.response.status_code}"
        except (OSError, InvalidHandshake, ConnectionClosed, EOFError) as error:
            self.report.failure = f"no connection: {reason(error)}"
        for call, _ in self._expected:
            self.report.notes.append(f"{call[2]} was asked of the charger then, and not now")
        return self.report

    async def _play(self, websocket: ClientConnection) -> None:
        calls = [step for step in self._steps if not step.sent and step.kind == CALL]
        if calls and calls[0].frame is not None and calls[0].frame[2] != "BootNotification":
            self.report.notes.append("does not begin with a BootNotification: one was sent before")
            await self._say(websocket, [CALL, "replay-boot", "BootNotification", _BOOT])
            await self._answer("replay-boot")
        began, first = time.monotonic(), self._steps[0].at
        for number, step in enumerate(self._steps):
            due = began + (step.at - first) / self._pace
            if not step.sent or step.kind in (CALLRESULT, CALLERROR):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            if step.frame is not None and not step.sent and step.kind == CALL:
                self._recorded[str(step.frame[1])] = _answer_to(step.frame, self._steps[number + 1 :])
            await self._take(websocket, step)

    async def _take(self, websocket: ClientConnection, step: Step) -> None:
        frame = step.frame
        if step.sent:
            if frame is not None and frame[0] != CALL:
                await self._compare(frame)
        elif frame is None:
            if len(step.text.encode()) >= LONGEST:
                self.report.notes.append(f"not sent, as the trace has only its begin: {step.text[:60]}…")
            else:
                await websocket.send(step.text)
        elif frame[0] == CALL:
            self.report.sent += 1
            await self._say(websocket, frame)

    async def _say(self, websocket: ClientConnection, frame: list[Any]) -> None:
        message_id = str(frame[1])
        self._calls[message_id] = str(frame[2])
        self._answers[message_id] = asyncio.get_running_loop().create_future()
        payload = self._of_now(frame[3])
        await websocket.send(json.dumps([*frame[:3], payload, *frame[4:]], separators=(",", ":"), ensure_ascii=False))

    def _of_now(self, value: Any) -> Any:
        """What the charger said, with the transaction ids and, if wished, the times of now."""
        if isinstance(value, list):
            return [self._of_now(item) for item in value]
        if not isinstance(value, dict):
            return value
        changed = {name: self._of_now(item) for name, item in value.items()}
        transaction = changed.get("transactionId")
        if isinstance(transaction, int):
            changed["transactionId"] = self._transactions.get(transaction, transaction)
        moment = v16.read_timestamp(changed["timestamp"]) if isinstance(changed.get("timestamp"), str) else None
        if self._shift and moment is not None:
            changed["timestamp"] = v16.format_timestamp(moment + self._shift)
        return changed

    async def _answer(self, message_id: str) -> list[Any] | None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await self._answers[message_id]
        except TimeoutError:
            return None

    async def _compare(self, recorded: list[Any]) -> None:
        message_id = str(recorded[1])
        action = self._calls.get(message_id)
        if action is None:
            return  # the charger asked before the trace begins
        actual = await self._answer(message_id)
        where = f"{action} {message_id}"
        if actual is None:
            self._differs(f"{where}: no answer within {ANSWER_TIMEOUT:g} s")
        elif actual[0] != recorded[0]:
            self._differs(f"{where}: {_title(actual)}, recorded {_title(recorded)}")
        elif recorded[0] == CALLERROR:
            self._judge(where, {"errorCode": actual[2]}, {"errorCode": recorded[2]})
        else:
            self._judge(where, self._of_then(actual[2]), recorded[2])

    def _learn(self, answer: list[Any]) -> None:
        """Transaction ids of then and now, from the answer to a StartTransaction."""
        recorded = self._recorded.get(str(answer[1]))
        if recorded is None or self._calls.get(str(answer[1])) != "StartTransaction":
            return
        then, now = (
            frame[2].get("transactionId") if isinstance(frame[2], dict) else None for frame in (recorded, answer)
        )
        if isinstance(then, int) and isinstance(now, int):
            self._transactions[then] = now

    def _of_then(self, payload: Any) -> Any:
        """What the gateway says, with the transaction id of the recording."""
        if not isinstance(payload, dict) or "transactionId" not in payload:
            return payload
        then = {now: then for then, now in self._transactions.items()}
        return payload | {"transactionId": then.get(payload["transactionId"], payload["transactionId"])}

    def _judge(self, where: str, actual: Any, recorded: Any) -> None:
        differences = list(_differences(actual, recorded))
        if not differences:
            self.report.same += 1
        for path, now, then in differences:
            self._differs(f"{where}: {path} {_word(now)}, recorded {_word(then)}")

    def _differs(self, text: str) -> None:
        self.report.differences.append(text)
        self._tell(f"{self.report.charger}  {text}")

    async def _listen(self, websocket: ClientConnection) -> None:
        async for text in websocket:
            frame = _frame(text if isinstance(text, str) else text.decode("utf-8", "replace"))
            if frame is None:
                continue
            if frame[0] == CALL:
                await websocket.send(json.dumps(self._reply(frame)))
            elif (answer := self._answers.get(str(frame[1]))) is not None and not answer.done():
                self._learn(frame)
                answer.set_result(frame)

    def _reply(self, call: list[Any]) -> list[Any]:
        """What the charger answered to this then; rather to the very same payload than to another one."""
        there = [entry for entry in self._expected if entry[0][2] == call[2]]
        payload = self._of_then(call[3])
        chosen = next((entry for entry in there if entry[0][3] == payload), there[0] if there else None)
        if chosen is None:
            self.report.notes.append(f"{call[2]} is asked of the charger now, and was not then: answered GenericError")
            return [CALLERROR, call[1], "GenericError", "not in the recording", {}]
        self._expected.remove(chosen)
        recorded, answer = chosen
        for path, now, before in _differences(payload, recorded[3]):
            self.report.notes.append(f"{call[2]} asks for {path} {_word(now)}, recorded {_word(before)}")
        if answer is None:
            return [CALLERROR, call[1], "GenericError", "the recording has no answer", {}]
        return [answer[0], call[1], *answer[2:]]


def _answer_to(call: list[Any], later: list[Step]) -> list[Any] | None:
    """The recorded answer of the gateway to a CALL of the charger."""
    for step in later:
        if step.frame is not None and str(step.frame[1]) == str(call[1]):
            return step.frame if step.sent and step.kind != CALL else None
    return None


def _asked(steps: list[Step]) -> Iterator[tuple[list[Any], list[Any] | None]]:
    """CALLs of the gateway and the charger's answers, None where there is none."""
    said = [step.frame for step in steps if step.frame is not None and not step.sent and step.kind != CALL]
    answers = {str(frame[1]): frame for frame in said}
    for step in steps:
        if step.frame is not None and step.sent and step.kind == CALL:
            yield step.frame, answers.get(str(step.frame[1]))


def _differences(actual: Any, recorded: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two payloads differ: path, value of now, value of then; None for what is missing."""
    if isinstance(actual, dict) and isinstance(recorded, dict):
        for name in [*recorded, *(name for name in actual if name not in recorded)]:
            if name not in _NEVER_SAME:
                yield from _differences(actual.get(name), recorded.get(name), f"{path}.{name}".lstrip("."))
    elif actual != recorded:
        yield path or "payload", actual, recorded


def _word(value: Any) -> str:
    return "missing" if value is None else value if isinstance(value, str) else json.dumps(value)


def _title(frame: list[Any]) -> str:
    return f"CALLERROR {frame[2]}" if frame[0] == CALLERROR else f"a result {json.dumps(frame[2])}"


async def play(
    url: str,
    conversations: dict[str, list[Step]],
    *,
    pace: float,
    now: bool,
    tls: ssl.SSLContext | None,
    tell: Callable[[str], None],
) -> list[Report]:
    """Play all conversations at the same time, each as it was."""
    first = min(steps[0].at for steps in conversations.values())

    async def one(charger: str, steps: list[Step]) -> Report:
        await asyncio.sleep((steps[0].at - first) / pace)
        tell(f"{datetime.now(UTC):%H:%M:%S}  {charger}: {len(steps)} frames")
        return await Player(url, charger, steps, pace=pace, now=now, tls=tls, tell=tell).run()

    return list(await asyncio.gather(*(one(charger, steps) for charger, steps in conversations.items())))
