"""A recorded conversation of 10 000 frames passes unchanged and in order, whatever happens around it.

Both ends play their part of it as OCPP peers: one CALL at a time, and a CALL that got no answer is sent again after a
reconnect. Meanwhile the BMS starts operations, and the connections of both ends are cut at random. Each end keeps what
it has sent and received on each connection; afterwards that is compared frame by frame.

Choices come from a seed, which a failure prints: set AMPGATE_CONVERSATION_SEED to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ampgate.registers.layout import address
from tests.integration.conftest import StartGateway
from tests.integration.peers import SUBPROTOCOL, Bms, GatewayProcess, until
from tests.integration.test_external import external
from tests.integration.upstreams import BareCentral

SEED = int(os.environ.get("AMPGATE_CONVERSATION_SEED", "20260131"))
CHARGER_CALLS, UPSTREAM_CALLS, ONE_WAY = 3800, 1150, 100
"""Of each end; with the answers, 10 000 frames."""
CUTS = 24
OWN = "ClearChargingProfile"
"""The operation of the BMS, which the recorded conversation does not have."""

Poll = Callable[[GatewayProcess], Awaitable[Bms]]


@dataclass
class Connection:
    """What one end has sent and received on one connection."""

    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)


class End:
    """One end of the conversation: its CALLs in order, and its answers to the other end's by message id."""

    def __init__(self, calls: list[str], answers: dict[str, str]) -> None:
        self.calls = calls
        self.answers = answers
        self.next = 0
        self.connections: list[Connection] = []
        self.own: list[str] = []
        self.websocket: Any = None

    @property
    def done(self) -> bool:
        return self.next == len(self.calls)

    async def play(self, websocket: Any) -> None:
        """Go on with the conversation until the connection ends."""
        self.websocket = websocket
        log = Connection()
        self.connections.append(log)

        async def send(frame: str) -> None:
            log.sent.append(frame)
            await websocket.send(frame)

        async def go_on() -> None:
            while not self.done:
                await send(self.calls[self.next])
                if self.calls[self.next].startswith("["):
                    return  # goes on with the answer
                self.next += 1

        await go_on()
        async for frame in websocket:
            if OWN in frame:
                self.own.append(frame)
                await websocket.send(json.dumps([3, json.loads(frame)[1], {"status": "Accepted"}]))
                continue
            log.received.append(frame)
            if not frame.startswith("["):
                continue
            kind, message_id, *_ = json.loads(frame)
            if kind == 2:
                await send(self.answers[message_id])
            elif not self.done and message_id == json.loads(self.calls[self.next])[1]:
                self.next += 1
                await go_on()


def frame(dice: random.Random, *parts: Any) -> str:
    """JSON as different implementations write it."""
    return json.dumps(
        parts,
        ensure_ascii=dice.random() < 0.5,
        separators=dice.choice([(",", ":"), (", ", ": "), (" ,\t", " : ")]),
        indent=dice.choice([None, None, None, 1]),
    )


def recorded(dice: random.Random) -> tuple[End, End]:
    """The parts of charger and upstream."""

    def payload(number: int) -> dict[str, Any]:
        value = {
            "value": f"{dice.uniform(0, 1e6):.{dice.randrange(5)}f}",
            "unit": "Wh",
            "x": dice.choice([1.50, 1e3, -0.0]),
        }
        return {
            "n": number,
            "meterValue": [{"timestamp": "2026-01-31T12:00:00Z", "sampledValue": [value]}],
            "ü": '☃ "\\',
        }

    def calls(prefix: str, count: int, actions: list[str]) -> tuple[list[str], dict[str, str]]:
        asked, answers = [], {}
        for number in range(count):
            message_id = f"{prefix}{number}"
            asked.append(frame(dice, 2, message_id, dice.choice(actions), payload(number)))
            answers[message_id] = dice.choice(
                [
                    frame(dice, 3, message_id, {"status": "Accepted", "n": number}),
                    frame(dice, 4, message_id, "GenericError", "überall", {}),
                ]
            )
        for number in range(ONE_WAY // 2):
            asked.insert(dice.randrange(len(asked)), f"{prefix} one way {number} {{")
        return asked, answers

    theirs, our_answers = calls("c", CHARGER_CALLS, ["StatusNotification", "MeterValues", "DataTransfer", "Vendor.X"])
    ours, their_answers = calls("u", UPSTREAM_CALLS, ["GetConfiguration", "ChangeConfiguration", "DataTransfer"])
    return End(theirs, their_answers), End(ours, our_answers)


def is_call(text: str) -> bool:
    return text.startswith("[") and json.loads(text)[0] == 2


def check(sender: list[str], receiver: list[str], where: str) -> None:
    """What was received on a connection is the beginning of what was sent: unchanged, in order, nothing twice."""
    assert receiver == sender[: len(receiver)], f"seed {SEED}, {where}"


@pytest.mark.timeout(180)
async def test_a_recorded_conversation_passes(start_gateway: StartGateway, poll: Poll) -> None:
    dice = random.Random(SEED)
    charger, upstream = recorded(dice)
    assert sum(map(len, (charger.calls, charger.answers, upstream.calls, upstream.answers))) == 10_000
    async with BareCentral(upstream.play) as central:
        gateway = await start_gateway(**external(central.port))
        bms = await poll(gateway)
        url = f"ws://127.0.0.1:{gateway.ocpp_port}/CP0"

        async def play_charger() -> None:
            while not (charger.done and upstream.done):
                with suppress(OSError, WebSocketException):
                    async with connect(url, subprotocols=[SUBPROTOCOL], compression=None) as websocket:  # type: ignore[list-item]
                        await charger.play(websocket)

        async def operate() -> None:
            flag = address("clear_charging_profile.flag", 0)
            while not (charger.done and upstream.done):
                await bms.write(flag, 1)
                await bms.until(flag, 0)

        playing, operating = asyncio.create_task(play_charger()), asyncio.create_task(operate())
        for cut in range(CUTS):
            goal = round((len(charger.calls) + len(upstream.calls)) * (cut + dice.random()) / CUTS)
            await until(lambda goal=goal: charger.next + upstream.next >= goal, "progress", 60)  # type: ignore[misc]
            dice.choice([charger, upstream]).websocket.transport.abort()
        await until(lambda: charger.done and upstream.done, "the end of the conversation", 60)
        charger.websocket.transport.abort()
        await asyncio.gather(playing, operating)
    assert len(charger.own) > 100, "the BMS has operated the charger"
    assert not upstream.own
    # A handshake that was cut may have got no further than one end.
    pairs = [(theirs, ours) for theirs in charger.connections for ours in upstream.connections if meet(theirs, ours)]
    assert len(pairs) >= CUTS // 2
    for number, (theirs, ours) in enumerate(pairs):
        check(theirs.sent, ours.received, f"connection {number}, to upstream")
        # A CALL may wait for the charger while answers pass it: both keep their order.
        for calls in (True, False):
            sent = [text for text in ours.sent if is_call(text) == calls]
            received = [text for text in theirs.received if is_call(text) == calls]
            check(sent, received, f"connection {number}, to the charger, {'CALLs' if calls else 'answers'}")
    heard = {text for connection in upstream.connections for text in connection.received}
    assert heard >= {text for text in charger.calls if text.startswith("[")}
    heard = {text for connection in charger.connections for text in connection.received}
    assert heard >= {text for text in upstream.calls if text.startswith("[")}


def meet(charger: Connection, upstream: Connection) -> bool:
    """Whether these are the two halves of one conversation."""
    return bool(upstream.received) and upstream.received[: len(charger.sent)] == charger.sent[: len(upstream.received)]
