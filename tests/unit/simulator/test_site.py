"""A simulated car park: drivers come, charge and leave."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from ampgate.simulator.site import Plan, Site
from tests.unit.simulator.central import Central


@contextlib.asynccontextmanager
async def running(site: Site):
    work = asyncio.create_task(site.run())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def test_the_first_car_charges_within_two_seconds_and_others_follow():
    async with Central() as central:
        site = Site(central.url, [Plan("A"), Plan("B", 2)], tags=["T1", "T2"], speed=60, sample_interval=1)
        began = time.monotonic()
        async with running(site):
            begun = await central.seen("StartTransaction")
            assert time.monotonic() - began < 2
            assert begun["idTag"] == "T1"
            await central.seen("BootNotification", 2)
            numbers = [payload["connectorId"] for payload in central.all("StatusNotification")]
            assert sorted(set(numbers)) == [0, 1, 2]


async def test_sessions_end_and_cars_leave():
    async with Central() as central:
        events = []
        site = Site(central.url, [Plan("A")], tags=["T"], speed=5000, listener=events.append)
        async with running(site):
            await central.seen("StopTransaction", 2)
            await central.until(lambda: central.statuses().count("Available") >= 2)
    ended = [event for event in events if event.kind == "session" and "session ended" in event.text]
    assert len(ended) >= 2
    assert {(event.charger, event.connector) for event in ended} == {("A", 1)}


async def test_drivers_whose_tag_is_declined_leave_again():
    async with Central() as central:
        central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": "Invalid"}}
        site = Site(central.url, [Plan("A")], tags=["T"], speed=5000)
        async with running(site):
            await central.seen("Authorize", 2)
            await central.until(lambda: central.statuses()[-1] == "Available")
            assert not central.all("StartTransaction")


async def test_some_drivers_wait_to_be_started_from_afar():
    async with Central() as central:
        site = Site(central.url, [Plan("A")], tags=["T"], speed=300, remote_share=1.0)
        async with running(site):
            await central.seen("StartTransaction", idTag="T")  # the very first one has a card
            await central.until(lambda: central.statuses()[-1] == "Charging")
            assert await central.call("RemoteStopTransaction", transactionId=1001) == {"status": "Accepted"}
            await central.until(lambda: central.statuses()[-2:] == ["Available", "Preparing"])
            assert await central.call("RemoteStartTransaction", idTag="R", connectorId=1) == {"status": "Accepted"}
            await central.seen("StartTransaction", idTag="R")
            assert len(central.all("Authorize")) == 1


def test_without_tags_nobody_can_charge():
    with pytest.raises(ValueError, match="id tag"):
        Site("ws://127.0.0.1:1", [Plan("A")], tags=[])


def test_one_charger_may_differ_from_the_rest_of_the_site():
    plans = [Plan("A"), Plan("B", settings={"ResetRetries": "7"}, sample_interval=9)]
    settings = {"ResetRetries": "2", "TransactionMessageAttempts": "5"}
    one, other = Site("ws://127.0.0.1:1", plans, tags=["T"], settings=settings, sample_interval=3).chargers
    assert [charger.settings["ResetRetries"] for charger in (one, other)] == ["2", "7"]
    assert other.settings["TransactionMessageAttempts"] == "5"
    assert [charger.sample_interval for charger in (one, other)] == [3, 9]
