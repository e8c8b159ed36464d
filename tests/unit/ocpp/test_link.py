"""The link over a websocket that exists only in memory; the real ones are met in tests/conformance."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from ampgate.ocpp import session as session_module
from ampgate.ocpp import v16
from ampgate.ocpp.link import Link
from ampgate.ocpp.rpc import CallError
from ampgate.trace import Trace

DEADLINE = 5.0
HEARTBEAT = [2, "h", "Heartbeat", {}]
TIME = v16.HeartbeatResponse(current_time="2026-01-31T12:00:00Z")
CLEAR = v16.ClearCacheRequest()


class Websocket:
    """What `Link` uses of a connection."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent: list[Any] = []
        self.close_code: int | None = None
        self.remote_address = ("192.0.2.7", 1)
        self.pong_waiters: dict[bytes, Any] = {}
        self.pongs = True
        self.pings = 0
        self.closed: tuple[int, str] | None = None
        self.transport = self
        self.aborted = False
        self.writable = asyncio.Event()
        self.writable.set()

    async def recv(self, decode: bool) -> bytes:
        assert decode is False  # bytes, as the codec wants them
        frame = await self.incoming.get()
        if frame is None:
            raise ConnectionClosedOK(None, None)
        return frame

    async def send(self, frame: bytes, text: bool) -> None:
        assert text is True
        if self.close_code is not None:
            raise ConnectionClosedOK(None, None)
        self.sent.append(json.loads(frame))
        await self.writable.wait()

    async def ping(self) -> asyncio.Future[float]:
        if self.close_code is not None:
            raise ConnectionClosedOK(None, None)
        self.pings += 1
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self.pongs:
            pong.set_result(0.0)
        else:
            self.pong_waiters[str(self.pings).encode()] = pong
        return pong

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason
        self.end()

    def abort(self) -> None:
        self.aborted = True
        self.end()

    def end(self) -> None:
        self.close_code = 1006
        self.incoming.put_nowait(None)

    def give(self, frame: Any) -> None:
        self.incoming.put_nowait(frame if isinstance(frame, bytes) else json.dumps(frame).encode())

    async def until_sent(self, count: int) -> list[Any]:
        await until(lambda: len(self.sent) >= count)
        return self.sent


async def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0)


@pytest.fixture
async def websocket() -> Websocket:
    return Websocket()


Open = Callable[..., Link]


@pytest.fixture
async def connect(websocket: Websocket) -> AsyncIterator[Open]:
    running: list[asyncio.Task[None]] = []

    def connect(handle: Any = lambda request: TIME, **options: Any) -> Link:
        link = Link(websocket, handle, **options)  # type: ignore[arg-type]
        running.append(asyncio.create_task(link.run()))
        return link

    yield connect
    websocket.end()
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*running)  # it raises nothing


async def test_requests_are_answered_in_order(websocket: Websocket, connect: Open) -> None:
    connect()
    for number in range(3):
        websocket.give([2, f"{number}", "Heartbeat", {}])
    answers = await websocket.until_sent(3)
    assert answers == [[3, f"{number}", {"currentTime": TIME.current_time}] for number in range(3)]


async def test_without_a_handler_everything_is_refused(websocket: Websocket, connect: Open) -> None:
    connect(None)
    websocket.give(HEARTBEAT)
    assert (await websocket.until_sent(1))[0][:3] == [4, "h", "NotSupported"]


async def test_the_handler_may_be_set_later(websocket: Websocket, connect: Open) -> None:
    link = connect(None)
    link.handle = lambda request: TIME
    websocket.give(HEARTBEAT)
    assert (await websocket.until_sent(1))[0][0] == 3


async def test_errors_of_the_handler(websocket: Websocket, connect: Open, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [CallError("SecurityError", "boot first"), KeyError("secret")]

    def fail(request: v16.Message) -> v16.Message:
        raise errors.pop(0)

    connect(fail)
    websocket.give(HEARTBEAT)
    websocket.give(HEARTBEAT)
    first, second = await websocket.until_sent(2)
    assert first == [4, "h", "SecurityError", "boot first", {}]
    assert second[:3] == [4, "h", "InternalError"]
    assert "secret" not in second[3]
    assert "HeartbeatRequest failed" in caplog.text


async def test_an_answer_that_takes_time(websocket: Websocket, connect: Open) -> None:
    answers = {"A": asyncio.get_running_loop().create_future(), "B": asyncio.get_running_loop().create_future()}
    connect(lambda request: answers[request.id_tag])
    websocket.give([2, "a", "Authorize", {"idTag": "A"}])
    websocket.give([2, "b", "Authorize", {"idTag": "B"}])
    answers["B"].set_exception(CallError("GenericError"))
    await websocket.until_sent(1)
    answers["A"].set_result(TIME)
    sent = await websocket.until_sent(2)
    assert [frame[:2] for frame in sent] == [[4, "b"], [3, "a"]]


async def test_answers_end_with_the_connection(websocket: Websocket, connect: Open) -> None:
    never: asyncio.Future[v16.Message] = asyncio.get_running_loop().create_future()
    connect(lambda request: never)
    websocket.give(HEARTBEAT)
    await until(websocket.incoming.empty)
    websocket.end()
    await until(never.cancelled)


async def test_the_charger_goes_just_before_its_answer(websocket: Websocket, connect: Open) -> None:
    answer: asyncio.Future[v16.Message] = asyncio.get_running_loop().create_future()
    connect(lambda request: answer)
    websocket.give(HEARTBEAT)
    await until(websocket.incoming.empty)
    websocket.close_code = 1006
    answer.set_result(TIME)
    await asyncio.sleep(0)
    assert websocket.sent == []


async def test_no_more_than_32_in_work(websocket: Websocket, connect: Open) -> None:
    handled = 0
    release = asyncio.Event()

    async def answer() -> v16.Message:
        await release.wait()
        return TIME

    def handle(request: v16.Message) -> Any:
        nonlocal handled
        handled += 1
        return answer()

    connect(handle)
    for _ in range(100):
        websocket.give(HEARTBEAT)
    await until(lambda: handled >= 32)
    for _ in range(100):
        await asyncio.sleep(0)
    assert handled <= 33
    release.set()
    assert len(await websocket.until_sent(100)) == 100


async def test_a_call_and_its_answer(websocket: Websocket, connect: Open) -> None:
    link = connect()
    call = asyncio.create_task(link.call(CLEAR))
    [[kind, message_id, action, payload]] = await websocket.until_sent(1)
    assert (kind, action, payload) == (2, "ClearCache", {})
    websocket.give([3, message_id, {"status": "Rejected"}])
    assert await call == v16.ClearCacheResponse(status=v16.ClearCacheStatus.REJECTED)


async def test_calls_take_turns(websocket: Websocket, connect: Open) -> None:
    link = connect()
    calls = [asyncio.create_task(link.call(v16.ResetRequest(type=kind))) for kind in v16.ResetType]
    [first] = await websocket.until_sent(1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(websocket.sent) == 1
    websocket.give([4, first[1], "GenericError", "busy", {}])
    with pytest.raises(CallError, match="busy"):
        await calls[0]
    _, second = await websocket.until_sent(2)
    assert second[1] != first[1]
    websocket.give([3, second[1], {"status": "Accepted"}])
    await calls[1]


async def test_a_call_times_out(websocket: Websocket, connect: Open) -> None:
    link = connect(call_timeout=0.01)
    with pytest.raises(TimeoutError):
        await link.call(CLEAR)
    [first] = websocket.sent
    websocket.give([3, first[1], {"status": "Accepted"}])  # too late
    websocket.give(HEARTBEAT)
    await websocket.until_sent(2)
    assert link.rpc.malformed == 1


async def test_a_peer_that_does_not_even_read_times_out(websocket: Websocket, connect: Open) -> None:
    link = connect(call_timeout=0.01)
    websocket.writable.clear()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(TimeoutError):
            await link.call(CLEAR)
    websocket.writable.set()


async def test_a_call_that_is_given_up_makes_room(websocket: Websocket, connect: Open) -> None:
    link = connect()
    call = asyncio.create_task(link.call(CLEAR))
    await websocket.until_sent(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    call = asyncio.create_task(link.call(CLEAR))
    _, second = await websocket.until_sent(2)
    websocket.give([3, second[1], {"status": "Accepted"}])
    await call


async def test_calls_on_a_connection_that_closes(websocket: Websocket, connect: Open) -> None:
    link = connect()
    call = asyncio.create_task(link.call(CLEAR))
    await websocket.until_sent(1)
    websocket.end()
    with pytest.raises(ConnectionError):
        await call
    with pytest.raises(ConnectionError):
        await link.call(CLEAR)
    assert not link.open


async def test_unreadable_frames_close_the_connection_when_there_is_nothing_else(
    websocket: Websocket, connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    connect()
    for _ in range(2):
        for _ in range(99):
            websocket.give(b"hello")
        websocket.give(HEARTBEAT)
    await websocket.until_sent(2)
    assert websocket.closed is None
    for _ in range(100):
        websocket.give(b"hello")
    await until(lambda: websocket.closed)
    assert websocket.closed == (1002, "too many unreadable frames")
    # One line when it begins, not one for each.
    assert len([record for record in caplog.records if "ignored" in record.message]) == 3


async def test_refused_calls_are_answered_and_told(
    websocket: Websocket, connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    connect(name="CP1")
    websocket.give([2, "x", "Fly", {}])
    assert (await websocket.until_sent(1))[0][:3] == [4, "x", "NotImplemented"]
    assert "ocpp CP1: refused" in caplog.text


async def test_every_frame_is_traced(websocket: Websocket, connect: Open) -> None:
    trace = Trace()
    connect(trace=trace, name="CP1")
    websocket.give(HEARTBEAT)
    await websocket.until_sent(1)
    frames = [(frame.peer, frame.sent, json.loads(frame.data)) for frame in trace.last(9)]
    assert frames == [("ocpp CP1", False, HEARTBEAT), ("ocpp CP1", True, websocket.sent[0])]


async def test_what_is_known_of_the_peer(websocket: Websocket, connect: Open) -> None:
    link = connect(name="CP1")
    assert (link.address, link.open, link.name) == ("192.0.2.7", True, "CP1")
    await link.close(1001, "bye")
    assert websocket.closed == (1001, "bye")
    assert not link.open


async def test_alive(websocket: Websocket, connect: Open) -> None:
    link = connect()
    assert await link.alive(DEADLINE)
    websocket.pongs = False
    for _ in range(3):
        assert not await link.alive(0.001)
    assert websocket.pong_waiters == {}  # a charger that never answers one must not fill the memory
    websocket.end()
    assert not await link.alive(DEADLINE)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PING_TIMEOUT", 0.02)


@pytest.mark.usefixtures("hasty")
async def test_who_falls_silent_is_cut(websocket: Websocket, connect: Open, caplog: pytest.LogCaptureFixture) -> None:
    connect(ping_interval=0.001)
    await until(lambda: websocket.pings >= 2)
    assert not websocket.aborted
    websocket.pongs = False
    await until(lambda: websocket.aborted)
    assert "no sign of life" in caplog.text


@pytest.mark.usefixtures("hasty")
async def test_who_never_answers_a_ping_is_not_judged_by_it(websocket: Websocket, connect: Open) -> None:
    websocket.pongs = False
    connect(ping_interval=0.001)
    await until(lambda: websocket.pings >= 5)
    assert not websocket.aborted


@pytest.mark.usefixtures("hasty")
async def test_who_talks_lives(websocket: Websocket, connect: Open) -> None:
    connect(ping_interval=0.001)
    await until(lambda: websocket.pings)
    websocket.pongs = False
    pings = websocket.pings
    while websocket.pings < pings + 5:
        websocket.give(HEARTBEAT)
        await asyncio.sleep(0)
    assert not websocket.aborted


def test_the_exceptions_of_the_library_are_those_that_the_link_expects() -> None:
    assert issubclass(ConnectionClosedOK, ConnectionClosed)
