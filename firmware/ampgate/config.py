"""The configuration file (TOML, schema 1): its keys, defaults and ranges, and errors that say what to do.

Every key has a default; a file with one ``[[charger]]`` is complete. Nothing is half-applied: a file with a mistake
gives a `ConfigError` that lists all of them.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from ampgate import settings
from ampgate.bridge.policy import Policy, Trust
from ampgate.bridge.results import StatusOrder
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder
from ampgate.registers.layout import CHARGERS_PER_UNIT, MAX_CONNECTORS
from ampgate.settings import WORD, shown

SCHEMA: Final = 1
MAX_UNIT_ID: Final = 247

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]
Identity = Annotated[str, Meta(min_length=1, max_length=255), WORD]

_PATH: Final = Meta(pattern=r"^/[^\s?#]*$", description="that begins with /, without blanks, ? and #")
_USER: Final = Meta(pattern=r"^[^:]*$", description="without :")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; its fields are its keys."""


class Mode(StrEnum):
    """Who decides over the chargers."""

    BMS = "bms"
    EXTERNAL = "external"


class Outage(StrEnum):
    """What becomes of a charger while the external central system is away."""

    DROP = "drop"
    HOLD = "hold"


class Transport(StrEnum):
    """How the BMS is connected."""

    TCP = "tcp"
    RTU = "rtu"
    BOTH = "tcp+rtu"

    @property
    def tcp(self) -> bool:
        """Whether Modbus TCP is served."""
        return self is not Transport.RTU

    @property
    def rtu(self) -> bool:
        """Whether Modbus RTU is served."""
        return self is not Transport.TCP


class Parity(StrEnum):
    """Parity bit of the serial line."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


class GatewayTable(Table, frozen=True):
    """``[gateway]``."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] = "ampgate"
    """Shown by Modbus device identification and in ``ampgate status``."""
    mode: Mode = Mode.BMS
    """``bms``: gateway and BMS are the central system; ``external``: the one of ``[ocpp.external]`` is."""
    timezone: str = "UTC"
    """Zone of the clock registers, e.g. ``Europe/Madrid``."""


class ModbusTcpTable(Table, frozen=True):
    """``[modbus.tcp]``."""

    host: str = "0.0.0.0"
    """Address to listen on; ``0.0.0.0`` is all of them."""
    port: Port = 502
    """0 takes any free port, shown in the log and by ``ampgate status``."""
    max_clients: Annotated[int, Meta(ge=1, le=64)] = 6
    """The next client is closed at once."""
    allow: list[str] = []
    """Networks that clients may come from, e.g. ``["10.0.0.0/8"]``; empty means all."""


class ModbusRtuTable(Table, frozen=True):
    """``[modbus.rtu]``: the EIA-485 port."""

    device: str = ""
    """The serial port; empty is that of the board."""
    baudrate: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    """Bits a second."""
    parity: Parity = Parity.NONE
    """The Modbus specification's default is even; the original gateway's none."""
    stopbits: Literal[1, 2] = 1
    """1, or 2 as the specification wants without parity."""


class ModbusTable(Table, frozen=True):
    """``[modbus]``."""

    transport: Transport = Transport.TCP
    """``tcp``, ``rtu`` or both on one map."""
    unit_id: Annotated[int, Meta(ge=1, le=MAX_UNIT_ID)] = 1
    """Unit id, and slave address on the serial line; each further 32 chargers take the next one. TCP answers 0 and
    255 too."""
    byte_order: ByteOrder = ByteOrder.BIG
    """Of the whole map, see the programmer's guide."""
    status_order: StatusOrder = StatusOrder.MANUAL
    """``manual``: SuspendedEVSE reads 3 and SuspendedEV 4; ``north``: the other way round, as North has it."""
    extensions: bool = True
    """Show the signals that the original map does not have; without them the map is the original's, no more."""
    read_only: bool = False
    """Refuse every write with exception 02."""
    tcp: ModbusTcpTable = ModbusTcpTable()
    """Table ``[modbus.tcp]``."""
    rtu: ModbusRtuTable = ModbusRtuTable()
    """Table ``[modbus.rtu]``."""


class ExternalTable(Table, frozen=True):
    """``[ocpp.external]``: the central system of ``gateway.mode = "external"``."""

    host: Annotated[str, Meta(max_length=253), WORD] = ""
    """Name or address of the central system."""
    port: Port = 0
    """0 is the standard port: 80, with TLS 443."""
    path: Annotated[str, Meta(max_length=1024), _PATH] = "/"
    """What comes before the charger id in the URL."""
    tls: bool = False
    """Connect with TLS (wss)."""
    ca: str = ""
    """PEM file of the authorities that may sign the central system's certificate; empty: those of this computer."""
    outage: Outage = Outage.DROP
    """``drop``: chargers are disconnected while the central system is away; ``hold``: the gateway stands in for it."""
    authorize: Trust = Trust.KNOWN
    """With ``hold``: whose id tags may charge meanwhile."""
    longest_delay: Annotated[float, Meta(ge=1, le=3600)] = 60
    """With ``hold``: most seconds between two tries to reach the central system again."""
    ping_interval: Seconds = 30
    """Seconds between websocket pings to the central system; 0 is off."""


class OcppTable(Table, frozen=True):
    """``[ocpp]``."""

    host: str = "0.0.0.0"
    """Address to listen on."""
    port: Port = 9000
    """Chargers connect to ``ws://<gateway>:<port>/<charger id>``."""
    heartbeat_interval: Annotated[int, Meta(ge=1, le=86400)] = 300
    """Seconds between heartbeats, told to chargers when they boot."""
    tcp_keep_alive: Annotated[int, Meta(ge=0, le=32767)] = 0
    """Seconds of inactivity after which TCP asks whether a charger still lives; 0 is off."""
    ping_interval: Seconds = 30
    """Seconds between websocket pings; 0 is off."""
    call_timeout: Annotated[float, Meta(gt=0, le=600)] = 30
    """Seconds that a charger has to answer an operation."""
    require_subprotocol: bool = False
    """Refuse chargers that offer no subprotocol at all."""
    external: ExternalTable = ExternalTable()
    """Table ``[ocpp.external]``."""


class BmsTable(Table, frozen=True):
    """``[bms]``."""

    answer_timeout: Annotated[float, Meta(gt=0, le=600)] = 15
    """Seconds that the BMS has to process a request before ``policy`` decides."""
    heartbeat_timeout: Seconds = 60
    """Seconds without a write to the heartbeat register after which the BMS counts as absent; 0 does not watch."""
    policy: Policy = Policy.REJECT
    """``reject`` or ``accept`` every id tag, or those of the ``list``, when the BMS does not answer."""
    tags: list[Annotated[str, Meta(min_length=1, max_length=20)]] = []
    """Id tags that the policy ``list`` accepts."""


class UpstreamTable(Table, frozen=True):
    """``[charger.upstream]``: how the gateway proves to the external central system that it speaks for a charger."""

    user: Annotated[str, Meta(max_length=255), _USER] = ""
    """User of HTTP Basic authentication; empty: the charger id, as OCPP has it."""
    password: Annotated[str, Meta(max_length=255)] = ""
    """Its password; empty: no HTTP Basic authentication."""
    certificate: str = ""
    """PEM file with the client certificate."""
    key: str = ""
    """PEM file with its private key; empty: it is in the file of the certificate."""


class ChargerTable(Table, frozen=True):
    """``[[charger]]``: their order gives the charger index xx of the register map."""

    id: Identity
    """Last part of the URL that the charger connects to."""
    name: Annotated[str, Meta(max_length=64)] = ""
    """For people."""
    connectors: Annotated[int, Meta(ge=1, le=MAX_CONNECTORS)] = 1
    """Connectors besides connector 0, which is the charger as a whole."""
    inactive: list[str] = []
    """Signals that the BMS cannot address, by name (``Power.Factor``) or key (``connector.power_factor``)."""
    upstream: UpstreamTable = UpstreamTable()
    """Table ``[charger.upstream]``."""


class Config(Table, frozen=True):
    """The whole file."""

    schema: int = SCHEMA
    gateway: GatewayTable = GatewayTable()
    modbus: ModbusTable = ModbusTable()
    ocpp: OcppTable = OcppTable()
    bms: BmsTable = BmsTable()
    charger: list[ChargerTable] = []


def load(path: Path) -> Config:
    """Read and check a configuration file; a `ConfigError` lists everything that is wrong with it."""
    return parse(settings.read(path, "docs/configuration.md"), str(path))


def parse(text: str, name: str = "configuration") -> Config:
    """Check a configuration; ``name`` is what error messages call it."""
    return settings.parse(Config, text, name, _check_whole)


def _check_whole(config: Config) -> Iterator[str]:
    """What a single value cannot show."""
    if config.schema != SCHEMA:
        yield f"schema = {config.schema} must be {SCHEMA}"
    try:
        ZoneInfo(config.gateway.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f'gateway.timezone = {shown(config.gateway.timezone)} must be a time zone such as "Europe/Madrid"'
    for network in config.modbus.tcp.allow:
        try:
            ip_network(network)
        except ValueError as error:
            yield f'modbus.tcp.allow: {shown(network)} must be a network such as "10.0.0.0/8" ({error})'
    counts = Counter(charger.id for charger in config.charger)
    for identity, count in counts.items():
        if count > 1:
            yield f"charger: id {shown(identity)} is used {count} times; each charger needs its own"
    known = set(SIGNALS) | {signal.label for signal in SIGNALS.values()}
    for index, charger in enumerate(config.charger):
        for name in charger.inactive:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {shown(close[0])}?" if close else ""
                yield f"charger[{index}].inactive: {shown(name)} is not a signal of the map{hint}"
    yield from _check_external(config)
    units = max(1, -(-len(config.charger) // CHARGERS_PER_UNIT))
    if config.modbus.unit_id + units - 1 > MAX_UNIT_ID:
        yield (
            f"modbus.unit_id = {config.modbus.unit_id} must be at most {MAX_UNIT_ID - units + 1}, as "
            f"{len(config.charger)} chargers take {units} unit ids"
        )


def _check_external(config: Config) -> Iterator[str]:
    external = config.ocpp.external
    if config.gateway.mode is Mode.EXTERNAL and not external.host:
        yield 'ocpp.external.host is missing; with gateway.mode = "external" it must be a name or address'
    if external.ca and not external.tls:
        yield f"ocpp.external.ca = {shown(external.ca)} needs ocpp.external.tls = true"
    for index, charger in enumerate(config.charger):
        upstream = charger.upstream
        if upstream.certificate and not external.tls:
            yield f"charger[{index}].upstream.certificate needs ocpp.external.tls = true"
        if upstream.key and not upstream.certificate:
            yield f"charger[{index}].upstream.key needs charger[{index}].upstream.certificate"
        if upstream.user and not upstream.password:
            yield f"charger[{index}].upstream.user needs charger[{index}].upstream.password"
