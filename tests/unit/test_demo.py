"""Whoever sits at the demo's BMS; the demo as a whole is run by the integration tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ampgate import demo
from ampgate.bms.alarms import Alarms
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import BmsConfig, ChargerTable
from ampgate.bms.records import Session
from ampgate.bms.service import Bms, System
from ampgate.bms.store import Store
from ampgate.demo import Operator, summary


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
        assert "remote starts: 2, remote stops: 0" in summary(site, operator)


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
