"""200 charging sessions while the gateway is killed again and again: nothing is lost, nothing happens twice.

The killer sends SIGKILL at random moments around what the peers of `charging` do, now and then while the gateway
starts. After each kill the journal is read as it lies there and compared with what the peers have been told by then;
after each restart, before a peer is let in, the registers are compared with the journal; at the end, everything with
everything.

Choices come from a seed, which a failure prints: set AMPGATE_CRASH_SEED to it. The moments of the kills depend on the
computer as well. Tried is the end of the process, which leaves what was written in the hands of the kernel. Power cuts,
which do not, are in hil/test_power_cuts.py; what a torn log does to the journal is in tests/unit/test_journal.py.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.charging import Bms, Charger, Journal, Session, plan
from tests.integration.peers import GatewayProcess, config_of, until

SEED = int(os.environ.get("AMPGATE_CRASH_SEED", "20260131"))
SESSIONS = 200
CHARGERS, CONNECTORS = 6, 2
KILLS = 50
"""At most, as each costs a start."""
EVENTS_BETWEEN_KILLS = 70
"""At most. Each session has eight events or more: both peers, before and after, at its start and at its stop."""
DEADLINE = 300.0
"""Seconds for everything; a quiet computer needs a fifteenth of it."""


# The gateway and its killer


class Site:
    """One state directory, and the gateway processes that follow each other on it."""

    def __init__(self, directory: Path, state: Path, dice: random.Random, sessions: list[Session]) -> None:
        self.chargers, self.connectors = CHARGERS, CONNECTORS
        self.directory = directory
        self.state = state
        self.dice = dice
        self.sessions = sessions
        self.processes: list[GatewayProcess] = []
        self.kills = 0
        self._up = asyncio.Event()
        self._due = asyncio.Event()
        self._events = 0
        self._kill_at = dice.randrange(EVENTS_BETWEEN_KILLS)
        self._ended = False

    def event(self) -> None:
        """A peer does something: a moment to be killed at."""
        self._events += 1
        if self._events >= self._kill_at and self.kills < KILLS:
            self._due.set()

    async def gateway(self) -> GatewayProcess:
        """The running gateway, once there is one."""
        await self._up.wait()
        return self.processes[-1]

    async def start(self) -> GatewayProcess:
        """Start a gateway; some do not get to the end of their start."""
        config = config_of([f"CP{number}" for number in range(CHARGERS)], connectors=CONNECTORS)
        while True:
            process = GatewayProcess(config, self.directory / str(len(self.processes)), self.state)
            self.processes.append(process)
            if self.dice.random() >= 0.15 or not self.kills:
                return await process.ready()
            await asyncio.sleep(self.dice.uniform(0, 0.4))
            process.kill()
            self.kills += 1

    async def run(self, bms: Bms) -> None:
        """Start, kill and start again; a gateway is left running at the end."""
        await self.start()
        self._up.set()
        while True:
            await self._due.wait()
            if self._ended:
                return
            if self.dice.random() < 0.3:
                await asyncio.sleep(self.dice.uniform(0, 0.03))
            self._up.clear()
            self._kill()
            left = Journal(self.state)
            left.check(self.sessions, bms)
            await left.check_registers(await self.start(), CHARGERS, CONNECTORS)
            self._kill_at = self._events + self.dice.randrange(EVENTS_BETWEEN_KILLS)
            if not self._ended:
                self._due.clear()
            self._up.set()

    def _kill(self) -> None:
        # While the gateway works on what it has just been sent; a timer of the loop would be too coarse.
        time.sleep(self.dice.uniform(0, 0.0008))
        self.processes[-1].kill()
        self.kills += 1

    def end(self) -> None:
        """No more kills."""
        self._ended = True
        self._due.set()


# All together


@pytest.fixture
def site(tmp_path: Path, state: Path) -> Iterator[Site]:
    print(f"AMPGATE_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    site = Site(tmp_path, state, dice, plan(dice, SESSIONS, CHARGERS, CONNECTORS))
    yield site
    for process in site.processes:
        process.kill()
    print("\n".join(site.processes[-1].log.splitlines()[-40:]))


@pytest.mark.timeout(DEADLINE + 20)
async def test_nothing_is_lost_and_nothing_happens_twice(site: Site) -> None:
    sessions = site.sessions
    bms = Bms(site, random.Random(f"bms {SEED}"), sessions)
    chargers = [Charger(index, site, random.Random(f"{index} {SEED}")) for index in range(CHARGERS)]
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        killer = group.create_task(site.run(bms))
        polling = group.create_task(bms.run())
        slots = itertools.product(chargers, range(1, CONNECTORS + 1))
        charging = [
            group.create_task(
                charger.run([s for s in sessions if (s.charger, s.connector) == (charger.index, connector)])
            )
            for charger, connector in slots
        ]
        await asyncio.wait(charging)
        site.end()
        await killer
        # Stops that were confirmed without the BMS.
        await until(
            lambda: all(not charger["waiting"] for charger in site.processes[-1].status()["chargers"]), "all done"
        )
        polling.cancel()
    for charger in chargers:
        await charger.close()
    assert site.kills >= 24
    for process in site.processes:
        process.check_end()

    ids = [session.transaction_id for session in sessions]
    assert len(set(ids)) == SESSIONS
    assert all(0 < id_ < 65536 for id_ in ids)
    processed = bms.confirmed | bms.doubtful
    assert processed == {(kind, session.tag) for kind in ("start", "stop") for session in sessions}
    assert len(bms.order) == len(processed)
    for charger in chargers:
        seen = [tag for kind, tag in bms.order if kind == "stop" and bms.by_tag[tag].charger == charger.index]
        assert seen == charger.stops
    journal = Journal(site.state)
    journal.check(sessions, bms)
    assert journal.running == {}
    assert journal.pending == []
    assert len(journal.answered) == 2 * SESSIONS
    print(f"{site.kills} kills, {bms.unconfirmed} writes in doubt, of which {len(bms.doubtful)} had been taken")
