"""Network settings of the owner, as a TOML file: what may be written there, and what is wrong when something is.

Everything is checked here, as root writes the values into the files of systemd-networkd and chrony.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from typing import Any, Final

SCHEMA: Final = 1
MOST_SERVERS: Final = 4
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(_LABEL)
_DOMAIN_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.IGNORECASE)


class SettingsError(Exception):
    """What is wrong with settings, one line each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """The keys of the file; the defaults are those of the factory."""

    address: IPv4Interface | None = None
    """Static address with prefix length; none is DHCP."""
    gateway: IPv4Address | None = None
    """Default gateway of the static address; none is an isolated network."""
    dns: tuple[IPv4Address | IPv6Address, ...] = ()
    """Name servers; they replace those that DHCP gives."""
    ntp: tuple[str, ...] = ()
    """Time servers; none leaves the clock to the BMS."""
    hostname: str = ""
    """Host name; empty is ``ampgate-`` and the end of the hardware address."""
    mdns: bool = True
    """Answer to ``<host name>.local``."""


def parse(text: str, name: str = "network settings") -> Settings:
    """Check settings; `SettingsError` lists everything that is wrong, ``name`` is what it calls the file."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{name}: not TOML: {error}"]) from None
    values: dict[str, Any] = {}
    problems = list(_read(document, values))
    settings = Settings(**values)
    problems += _contradictions(settings)
    if problems:
        raise SettingsError([f"{name}: {problem}" for problem in problems])
    return settings


def _read(document: dict[str, Any], values: dict[str, Any]) -> Iterator[str]:
    if document.pop("schema", SCHEMA) != SCHEMA:
        yield f"schema must be {SCHEMA}"
    for key, value in document.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1)
            yield f"{key} is not a key; " + (f"did you mean {close[0]}?" if close else f"allowed: {', '.join(KEYS)}")
            continue
        convert, allowed = KEYS[key]
        try:
            values[key] = convert(value)
        except ValueError:
            yield f"{key} = {value!r} must be {allowed}"


def _contradictions(settings: Settings) -> Iterator[str]:
    address, gateway = settings.address, settings.gateway
    if address is None:
        if gateway is not None:
            yield f"gateway = '{gateway}' needs a static address; with DHCP the server names the gateway"
    elif gateway is not None and (gateway not in address.network or gateway == address.ip):
        yield f"gateway = '{gateway}' must be another address of the network {address.network}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _address(value: Any) -> IPv4Interface | None:
    if not _text(value):
        return None
    interface = IPv4Interface(value)
    length = interface.network.prefixlen
    if "/" not in value or not 8 <= length <= 30:
        raise ValueError
    ip = interface.ip
    if ip in (interface.network.network_address, interface.network.broadcast_address) or not _usable(ip):
        raise ValueError
    return interface


def _gateway(value: Any) -> IPv4Address | None:
    if not _text(value):
        return None
    address = IPv4Address(value)
    if not _usable(address):
        raise ValueError
    return address


def _usable(address: IPv4Address) -> bool:
    return not (
        address.is_multicast
        or address.is_loopback
        or address.is_reserved
        or address.is_link_local
        or address in _THIS_NETWORK
    )


_THIS_NETWORK: Final = IPv4Interface("0.0.0.0/8").network


def _servers(value: Any, convert: Callable[[str], Any]) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > MOST_SERVERS:
        raise ValueError
    return tuple(convert(_text(item)) for item in value)


def _name_server(value: str) -> IPv4Address | IPv6Address:
    address = ip_address(value)
    if address.is_multicast or address.is_unspecified or getattr(address, "scope_id", None):
        raise ValueError
    return address


def _time_server(value: str) -> str:
    try:
        return str(_name_server(value))
    except ValueError:
        if not _DOMAIN_NAME.fullmatch(value):
            raise
        return value


def _host_name(value: Any) -> str:
    if _text(value) and not _HOST_NAME.fullmatch(value):
        raise ValueError
    return _text(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


KEYS: Final[dict[str, tuple[Callable[[Any], Any], str]]] = {
    "address": (_address, 'an IPv4 address with prefix length 8…30 such as "10.0.0.5/24", or "" for DHCP'),
    "gateway": (_gateway, 'an IPv4 address such as "10.0.0.1", or ""'),
    "dns": (
        lambda value: _servers(value, _name_server),
        f'a list of up to {MOST_SERVERS} IP addresses such as ["10.0.0.1"]',
    ),
    "ntp": (
        lambda value: _servers(value, _time_server),
        f'a list of up to {MOST_SERVERS} host names or IP addresses such as ["ntp.example.com"]',
    ),
    "hostname": (
        _host_name,
        'a name of up to 63 small letters, digits and inner hyphens, or "" for the one made of the hardware address',
    ),
    "mdns": (_switch, "true or false"),
}
"""How each key is read, and what it may be."""
