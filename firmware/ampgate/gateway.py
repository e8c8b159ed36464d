"""The gateway process: puts the rooms together, runs until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import sdnotify

from ampgate import __version__, control
from ampgate.board import make_board
from ampgate.board.box import Box
from ampgate.board.panel import Signs
from ampgate.board.patterns import Trouble
from ampgate.bridge.central import Bridge
from ampgate.bridge.external import External
from ampgate.bridge.policy import Fallback
from ampgate.bridge.signals import ChargerSetting
from ampgate.bridge.vitals import Alarm
from ampgate.config import Config, Mode, Outage
from ampgate.control import ControlServer
from ampgate.endpoints import endpoints, upstream_url
from ampgate.journal import FILE_NAME, Journal
from ampgate.modbus import rtu
from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.serial import Line, SerialServer
from ampgate.modbus.tcp import TcpServer
from ampgate.ocpp.relaying import RelaySystem
from ampgate.ocpp.server import CentralSystem
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from ampgate.system import clock, identity
from ampgate.system.network.conflict import conflict
from ampgate.trace import Trace

log = logging.getLogger(__name__)

BOARD_MEMORY: Final = "board.json"
"""Where a simulated board keeps its switches, in the state directory."""
ANY_UNIT: Final = (0, 255)
"""Unit ids that Modbus TCP clients use when they mean the device itself (Modbus on TCP/IP 1.0b §4.4.2.2)."""


class StartError(Exception):
    """Why the gateway cannot start, with what to do about it."""


def serial_line(config: Config, board_port: str) -> Line:
    """The serial line of a configuration; ``board_port`` is the port that the board has."""
    port = config.modbus.rtu
    return Line(port.device or board_port, port.baudrate, port.parity, port.stopbits)


def register_site(config: Config) -> Site:
    """The registers of a configuration."""
    shapes = [ChargerShape(charger.connectors, frozenset(charger.inactive)) for charger in config.charger]
    return Site(
        shapes,
        order=config.modbus.byte_order,
        external=config.gateway.mode is Mode.EXTERNAL,
        extensions=config.modbus.extensions,
        read_only=config.modbus.read_only,
    )


class Gateway:
    """All rooms of one gateway, built from a configuration and a ``board.toml`` (None: a simulated board).

    `ConfigError` when a file that the configuration names cannot be used.
    """

    def __init__(self, config: Config, state: Path, board: Path | None = None, *, system_clock: bool = False) -> None:
        self._endpoints = endpoints(config)
        self.box = Box(make_board(board, state / BOARD_MEMORY), self._signs)
        try:
            state.mkdir(parents=True, exist_ok=True)
            self.journal = Journal(state / FILE_NAME)
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"the state directory {state} cannot be used: {error}") from error
        self.config = config
        self.trace = Trace()
        self._started = time.monotonic()
        site = register_site(config)
        self.bridge = self._bridge(site, clock.adjust if system_clock else None)
        units = _units(config, site)
        modbus = config.modbus
        self.tcp = TcpServer(
            dict.fromkeys(ANY_UNIT, units[modbus.unit_id]) | units,
            max_clients=modbus.tcp.max_clients,
            allow=[ip_network(network) for network in modbus.tcp.allow],
            trace=self.trace,
        )
        self.rtu = SerialServer(
            rtu.Server({unit: executor.execute for unit, executor in units.items()}, f"ampgate {__version__}"),
            serial_line(config, self.box.board.eia485.device),
            trace=self.trace,
        )
        self.central = self._server()
        self.control = ControlServer(
            state / control.SOCKET_NAME,
            {"ping": lambda: __version__, "status": self.status, "trace": self.frames, "board": self.operate_board},
        )
        self.modbus_port = self.ocpp_port = 0
        self._conflict = ""

    def _bridge(self, site: Site, adjust: Callable[[timedelta], bool] | None) -> Bridge | External:
        """What joins the registers with the chargers, as the mode wants it."""
        config = self.config
        chargers = [ChargerSetting(charger.id, charger.name, charger.connectors) for charger in config.charger]
        options: dict[str, Any] = {
            "heartbeat_interval": config.ocpp.heartbeat_interval,
            "status_order": config.modbus.status_order,
            "zone": ZoneInfo(config.gateway.timezone),
            "adjust": adjust,
            "version": __version__,
            "counters": self._counters,
        }
        if config.gateway.mode is Mode.EXTERNAL:
            external = config.ocpp.external
            hold = external.outage is Outage.HOLD
            return External(site, chargers, self.journal, hold=hold, trust=external.authorize, **options)
        return Bridge(
            site,
            chargers,
            self.journal,
            fallback=Fallback(config.bms.policy, config.bms.tags),
            answer_timeout=config.bms.answer_timeout,
            heartbeat_timeout=config.bms.heartbeat_timeout,
            **options,
        )

    def _server(self) -> CentralSystem | RelaySystem:
        """What the chargers connect to."""
        config, bridge = self.config, self.bridge
        options: dict[str, Any] = {
            "capacity": len(config.charger),
            "require_subprotocol": config.ocpp.require_subprotocol,
            "tcp_keep_alive": config.ocpp.tcp_keep_alive,
            "ping_interval": config.ocpp.ping_interval,
            "call_timeout": config.ocpp.call_timeout,
            "trace": self.trace,
        }
        if isinstance(bridge, Bridge):
            return CentralSystem(bridge.known, bridge.connected, bridge.disconnected, **options)
        external = config.ocpp.external
        return RelaySystem(
            bridge.known,
            bridge.connected,
            bridge.disconnected,
            self._endpoints,
            hold=external.outage is Outage.HOLD,
            longest_delay=external.longest_delay,
            **options,
        )

    async def start(self) -> None:
        """Open the ports; `StartError` when one cannot be had."""
        try:
            await self.control.start()
        except control.ControlError as error:
            raise StartError(str(error)) from error
        modbus, ocpp = self.config.modbus, self.config.ocpp
        if modbus.transport.tcp:
            self.modbus_port = await _listen("modbus.tcp", self.tcp, modbus.tcp.host, modbus.tcp.port)
            log.info("Modbus TCP on %s:%d, unit id %d", modbus.tcp.host, self.modbus_port, modbus.unit_id)
        if modbus.transport.rtu:
            self.rtu.start()
        self.ocpp_port = await _listen("ocpp", self.central, ocpp.host, ocpp.port)
        log.info("OCPP 1.6 on ws://%s:%d/<charger id>", ocpp.host, self.ocpp_port)
        self.box.start()

    async def stop(self) -> None:
        """Close everything; chargers are told that the gateway goes away."""
        await self.central.stop()
        # The BMS before the handshakes: what it is told is processed has to be in the journal, to the last moment.
        await self.tcp.stop()
        await self.rtu.stop()
        await self.bridge.close()
        await self.box.stop()
        await self.control.stop()
        await self.journal.flush()
        self.journal.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started at the beginning of the block, stopped at its end."""
        try:
            await self.start()
            yield
        finally:
            await self.stop()

    def tick(self) -> None:
        """Once a second: what the registers and the lamps show of the gateway itself."""
        self._conflict = conflict()
        self.bridge.tick()

    def status(self) -> dict[str, Any]:
        """Everything that ``ampgate status`` shows."""
        config = self.config
        return {
            "version": __version__,
            "name": config.gateway.name,
            "mode": config.gateway.mode,
            "uptime": time.monotonic() - self._started,
            "modbus": {
                "unit_id": config.modbus.unit_id,
                "tcp": self._tcp_status() if config.modbus.transport.tcp else None,
                "rtu": self._rtu_status() if config.modbus.transport.rtu else None,
            },
            "ocpp": {
                "host": config.ocpp.host,
                "port": self.ocpp_port,
                "connected": len(self.central.links),
                "unknown": dict(self.central.unknown),
                "upstream": upstream_url(config),
            },
            "board": self.box.status(),
            "alarms": [self._conflict] if self._conflict else [],
        } | self.bridge.status()

    def operate_board(self, **changes: Any) -> dict[str, Any]:
        """Move switches and button of a simulated board, see `Box.operate`; gives the board's part of the status."""
        try:
            self.box.operate(**changes)
        except ValueError as error:
            raise control.ControlError(str(error)) from error
        return self.box.status()

    def _counters(self) -> dict[str, int]:
        tcp, rtu_ = self.tcp.statistics, self.rtu.server.statistics
        links = self.central.links.values()
        return {
            "alarms": (Alarm.SERIAL_PORT_CLOSED if self._serial_missing else 0)
            | (Alarm.ADDRESS_IN_USE if self._conflict else 0)
            | self.box.alarm,
            "uptime": int(time.monotonic() - self._started),
            "unit_id": self.config.modbus.unit_id,
            "tcp_clients": len(self.tcp.clients),
            "tcp_requests": tcp.requests,
            "tcp_exceptions": tcp.exceptions,
            "tcp_refused": tcp.refused,
            "rtu_requests": rtu_.server_messages,
            "rtu_exceptions": rtu_.exceptions,
            "rtu_bus_errors": rtu_.bus_errors,
            "ocpp_received": self._ocpp_received,
            "ocpp_malformed": self.central.malformed + sum(link.malformed for link in links),
        } | self.box.registers()

    @property
    def _serial_missing(self) -> bool:
        return self.config.modbus.transport.rtu and not self.rtu.open

    @property
    def _ocpp_received(self) -> int:
        return self.central.received + sum(link.received for link in self.central.links.values())

    def _signs(self) -> Signs:
        """What the lamps show. Received OCPP frames stand for sent ones too: each is an answer, or is answered."""
        trouble = None
        if self.bridge.presence.absent():
            trouble = Trouble.BMS_ABSENT
        elif self._serial_missing:
            trouble = Trouble.SERIAL_PORT
        elif self._conflict:
            trouble = Trouble.ADDRESS_IN_USE
        return Signs(self.bridge.online, self._ocpp_received, self.tcp.statistics.requests, trouble)

    def _tcp_status(self) -> dict[str, Any]:
        settings, statistics = self.config.modbus.tcp, self.tcp.statistics
        return {
            "host": settings.host,
            "port": self.modbus_port,
            "clients": len(self.tcp.clients),
            "max_clients": settings.max_clients,
            "requests": statistics.requests,
            "exceptions": statistics.exceptions,
            "refused": statistics.refused,
        }

    def _rtu_status(self) -> dict[str, Any]:
        statistics = self.rtu.server.statistics
        return {
            "line": str(self.rtu.line),
            "open": self.rtu.open,
            "requests": statistics.server_messages,
            "exceptions": statistics.exceptions,
            "bus_messages": statistics.bus_messages,
            "bus_errors": statistics.bus_errors,
        }

    def frames(self, count: int = 50) -> list[dict[str, Any]]:
        """The last frames on the wires, oldest first: OCPP as text, Modbus as hexadecimal."""
        return [
            {
                "at": frame.at,
                "peer": frame.peer,
                "sent": frame.sent,
                "data": frame.data.hex() if frame.peer.startswith("modbus") else frame.data.decode("utf-8", "replace"),
            }
            for frame in self.trace.last(count)
        ]


def _units(config: Config, site: Site) -> dict[int, Executor]:
    device = identity.read()
    answer = Identity(
        vendor=device.vendor,
        product_code=device.product_code,
        revision=__version__,
        url=device.url,
        product_name=device.product_name,
        model_name=device.board,
        application_name=config.gateway.name,
    )
    return {config.modbus.unit_id + number: Executor(image, answer) for number, image in enumerate(site.images)}


async def _listen(table: str, server: TcpServer | CentralSystem | RelaySystem, host: str, port: int) -> int:
    try:
        return await server.start(host, port)
    except PermissionError as error:
        raise StartError(
            f"{table}: port {port} needs rights that this process does not have; run it with CAP_NET_BIND_SERVICE or "
            f"set {table}.port to 1024 or more ({error})"
        ) from error
    except OSError as error:
        raise StartError(f"{table}: cannot listen on {host}:{port}: {error}; see {table}.host and .port") from error


async def run(config: Config, state: Path, board: Path | None = None, *, system_clock: bool = False) -> None:
    """Run a gateway until SIGTERM or SIGINT; `StartError` when it cannot start.

    ``system_clock`` lets the BMS set the clock of the whole device, not only the gateway's.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(config, state, board, system_clock=system_clock)
    notifier = sdnotify.SystemdNotifier()
    async with gateway.running():
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        notifier.notify(f"READY=1\nSTATUS=chargers configured: {len(config.charger)}")
        log.info("ready, chargers configured: %d", len(config.charger))
        await _tick_until(stop, gateway, notifier)
        notifier.notify("STOPPING=1")
        log.info("stopping")


async def _tick_until(stop: asyncio.Event, gateway: Gateway, notifier: sdnotify.SystemdNotifier) -> None:
    """Once a second: what the gateway and systemd show, and a sign of life when its watchdog asks for one."""
    watchdog = "WATCHDOG_USEC" in os.environ
    told = 0
    while not stop.is_set():
        gateway.tick()
        connected = len(gateway.central.links)
        if connected != told:
            told = connected
            notifier.notify(f"STATUS=chargers connected: {connected} of {len(gateway.config.charger)}")
        if watchdog:
            notifier.notify("WATCHDOG=1")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await stop.wait()
