"""The bridge as a whole: its chargers, what it shows of itself once a second, and what people see.

Registers are protocol addresses (configuration guide r1.2, appendix 2); 7 and on are the extension area.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from ampgate.bridge.policy import Fallback, Policy
from tests.integration.peers import until
from tests.unit.bridge.bench import NOON, Bench, benches


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    async with benches() as make:
        yield make


async def test_chargers_are_known_by_their_id(make: Callable[..., Bench]) -> None:
    bridge = make(chargers=2).bridge
    assert [bridge.known(identity) for identity in ("CP0", "CP1", "CP2", "cp0", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


async def test_chargers_do_not_share_registers(make: Callable[..., Bench]) -> None:
    bench = make(chargers=2)
    bench.connect("CP1")
    assert (bench.word(100), bench.word(2100)) == (1, 0)
    await bench.boot("CP1", chargePointVendor="Second")
    assert bench.text(127, 10) == ""
    assert bench.text(2127, 10) == "Second"


async def test_the_end_of_an_older_connection_changes_nothing(make: Callable[..., Bench]) -> None:
    bench = make(chargers=2)
    assert not bench.bridge.online
    older = bench.connect()
    newer = bench.connect()
    bench.bridge.disconnected("CP0", older)  # type: ignore[arg-type]
    assert bench.charger.link is newer
    assert bench.word(100) == 0
    assert bench.bridge.online
    bench.bridge.disconnected("CP0", newer)  # type: ignore[arg-type]
    assert bench.word(100) == 1
    assert not bench.bridge.online


async def test_once_a_second(make: Callable[..., Bench]) -> None:
    bench = make(chargers=2, version="1.2.3", counters=lambda: {"alarms": 4, "uptime": 70000, "tcp_clients": 3})
    assert bench.word(7) == 1  # map version
    assert bench.text(13, 10) == "1.2.3"
    bench.connect("CP0")
    bench.bridge.tick()
    assert bench.word(8) == 4 + 2  # alarms: serial port, a charger is offline
    assert bench.words(9, 2) == [1, 0]  # connected chargers, BMS heartbeat is not watched
    assert bench.words(11, 2) == [1, 4464]  # uptime 70 000 s
    assert bench.word(24) == 3
    assert bench.word(1493) == 0  # age of the last message
    assert bench.word(6) == datetime.now(UTC).year
    bench.connect("CP1")
    bench.bridge.tick()
    assert bench.words(8, 2) == [4, 2]


async def test_the_heartbeat_of_the_bms(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: passed)
    bench = make(heartbeat_timeout=10, fallback=Fallback(Policy.ACCEPT))
    bench.connect()
    await bench.boot()
    bench.bridge.tick()
    assert bench.words(8, 3) == [0, 1, 0]  # not watched: it has never been written
    bench.write(0, 1)
    assert bench.word(0) == 0
    passed += 10
    bench.bridge.tick()
    assert bench.words(8, 3) == [0, 1, 1]  # alive
    passed += 0.1
    bench.bridge.tick()
    bench.bridge.tick()
    assert bench.words(8, 3) == [1, 1, 2]  # absent
    texts = [event.text for event in bench.bridge.activity.events]
    assert texts.count("the BMS has not written its heartbeat for 10 s: absent") == 1
    assert await bench.send("Authorize", idTag="A") == {"idTagInfo": {"status": "Accepted"}}  # nobody is waited for
    bench.write(0, 0)
    assert bench.bridge.presence.absent()  # 0 is no heartbeat
    bench.write(0, 1)
    bench.bridge.tick()
    assert bench.words(8, 3) == [0, 1, 1]
    assert bench.bridge.activity.events[-1].text == "the BMS writes its heartbeat again"


async def test_a_heartbeat_that_is_not_watched(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: passed)
    bench = make(heartbeat_timeout=0)
    bench.write(0, 1)
    assert bench.word(0) == 0
    passed += 1e6
    bench.bridge.tick()
    assert bench.words(8, 3) == [2, 0, 0]


async def test_status_of_a_charger_that_was_never_there(make: Callable[..., Bench]) -> None:
    [shown] = make().bridge.status()["chargers"]
    connectors = shown.pop("connectors")
    assert shown == {
        "index": 0,
        "id": "CP0",
        "name": "Place 0",
        "online": False,
        "vendor": "",
        "model": "",
        "waiting": [],
        "upstream": None,
    }
    assert [connector["number"] for connector in connectors] == [1, 2]  # 0 is the charger itself
    assert connectors[0] == {
        "number": 1,
        "status": None,
        "error": "",
        "power_w": 0,
        "energy_wh": 0,
        "currents_a": [0, 0, 0],
        "id_tag": "",
        "transaction_id": None,
        "session_wh": None,
        "session_s": None,
    }


@pytest.mark.parametrize(("unit", "factor"), [("", 1), ("k", 1000)])
async def test_status_of_a_session(unit: str, factor: int, make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connect()
    await bench.boot()
    start = asyncio.create_task(
        bench.send("StartTransaction", connectorId=1, idTag="TAG", meterStart=1000, timestamp=NOON)
    )
    await until(lambda: bench.word(194), "the start")
    assert bench.bridge.status()["chargers"][0]["waiting"] == ["start_transaction"]
    bench.write(214, 1)
    await start
    samples = [
        {"value": f"{3500 / factor}", "unit": f"{unit}Wh"},
        {"value": f"{7200 / factor}", "unit": f"{unit}W", "measurand": "Power.Active.Import"},
        {"value": "10.5", "measurand": "Current.Import", "phase": "L3"},
    ]
    await bench.send("MeterValues", connectorId=1, meterValue=[{"timestamp": NOON, "sampledValue": samples}])
    status = bench.bridge.status()
    connector = status["chargers"][0]["connectors"][0]
    assert connector["power_w"] == pytest.approx(7200)
    assert connector["energy_wh"] == pytest.approx(3500)
    assert connector["currents_a"] == [0, 0, 10.5]
    assert (connector["id_tag"], connector["transaction_id"]) == ("TAG", 1)
    assert connector["session_wh"] == pytest.approx(2500)
    assert connector["session_s"] == pytest.approx(datetime.now(UTC).timestamp() - 1769860800, abs=5)
    assert status["activity"][-1]["charger"] == "CP0"
    assert status["activity"][-1]["text"].startswith("StartTransaction 1 on connector 1, TAG: Accepted")


async def test_activity_is_bounded(make: Callable[..., Bench]) -> None:
    bench = make()
    for number in range(60):
        bench.bridge.activity.add("CP0", f"{number}")
    texts = [event["text"] for event in bench.bridge.status()["activity"]]
    assert texts == [f"{number}" for number in range(10, 60)]


async def test_closing_ends_handshakes(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connect()
    await bench.boot()
    start = asyncio.create_task(
        bench.send("StartTransaction", connectorId=1, idTag="TAG", meterStart=1000, timestamp=NOON)
    )
    await until(lambda: bench.word(194), "the start")
    await bench.bridge.close()
    with pytest.raises(asyncio.CancelledError):
        await start
