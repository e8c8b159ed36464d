"""Commands to a running simulation, at a site whose central system validates every frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from ampgate.simulator import view
from ampgate.simulator.console import COMMANDS, CommandError, Console
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import Plan, Site
from tests.unit.simulator.central import DEADLINE, Central


@contextlib.asynccontextmanager
async def at_work(central: Central, profile: str = "generic") -> AsyncIterator[tuple[Site, Console]]:
    plans = [Plan("CP-A", 2, PROFILES[profile]), Plan("CP-B", None, PROFILES[profile])]
    settings = {"truncateBootNotificationsSerialNumbers": "true"}
    site = Site(central.url, plans, tags=["T"], sample_interval=1, drivers=False, settings=settings)
    work = asyncio.create_task(site.run())
    try:
        await central.seen("BootNotification", 2)
        await central.seen("StatusNotification", connectorId=2)
        yield site, Console(site, lambda: None)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def test_a_session_by_command() -> None:
    async with Central() as central, at_work(central) as (site, console):
        assert console.execute("plug cp-a/2 64") == "car plugged in at CP-A/2"
        assert console.execute("tap 1/2 'MY CARD'") == "card MY CARD at CP-A/2"
        begun = await central.seen("StartTransaction")
        assert (begun["connectorId"], begun["idTag"]) == (2, "MY CARD")
        assert await site.chargers[0].until(lambda: site.chargers[0].connector(2).draw.power > 1000, DEADLINE)
        table = console.execute("show").splitlines()
        assert " ".join(table[0].split()) == "charger conn profile link status fault kW A limit kWh car id tag"
        row = next(line for line in table if line.startswith("CP-A     2"))
        assert row.split()[2:5] == ["generic", "up", "Charging"]
        assert row.endswith("MY CARD")
        assert console.execute("unplug 1/2") == "unplugged at CP-A/2"
        assert (await central.seen("StopTransaction"))["reason"] == "EVDisconnected"


async def test_errors_by_command() -> None:
    async with Central() as central, at_work(central, "evlink") as (site, console):
        assert console.execute("error all 17") == "error 17 at CP-A/1, CP-B/1"
        shown = await central.seen("StatusNotification", 2, vendorErrorCode="17")
        assert shown["errorCode"] == "EVCommunicationError"
        assert shown["vendorId"] == "Schneider Electric"
        assert [row["fault"] for row in view.state(site)[0]["connectors"]] == ["17", None]
        console.execute("clear all")
        console.execute("error 1/0 5")
        for connector in range(3):
            await central.seen("StatusNotification", connectorId=connector, vendorErrorCode="5", status="Faulted")
        console.execute("clear 1/0")
        await central.until(lambda: central.statuses(2)[-1] == "Available")
        with pytest.raises(CommandError, match=r"profile evlink has no error '6'; it has 1, 4, 5"):
            console.execute("error 1 6")


async def test_a_standard_error_by_command() -> None:
    async with Central() as central, at_work(central) as (_, console):
        console.execute("error CP-B groundfailure")
        shown = await central.seen("StatusNotification", errorCode="GroundFailure")
        assert shown["status"] == "Faulted"
        assert "vendorErrorCode" not in shown


async def test_the_link_by_command() -> None:
    async with Central() as central, at_work(central) as (site, console):
        first, second = site.chargers
        assert console.execute("drop CP-A") == "link lost: CP-A, until `link`"
        assert await first.until(lambda: not first.online, DEADLINE)
        assert second.online
        assert console.execute("link CP-A") == "link allowed: CP-A"
        assert await first.until(lambda: first.online, DEADLINE)
        assert console.execute("drop 2 0.2") == "link lost: CP-B, for 0.2 s"
        assert await second.until(lambda: not second.online, DEADLINE)
        assert await second.until(lambda: second.online, DEADLINE)
        assert console.execute("reset 2") == "restart: CP-B"
        await central.seen("BootNotification", 3)


async def test_configuration_by_command() -> None:
    async with Central() as central, at_work(central, "evlink") as (_, console):
        assert console.execute("get 1 resetretries") == "CP-A  ResetRetries = 0  (read-only)"
        assert len(console.execute("get 1").splitlines()) == 58  # 60, less those of Parking and City alone
        assert console.execute("set all ocppConnectTimeOut 99").splitlines() == [
            "CP-A  ocppConnectTimeOut = 99: Accepted, now 60",
            "CP-B  ocppConnectTimeOut = 99: Accepted, now 60",
        ]
        assert console.execute("set 1 ResetRetries 5") == "CP-A  ResetRetries = 5: Rejected, now 0"
        assert console.execute("set 1 Nonsense 5") == "CP-A  Nonsense = 5: NotSupported"
        with pytest.raises(CommandError, match="CP-A has no configuration key Nonsense"):
            console.execute("get CP-A Nonsense")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("dance", "there is no command 'dance'; there are show, plug"),
        ("plug", r"use: plug CP/N \[ SOC \]"),
        ("tap 1", "use: tap CP/N TAG"),
        ("show me", "use: show"),
        ("plug CP-C", "there is no charger 'CP-C'; there are CP-A, CP-B"),
        ("plug 3", "there is no charger '3'"),
        ("plug 1/3", "CP-A has connectors 1…2, not 3"),
        ("plug 1/0", "CP-A has connectors 1…2, not 0"),
        ("plug 1/x", "a connector is a number"),
        ("plug 1 101", "the state of charge in % is a number from 0 to 100"),
        ("plug 1 full", "the state of charge"),
        ("unplug 1", "no car is plugged in at CP-A/1"),
        ("drop 1 -1", "the time in s is a number"),
        (f"tap 1 {'X' * 21}", "at most 20 characters"),
        ("tap 1 'open", "No closing quotation"),
    ],
)
def test_what_cannot_be_done_is_explained(line: str, reason: str) -> None:
    site = Site("ws://127.0.0.1:1", [Plan("CP-A", 2), Plan("CP-B")], tags=["T"], drivers=False)
    with pytest.raises(CommandError, match=reason):
        Console(site, lambda: None).execute(line)


def test_a_place_is_occupied_once() -> None:
    site = Site("ws://127.0.0.1:1", [Plan("CP-A")], tags=["T"], drivers=False)
    console = Console(site, lambda: None)
    console.execute("plug 1")
    with pytest.raises(CommandError, match="CP-A connector 1 is occupied"):
        console.execute("plug 1")


def test_help_quit_and_nothing() -> None:
    ended: list[bool] = []
    site = Site("ws://127.0.0.1:1", [Plan("CP-A")], tags=["T"], drivers=False)
    console = Console(site, lambda: ended.append(True))
    text = console.execute("help")
    assert all(f"{command.usage(name)} " in text for name, command in COMMANDS.items())
    assert console.execute("  # nothing") == ""
    assert not ended
    assert console.execute("QUIT") == "ending"
    assert ended
