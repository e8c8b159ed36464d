"""Sessions while the central system comes and goes and the gateway is killed again and again.

The charger behaves as the standard says: one CALL at a time, and what got no answer is sent again after the reconnect.
The central system knows a StartTransaction that it has had, as the standard expects of it. Afterwards it must have
everything, in order, under its own transaction ids; and twice only what was on its way when something ended.

Choices come from a seed, which a failure prints: set AMPGATE_EXTERNAL_SEED to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import WebSocketException

from tests.integration.conftest import StartGateway
from tests.integration.peers import SUBPROTOCOL, GatewayProcess, until
from tests.integration.test_external import external, upstream_of
from tests.integration.upstreams import BareCentral

SEED = int(os.environ.get("AMPGATE_EXTERNAL_SEED", "20260131"))
SESSIONS, VALUES = 40, 3
KILLS, OUTAGES = 10, 8
LATER = "2026-01-31T12:00:{:02}.125Z"


class Central:
    """The central system: gives ids to transactions, takes down what it gets."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.ids: dict[int, int] = {}
        """Transaction ids by meter reading at the start, which is another one for each."""

    async def talk(self, websocket: ServerConnection) -> None:
        async for frame in websocket:
            _, message_id, action, payload = json.loads(frame)
            self.got.append(str(frame))
            answer: dict[str, Any] = {}
            if action == "BootNotification":
                answer = {"status": "Accepted", "currentTime": "2026-01-31T12:00:00Z", "interval": 300}
            if action == "StartTransaction":
                number = self.ids.setdefault(payload["meterStart"], 1000 + len(self.ids))
                answer = {"transactionId": number, "idTagInfo": {"status": "Accepted"}}
            await websocket.send(json.dumps([3, message_id, answer]))


class Charger:
    """Sessions one after the other."""

    def __init__(self) -> None:
        self.done = 0
        self.sent: list[str] = []
        """Frames in order, each once, with ``{}`` in the place of the transaction id."""
        self.gateway: GatewayProcess
        self.websocket: Any = None

    async def ask(self, action: str, payload: str, **fields: Any) -> dict[str, Any]:
        """Send a CALL until it is answered."""
        frame = f'[2, "m{len(self.sent)}","{action}",{payload}]'
        self.sent.append(frame)
        text = frame.replace("{id}", str(fields.get("transaction")))
        while True:
            with suppress(OSError, WebSocketException):
                if self.websocket is None:
                    url = f"ws://127.0.0.1:{self.gateway.ocpp_port}/CP0"
                    self.websocket = await connect(url, subprotocols=[SUBPROTOCOL], compression=None)  # type: ignore[list-item]
                await self.websocket.send(text)
                answer = json.loads(await self.websocket.recv())
                assert answer[0] == 3, f"seed {SEED}: {answer}"
                self.done += 1
                return dict(answer[2])
            self.websocket = None

    async def charge(self) -> None:
        await self.ask("BootNotification", '{"chargePointVendor":"V","chargePointModel":"M"}')
        for session in range(1, SESSIONS + 1):
            begin, end = LATER.format(session), LATER.format(session + 1)
            start = f'{{"connectorId":1,"idTag":"T{session}","meterStart":{session}00,"timestamp":"{begin}"}}'
            number = (await self.ask("StartTransaction", start))["transactionId"]
            for value in range(VALUES):
                sample = f'{{"value":"{session}{value}.50","unit":"Wh"}}'
                await self.ask(
                    "MeterValues",
                    '{"connectorId":1,"transactionId": {id},"meterValue":'
                    f'[{{"timestamp":"{begin}","sampledValue":[{sample}]}}]}}',
                    transaction=number,
                )
            stop = f'{{"meterStop":{session}99,"timestamp":"{end}","transactionId":{{id}}}}'
            await self.ask("StopTransaction", stop, transaction=number)


@pytest.mark.timeout(240)
async def test_everything_arrives_whatever_ends(start_gateway: StartGateway) -> None:
    dice = random.Random(SEED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = external(port, outage="hold", authorize="accept", longest_delay=1)
    central, charger = Central(), Charger()
    charger.gateway = await start_gateway(**config)
    charging = asyncio.create_task(charger.charge())
    total = 1 + SESSIONS * (VALUES + 2)
    events = ["kill"] * KILLS + ["away", "back"] * OUTAGES
    kinds = [event == "kill" for event in events]
    dice.shuffle(kinds)
    there, server = False, BareCentral(central.talk, port=port)
    for number, kill in enumerate(kinds):
        goal = round(total * (number + dice.random()) / len(kinds))
        await until(lambda goal=goal: charging.done() or charger.done >= goal, f"progress, seed {SEED}", 60)  # type: ignore[misc]
        if charging.done():
            await charging  # it has failed
        if kill:
            charger.gateway.kill()
            charger.gateway = await start_gateway(**config)
        elif there:
            await server.__aexit__()
            there = False
        else:
            await server.__aenter__()
            there = True
    if not there:
        await server.__aenter__()
    await asyncio.wait_for(charging, 60)
    await charger.ask("Heartbeat", "{}")  # connected again, if the gateway was killed last
    await until(lambda: upstream_of(charger.gateway) == {"state": "connected", "kept": 0, "given_up": 0}, "the end", 60)
    await charger.websocket.close()
    await server.__aexit__()

    got = [frame for frame in central.got if not re.search("BootNotification|Heartbeat", frame)]
    first = list(dict.fromkeys(got))
    wanted = []
    for frame in charger.sent[1:-1]:
        if '"StartTransaction"' in frame:
            found = re.search(r'"meterStart":(\d+)', frame)
            assert found
            number_ = central.ids[int(found[1])]
        wanted.append(frame.replace("{id}", str(number_)))
    assert first == wanted, f"seed {SEED}"
    assert len(got) - len(first) <= KILLS + OUTAGES, f"seed {SEED}"
