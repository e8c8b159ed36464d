"""The configuration file of the reference BMS (TOML): its keys, defaults and ranges.

``[bms]`` and ``[modbus]`` are what the driver guide calls *OCPP Driver Setup*. Every key has a default: an empty file
is the guide's case of one charger with one connector.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from ampgate import settings
from ampgate.registers.codec import ByteOrder
from ampgate.registers.layout import CHARGERS_PER_UNIT, MAX_CONNECTORS
from ampgate.settings import WORD, shown

MAX_UNIT_ID: Final = 247
MAX_USER: Final = 120
"""Characters of a user's name (driver guide, *Action*)."""
MAX_LABEL: Final = 20
READ_RATES: Final = (1, 300)
"""Seconds between poll operations, least and most (driver guide, *OCPP Driver Setup*)."""

IdTag = Annotated[str, Meta(min_length=1, max_length=20)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; its fields are its keys."""


class BmsTable(Table, frozen=True):
    """``[bms]``."""

    label: Annotated[str, Meta(max_length=MAX_LABEL)] = "OCPP"
    """System label within alarms."""
    enabled: bool = True
    """Whether it works at all: without, the gateway is left alone."""
    read_rate: Annotated[int, Meta(ge=READ_RATES[0], le=READ_RATES[1])] = 1
    """Seconds to wait between poll operations."""
    heartbeat_interval: Annotated[int, Meta(ge=0, le=3600)] = 10
    """Seconds between two writes of the gateway's heartbeat register; 0 writes none."""


class TcpTable(Table, frozen=True):
    """``[modbus.tcp]``."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address of the gateway."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 502
    """Its Modbus TCP port."""


class RtuTable(Table, frozen=True):
    """``[modbus.rtu]``: the serial port, e.g. a USB adapter for EIA-485."""

    device: Annotated[str, Meta(min_length=1)] = "/dev/ttyUSB0"
    """The serial port."""
    baudrate: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    """Bits a second, as the gateway has it."""
    parity: Literal["none", "even", "odd"] = "none"
    """As the gateway has it."""
    stopbits: Literal[1, 2] = 1
    """As the gateway has it."""


class ModbusTable(Table, frozen=True):
    """``[modbus]``."""

    transport: Literal["tcp", "rtu"] = "tcp"
    """How the gateway is connected."""
    unit_id: Annotated[int, Meta(ge=1, le=MAX_UNIT_ID)] = 1
    """Unit id of the first 32 chargers; each further 32 have the next one."""
    byte_order: ByteOrder = ByteOrder.BIG
    """As the gateway has it."""
    status_order: Literal["manual", "north"] = "manual"
    """How the gateway numbers the suspended states: ``modbus.status_order`` of its configuration."""
    timeout: Annotated[float, Meta(gt=0, le=60)] = 3
    """Seconds that the gateway has to answer a request."""
    tcp: TcpTable = TcpTable()
    """Table ``[modbus.tcp]``."""
    rtu: RtuTable = RtuTable()
    """Table ``[modbus.rtu]``."""

    @property
    def reference(self) -> str:
        """Where the gateway is, for people."""
        if self.transport == "tcp":
            return f"{self.tcp.host}:{self.tcp.port} unit {self.unit_id}"
        line = f"{self.rtu.baudrate} 8{self.rtu.parity[0].upper()}{self.rtu.stopbits}"
        return f"{self.rtu.device} {line} address {self.unit_id}"


class ChargerTable(Table, frozen=True):
    """``[[charger]]``: their order is that of the gateway's chargers."""

    name: Annotated[str, Meta(min_length=1, max_length=64), WORD]
    """For commands and people."""
    connectors: Annotated[int, Meta(ge=1, le=MAX_CONNECTORS)] = 1
    """As the gateway has them, connector 0 not counted."""


class UserTable(Table, frozen=True):
    """``[[user]]``: somebody whose own cards may charge, which the driver guide does not have."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_USER)]
    """Condition in alarms, user of the session."""
    tags: list[IdTag] = []
    """Id tags of their cards."""


class AlarmTable(Table, frozen=True):
    """``[alarm]``: where alarms go."""

    stdout: bool = True
    """One line each on standard output."""
    syslog: str = ""
    """Syslog: the socket of this computer (``/dev/log``) or ``host:port`` (UDP); empty is none."""
    webhook: str = ""
    """URL that gets each alarm as JSON by POST; empty is none."""


class BmsConfig(Table, frozen=True):
    """The whole file."""

    bms: BmsTable = BmsTable()
    modbus: ModbusTable = ModbusTable()
    alarm: AlarmTable = AlarmTable()
    charger: list[ChargerTable] = field(default_factory=lambda: [ChargerTable("Charger")])
    user: list[UserTable] = []


def load(path: Path) -> BmsConfig:
    """Read and check a configuration file; a `ConfigError` lists everything that is wrong with it."""
    return parse(settings.read(path, "docs/reference-bms.md"), str(path))


def parse(text: str, name: str = "configuration") -> BmsConfig:
    """Check a configuration; ``name`` is what error messages call it."""
    return settings.parse(BmsConfig, text, name, _check_whole)


def _check_whole(config: BmsConfig) -> Iterator[str]:
    """What a single value cannot show."""
    if not config.charger:
        yield "charger = [] must have one charger at least"
    for name in _repeated(charger.name for charger in config.charger):
        yield f"charger: name {shown(name)} is used more than once; each charger needs its own"
    for index, charger in enumerate(config.charger):
        if re.fullmatch(r"[sS]\d+", charger.name):
            yield f"charger[{index}].name = {shown(charger.name)} is what systems are called; choose another"
    for name in _repeated(user.name for user in config.user):
        yield f"user: name {shown(name)} is used more than once"
    for tag in _repeated(tag for user in config.user for tag in user.tags):
        yield f"user: id tag {shown(tag)} is used more than once (upper and lower case are the same)"
    units = max(1, -(-len(config.charger) // CHARGERS_PER_UNIT))
    if config.modbus.unit_id + units - 1 > MAX_UNIT_ID:
        yield (
            f"modbus.unit_id = {config.modbus.unit_id} must be at most {MAX_UNIT_ID - units + 1}, as "
            f"{len(config.charger)} chargers take {units} unit ids"
        )
    if config.alarm.syslog and not syslog_address(config.alarm.syslog):
        yield f'alarm.syslog = {shown(config.alarm.syslog)} must be a path such as "/dev/log", or "host:port"'
    if config.alarm.webhook and not _is_url(config.alarm.webhook):
        yield "alarm.webhook must be an address that begins with http:// or https:// and names a host"


def _repeated(words: Iterable[str]) -> list[str]:
    return [word for word, count in Counter(word.casefold() for word in words).items() if count > 1]


def syslog_address(text: str) -> str | tuple[str, int]:
    """A path as it is, ``host:port`` as a pair; nothing for anything else."""
    if text.startswith("/"):
        return text
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() and 0 < int(port) < 65536 else ""


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
