"""The external mode between independent ends: chargers and a central system of the ``ocpp`` package, and bare ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ocpp.v16 import call
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.layout import address
from tests.integration.conftest import StartGateway
from tests.integration.peers import NOON, NOON_EPOCH, SUBPROTOCOL, Bms, Charger, GatewayProcess, RawCharger, until
from tests.integration.upstreams import BareCentral, OcppCentral

PlugIn = Callable[..., Awaitable[Charger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]


def external(port: int, **keys: Any) -> dict[str, Any]:
    """Tables of a configuration whose central system is at this port."""
    ocpp = {key: keys.pop(key) for key in ("call_timeout", "require_subprotocol") if key in keys}
    upstream = {"host": "127.0.0.1", "port": port, "path": "/ocpp/16"} | keys
    return {"gateway": {"mode": "external"}, "ocpp": ocpp | {"external": upstream}}


def upstream_of(gateway: GatewayProcess, charger: int = 0) -> dict[str, Any]:
    status: dict[str, Any] = gateway.status()["chargers"][charger]["upstream"]
    return status


async def test_a_session_passes_and_fills_the_registers(
    start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        charger = await plug_in(gateway, boot=False)
        booted = await charger.boot(firmware_version="F1", charge_point_serial_number="S1")
        assert booted.interval == 77  # upstream's answer, not the gateway's
        await charger.status(1, "Preparing")
        assert (await charger.ask(call.Authorize(id_tag="TAG"))).id_tag_info == {"status": "Accepted"}
        started = await charger.ask(
            call.StartTransaction(connector_id=1, id_tag="TAG", meter_start=1500, timestamp=NOON)
        )
        assert started.transaction_id == 1_000_001
        sample = {"value": "11.5", "measurand": "Current.Import", "unit": "A", "phase": "L2"}
        await charger.ask(
            call.MeterValues(
                connector_id=1, transaction_id=1_000_001, meter_value=[{"timestamp": NOON, "sampled_value": [sample]}]
            )
        )
        passed = await charger.ask(call.DataTransfer(vendor_id="V", message_id="M", data="x"))
        assert passed.data == "from upstream"
        bms = await poll(gateway)
        assert await bms.word(address("info.communication", 0)) == 0
        assert await bms.text(address("info.vendor", 0), 10) == "ACME"
        assert await bms.text(address("info.charge_point_serial", 0), 13) == "S1"
        assert await bms.word(address("connector.status", 0, 1)) == 1
        assert await bms.float(address("connector.current_import_l2", 0, 1)) == 11.5
        assert await bms.text(address("transaction.id_tag", 0, 1), 10) == "TAG"
        assert await bms.float(address("transaction.meter_start", 0, 1)) == 1500
        assert await bms.epoch(address("transaction.timestamp", 0, 1)) == NOON_EPOCH
        assert await bms.epoch(address("charger_state.start_transaction_id", 0)) == 1_000_001
        await charger.ask(
            call.StopTransaction(transaction_id=1_000_001, meter_stop=2500, timestamp=NOON, reason="Local")
        )
        await bms.until(address("transaction.id_tag", 0, 1), *[0] * 10)
        assert central.actions() == [
            *("BootNotification", "StatusNotification", "Authorize", "StartTransaction"),
            *("MeterValues", "DataTransfer", "StopTransaction"),
        ]
        assert upstream_of(gateway) == {"state": "connected", "kept": 0, "given_up": 0}


async def test_the_central_system_operates_the_charger(start_gateway: StartGateway, plug_in: PlugIn) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        charger = await plug_in(gateway)
        answer = await central.connections["CP0"].call(call.Reset(type="Soft"))
        assert answer.status == "Accepted"
        assert charger.asked == [("Reset", {"type": "Soft"})]


OPERATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "clear_charging_profile": ({}, "ClearChargingProfile"),
    "reserve_now": ({"connector_id": 1, "reservation_id": 5}, "ReserveNow"),
    "cancel_reservation": ({"reservation_id": 5}, "CancelReservation"),
    "remote_start": ({"connector_id": 1}, "RemoteStartTransaction"),
    "remote_stop": ({"transaction_id": 1_000_001 & 0xFFFF}, "RemoteStopTransaction"),
    "trigger_message": ({"message": 4, "connector_id": 1}, "TriggerMessage"),
}


async def test_the_bms_operates_the_charger_and_upstream_hears_nothing_of_it(
    start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        charger = await plug_in(gateway)
        await charger.ask(call.StartTransaction(connector_id=1, id_tag="TAG", meter_start=0, timestamp=NOON))
        bms = await poll(gateway)
        await bms.write(address("reserve_now.expiry", 0), NOON_EPOCH >> 16, NOON_EPOCH & 0xFFFF)
        for group in ("reserve_now", "remote_start"):
            await bms.write_text(address(f"{group}.id_tag", 0), SIGNALS[f"{group}.id_tag"].registers, "BMS")
        for group, (parameters, action) in OPERATIONS.items():
            for name, value in parameters.items():
                await bms.write(address(f"{group}.{name}", 0), value)
            await bms.write(address(f"{group}.flag", 0), 1)
            await charger.until_asked(action)
            await bms.until(address(f"{group}.flag", 0), 0)
        await bms.write(address("connector.unlock", 0, 1), 1)
        await charger.until_asked("UnlockConnector")
        await bms.until(address("connector.unlock", 0, 1), 0)
        await bms.write(address("connector.availability", 0, 1), 0)
        await charger.until_asked("ChangeAvailability")
        assert dict(charger.asked)["RemoteStopTransaction"] == {"transaction_id": 1_000_001}
        # Had an answer leaked, the package would have logged it and the next call would have got the wrong one.
        answer = await central.connections["CP0"].call(call.ClearCache())
        assert answer.status == "Accepted"
        assert central.actions() == ["BootNotification", "StartTransaction"]


async def test_signals_of_the_bms_as_central_system_are_invalid_addresses(
    start_gateway: StartGateway, poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        bms = await poll(gateway)
        for signal in SIGNALS.values():
            charger = None if signal.block == "gateway" else 0
            connector = 1 if signal.block == "connector" else None
            response = await bms.client.read_holding_registers(address(signal.key, charger, connector), count=1)
            assert response.isError() == (signal.mode == "bms"), signal.key
            assert not response.isError() or response.exception_code == 2


@pytest.mark.parametrize("asks_first", ["upstream", "bms"])
async def test_a_charger_never_has_two_calls(
    asks_first: str, start_gateway: StartGateway, plug_in_raw: Callable[..., Awaitable[RawCharger]], poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        raw = await plug_in_raw(gateway)
        bms = await poll(gateway)
        upstream = central.connections["CP0"]

        def from_upstream() -> asyncio.Task[Any]:
            return asyncio.create_task(upstream.call(call.ClearCache()))

        async def from_bms() -> None:
            await bms.write(address("clear_charging_profile.flag", 0), 1)

        asked = from_upstream() if asks_first == "upstream" else None
        if asked is None:
            await from_bms()
        await until(lambda: len(raw.calls) == 1, "the first CALL")
        if asked is None:
            asked = from_upstream()
        else:
            await from_bms()
        # What the charger asks meanwhile is answered: an answer does not wait behind a CALL that waits.
        for _ in range(3):
            assert (await raw.ask("Heartbeat"))["currentTime"] == NOON
        assert len(raw.calls) == 1
        first = raw.calls[0]
        assert first[2] == ("ClearCache" if asks_first == "upstream" else "ClearChargingProfile")
        await raw.send([3, first[1], {"status": "Accepted"}])
        await until(lambda: len(raw.calls) == 2, "the second CALL")
        await raw.send([3, raw.calls[1][1], {"status": "Accepted"}])
        assert (await asked).status == "Accepted"
        await bms.until(address("clear_charging_profile.flag", 0), 0)


async def test_a_call_that_a_charger_does_not_answer_gives_way(
    start_gateway: StartGateway, plug_in_raw: Callable[..., Awaitable[RawCharger]], poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port, call_timeout=0.3))
        raw = await plug_in_raw(gateway)
        bms = await poll(gateway)
        lost = asyncio.create_task(central.connections["CP0"].call(call.ClearCache(), suppress=False))
        await until(lambda: raw.calls, "upstream's CALL")
        await bms.write(address("remote_stop.transaction_id", 0), 9)
        await bms.write(address("remote_stop.flag", 0), 1)
        await until(lambda: len(raw.calls) == 2, "the BMS's CALL after the timeout")
        await bms.until(address("remote_stop.flag", 0), 0)
        assert await bms.word(address("remote_stop.result", 0)) == 20
        # Late answers: upstream's goes to upstream, the BMS's to nobody.
        await raw.send([3, raw.calls[1][1], {"status": "Accepted"}])
        await raw.send([3, raw.calls[0][1], {"status": "Accepted"}])
        assert (await lost).status == "Accepted"


async def test_frames_that_nobody_can_read_pass_unchanged(start_gateway: StartGateway) -> None:
    frames: list[Any] = [
        "not JSON ☃",
        "",
        "[]",
        '[2,"1"]',
        '[2, "a" , "Unknown.Action",{"x" :1.50, "y":[ ]}]',
        '[2,"b","StatusNotification",{"status":17}]',
        '[3,"never asked",{}]',
        '[4,"never asked","InternalError","",{}]',
        '[6,"send","X",{}]',
        "[" * 500,
        b"\x00\xff binary",
        '[2,"m","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[,]}]',
    ]
    async with BareCentral() as central:
        gateway = await start_gateway(**external(central.port))
        async with connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=[SUBPROTOCOL]) as charger:  # type: ignore[list-item]
            for frame in frames:
                await charger.send(frame)
            assert await central.until_frames(len(frames)) == frames
            other = await central.until_connected()
            backwards = [frame for frame in frames if not str(frame).startswith("[2, ")]
            backwards = [frame for frame in backwards if not str(frame).startswith('[2,"')]
            for frame in backwards:
                await other.send(frame)
            assert [await charger.recv() for _ in backwards] == backwards


# Either side away


async def test_drop_refuses_a_charger_while_upstream_is_away(start_gateway: StartGateway) -> None:
    async with OcppCentral() as central:
        port = central.port
    gateway = await start_gateway(**external(port))
    with pytest.raises(InvalidStatus) as refused:
        await Charger.connect(gateway.ocpp_port, "CP0")
    assert refused.value.response.status_code == 503
    assert b"nothing listens" in refused.value.response.body
    with pytest.raises(InvalidStatus) as refused:
        await Charger.connect(gateway.ocpp_port, "STRANGER")
    assert refused.value.response.status_code == 404
    async with OcppCentral(port) as central:
        charger = await Charger.connect(gateway.ocpp_port, "CP0")
        await charger.boot()
        await charger.close()


@pytest.mark.parametrize(("code", "reason"), [(1008, "unpaid"), (1012, "restart"), (4000, "own code")])
async def test_drop_closes_the_charger_as_upstream_closes(code: int, reason: str, start_gateway: StartGateway) -> None:
    async def talk(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.close(code, reason)

    async with BareCentral(talk) as central:
        gateway = await start_gateway(**external(central.port))
        async with connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=[SUBPROTOCOL]) as charger:  # type: ignore[list-item]
            await charger.send("x")
            with pytest.raises(ConnectionClosed):
                await charger.recv()
            assert (charger.close_code, charger.close_reason) == (code, reason)


async def test_drop_closes_the_charger_when_upstream_is_lost(start_gateway: StartGateway) -> None:
    async with BareCentral() as central:
        gateway = await start_gateway(**external(central.port))
        async with connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=[SUBPROTOCOL]) as charger:  # type: ignore[list-item]
            (await central.until_connected()).transport.abort()
            with pytest.raises(ConnectionClosed):
                await charger.recv()
            assert charger.close_code == 1001


@pytest.mark.parametrize("outage", ["drop", "hold"])
async def test_upstream_is_closed_when_the_charger_goes(outage: str, start_gateway: StartGateway) -> None:
    async with BareCentral() as central:
        gateway = await start_gateway(**external(central.port, outage=outage))
        url = f"ws://127.0.0.1:{gateway.ocpp_port}/CP0"
        async with connect(url, subprotocols=[SUBPROTOCOL]) as charger:  # type: ignore[list-item]
            other = await central.until_connected()
            await charger.close(1000, "bye")
            await other.wait_closed()
            assert (other.close_code, other.close_reason) == (1000, "bye")
        async with connect(url, subprotocols=[SUBPROTOCOL]) as charger:  # type: ignore[list-item]
            other = await central.until_connected(2)
            charger.transport.abort()
            await other.wait_closed()
            assert other.close_code == 1001


async def test_a_handshake_that_fails_leaves_nothing_upstream(start_gateway: StartGateway) -> None:
    """The charger goes while upstream is being connected to."""
    holding, release = asyncio.Event(), asyncio.Event()

    async def slow(connection: ServerConnection, request: Any) -> None:
        holding.set()
        await release.wait()

    async with BareCentral(process_request=slow) as central:
        gateway = await start_gateway(**external(central.port))
        trying = asyncio.create_task(
            connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=[SUBPROTOCOL]).__aenter__()
        )  # type: ignore[list-item]
        await holding.wait()
        with pytest.raises(InvalidStatus) as refused:
            await Charger.connect(gateway.ocpp_port, "CP0")  # one handshake at a time
        assert refused.value.response.status_code == 409
        trying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trying
        release.set()
        other = await central.until_connected()
        await other.wait_closed()
        charger = await Charger.connect(gateway.ocpp_port, "CP0")
        await charger.close()


# Subprotocols


@pytest.mark.parametrize(
    ("offered", "spoken", "agreed"),
    [
        (["ocpp1.6"], ("ocpp1.6",), "ocpp1.6"),
        (["ocpp2.0.1", "ocpp1.6"], ("ocpp1.6", "ocpp2.0.1"), "ocpp1.6"),
        (["ocpp2.0.1", "ocpp1.6"], ("ocpp2.0.1",), "ocpp2.0.1"),
        (["ocpp2.0.1"], ("ocpp2.0.1",), "ocpp2.0.1"),
        ([], ("ocpp1.6",), None),
        (["ocpp1.6"], (), "ocpp1.6"),
    ],
)
async def test_both_ends_agree_on_a_subprotocol(
    offered: list[str], spoken: tuple[str, ...], agreed: str | None, start_gateway: StartGateway
) -> None:
    async with BareCentral(subprotocols=spoken) as central:
        gateway = await start_gateway(**external(central.port))
        url = f"ws://127.0.0.1:{gateway.ocpp_port}/any/prefix/CP0"
        async with connect(url, subprotocols=offered or None) as charger:  # type: ignore[arg-type]
            other = await central.until_connected()
            assert charger.subprotocol == agreed
            assert other.subprotocol == (agreed if offered else "ocpp1.6") or not spoken
            assert other.request is not None and other.request.path == "/ocpp/16/CP0"


@pytest.mark.parametrize("outage", ["drop", "hold"])
async def test_without_agreement_the_charger_is_refused(outage: str, start_gateway: StartGateway) -> None:
    async with BareCentral(subprotocols=("ocpp1.6",)) as central:
        gateway = await start_gateway(**external(central.port, outage=outage))
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=["ocpp2.0.1"])  # type: ignore[list-item]
        assert refused.value.response.status_code == 503


async def test_a_charger_without_subprotocol_is_refused_when_one_is_required(start_gateway: StartGateway) -> None:
    async with BareCentral() as central:
        gateway = await start_gateway(**external(central.port, require_subprotocol=True))
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0")
        assert refused.value.response.status_code == 400
        assert not central.connections


async def test_running_transactions_are_known_after_a_restart(
    start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    async with OcppCentral() as central:
        gateway = await start_gateway(**external(central.port))
        charger = await plug_in(gateway)
        await charger.ask(call.StartTransaction(connector_id=2, id_tag="TAG", meter_start=7, timestamp=NOON))
        gateway.kill()
        gateway.check_end()
        await charger.close()
        gateway = await start_gateway(**external(central.port))
        bms = await poll(gateway)
        assert await bms.text(address("transaction.id_tag", 0, 2), 10) == "TAG"


async def test_more_frames_than_fit_anywhere_are_held_back_not_stored(start_gateway: StartGateway) -> None:
    """Upstream reads nothing: the charger's sends stop, the gateway does not grow; then everything arrives."""
    reading = asyncio.Event()
    frames: list[Any] = []

    async def talk(websocket: ServerConnection) -> None:
        await reading.wait()
        async for frame in websocket:
            frames.append(frame)

    async with BareCentral(talk, max_queue=1) as central:
        gateway = await start_gateway(**external(central.port, ping_interval=0))
        async with connect(
            f"ws://127.0.0.1:{gateway.ocpp_port}/CP0",
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            ping_interval=None,
        ) as charger:
            sent = 0

            async def send() -> None:
                nonlocal sent
                while sent < 4000:
                    await charger.send(
                        json.dumps([2, str(sent), "DataTransfer", {"vendorId": "V", "data": "x" * 16000}])
                    )
                    sent += 1

            sending = asyncio.create_task(send())
            before = -1
            while before != sent and not sending.done():  # until it makes no progress any more
                before = sent
                await asyncio.wait({sending}, timeout=1.0)
            assert not sending.done(), "64 MB went into a connection that nobody reads"
            assert resident(gateway.process.pid) < 100
            reading.set()
            await asyncio.wait_for(sending, 30)
            await until(lambda: len(frames) == 4000, "all frames", 30)
            assert [json.loads(frame)[1] for frame in frames] == [str(number) for number in range(4000)]


def resident(pid: int) -> float:
    """Memory of a process in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
