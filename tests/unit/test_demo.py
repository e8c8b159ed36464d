"""Who takes part in the demo, who sits at its BMS, and its picture; as a whole the integration tests run it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ampgate import demo
from ampgate.bms.alarms import Alarms
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import BmsConfig, ChargerTable
from ampgate.bms.records import Session
from ampgate.bms.service import Bms, System
from ampgate.bms.store import Store
from ampgate.demo import CHARGERS, STRANGER, TAGS, Demo, Operator, TableView, summary
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.settings import Settings


class Site(Bms):
    """A BMS that notes its tasks, for a charger with two connectors and another one."""

    def __init__(self, store: Store) -> None:
        config = BmsConfig(charger=[ChargerTable("CP0", 2), ChargerTable("CP1", 1)])
        super().__init__(config, store, Alarms([]))
        self.tasks: list[str] = []
        self.refuses = False

    async def start(self, system: System, user: str) -> str:
        self.tasks.append(f"start {system.name}")
        if self.refuses:
            raise TaskRefused("occupied")
        return ""

    async def stop(self, system: System) -> str:
        self.tasks.append(f"stop {system.name}")
        return ""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(demo, "READ_RATE", 0.001)
    monkeypatch.setattr(demo, "REMOTE_START_AFTER", 0.05)
    monkeypatch.setattr(demo, "REMOTE_STOP_AFTER", (0.0, 0.0))
    with contextlib.closing(Store(tmp_path)) as store:
        yield Site(store)


@contextlib.asynccontextmanager
async def attended(site: Site):
    operator = Operator(site)
    running = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_car_that_waits_is_started_once(site: Site) -> None:
    site.systems[0].status = "Preparing"
    async with attended(site) as operator:
        await until(lambda: site.tasks)
        site.systems[2].status = "Preparing"
        await until(lambda: len(site.tasks) == 2)
        assert site.tasks == ["start S1", "start S3"]
        assert operator.starts == 2
        assert "remote starts 2, stops 0" in summary(site, operator)


async def test_who_was_turned_away_is_not_started_from_afar(site: Site) -> None:
    for system in site.systems:
        system.status = "Preparing"
    site.chargers[0].authorize("STRANGER")
    async with attended(site):
        await until(lambda: site.tasks)
        assert site.tasks == ["start S3"], "the other charger"


async def test_a_start_that_is_refused_is_not_counted(site: Site) -> None:
    site.refuses = True
    site.systems[0].status = "Preparing"
    async with attended(site) as operator:
        await until(lambda: site.tasks)
        assert operator.starts == 0


@pytest.mark.parametrize(("share", "stopped"), [(1.0, ["stop S1"]), (0.0, [])])
async def test_it_ends_some_sessions(
    site: Site, share: float, stopped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "REMOTE_STOP_SHARE", share)
    site.chargers[0].record.sessions.append(Session(1, 7, "TAG", "", site.now(), 0.0))
    site.systems[2].status = "Preparing"  # started after a while, in which the session would have been ended
    async with attended(site):
        await until(lambda: "start S3" in site.tasks)
        assert [task for task in site.tasks if task != "start S3"] == stopped


# Who takes part


@pytest.fixture
def party() -> Demo:
    return Demo(Path("temp/ampgate-demo-3afqbkvm"), 5020, 9000, None)


def test_two_generic_and_two_evlink_chargers_and_a_free_place() -> None:
    profiles = [charger.profile for charger in CHARGERS]
    assert profiles == ["generic", "dc", "evlink", "evlink-parking", ""]
    assert [charger.connectors for charger in CHARGERS] == [1, 2, 1, 2, 1]


def test_every_driver_has_a_card_of_his_own() -> None:
    assert len(set(TAGS)) >= sum(charger.connectors for charger in CHARGERS)
    assert STRANGER not in TAGS


def test_an_evlink_hears_from_the_gateway_before_it_takes_the_link_for_lost(party: Demo) -> None:
    longest = Settings(PROFILES["evlink"].keys).integer("ocppConnectTimeOut")
    assert party._configuration()["ocpp"]["heartbeat_interval"] <= longest / 2


@pytest.mark.parametrize("charger", [charger for charger in CHARGERS if charger.profile])
def test_settings_are_those_that_the_charger_takes(charger: Any) -> None:
    keys = {key.name: key for key in PROFILES[charger.profile].keys}
    for name, value in charger.settings.items():
        assert keys[name].allows(value)


# The picture


def connector(number: int, **values: Any) -> dict[str, Any]:
    idle = {"status": "Available", "power_w": 0.0, "currents_a": [0.0] * 3, "session_wh": None, "session_s": None}
    return idle | {"number": number, "id_tag": ""} | values


def status(**values: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3",
        "chargers": [
            {
                "id": charger.id,
                "name": charger.name,
                "online": True,
                "connectors": [connector(number, **values) for number in range(1, charger.connectors + 1)],
            }
            for charger in CHARGERS
        ],
        "activity": [{"at": float(number), "charger": "CP001", "text": f"event {number}."} for number in range(50)],
    }


def drawn(party: Demo, state: dict[str, Any], width: int, height: int) -> list[str]:
    rich = pytest.importorskip("rich.live")
    console = rich.Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with rich.Live(console=console, auto_refresh=False) as live:
        TableView(live).show(state, party, "sessions 7 (134.5 kWh), accepted 11, declined 2, remote starts 2, stops 1")
        return ["".join(part.text for part in line).rstrip() for line in console.render_lines(live.renderable)]


BUSY = {
    "status": "SuspendedEV",
    "power_w": 115_390.0,
    "currents_a": [300.0, 0.0, 0.0],
    "session_wh": 31_120.0,
    "session_s": 3_661,
    "id_tag": "BMS313CC4CF1283D7C3",
}


@pytest.mark.parametrize("height", [24, 30, 60])
def test_the_picture_fits_a_terminal(height: int, party: Demo) -> None:
    lines = drawn(party, status(**BUSY), 80, height)
    assert len(lines) < height
    text = "\n".join(lines)
    assert re.search("CP001 Garage   1     Suspe.+…  115.39  300.0   0.0   0.0  31.12  1:01:01  BMS", text)
    for _, hint in party.hints():
        assert any(line.endswith(hint) for line in lines), hint
    assert lines[-1].endswith("stops 1")  # on a line of its own
    shown = [line for line in lines if "event" in line]
    assert shown[-1].endswith("event 49.")
    assert len(shown) == {24: 2, 30: 8, 60: 10}[height]


def test_no_power_is_shown_where_none_is_measured(party: Demo) -> None:
    charging = {"status": "Charging", "currents_a": [16.0, 0.0, 0.0]}
    assert "Charging  0.00" not in (text := "\n".join(drawn(party, status(**charging), 80, 24)))
    assert "16.0" in text
    assert "0.00" in "\n".join(drawn(party, status(), 80, 24))


@pytest.mark.parametrize(("port", "option"), [(9000, ""), (9001, "--url ws://127.0.0.1:9001 ")])
def test_the_line_to_copy_names_the_port_unless_it_is_the_usual_one(port: int, option: str) -> None:
    hints = dict(Demo(Path("x"), 5020, port, None).hints())
    assert hints["Simulate it"].endswith(f"ampgate simulate {option}--id MYCHARGER")
