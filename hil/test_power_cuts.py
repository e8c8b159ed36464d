"""20 power cuts during charging sessions and configuration saves: nothing that was confirmed is lost.

The peers are those of `charging`, which take down what they were told. After each cut and the start that follows,
before a peer is let in, the journal is compared with what they know and the registers with the journal; at the end,
everything with everything. Meanwhile a program on the device saves the configuration again and again, in the way of all
that is saved on the data partition, and tells us after each time.

The moments come from a seed, which is printed; they depend on the speed of the computer as well.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hil import lan
from hil.conftest import share_of
from hil.strategy import CONFIG_FILE, GatewayStrategy, serves, until
from tests.integration.charging import Bms, Charger, Journal, Session, plan

pytestmark = pytest.mark.lg_feature(["console", "network", "power", "reflash"])

SEED = int(os.environ.get("AMPGATE_CRASH_SEED", "20260131"))
CUTS = 20
SESSIONS = 10
"""For each cut."""
EVENTS_BETWEEN_CUTS = 70
"""At most; a session has eight or more."""
DEADLINE = 150.0
"""Seconds for each cut with the start that follows."""
CONFIG = """\
schema = 1
# saved {:06} times

[[charger]]
id = "CP0"
connectors = 2

[[charger]]
id = "CP1"
connectors = 2
"""
SAVER = """\
import itertools, pathlib, socket
from ampgate.system import files
path = pathlib.Path("{path}")
text = {text!r}
line = socket.create_connection(("{host}", {port}))
for number in itertools.count({first}):
    files.replace(path, text.replace("{{:06}}", f"{{number:06}}"))
    line.sendall(b"%d\\n" % number)
"""


class Saves:
    """How often the configuration was saved, as far as the device has told."""

    def __init__(self) -> None:
        self.confirmed = 0
        self.port = 0

    async def listen(self) -> asyncio.Server:
        """Be told."""
        server = await asyncio.start_server(self._told, lan.OURS, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.endswith(b"\n"):
                self.confirmed = int(line)
        writer.close()

    def begin(self, box: GatewayStrategy) -> None:
        """Start the program that saves."""
        code = SAVER.format(path=CONFIG_FILE, text=CONFIG, host=lan.OURS, port=self.port, first=self.confirmed + 1)
        box.run(f"cat >/run/saver.py <<'EOF'\n{code}EOF")
        box.run("systemd-run --quiet --collect --unit saver python3 -I /run/saver.py")

    def check(self, box: GatewayStrategy) -> None:
        """What is there is whole, and not older than the last that we were told of."""
        found = box.run(f"cat {CONFIG_FILE}")
        number = int(re.search(r"saved (\d+) times", found)[1])
        assert found == CONFIG.format(number).rstrip("\n")
        assert number >= self.confirmed
        self.confirmed = number


class Site:
    """The device, whose plug is pulled again and again."""

    chargers, connectors = 2, 2
    modbus_port, ocpp_port = 502, 9000

    def __init__(self, box: GatewayStrategy, leases: Path, cuts: int) -> None:
        self.box = box
        self.leases = leases
        self.dice = random.Random(SEED)
        self.cuts = cuts
        self.made = 0
        self.saves = Saves()
        self.sessions = plan(random.Random(SEED), SESSIONS * cuts, self.chargers, self.connectors)
        self.host = ""
        self._up = asyncio.Event()
        self._due = asyncio.Event()
        self._events = 0
        self._cut_at = self.dice.randrange(EVENTS_BETWEEN_CUTS)

    async def gateway(self) -> Site:
        """The gateway, while there is power."""
        await self._up.wait()
        return self

    def event(self) -> None:
        """A peer does something: a moment for a cut."""
        self._events += 1
        if self._events >= self._cut_at:
            self._due.set()

    async def run(self, bms: Bms, chargers: list[Charger]) -> None:
        """Power on, cut and on again; it is on at the end."""
        await asyncio.to_thread(self._serve)
        self._let_in()
        for _ in range(self.cuts):
            await self._due.wait()
            await asyncio.sleep(self.dice.uniform(0, 0.1))
            self._up.clear()
            self.box.power_cut()
            self.made += 1
            for peer in (bms, *chargers):
                peer.power_cut()
            await asyncio.to_thread(self._serve)
            await self.judge(bms)
            self._let_in()

    def _let_in(self) -> None:
        self._cut_at = self._events + self.dice.randrange(1, EVENTS_BETWEEN_CUTS)
        self._due.clear()
        self._up.set()

    def _serve(self) -> None:
        self.box.power_on()
        self.host = until(lambda: lan.leased(self.leases), "a lease")
        until(lambda: serves(self.host), "service")
        self.saves.check(self.box)
        self.saves.begin(self.box)

    async def journal(self) -> Journal:
        """The device's, as it lies there."""
        directory = self.leases.parent / f"journal{self.made}"
        directory.mkdir(exist_ok=True)
        for name in ("journal.db", "journal.db-wal"):
            (directory / name).write_bytes(await asyncio.to_thread(self.box.read_file, f"/data/ampgate/{name}"))
        return Journal(directory)

    async def judge(self, bms: Bms) -> None:
        """Compare with what the peers know."""
        left = await self.journal()
        left.check(self.sessions, bms)
        await left.check_registers(self, self.chargers, self.connectors)


@pytest.fixture
async def site(
    bench: GatewayStrategy, commissioned: Path, dhcp: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    print(f"AMPGATE_CRASH_SEED={SEED}")
    bench.power_cut()
    bench.machine.insert(commissioned)
    bench.power_on()
    bench.configure(CONFIG.format(0))
    bench.power_cut()
    site = Site(bench, dhcp, len(share_of(request.config, range(CUTS))))
    async with await site.saves.listen():
        yield site
        bench.power_cut()


@pytest.mark.timeout(CUTS * DEADLINE)
async def test_nothing_confirmed_is_lost(site: Site) -> None:
    bms = Bms(site, random.Random(f"bms {SEED}"), site.sessions)
    chargers = [Charger(index, site, random.Random(f"{index} {SEED}")) for index in range(site.chargers)]
    async with asyncio.timeout(site.cuts * DEADLINE), asyncio.TaskGroup() as group:
        cutter = group.create_task(site.run(bms, chargers))
        polling = group.create_task(bms.run())
        for charger, connector in itertools.product(chargers, range(1, site.connectors + 1)):
            group.create_task(charger.run(list(at(site.sessions, charger.index, connector))))
        await cutter
        processed = {(kind, session.tag) for kind in ("start", "stop") for session in site.sessions}
        while bms.confirmed | bms.doubtful != processed:
            await asyncio.sleep(0.2)
        polling.cancel()
    for charger in chargers:
        await charger.close()
    assert site.made == site.cuts
    ids = [session.transaction_id for session in site.sessions]
    assert len(set(ids)) == len(ids)
    assert len(bms.order) == len(processed)
    journal = await site.journal()
    journal.check(site.sessions, bms)
    assert journal.running == {}
    assert journal.pending == []


def at(sessions: list[Session], charger: int, connector: int) -> Iterator[Session]:
    """The sessions of a connector."""
    return (session for session in sessions if (session.charger, session.connector) == (charger, connector))
