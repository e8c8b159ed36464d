"""``ampgate run --demo``: a gateway, simulated chargers and the reference BMS, and a living picture of them.

The gateway is a process of its own with a temporary configuration; chargers and BMS live in this one and reach it only
through its ports, as real ones would.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Coroutine, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import tomli_w

from ampgate import control
from ampgate.bms import process
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import AlarmTable, BmsConfig, BmsTable, ChargerTable, ModbusTable, TcpTable, UserTable
from ampgate.bms.service import Bms, System
from ampgate.registers.layout import address
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import Plan, Site

try:
    from uvloop import run as run_loop
except ImportError:  # not available on every platform
    from asyncio import run as run_loop  # type: ignore[assignment]

try:
    from rich import box
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:  # an extra; plain lines do without
    Live = None  # type: ignore[assignment,misc]

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
UNIT_ID: Final = 1
DEFAULT_OCPP_PORT: Final = 9000
"""Where `ampgate simulate` looks for a central system, too."""
SPEED: Final = 60.0
"""Simulated seconds in a real one."""
SAMPLE_INTERVAL: Final = 2.0
"""Real seconds between two MeterValues of chargers that can send them so often."""
HEARTBEAT_INTERVAL: Final = 30
"""Seconds. An EVlink takes a link for lost on which it hears nothing for a minute."""
REMOTE_SHARE: Final = 0.5
"""Part of the drivers who wait until the BMS starts them."""
TAGS: Final = tuple(f"DEMO-{number}" for number in range(1, 9))
"""Id tags that the BMS knows: more than connectors, as a card is in one place only."""
STRANGER: Final = "STRANGER"
"""Id tag of a driver whom the BMS does not know."""
READ_RATE: Final = 0.25
"""Seconds between two rounds of the BMS: less than its configuration allows, for an audience that has no patience."""
REMOTE_START_AFTER: Final = 4.0
"""Seconds that a car waits without a card until the BMS starts it."""
REMOTE_STOP_SHARE: Final = 0.25
"""Part of the sessions that the BMS ends, after a number of seconds in `REMOTE_STOP_AFTER`."""
REMOTE_STOP_AFTER: Final = (30.0, 90.0)
START_TIMEOUT: Final = 15.0
STOP_TIMEOUT: Final = 5.0
TABLE_INTERVAL: Final = 0.5
BLOCK_INTERVAL: Final = 5.0
FIRST_BLOCK: Final = 2.0
LOG: Final = "demo.log"
"""What chargers and BMS have to say, beside the gateway's log."""
_AMPGATE: Final = sys.argv[0] if Path(sys.argv[0]).name == "ampgate" else "ampgate"
"""How this program was called: where it lies is on few people's PATH."""
_ACTIVITY_LINES: Final = (2, 10)
"""Fewest and most, as the terminal has room."""
_FRAME_LINES: Final = 7
"""What the picture has besides connectors, activity and hints: title, head, rule, two gaps, a long line, the cursor."""
_COLUMNS: Final = ("charger", "conn", "status", "kW", "L1 A", "L2 A", "L3 A", "kWh", "time", "id tag")


class _Charger(NamedTuple):
    id: str
    name: str
    profile: str = ""
    """Kind of charger that is simulated here; none when somebody else may connect it."""
    settings: Mapping[str, str] = {}
    """What an installer has changed in it."""
    sample_interval: float | None = None
    """Real seconds between two MeterValues; the profile's when None."""

    @property
    def connectors(self) -> int:
        return PROFILES[self.profile].connectors if self.profile else 1


_PHASES: Final = {
    "MeterValuesSampledData": "Energy.Active.Import.Register,Current.Import.L1,Current.Import.L2,Current.Import.L3"
}
"""An EVlink measures nothing but energy until somebody asks for more."""

CHARGERS: Final = (
    _Charger("CP001", "Garage", "generic", sample_interval=SAMPLE_INTERVAL),
    _Charger("CP002", "Fast", "dc", sample_interval=SAMPLE_INTERVAL),
    _Charger("EV001", "Wallbox", "evlink", _PHASES),
    _Charger("EV002", "Parking", "evlink-parking", _PHASES),
    _Charger("MYCHARGER", ""),
)


class DemoError(Exception):
    """Why the demo cannot run, with what to do about it."""


def run_demo(
    modbus_port: int = 5020,
    ocpp_port: int = DEFAULT_OCPP_PORT,
    *,
    duration: float | None = None,
    base_dir: Path | None = None,
) -> int:
    """Show the demo until SIGINT, SIGTERM or SIGHUP, or for ``duration`` seconds; returns the exit code.

    Port 0 takes a free one. ``base_dir`` gets configuration, state and logs; without one they are in a temporary
    directory, which is removed after a good end.
    """
    directory = base_dir or Path(tempfile.mkdtemp(prefix="ampgate-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        demo = Demo(directory, _free_port("modbus", modbus_port), _free_port("ocpp", ocpp_port), duration)
        with _log_to(directory / LOG):
            run_loop(demo.run())
    except DemoError as error:
        print(f"ampgate: {error}", file=sys.stderr)
        return 1
    if base_dir is None:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


class Operator:
    """Whoever sits at the BMS: starts cars that wait for that, and ends some sessions."""

    def __init__(self, bms: Bms) -> None:
        self._bms = bms
        self._random = random.Random()
        self._waiting: dict[str, float] = {}
        """Until when a car may still show a card, by system; never, once it was started or turned away."""
        self._declined: dict[str, int] = {}
        """Authorize requests declined so far, by charger."""
        self._ends: dict[int, float] = {}
        """When a session is to be ended, by transaction id."""
        self.starts = self.stops = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            for system in self._bms.systems:
                await self._attend(system)
            await asyncio.sleep(READ_RATE)

    async def _attend(self, system: System) -> None:
        if system.status != "Preparing":
            self._waiting.pop(system.name, None)
        elif time.monotonic() >= self._waiting.setdefault(system.name, time.monotonic() + REMOTE_START_AFTER):
            self._waiting[system.name] = math.inf
            self.starts += await self._done(self._bms.start(system, "Visitor"))
        if system.charger.declined > self._declined.get(system.charger.name, 0):
            # Whoever was turned away must not be started from afar instead.
            self._waiting |= {other.name: math.inf for other in self._bms.systems if other.charger is system.charger}
            self._declined[system.charger.name] = system.charger.declined
        if system.session is not None and time.monotonic() >= self._ends.setdefault(
            system.session.transaction, self._end_of_session()
        ):
            self._ends[system.session.transaction] = math.inf
            self.stops += await self._done(self._bms.stop(system))

    def _end_of_session(self) -> float:
        if self._random.random() >= REMOTE_STOP_SHARE:
            return math.inf
        return time.monotonic() + self._random.uniform(*REMOTE_STOP_AFTER)

    @staticmethod
    async def _done(task: Awaitable[str]) -> bool:
        try:
            await task
        except TaskRefused as error:  # somebody was faster
            log.info("%s", error)
            return False
        return True


class View(Protocol):
    """How the demo is shown."""

    interval: float
    """Seconds between two calls of `show`."""

    def show(self, status: dict[str, Any], demo: Demo, summary: str) -> None:
        """Show this state of the gateway."""


class Demo:
    """The three parties of the demo, with files in ``directory``."""

    def __init__(self, directory: Path, modbus_port: int, ocpp_port: int, duration: float | None) -> None:
        self.modbus_port, self.ocpp_port = modbus_port, ocpp_port
        self.gateway_log = directory / "gateway.log"
        self._directory = directory
        self._bms_state = directory / "bms"
        self._duration = duration
        self._stop = asyncio.Event()
        self._socket = directory / "state" / control.SOCKET_NAME

    async def run(self) -> None:
        """Run everything; `DemoError` when the gateway cannot start or ends by itself."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        if self._duration is not None:
            loop.call_later(self._duration, self._stop.set)
        gateway = await self._start_gateway()
        try:
            await self._wait_for(gateway)
            await self._play(gateway)
        finally:
            await _end(gateway)

    async def _start_gateway(self) -> Process:
        configuration = self._directory / "demo.toml"
        configuration.write_bytes(tomli_w.dumps(self._configuration()).encode())
        with self.gateway_log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ampgate", "gateway"),
                *("--config", str(configuration), "--state", str(self._socket.parent)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for this process, which ends the gateway last
            )

    def _configuration(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "gateway": {"name": "ampgate demo"},
            "modbus": {"unit_id": UNIT_ID, "tcp": {"host": HOST, "port": self.modbus_port}},
            "ocpp": {"host": HOST, "port": self.ocpp_port, "heartbeat_interval": HEARTBEAT_INTERVAL},
            "charger": [
                {"id": charger.id, "name": charger.name, "connectors": charger.connectors} for charger in CHARGERS
            ],
        }

    def _bms_configuration(self) -> BmsConfig:
        return BmsConfig(
            bms=BmsTable(label="Demo"),
            modbus=ModbusTable(unit_id=UNIT_ID, tcp=TcpTable(HOST, self.modbus_port)),
            alarm=AlarmTable(stdout=False),  # the terminal shows the site
            charger=[ChargerTable(charger.id, charger.connectors) for charger in CHARGERS],
            user=[UserTable(f"Driver {number}", [tag]) for number, tag in enumerate(TAGS, 1)],
        )

    async def _wait_for(self, gateway: Process) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._stop.is_set():
            self._check(gateway)
            with contextlib.suppress(control.ControlError):
                await self._status()
                return
            if time.monotonic() > deadline:
                raise DemoError(f"the gateway did not start within {START_TIMEOUT:g} s; see {self.gateway_log}")
            await asyncio.sleep(0.05)

    def _check(self, gateway: Process) -> None:
        if gateway.returncode is not None:
            lines = self.gateway_log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
            reason = "\n".join([f"the gateway has ended with exit code {gateway.returncode}:", *lines])
            raise DemoError(f"{reason}\n(from {self.gateway_log})")

    async def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = await asyncio.to_thread(control.ask, self._socket, "status")
        return status

    async def _play(self, gateway: Process) -> None:
        site = Site(
            f"ws://{HOST}:{self.ocpp_port}",
            [
                Plan(charger.id, None, PROFILES[charger.profile], charger.settings, charger.sample_interval)
                for charger in CHARGERS
                if charger.profile
            ],
            tags=(*TAGS, STRANGER),
            speed=SPEED,
            remote_share=REMOTE_SHARE,
            listener=lambda event: log.info("%s %s: %s", event.charger, event.connector or "", event.text),
        )
        async with process.prepared(self._bms_configuration(), self._bms_state) as bms:
            bms.read_rate = READ_RATE
            operator = Operator(bms)
            await self._watch(gateway, bms, operator, [site.run(), bms.run(), operator.run()])
            print(f"The demo has ended: {summary(bms, operator)}", flush=True)

    async def _watch(
        self, gateway: Process, bms: Bms, operator: Operator, parties: list[Coroutine[Any, Any, None]]
    ) -> None:
        work = [asyncio.create_task(party) for party in parties]
        try:
            with _view() as view:
                while not self._stop.is_set():
                    self._check(gateway)
                    for task in work:
                        if task.done():
                            task.result()
                    with contextlib.suppress(control.ControlError):
                        view.show(await self._status(), self, summary(bms, operator))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(view.interval):
                            await self._stop.wait()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    def hints(self) -> Iterator[tuple[str, str]]:
        """How to join in: what, and a line to copy."""
        status = address("connector.status", 0, 1)
        mine = next(charger.id for charger in CHARGERS if not charger.profile)
        ocpp = f"ws://{HOST}:{self.ocpp_port}"
        yield "Modbus TCP", f"{HOST}:{self.modbus_port}, unit id {UNIT_ID}"
        yield f"Read {CHARGERS[0].id}", f"mbpoll -0 -1 -p {self.modbus_port} -r {status} -c 1 {HOST}"
        yield "Your charger", f"{ocpp}/{mine}"
        url = "" if self.ocpp_port == DEFAULT_OCPP_PORT else f"--url {ocpp} "
        yield "Simulate it", f"{_AMPGATE} simulate {url}--id {mine}"
        yield "BMS", f"{_AMPGATE} bms status --state {self._bms_state}"
        yield "Logs", f"gateway.log, {LOG} in {self._directory}"
        yield "Time", f"passes {SPEED:g} times as fast for the cars; Ctrl-C ends the demo"


def summary(bms: Bms, operator: Operator) -> str:
    """What the BMS has seen so far."""
    uses = [system.record.total for system in bms.systems]
    return (
        f"sessions {sum(use.sessions for use in uses)} ({sum(use.energy for use in uses):.1f} kWh), "
        f"accepted {sum(charger.accepted for charger in bms.chargers)}, "
        f"declined {sum(charger.declined for charger in bms.chargers)}, "
        f"remote starts {operator.starts}, stops {operator.stops}"
    )


async def _end(child: Process) -> None:
    """End a child process, by request first."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


def _free_port(name: str, port: int) -> int:
    """The port, or a free one for 0; `DemoError` when it cannot be had."""
    title = {"modbus": "Modbus TCP", "ocpp": "OCPP"}[name]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a port number"
            raise DemoError(
                f"port {port} for {title} cannot be used: {reason}. End the program that uses it, "
                f"or choose another port with --{name}-port"
            ) from None
        free: int = probe.getsockname()[1]
        return free


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Keep the log of chargers and BMS off the terminal, which shows the site."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


# What is shown


def _rows(status: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row of cells for each connector, in the order of `_COLUMNS`."""
    for charger in status["chargers"]:
        title = f"{charger['id']} {charger['name']}".strip()
        for connector in charger["connectors"]:
            if not charger["online"]:
                yield (title, str(connector["number"]), "offline", *[""] * (len(_COLUMNS) - 3))
            else:
                yield (title, *_cells(connector))
            title = ""


def _cells(connector: dict[str, Any]) -> Iterator[str]:
    yield str(connector["number"])
    yield connector["status"] or ""
    power, currents = connector["power_w"], connector["currents_a"]
    unmeasured = power == 0 and any(currents)  # the charger sends no power
    yield _number(None if unmeasured else power, 1000, 2)
    yield from (_number(current, 1, 1) for current in currents)
    yield _number(connector["session_wh"], 1000, 2)
    seconds = connector["session_s"]
    yield "" if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    yield connector["id_tag"]


def _number(value: float | None, unit: float, digits: int) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["at"])
    return f"{at:%H:%M:%S}  {event['charger'] or 'gateway':<10} {event['text']}"


class PlainView:
    """For pipes and logs: each event once as it comes, the site every `BLOCK_INTERVAL` seconds."""

    interval = TABLE_INTERVAL

    def __init__(self) -> None:
        self._last_event = 0.0
        self._next_block = time.monotonic() + FIRST_BLOCK
        self._explained = False

    def show(self, status: dict[str, Any], demo: Demo, summary: str) -> None:
        """Print what is new."""
        if not self._explained:
            for title, text in demo.hints():
                print(f"{title:<13} {text}")
            self._explained = True
        for event in status["activity"]:
            if event["at"] > self._last_event:
                print(_line(event))
                self._last_event = event["at"]
        if time.monotonic() >= self._next_block:
            self._next_block = time.monotonic() + BLOCK_INTERVAL
            rows = [_COLUMNS, *_rows(status)]
            widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
            print()
            for row in rows:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            print(f"BMS: {summary}\n")
        sys.stdout.flush()


_STYLES: Final = {"Charging": "green", "Preparing": "yellow", "Faulted": "red", "offline": "dim"}


class TableView:
    """For people: one picture that changes."""

    interval = TABLE_INTERVAL

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, status: dict[str, Any], demo: Demo, summary: str) -> None:
        """Draw the picture anew."""
        title = f"ampgate {status['version']} demo"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for number, column in enumerate(_COLUMNS):
            numeric, words = 3 <= number <= 8, column in ("status", "id tag")  # which give way on a narrow terminal
            table.add_column(column, justify="right" if numeric else "left", no_wrap=not words)
        for row in _rows(status):
            style = _STYLES.get(row[2], "")
            table.add_row(*(Text(cell, style=style, no_wrap=True, overflow="ellipsis") for cell in row))
        hints = Table.grid(padding=(0, 2))
        for title, text in (*demo.hints(), ("So far", summary)):
            hints.add_row(Text(title, style="bold"), Text(text))
        fewest, most = _ACTIVITY_LINES
        room = self._live.console.height - _FRAME_LINES - table.row_count - hints.row_count
        events = status["activity"][-max(fewest, min(most, room)) :]
        activity = Text("\n".join(_line(event) for event in events), no_wrap=True)
        self._live.update(Group(table, Text(), activity, Text(), hints), refresh=True)


@contextlib.contextmanager
def _view() -> Iterator[View]:
    """A table on a terminal when rich is there, otherwise lines."""
    if Live is None or not sys.stdout.isatty():
        yield PlainView()
        return
    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        yield TableView(live)
