"""Store and forward: what a charger says while its central system is away arrives there in order, complete and once."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from ocpp.v16 import call

from ampgate.registers.layout import address
from tests.integration.conftest import StartGateway
from tests.integration.peers import NOON, Bms, Charger, GatewayProcess, RawCharger, until
from tests.integration.test_external import external, upstream_of
from tests.integration.upstreams import BareCentral, OcppCentral

PlugIn = Callable[..., Awaitable[Charger]]
PlugInRaw = Callable[..., Awaitable[RawCharger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]

LATER = "2026-01-31T13:30:00.500Z"


@pytest.fixture
def port() -> int:
    """A port that nobody listens on yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hold(port: int, **keys: Any) -> dict[str, Any]:
    return external(port, **{"outage": "hold", "longest_delay": 1, "authorize": "accept"} | keys)


def meter_values(transaction_id: int, value: str, timestamp: str) -> call.MeterValues:
    sample = {"value": value, "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    return call.MeterValues(
        connector_id=1,
        transaction_id=transaction_id,
        meter_value=[{"timestamp": timestamp, "sampled_value": [sample]}],
    )


async def session(charger: Charger) -> int:
    """A whole session; returns the transaction id that the charger was told."""
    await charger.status(1, "Preparing")
    assert (await charger.ask(call.Authorize(id_tag="TAG"))).id_tag_info["status"] == "Accepted"
    started = await charger.ask(call.StartTransaction(connector_id=1, id_tag="TAG", meter_start=1000, timestamp=NOON))
    await charger.status(1, "Charging")
    await charger.ask(meter_values(started.transaction_id, "1234.50", LATER))
    await charger.ask(
        call.StopTransaction(transaction_id=started.transaction_id, meter_stop=2000, timestamp=LATER, reason="Local")
    )
    await charger.status(1, "Available")
    return int(started.transaction_id)


def check_session(central: OcppCentral, transaction_id: int = 1_000_001) -> None:
    """What upstream has of `session`, complete and once."""
    of = {action: [payload for _, what, payload in central.got if what == action] for action in central.actions()}
    assert of["StartTransaction"] == [{"connector_id": 1, "id_tag": "TAG", "meter_start": 1000, "timestamp": NOON}]
    assert of["MeterValues"] == [
        {
            "connector_id": 1,
            "transaction_id": transaction_id,
            "meter_value": [
                {
                    "timestamp": LATER,
                    "sampled_value": [{"value": "1234.50", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}],
                }
            ],
        }
    ]
    assert of["StopTransaction"] == [
        {"transaction_id": transaction_id, "meter_stop": 2000, "timestamp": LATER, "reason": "Local"}
    ]
    order = [action for action in central.actions() if action != "StatusNotification"]
    assert order == ["BootNotification", "StartTransaction", "MeterValues", "StopTransaction"]
    assert of["StatusNotification"] == [{"connector_id": 1, "error_code": "NoError", "status": "Available"}]


async def test_a_session_while_upstream_is_away_arrives_when_it_is_back(
    port: int, start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    gateway = await start_gateway(**hold(port))
    charger = await plug_in(gateway, boot=False)
    assert (await charger.boot()).interval == 300
    assert (await charger.ask(call.Heartbeat())).current_time
    local = await session(charger)
    assert upstream_of(gateway)["kept"] == 5
    assert upstream_of(gateway)["state"].startswith("away: refused")
    bms = await poll(gateway)
    await bms.until(address("gateway_state.alarms"), 8)
    async with OcppCentral(port) as central:
        await central.until_got("StatusNotification")
        check_session(central)
        await until(lambda: upstream_of(gateway) == {"state": "connected", "kept": 0, "given_up": 0}, "all delivered")
        await bms.until(address("gateway_state.alarms"), 0)
        # From then on frames pass, and upstream's interval is what a boot is answered with.
        assert (await charger.boot()).interval == 77
        assert local != 1_000_001


async def test_led_1_shows_the_central_system(port: int, start_gateway: StartGateway, plug_in: PlugIn) -> None:
    """Manual 1.12 §6: on while the OCPP system is connected, which here is the one beyond the gateway."""

    def led(gateway: GatewayProcess) -> Any:
        return gateway.status()["board"]["lamps"]["port_a"]

    gateway = await start_gateway(**hold(port))
    charger = await plug_in(gateway)
    await until(lambda: led(gateway)["shows"] == "off", "LED 1 is off")
    async with OcppCentral(port):
        await until(lambda: led(gateway)["shows"] == "on", "LED 1 is on")
        before = led(gateway)["switched"]
        await charger.ask(call.Heartbeat())
        await until(lambda: led(gateway)["switched"] >= before + 2, "LED 1 blinks")
    await until(lambda: led(gateway)["shows"] == "off", "LED 1 is off again")
    assert gateway.status()["ocpp"]["connected"] == 1


@pytest.mark.parametrize("killed", ["while upstream is away", "at once", "while it is delivered"])
async def test_a_session_survives_a_kill(
    killed: str, port: int, start_gateway: StartGateway, plug_in: PlugIn, peers: AsyncExitStack
) -> None:
    config = hold(port)
    gateway = await start_gateway(**config)
    charger = await plug_in(gateway)
    if killed == "at once":
        started = await charger.ask(
            call.StartTransaction(connector_id=1, id_tag="TAG", meter_start=1000, timestamp=NOON)
        )
        gateway.kill()
        await charger.close()
        gateway = await start_gateway(**config)
        charger = await plug_in(gateway)
        await charger.ask(meter_values(started.transaction_id, "1234.50", LATER))
        gateway.kill()
        await charger.close()
        gateway = await start_gateway(**config)
        charger = await plug_in(gateway)
        await charger.ask(
            call.StopTransaction(
                transaction_id=started.transaction_id, meter_stop=2000, timestamp=LATER, reason="Local"
            )
        )
        await charger.status(1, "Available")
        gateway.kill()
    else:
        await session(charger)
    central = await peers.enter_async_context(OcppCentral(port))
    if killed == "while it is delivered":
        await central.until_got("StartTransaction")
    gateway.kill()
    await charger.close()
    gateway = await start_gateway(**config)
    charger = await plug_in(gateway, boot=False)
    await central.until_got("StatusNotification")
    if killed == "while it is delivered":
        # What upstream has taken without an answer that was heard comes once more, as a charger would send it.
        seen: list[Any] = []
        central.got = [got for got in central.got if got not in seen and not seen.append(got)]  # type: ignore[func-returns-value]
        check_session(central, next(central.transaction_ids) - 1)
    else:
        check_session(central)


async def test_what_a_charger_sends_again_arrives_once(
    port: int, start_gateway: StartGateway, plug_in_raw: PlugInRaw
) -> None:
    """The gateway is killed after the commit and before the charger hears; or later, when all is delivered."""
    config = hold(port)
    start = {"connectorId": 1, "idTag": "TAG", "meterStart": 1, "timestamp": NOON}
    gateway = await start_gateway(**config)
    raw = await plug_in_raw(gateway)
    told = await raw.ask("StartTransaction", **start)
    gateway.kill()
    await raw.close()
    gateway = await start_gateway(**config)
    raw = await plug_in_raw(gateway, boot=False)
    assert await raw.ask("StartTransaction", **start) == told
    async with OcppCentral(port) as central:
        await central.until_got("StartTransaction")
        await until(lambda: upstream_of(gateway)["state"] == "connected", "all delivered")
        assert await raw.ask("StartTransaction", **start) == told
        await raw.ask("Heartbeat")
        assert central.actions() == ["BootNotification", "StartTransaction", "Heartbeat"]


async def test_each_side_sees_the_transaction_id_it_knows(
    port: int, start_gateway: StartGateway, plug_in_raw: PlugInRaw, poll: Poll
) -> None:
    gateway = await start_gateway(**hold(port))
    raw = await plug_in_raw(gateway)
    raw.replies = {"RemoteStopTransaction": {"status": "Accepted"}, "SetChargingProfile": {"status": "Accepted"}}
    start = {"connectorId": 1, "idTag": "TAG", "meterStart": 1, "timestamp": NOON}
    local = (await raw.ask("StartTransaction", **start))["transactionId"]
    bms = await poll(gateway)
    async with OcppCentral(port) as central:
        await central.until_got("StartTransaction")
        await until(lambda: upstream_of(gateway)["state"] == "connected", "all delivered")
        profile = {
            "charging_profile_id": 1,
            "stack_level": 0,
            "charging_profile_purpose": "TxProfile",
            "charging_profile_kind": "Relative",
            "transaction_id": 1_000_001,
            "charging_schedule": {
                "charging_rate_unit": "A",
                "charging_schedule_period": [{"start_period": 0, "limit": 6.0}],
            },
        }
        upstream = central.connections["CP0"]
        assert (await upstream.call(call.SetChargingProfile(1, profile))).status == "Accepted"
        assert (await upstream.call(call.RemoteStopTransaction(transaction_id=1_000_001))).status == "Accepted"
        assert raw.calls[0][3]["csChargingProfiles"]["transactionId"] == local
        assert raw.calls[1][3] == {"transactionId": local}
        # The BMS stops what the charger calls by its local id.
        await bms.write(address("remote_stop.transaction_id", 0), local & 0xFFFF)
        await bms.write(address("remote_stop.flag", 0), 1)
        await bms.until(address("remote_stop.flag", 0), 0)
        assert raw.calls[2][3] == {"transactionId": local}
        # A frame of the charger is changed at this one place, not in texts that look alike.
        evil = f'"transactionId": {local}'
        values = [{"timestamp": NOON, "sampledValue": [{"value": "1.50"}, {"value": evil}]}]
        await raw.ask("MeterValues", connectorId=1, transactionId=local, meterValue=values)
        got = await central.until_got("MeterValues")
        assert got["transaction_id"] == 1_000_001
        assert got["meter_value"][0]["sampled_value"] == [{"value": "1.50"}, {"value": evil}]
        await raw.ask("StopTransaction", transactionId=local, meterStop=9, timestamp=LATER)
        assert (await central.until_got("StopTransaction"))["transaction_id"] == 1_000_001


async def test_messages_that_come_while_the_store_is_delivered_queue_behind(
    port: int, start_gateway: StartGateway, plug_in_raw: PlugInRaw
) -> None:
    gateway = await start_gateway(**hold(port))
    raw = await plug_in_raw(gateway)

    def values(number: int) -> dict[str, Any]:
        return {
            "connectorId": 1,
            "meterValue": [{"timestamp": NOON, "sampledValue": [{"value": str(number)}]}],
        }

    for number in range(50):
        await raw.ask("MeterValues", **values(number))
    slow = asyncio.Event()
    order: list[str] = []

    async def talk(websocket: Any) -> None:
        async for text in websocket:
            _, message_id, action, payload = json.loads(text)
            order.append(payload["meterValue"][0]["sampledValue"][0]["value"] if action == "MeterValues" else action)
            if len(order) == 10:
                await slow.wait()
            answer = {"status": "Accepted", "currentTime": NOON, "interval": 5} if action == "BootNotification" else {}
            await websocket.send(json.dumps([3, message_id, answer]))

    async with BareCentral(talk, port=port):
        await until(lambda: len(order) == 10, "a part is delivered", 20)
        for number in range(50, 60):
            await raw.ask("MeterValues", **values(number))  # answered though upstream answers nothing
        assert len(order) == 10
        slow.set()
        await until(lambda: upstream_of(gateway)["state"] == "connected", "all delivered", 20)
        await raw.ask("MeterValues", **values(60))
        assert order == ["BootNotification", *map(str, range(61))]


async def test_what_upstream_owed_an_answer_to_when_it_was_lost_is_kept(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw
) -> None:
    """The StartTransaction has gone upstream, no answer has come: the charger gets one, upstream gets it again."""
    connections = 0
    starts: list[str] = []

    async def talk(websocket: Any) -> None:
        nonlocal connections
        connections += 1
        async for text in websocket:
            _, message_id, action, _ = json.loads(text)
            if action == "StartTransaction":
                starts.append(text)
                if connections == 1:
                    websocket.transport.abort()
                    return
            answer = {
                "BootNotification": {"status": "Accepted", "currentTime": NOON, "interval": 5},
                "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
            }
            await websocket.send(json.dumps([3, message_id, answer.get(action, {})]))

    async with BareCentral(talk) as central:
        gateway = await start_gateway(**hold(central.port))
        raw = await plug_in_raw(gateway)
        answer = await raw.ask("StartTransaction", connectorId=1, idTag="TAG", meterStart=1, timestamp=NOON)
        assert answer["transactionId"] != 7
        await until(lambda: len(starts) == 2, "the second try", 20)
        assert starts[0] == starts[1]


async def test_an_answer_to_a_call_of_a_lost_connection_goes_to_nobody(
    start_gateway: StartGateway, plug_in_raw: PlugInRaw
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**hold(central.port))
        raw = await plug_in_raw(gateway)
        lost = asyncio.create_task(central.connections["CP0"].call(call.ClearCache()))
        await until(lambda: raw.calls, "the CALL")
        central.cut()
        lost.cancel()
        await until(lambda: upstream_of(gateway)["state"] != "connected", "upstream away")
        await until(lambda: upstream_of(gateway)["state"] == "connected", "upstream back", 20)
        frames: list[str] = []
        receive = central.connections["CP0"].route_message
        central.connections["CP0"].route_message = lambda frame: frames.append(frame) or receive(frame)  # type: ignore[func-returns-value]
        await raw.send([3, raw.calls[0][1], {"status": "Accepted"}])
        await raw.ask("Heartbeat")
        assert len(frames) == 1
        assert "Heartbeat" in frames[0]


@pytest.mark.parametrize(
    ("authorize", "expected"),
    [
        ("accept", ["Accepted", "Accepted", "Accepted"]),
        ("reject", ["Invalid", "Invalid", "Invalid"]),
        ("known", ["Accepted", "Blocked", "Invalid"]),
    ],
)
async def test_who_may_charge_while_upstream_is_away(
    authorize: str, expected: list[str], start_gateway: StartGateway, plug_in: PlugIn
) -> None:
    async with OcppCentral() as central:
        central.blocked = {"BAD"}
        gateway = await start_gateway(**hold(central.port, authorize=authorize))
        charger = await plug_in(gateway)
        await charger.ask(call.Authorize(id_tag="Good"))
        await charger.ask(call.Authorize(id_tag="BAD"))
    await until(lambda: upstream_of(gateway)["state"] != "connected", "upstream away")
    answers = [await charger.ask(call.Authorize(id_tag=tag)) for tag in ("GOOD", "bad", "STRANGER")]
    assert [answer.id_tag_info["status"] for answer in answers] == expected
    started = await charger.ask(call.StartTransaction(connector_id=1, id_tag="stranger", meter_start=0, timestamp=NOON))
    assert started.id_tag_info["status"] == expected[2]  # and yet it has an id: a start is always taken
    assert (await charger.ask(call.DataTransfer(vendor_id="V"))).status == "Rejected"


async def test_a_boot_that_upstream_does_not_accept_yet_is_repeated(
    port: int, start_gateway: StartGateway, plug_in: PlugIn
) -> None:
    gateway = await start_gateway(**hold(port))
    charger = await plug_in(gateway)
    await charger.status(1, "Available")
    async with OcppCentral(port) as central:
        central.boot_status = "Pending"
        await central.until_got("BootNotification")
        assert upstream_of(gateway)["kept"] == 2
        # Upstream may ask meanwhile (OCPP 1.6 §4.2).
        assert (await central.connections["CP0"].call(call.GetConfiguration())).configuration_key == []
        assert charger.asked[0][0] == "GetConfiguration"
        assert central.actions() == ["BootNotification"]


async def test_an_upstream_that_answers_nothing_is_left_and_tried_again(
    port: int, start_gateway: StartGateway, plug_in: PlugIn
) -> None:
    gateway = await start_gateway(**hold(port, call_timeout=0.3))
    await plug_in(gateway)
    async with BareCentral(port=port) as central:
        first = await central.until_connected()
        await first.wait_closed()
        assert (first.close_code, first.close_reason) == (1001, "no answer")
        await central.until_connected(2)
        await central.until_frames(2)
        assert len(set(central.frames)) == 1  # the same boot, with the same message id
        assert upstream_of(gateway)["kept"] == 1
