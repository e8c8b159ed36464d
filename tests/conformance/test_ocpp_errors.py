"""OCPP-J 1.6 over real websockets: what a central system answers to whatever charge points send, and whom it lets in.

Sources: OCPP-J 1.6 §3 (connection), §4 (RPC) with its errata, and what charge points are known to do wrong. The peers
are the ``websockets`` client and, where that is too well-behaved, frames written by hand.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ampgate.ocpp import link as link_module
from ampgate.ocpp import server as server_module
from ampgate.ocpp import session as session_module
from ampgate.ocpp import v16
from ampgate.ocpp.link import Link
from ampgate.ocpp.rpc import CallError
from ampgate.ocpp.server import CentralSystem
from tests.integration.peers import DEADLINE, until

BOOTED = v16.BootNotificationResponse(
    status=v16.RegistrationStatus.ACCEPTED, current_time="2026-01-31T12:00:00Z", interval=300
)
TIME = v16.HeartbeatResponse(current_time="2026-01-31T12:00:00Z")
HEARTBEAT = '[2,"alive","Heartbeat",{}]'
HEARTBEAT_ANSWER = [3, "alive", {"currentTime": "2026-01-31T12:00:00Z"}]


class Central:
    """A central system with a simple mind: what it was asked, what it answers, who came and went."""

    def __init__(self) -> None:
        self.everybody = False
        """Whether every charger is configured, not only CP1."""
        self.events: list[tuple[str, str]] = []
        self.links: list[Link] = []
        self.handled: list[v16.Message] = []
        self.answers: dict[type[v16.Message], Any] = {
            v16.HeartbeatRequest: TIME,
            v16.BootNotificationRequest: BOOTED,
            v16.MeterValuesRequest: v16.MeterValuesResponse(),
            v16.StatusNotificationRequest: v16.StatusNotificationResponse(),
        }
        self.system: CentralSystem
        self.port = 0

    def known(self, identity: str) -> bool:
        return self.everybody or identity == "CP1"

    def connected(self, identity: str, link: Link) -> Callable[[v16.Message], Any]:
        self.events.append(("connected", identity))
        self.links.append(link)
        return self.handle

    def disconnected(self, identity: str, link: Link) -> None:
        self.events.append(("disconnected", identity))

    def handle(self, request: v16.Message) -> Any:
        self.handled.append(request)
        answer = self.answers[type(request)]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    async def start(self, **options: Any) -> None:
        self.system = CentralSystem(self.known, self.connected, self.disconnected, **{"capacity": 20} | options)
        self.port = await self.system.start("127.0.0.1", 0)

    async def connect(self, path: str = "/CP1", **options: Any) -> ClientConnection:
        options.setdefault("subprotocols", ["ocpp1.6"])
        return await connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, max_size=None, **options)


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack: contextlib.AsyncExitStack) -> Callable[..., Awaitable[Central]]:
    async def start(**options: Any) -> Central:
        central = Central()
        await central.start(**options)
        stack.push_async_callback(central.system.stop)
        return central

    return start


@pytest.fixture
async def central(start: Callable[..., Awaitable[Central]]) -> Central:
    return await start(ping_interval=0)


@pytest.fixture
async def socket(central: Central, stack: contextlib.AsyncExitStack) -> ClientConnection:
    return await stack.enter_async_context(await central.connect())


async def receive(socket: ClientConnection) -> Any:
    async with asyncio.timeout(DEADLINE):
        return json.loads(await socket.recv())


async def closed(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(DEADLINE):
        await socket.wait_closed()
    return socket.close_code


# CALLs that are refused

REFUSED: dict[str, tuple[str, str]] = {
    "unknown action": ('[2,"7","Fly",{}]', "NotImplemented"),
    "action in another case": ('[2,"7","heartbeat",{}]', "NotImplemented"),
    "action of OCPP 2.0.1": ('[2,"7","TransactionEvent",{}]', "NotImplemented"),
    "action with a quote": ('[2,"7","\\"\\u0000",{}]', "NotImplemented"),
    "action of 10 000 characters": (f'[2,"7","{"x" * 10000}",{{}}]', "NotImplemented"),
    "payload is an array": ('[2,"7","Heartbeat",[]]', "FormationViolation"),
    "payload is a text": ('[2,"7","Heartbeat","now"]', "FormationViolation"),
    "payload is a number": ('[2,"7","Heartbeat",5]', "FormationViolation"),
    "payload is null": ('[2,"7","Heartbeat",null]', "FormationViolation"),
    "no payload": ('[2,"7","Heartbeat"]', "FormationViolation"),
    "no action": ('[2,"7"]', "FormationViolation"),
    "five elements": ('[2,"7","Heartbeat",{},{}]', "FormationViolation"),
    "action is a number": ('[2,"7",5,{}]', "FormationViolation"),
    "action is null": ('[2,"7",null,{}]', "FormationViolation"),
    "action is an object": ('[2,"7",{},{}]', "FormationViolation"),
    "no id tag": ('[2,"7","Authorize",{}]', "OccurenceConstraintViolation"),
    "no meter start": (
        '[2,"7","StartTransaction",{"connectorId":1,"idTag":"A","timestamp":""}]',
        "OccurenceConstraintViolation",
    ),
    "no timestamp far inside": (
        '[2,"7","MeterValues",{"connectorId":1,"meterValue":[{"sampledValue":[{"value":"1"}]}]}]',
        "OccurenceConstraintViolation",
    ),
    "no meter value": ('[2,"7","MeterValues",{"connectorId":1,"meterValue":[]}]', "OccurenceConstraintViolation"),
    "id tag is an object": ('[2,"7","Authorize",{"idTag":{}}]', "TypeConstraintViolation"),
    "id tag is null": ('[2,"7","Authorize",{"idTag":null}]', "TypeConstraintViolation"),
    "connector is a list": (
        '[2,"7","StatusNotification",{"connectorId":[1],"errorCode":"NoError","status":"Available"}]',
        "TypeConstraintViolation",
    ),
    "connector is a word": (
        '[2,"7","StatusNotification",{"connectorId":"one","errorCode":"NoError","status":"Available"}]',
        "TypeConstraintViolation",
    ),
    "meter value is a text": ('[2,"7","MeterValues",{"connectorId":1,"meterValue":"5"}]', "TypeConstraintViolation"),
    "unknown status": (
        '[2,"7","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Bored"}]',
        "PropertyConstraintViolation",
    ),
    "connector -1": (
        '[2,"7","StatusNotification",{"connectorId":-1,"errorCode":"NoError","status":"Available"}]',
        "PropertyConstraintViolation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_call(name: str, socket: ClientConnection, central: Central) -> None:
    frame, code = REFUSED[name]
    await socket.send(frame)
    answer = await receive(socket)
    assert answer[:3] == [4, "7", code]
    assert len(answer) == 5
    assert isinstance(answer[3], str)
    assert 0 < len(answer[3]) <= 255  # §4.2.3: errorDescription
    assert isinstance(answer[4], dict)
    assert central.handled == []
    await socket.send(HEARTBEAT)
    assert await receive(socket) == HEARTBEAT_ANSWER


@pytest.mark.parametrize(
    "message_id", ["", "x" * 36, "x" * 200, 'quote " and \\ backslash', "ünïcode ☃", 17, 0, -3, 2**63]
)
async def test_the_message_id_is_echoed_as_it_was(message_id: Any, socket: ClientConnection) -> None:
    await socket.send(json.dumps([2, message_id, "Heartbeat", {}]))
    assert await receive(socket) == [3, message_id, {"currentTime": "2026-01-31T12:00:00Z"}]
    await socket.send(json.dumps([2, message_id, "Fly", {}]))
    assert (await receive(socket))[:3] == [4, message_id, "NotImplemented"]


async def test_a_refusal_of_the_application_is_passed_on(socket: ClientConnection, central: Central) -> None:
    central.answers[v16.HeartbeatRequest] = CallError("SecurityError", "BootNotification has to come first", {"a": 1})
    await socket.send(HEARTBEAT)
    assert await receive(socket) == [4, "alive", "SecurityError", "BootNotification has to come first", {"a": 1}]


@pytest.mark.parametrize("later", [False, True])
async def test_a_failure_of_the_application_is_an_internal_error(
    later: bool, socket: ClientConnection, central: Central, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> v16.Message:
        raise ZeroDivisionError("secret detail")

    central.answers[v16.HeartbeatRequest] = fail if later else ZeroDivisionError("secret detail")
    await socket.send(HEARTBEAT)
    answer = await receive(socket)
    assert answer[:3] == [4, "alive", "InternalError"]
    assert "secret" not in answer[3]
    assert "ZeroDivisionError" in caplog.text  # people find it in the log
    central.answers[v16.HeartbeatRequest] = TIME
    await socket.send(HEARTBEAT)
    assert await receive(socket) == HEARTBEAT_ANSWER


# Frames that cannot be answered

IGNORED: dict[str, str | bytes] = {
    "not JSON": "hello",
    "nothing": "",
    "an object": '{"2":"7"}',
    "a text": '"Heartbeat"',
    "an empty array": "[]",
    "no message id": "[2]",
    "message id null": '[2,null,"Heartbeat",{}]',
    "message id is an object": '[2,{},"Heartbeat",{}]',
    "message id is a fraction": '[2,1.5,"Heartbeat",{}]',
    "message id too large for anything": f'[2,{"9" * 5000},"Heartbeat",{{}}]',
    "message type 5": '[5,"7","Heartbeat",{}]',
    "message type 1": '[1,"7",{}]',
    "message type is a text": '["2","7","Heartbeat",{}]',
    "message type is null": '[null,"7","Heartbeat",{}]',
    "a CALLRESULT that nobody waits for": '[3,"7",{}]',
    "a CALLERROR that nobody waits for": '[4,"7","GenericError","",{}]',
    "cut off": '[2,"7","Heartbeat",{',
    "a string without end": '[2,"7' + '\\"' * 30000,
    "two values": '[2,"7","Heartbeat",{}] [2,"8","Heartbeat",{}]',
    "nested without end": "[" * 60000,
    "nested payload": '[2,"7","Heartbeat",{"a":' + "[" * 20000 + "]" * 20000 + "}]",
    "not UTF-8 at all": b"\xff\xfe\x00\x80",
    "not UTF-8 in the message id": b'[2,"\xff","Heartbeat",{}]',
    "half a surrogate pair": '[2,"\\ud800","Heartbeat",{}]',
}


@pytest.mark.parametrize("name", IGNORED)
async def test_ignored_frame(name: str, socket: ClientConnection, central: Central) -> None:
    frame = IGNORED[name]
    await socket.send(frame, text=True)
    await socket.send(HEARTBEAT)
    assert await receive(socket) == HEARTBEAT_ANSWER  # the very next frame: nothing was sent before
    assert central.links[0].rpc.malformed == 1
    assert len(central.handled) == 1


async def test_text_that_is_not_utf8_inside_a_call_is_refused(socket: ClientConnection) -> None:
    await socket.send(b'[2,"7","Authorize",{"idTag":"\xff"}]', text=True)
    assert (await receive(socket))[:3] == [4, "7", "FormationViolation"]


async def test_a_binary_frame_is_read_like_a_text(socket: ClientConnection) -> None:
    await socket.send(HEARTBEAT.encode())
    assert await receive(socket) == HEARTBEAT_ANSWER


async def test_a_frame_in_fragments(socket: ClientConnection) -> None:
    await socket.send([HEARTBEAT[:5], HEARTBEAT[5:9], HEARTBEAT[9:]])
    assert await receive(socket) == HEARTBEAT_ANSWER


@pytest.mark.parametrize(("size", "code"), [(65536, None), (65537, 1009)])
async def test_the_largest_message(size: int, code: int | None, socket: ClientConnection) -> None:
    await socket.send(HEARTBEAT + " " * (size - len(HEARTBEAT)))
    if code is None:
        assert await receive(socket) == HEARTBEAT_ANSWER
    else:
        assert await closed(socket) == code


async def test_100_unreadable_frames_close_the_connection(socket: ClientConnection) -> None:
    for _ in range(100):
        await socket.send("hello")
    assert await closed(socket) == 1002


async def test_99_unreadable_frames_do_not(socket: ClientConnection) -> None:
    for _ in range(2):
        for _ in range(99):
            await socket.send("hello")
        await socket.send(HEARTBEAT)
        assert await receive(socket) == HEARTBEAT_ANSWER


# Broken JSON of charge points on the market


async def test_a_value_left_out_is_missing(socket: ClientConnection, central: Central) -> None:
    await socket.send(
        '[2,"7","MeterValues",{"connectorId":1,"transactionId":,'
        '"meterValue":[{"timestamp":"T","sampledValue":[{"value":"5","unit": , "context": }]}]}]'
    )
    assert await receive(socket) == [3, "7", {}]
    [sample] = [v16.SampledValue(value="5")]
    values = [v16.MeterValue(timestamp="T", sampled_value=[sample])]
    assert central.handled == [v16.MeterValuesRequest(connector_id=1, meter_value=values)]


async def test_superfluous_commas_are_dropped(socket: ClientConnection, central: Central) -> None:
    await socket.send(
        '[2,"7","MeterValues",{"connectorId":1,"meterValue":'
        '[ ,{"timestamp":"a,]b,}:,","sampledValue":[{"value":"5"},]},]},]'
    )
    assert await receive(socket) == [3, "7", {}]
    values = [v16.MeterValue(timestamp="a,]b,}:,", sampled_value=[v16.SampledValue(value="5")])]
    assert central.handled == [v16.MeterValuesRequest(connector_id=1, meter_value=values)]


# CALLs towards the charger


def operation(number: int) -> v16.Message:
    return v16.RemoteStopTransactionRequest(transaction_id=number)


async def test_one_call_at_a_time_while_those_of_the_charger_are_answered(
    socket: ClientConnection, central: Central
) -> None:
    calls = [asyncio.create_task(central.links[0].call(operation(number))) for number in (1, 2, 3)]
    ids = set()
    for number in (1, 2, 3):
        kind, message_id, action, payload = await receive(socket)
        assert (kind, action, payload) == (2, "RemoteStopTransaction", {"transactionId": number})
        assert isinstance(message_id, str)
        assert 0 < len(message_id) <= 36
        ids.add(message_id)
        for _ in range(2):
            await socket.send(HEARTBEAT)
            assert await receive(socket) == HEARTBEAT_ANSWER  # and not the next operation
        await socket.send(json.dumps([3, message_id, {"status": "Accepted"}]))
    assert len(ids) == 3
    assert await asyncio.gather(*calls) == 3 * [
        v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
    ]


async def test_a_late_answer_is_dropped(start: Callable[..., Awaitable[Central]]) -> None:
    central = await start(call_timeout=0.05)
    async with await central.connect() as socket:
        with pytest.raises(TimeoutError):
            await central.links[0].call(operation(1))
        first = await receive(socket)
        second = asyncio.create_task(central.links[0].call(operation(2)))
        frame = await receive(socket)
        assert frame[3] == {"transactionId": 2}
        await socket.send(json.dumps([3, first[1], {"status": "Accepted"}]))
        await socket.send(json.dumps([3, frame[1], {"status": "Rejected"}]))
        assert await second == v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([4, "ID", "NotSupported", "no", {"why": 1}], "NotSupported"),
        ([4, "ID", "VendorError"], "VendorError"),  # description and details are left out by some
        ([4, "ID"], "GenericError"),
        ([3, "ID", {"status": "Perhaps"}], "PropertyConstraintViolation"),
        ([3, "ID", {}], "OccurenceConstraintViolation"),
        ([3, "ID", []], "FormationViolation"),
        ([3, "ID"], "FormationViolation"),
        ([3, "ID", {"status": "Accepted"}, {}], "FormationViolation"),
    ],
)
async def test_answers_that_are_none(answer: list[Any], code: str, socket: ClientConnection, central: Central) -> None:
    call = asyncio.create_task(central.links[0].call(operation(1)))
    answer[1] = (await receive(socket))[1]
    await socket.send(json.dumps(answer))
    with pytest.raises(CallError) as error:
        await call
    assert error.value.code == code
    if len(answer) == 5:
        assert (error.value.description, error.value.details) == ("no", {"why": 1})


async def test_a_numeric_id_in_the_answer_is_the_id_that_was_sent(socket: ClientConnection, central: Central) -> None:
    call = asyncio.create_task(central.links[0].call(operation(1)))
    message_id = (await receive(socket))[1]
    await socket.send(json.dumps([3, int(message_id), {"status": "Accepted"}]))
    async with asyncio.timeout(DEADLINE):
        assert await call == v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)


async def test_calls_end_with_the_connection(socket: ClientConnection, central: Central) -> None:
    calls = [asyncio.create_task(central.links[0].call(operation(number))) for number in (1, 2)]
    await receive(socket)
    await socket.close()
    async with asyncio.timeout(DEADLINE):
        for call in calls:
            with pytest.raises(ConnectionError):
                await call
        with pytest.raises(ConnectionError):
            await central.links[0].call(operation(3))


async def test_answers_that_take_time_do_not_hold_up_others(socket: ClientConnection, central: Central) -> None:
    slow: asyncio.Future[v16.Message] = asyncio.get_running_loop().create_future()
    central.answers[v16.AuthorizeRequest] = lambda: slow
    await socket.send('[2,"slow","Authorize",{"idTag":"A"}]')
    await socket.send(HEARTBEAT)
    assert await receive(socket) == HEARTBEAT_ANSWER
    slow.set_result(v16.AuthorizeResponse(id_tag_info=v16.IdTagInfo(status=v16.AuthorizationStatus.BLOCKED)))
    assert await receive(socket) == [3, "slow", {"idTagInfo": {"status": "Blocked"}}]


async def test_a_flood_of_calls_that_take_time_is_bounded(socket: ClientConnection, central: Central) -> None:
    release = asyncio.Event()

    async def answer() -> v16.Message:
        await release.wait()
        return v16.AuthorizeResponse(id_tag_info=v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED))

    central.answers[v16.AuthorizeRequest] = answer
    for number in range(200):
        await socket.send(json.dumps([2, f"{number}", "Authorize", {"idTag": "A"}]))
    await until(lambda: len(central.handled) >= link_module.MAX_UNANSWERED, "as many in work as there may be")
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(central.handled) <= link_module.MAX_UNANSWERED + 1
    release.set()
    answered = {(await receive(socket))[1] for _ in range(200)}
    assert len(answered) == 200  # slowed down, and nothing is lost


# The handshake


async def test_an_unknown_charger_gets_404(central: Central) -> None:
    for _ in range(2):
        with pytest.raises(InvalidStatus) as refused:
            await central.connect("/STRANGER")
        assert refused.value.response.status_code == 404
    assert central.system.unknown == {"STRANGER": 2}
    assert central.events == []


async def test_the_memory_of_unknown_chargers_is_bounded(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_UNKNOWN", 2)
    for identity in ("A", "B", "C", "A"):
        with pytest.raises(InvalidStatus):
            await central.connect(f"/{identity}")
    assert central.system.unknown == {"A": 2, "B": 1}


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/CP1", "CP1"),
        ("/CP1/", "CP1"),
        ("//CP1//", "CP1"),
        ("/ocpp/1.6/CP1", "CP1"),
        ("/ocpp/CP1?token=x/y", "CP1"),
        ("/00:1B:44:11-3A", "00:1B:44:11-3A"),
        ("/CP%231%20left", "CP#1 left"),
        ("/Gr%C3%BCn", "Grün"),
        ("/a%2Fb", "a/b"),
        ("/%25", "%"),
        ("/", ""),
    ],
)
async def test_identity(path: str, identity: str, central: Central, stack: contextlib.AsyncExitStack) -> None:
    central.everybody = True
    await stack.enter_async_context(await central.connect(path))
    assert list(central.system.links) == [identity]


@pytest.mark.parametrize(
    ("required", "offered", "chosen"),
    [
        (False, ["ocpp1.6"], "ocpp1.6"),
        (False, None, None),
        (False, ["ocpp2.0.1", "ocpp1.6"], "ocpp1.6"),
        (False, ["ocpp2.0.1"], 400),
        (False, ["ocpp1.5", "ocpp2.0.1"], 400),
        (True, ["ocpp1.6"], "ocpp1.6"),
        (True, ["ocpp1.6", "ocpp2.0.1"], "ocpp1.6"),
        (True, ["ocpp2.0.1"], 400),
        (True, None, 400),
    ],
)
async def test_subprotocol(
    required: bool, offered: list[str] | None, chosen: Any, start: Callable[..., Awaitable[Central]]
) -> None:
    central = await start(require_subprotocol=required)
    if chosen == 400:
        with pytest.raises(InvalidStatus) as refused:
            await central.connect(subprotocols=offered)
        assert refused.value.response.status_code == 400
        assert central.events == []
    else:
        async with await central.connect(subprotocols=offered) as socket:
            assert socket.subprotocol == chosen
            await socket.send(HEARTBEAT)
            assert await receive(socket) == HEARTBEAT_ANSWER


class RawSocket:
    """A websocket client written by hand: it does what it is told and nothing else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def shake_hands(self, **headers: str | None) -> int:
        """Send a handshake for CP1; a header that is None is left out. Returns the HTTP status."""
        lines = {
            "Host": "gateway",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "ocpp1.6",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        self.writer.write(f"GET /CP1 HTTP/1.1\r\n{text}\r\n".encode())
        async with asyncio.timeout(DEADLINE):
            return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])

    def send(self, opcode: int, payload: bytes) -> None:
        assert len(payload) < 126
        self.writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload)

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; `IncompleteReadError` or `ConnectionError` at the end."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                [length] = struct.unpack(">H", await self.reader.readexactly(2))
            return first & 0x0F, await self.reader.readexactly(length)

    async def end(self) -> None:
        """Read until the connection ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.receive()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


@pytest.fixture
def dial(stack: contextlib.AsyncExitStack) -> Callable[[Central], Awaitable[RawSocket]]:
    async def dial(central: Central) -> RawSocket:
        raw = RawSocket(*await asyncio.open_connection("127.0.0.1", central.port))
        stack.push_async_callback(raw.close)
        return raw

    return dial


Dial = Callable[[Central], Awaitable[RawSocket]]


@pytest.mark.parametrize(
    ("connection", "upgrade"),
    [
        (None, None),
        (None, "websocket"),
        ("keep-alive", None),
        ("keep-alive", "websocket"),
        ("close", "WebSocket"),
        ("Keep-Alive, upgrade", "websocket"),
        ("UPGRADE", "WEBSOCKET"),
    ],
)
async def test_a_handshake_that_does_not_quite_ask_for_the_upgrade(
    connection: str | None, upgrade: str | None, central: Central, dial: Dial
) -> None:
    raw = await dial(central)
    assert await raw.shake_hands(Connection=connection, Upgrade=upgrade) == 101
    raw.send(TEXT, HEARTBEAT.encode())
    assert json.loads((await raw.receive())[1]) == HEARTBEAT_ANSWER


async def test_a_web_browser_is_no_charger(central: Central, dial: Dial) -> None:
    raw = await dial(central)
    headers = {"Connection": "keep-alive", "Upgrade": None, "Sec_WebSocket_Key": None, "Sec_WebSocket_Version": None}
    assert 400 <= await raw.shake_hands(**headers) < 500
    assert central.events == []


async def test_a_handshake_must_come_in_time(
    start: Callable[..., Awaitable[Central]], dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_module.HANDSHAKE_TIMEOUT == 10
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT", 0.1)
    central = await start()
    silent, slow = await dial(central), await dial(central)
    slow.writer.write(b"GET /CP1 HTTP/1.1\r\nHost: gateway\r\n")
    for raw in (silent, slow):
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionError):
                assert await raw.reader.read() == b""


async def test_connections_of_one_address_are_bounded(
    start: Callable[..., Awaitable[Central]], stack: contextlib.AsyncExitStack
) -> None:
    central = await start(capacity=2)
    central.everybody = True
    sockets = [await stack.enter_async_context(await central.connect(f"/CP{number}")) for number in range(10)]
    with pytest.raises(InvalidStatus) as refused:
        await central.connect("/CP10")
    assert refused.value.response.status_code == 429
    await sockets[3].close()
    await until(lambda: len(central.system.links) == 9, "one connection less")
    await stack.enter_async_context(await central.connect("/CP10"))


# One identity, two connections


async def test_the_older_connection_wins_while_it_lives(socket: ClientConnection, central: Central) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await central.connect()
    assert refused.value.response.status_code == 409
    await socket.send(HEARTBEAT)
    assert await receive(socket) == HEARTBEAT_ANSWER
    assert central.events == [("connected", "CP1")]


async def test_a_dead_connection_gives_way(
    central: Central, dial: Dial, stack: contextlib.AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_module.DUPLICATE_PING_TIMEOUT == 2
    monkeypatch.setattr(server_module, "DUPLICATE_PING_TIMEOUT", 0.05)
    dead = await dial(central)
    assert await dead.shake_hands() == 101
    await until(lambda: central.links, "the first connection")
    newer = await stack.enter_async_context(await central.connect())
    await until(lambda: len(central.links) == 2, "the second connection")
    await dead.end()
    await newer.send(HEARTBEAT)
    assert await receive(newer) == HEARTBEAT_ANSWER
    # The end of the older one does not undo what the newer one has begun.
    assert central.events == [("connected", "CP1"), ("disconnected", "CP1"), ("connected", "CP1")]
    assert central.system.links == {"CP1": central.links[1]}
    call = asyncio.create_task(central.links[1].call(operation(1)))
    await newer.send(json.dumps([3, (await receive(newer))[1], {"status": "Accepted"}]))
    await call


async def test_of_two_that_follow_a_dead_connection_one_stays(
    central: Central, dial: Dial, stack: contextlib.AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "DUPLICATE_PING_TIMEOUT", 0.1)
    dead = await dial(central)
    assert await dead.shake_hands() == 101
    await until(lambda: central.links, "the first connection")
    newer = await asyncio.gather(*(central.connect() for _ in range(3)), return_exceptions=True)
    answers = []
    for socket in newer:
        if isinstance(socket, ClientConnection):
            await stack.enter_async_context(socket)
            with contextlib.suppress(ConnectionClosed):
                await socket.send(HEARTBEAT)
                answers.append(await receive(socket))
    assert answers == [HEARTBEAT_ANSWER]
    assert central.events == [("connected", "CP1"), ("disconnected", "CP1"), ("connected", "CP1")]


async def test_a_charger_that_closed_its_connection_may_come_back_at_once(central: Central) -> None:
    for _ in range(5):
        async with await central.connect() as socket:
            await socket.send(HEARTBEAT)
            assert await receive(socket) == HEARTBEAT_ANSWER
    await until(lambda: len(central.events) == 10, "the end of all five")
    assert central.events == 5 * [("connected", "CP1"), ("disconnected", "CP1")]


async def test_of_two_handshakes_at_once_one_stays(central: Central) -> None:
    sockets = await asyncio.gather(*(central.connect() for _ in range(4)), return_exceptions=True)
    opened = [socket for socket in sockets if isinstance(socket, ClientConnection)]
    assert opened
    answers = []
    for socket in opened:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(HEARTBEAT)
            answers.append(await receive(socket))
    assert answers == [HEARTBEAT_ANSWER]
    assert central.events == [("connected", "CP1")]
    for socket in opened:
        await socket.close()
    await until(lambda: len(central.events) == 2, "the end of the connection")
    async with await central.connect() as socket:  # and no trace of the others is left
        await socket.send(HEARTBEAT)
        assert await receive(socket) == HEARTBEAT_ANSWER


# Keep-alive


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_module.PING_TIMEOUT == 20
    monkeypatch.setattr(session_module, "PING_TIMEOUT", 0.1)


@pytest.mark.usefixtures("hasty")
async def test_a_charger_that_never_answers_a_ping_stays(start: Callable[..., Awaitable[Central]], dial: Dial) -> None:
    central = await start(ping_interval=0.01)
    raw = await dial(central)
    assert await raw.shake_hands() == 101
    for _ in range(5):
        assert (await raw.receive())[0] == PING
    raw.send(TEXT, HEARTBEAT.encode())
    while (frame := await raw.receive())[0] == PING:
        pass
    assert json.loads(frame[1]) == HEARTBEAT_ANSWER


@pytest.mark.usefixtures("hasty")
async def test_a_charger_that_answered_pings_and_falls_silent_is_cut(
    start: Callable[..., Awaitable[Central]], dial: Dial
) -> None:
    central = await start(ping_interval=0.01)
    raw = await dial(central)
    assert await raw.shake_hands() == 101
    for _ in range(5):  # one of them is in time on the busiest machine
        opcode, payload = await raw.receive()
        assert opcode == PING
        raw.send(PONG, payload)
    await raw.end()
    await until(lambda: central.events == [("connected", "CP1"), ("disconnected", "CP1")], "the end of the connection")
    assert central.system.links == {}


@pytest.mark.usefixtures("hasty")
async def test_a_charger_that_stops_answering_pings_but_talks_stays(
    start: Callable[..., Awaitable[Central]], dial: Dial
) -> None:
    central = await start(ping_interval=0.01)
    raw = await dial(central)
    assert await raw.shake_hands() == 101
    for _ in range(5):
        raw.send(PONG, (await raw.receive())[1])
    pings = 0
    while pings < 8:
        raw.send(TEXT, HEARTBEAT.encode())  # any message counts as a sign of life (OCPP 1.6 §4.6)
        opcode, _ = await raw.receive()
        pings += opcode == PING
    assert central.events == [("connected", "CP1")]


async def test_stopping_tells_chargers_that_the_gateway_goes_away(
    start: Callable[..., Awaitable[Central]],
) -> None:
    central = await start()
    socket = await central.connect()
    await central.system.stop()
    assert await closed(socket) == 1001
    await until(lambda: ("disconnected", "CP1") in central.events, "the end of the connection")
    with pytest.raises(OSError):
        await central.connect()
