"""Reading recordings, and playing them to a central system."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ampgate.simulator import replay
from ampgate.simulator.replay import Player, ReplayError, Report, Step, read
from tests.unit.simulator.central import DEADLINE

BOOT = [2, "1", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}]
BOOTED = [3, "1", {"status": "Accepted", "currentTime": "2026-01-31T12:00:00Z", "interval": 300}]
START = [
    2,
    "2",
    "StartTransaction",
    {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-31T12:00:00Z"},
]
STARTED = [3, "2", {"transactionId": 5, "idTagInfo": {"status": "Accepted"}}]
STOP = [2, "3", "StopTransaction", {"transactionId": 5, "meterStop": 9, "timestamp": "2026-01-31T12:10:00+02:00"}]
STOPPED = [3, "3", {}]
HELLO: list[tuple[bool, Any]] = [(False, BOOT), (True, BOOTED), (False, START), (True, STARTED), (False, STOP)]


def line(sent: bool, frame: Any, at: float = 1000.0, peer: str = "ocpp CP1") -> str:
    data = frame if isinstance(frame, str) else json.dumps(frame)
    return json.dumps({"at": at, "peer": peer, "sent": sent, "data": data})


def steps(*frames: tuple[bool, Any], pause: float = 0.0) -> list[Step]:
    texts = [(sent, frame if isinstance(frame, str) else json.dumps(frame)) for sent, frame in frames]
    return [Step(1000.0 + pause * number, sent, text, replay._frame(text)) for number, (sent, text) in enumerate(texts)]


async def played(conversation: list[Step], *answers: Any, **options: Any) -> tuple[Report, list[Any]]:
    """Play to a central system that sends these frames: a list of them for each CALL that it gets."""
    heard: list[Any] = []
    left = iter(answers)

    async def talk(websocket: ServerConnection) -> None:
        async for text in websocket:
            heard.append(json.loads(text) if str(text).startswith("[") else text)
            if str(text).startswith("[2"):
                for answer in next(left, ()):
                    await websocket.send(json.dumps(answer))

    async with serve(talk, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(DEADLINE):
            player = Player(f"ws://127.0.0.1:{port}", "CP1", conversation, **({"pace": math.inf} | options))
            return await player.run(), heard


def test_conversations_are_told_apart_and_modbus_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    modbus = json.dumps({"at": 1.0, "peer": "modbus 10.0.0.5:40112", "sent": False, "data": "0001"})
    path.write_text("\n".join([line(False, BOOT), modbus, "", line(False, "noise", peer="ocpp A B")]))
    found = read(path)
    assert list(found) == ["CP1", "A B"]
    assert found["CP1"][0].frame == BOOT
    assert found["A B"][0].frame is None
    assert found["A B"][0].kind == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", r"t.jsonl:1: not a line of a trace .*`ampgate trace --save"),
        ('{"at": 1}', "t.jsonl:1: .*missing required field"),
        (line(False, BOOT) + '\n{"at": "noon", "peer": "ocpp X", "sent": true, "data": ""}', "t.jsonl:2: "),
        ("", "holds no frame of a charger"),
    ],
)
def test_what_is_no_recording_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(ReplayError, match=reason):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="No such file"):
        read(tmp_path / "none")


async def test_transaction_ids_of_now_are_used_from_the_answer_on() -> None:
    now = [3, "2", {"transactionId": 77, "idTagInfo": {"status": "Accepted"}}]
    report, heard = await played(steps(*HELLO, (True, STOPPED)), [BOOTED], [now], [STOPPED])
    assert report.good
    assert (report.sent, report.same) == (3, 3)
    assert [frame[1] for frame in heard] == ["1", "2", "3"]
    assert heard[2][3] == STOP[3] | {"transactionId": 77}


async def test_message_ids_may_come_again() -> None:
    """As after a restart of the charger, which counts from 1 again."""
    again = [2, "2", "StartTransaction", START[3] | {"meterStart": 9}]
    started = [3, "2", {"transactionId": 6, "idTagInfo": {"status": "Accepted"}}]
    stops = [[2, f"{number}", "StopTransaction", {"transactionId": number, "meterStop": 9}] for number in (5, 6)]
    conversation = steps(
        *HELLO[:4], (False, stops[0]), (True, [3, "5", {}]), (False, again), (True, started), (False, stops[1])
    )
    answers = [[3, "2", {"transactionId": number, "idTagInfo": {"status": "Accepted"}}] for number in (77, 78)]
    report, heard = await played(conversation, [BOOTED], [answers[0]], [[3, "5", {}]], [answers[1]], [[3, "6", {}]])
    assert report.good
    assert [frame[3]["transactionId"] for frame in heard if frame[2] == "StopTransaction"] == [77, 78]


async def test_differences_are_named() -> None:
    blocked = [3, "2", {"transactionId": 5, "idTagInfo": {"status": "Blocked", "parentIdTag": "P"}}]
    report, _ = await played(steps(*HELLO, (True, STOPPED)), [BOOTED], [blocked], [[4, "3", "InternalError", "", {}]])
    assert report.differences == [
        "StartTransaction 2: idTagInfo.status Blocked, recorded Accepted",
        "StartTransaction 2: idTagInfo.parentIdTag P, recorded missing",
        "StopTransaction 3: CALLERROR InternalError, recorded a result {}",
    ]
    assert not report.good


async def test_refusals_are_compared_by_their_code() -> None:
    was = [4, "1", "SecurityError", "boot first", {}]
    report, _ = await played(steps((False, BOOT), (True, was)), [[4, "1", "SecurityError", "other words", {}]])
    assert report.good
    report, _ = await played(steps((False, BOOT), (True, was)), [[4, "1", "GenericError", "", {}]])
    assert report.differences == ["BootNotification 1: errorCode GenericError, recorded SecurityError"]


async def test_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "ANSWER_TIMEOUT", 0.05)
    report, _ = await played(steps((False, BOOT), (True, BOOTED)))
    assert report.differences == ["BootNotification 1: no answer within 0.05 s"]


async def test_what_was_asked_of_the_charger_is_answered_as_then() -> None:
    asked = [2, "900", "RemoteStopTransaction", {"transactionId": 5}]
    answered = [3, "900", {"status": "Accepted"}]
    now = [3, "2", {"transactionId": 77, "idTagInfo": {"status": "Accepted"}}]
    asks_now = [2, "g1", "RemoteStopTransaction", {"transactionId": 77}]
    other = [2, "g2", "ClearCache", {}]
    conversation = steps(*HELLO[:4], (True, asked), (False, answered), (False, STOP), (True, STOPPED))
    report, heard = await played(conversation, [BOOTED], [now, asks_now, other], [STOPPED])
    assert [3, "g1", {"status": "Accepted"}] in heard
    assert [4, "g2", "GenericError", "not in the recording", {}] in heard
    assert report.notes == ["ClearCache is asked of the charger now, and was not then: answered GenericError"]


async def test_what_is_not_asked_any_more_or_asked_in_another_way_is_noted() -> None:
    asked = [[2, "900", "ChangeConfiguration", {"key": "A", "value": "1"}], [2, "901", "Reset", {"type": "Soft"}]]
    conversation = steps(
        (False, BOOT), (True, BOOTED), (True, asked[0]), (True, asked[1]), (False, STOP), (True, STOPPED)
    )
    now = [2, "g1", "ChangeConfiguration", {"key": "A", "value": "2"}]
    report, heard = await played(conversation, [now, BOOTED], [STOPPED])
    assert [4, "g1", "GenericError", "the recording has no answer", {}] in heard
    assert "ChangeConfiguration asks for value 2, recorded 1" in report.notes
    assert "Reset was asked of the charger then, and not now" in report.notes


async def test_a_recording_that_begins_in_the_middle_is_booted_first() -> None:
    accepted = [3, "replay-boot", {"status": "Accepted"}]
    report, heard = await played(steps((False, STOP), (True, STOPPED)), [accepted], [STOPPED])
    assert [frame[2] for frame in heard] == ["BootNotification", "StopTransaction"]
    assert report.sent == 1
    assert report.good


async def test_noise_is_sent_as_it_was_and_halves_are_not() -> None:
    half = '[2,"9","DataTransfer",{"vendorId":"' + "x" * 5000
    report, heard = await played(steps((False, "hello"), (False, half), (False, BOOT), (True, BOOTED)), [BOOTED])
    assert heard == ["hello", BOOT]
    assert [note[:44] for note in report.notes] == ["not sent, as the trace has only its begin: ["]


async def test_timestamps_are_moved_to_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay.time, "time", lambda: 1000.0 + 3600)
    _, heard = await played(
        steps((False, BOOT), (True, BOOTED), (False, STOP), (True, STOPPED)), [BOOTED], [STOPPED], now=True
    )
    assert heard[1][3]["timestamp"] == "2026-01-31T11:10:00Z"


async def test_the_pace() -> None:
    conversation = steps((False, BOOT), (True, BOOTED), (False, STOP), (True, STOPPED), pause=1.0)
    began = asyncio.get_running_loop().time()
    await played(conversation, [BOOTED], [STOPPED], pace=10.0)
    assert 0.3 <= asyncio.get_running_loop().time() - began < DEADLINE


@pytest.mark.parametrize("code", [1000, 1011])
async def test_a_connection_that_is_closed_in_the_middle(code: int) -> None:
    async def talk(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.close(code)

    async with serve(talk, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(DEADLINE):
            report = await Player(url, "CP1", steps((False, BOOT), (True, BOOTED)), pace=math.inf).run()
    assert "connection" in report.failure


async def test_refused_starts_are_compared_like_any_answer() -> None:
    refused = [4, "2", "InternalError", "", {}]
    report, _ = await played(steps(*HELLO[:3], (True, refused)), [BOOTED], [refused])
    assert report.good


async def test_nobody_listens() -> None:
    report = await Player("ws://127.0.0.1:1", "CP1", steps((False, BOOT))).run()
    assert report.failure.startswith("no connection: ")
    assert not report.good
