"""The external central system of a configuration, as something to connect to: certificates are read here."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from ampgate.config import ChargerTable, Config, Mode
from ampgate.ocpp.upstream import Endpoint
from ampgate.settings import ConfigError


def endpoints(config: Config) -> dict[str, Endpoint]:
    """The endpoint of each charger by its id, none without an external central system.

    A `ConfigError` lists every file that cannot be used.
    """
    if config.gateway.mode is not Mode.EXTERNAL:
        return {}
    external = config.ocpp.external
    found: dict[str, Endpoint] = {}
    problems: list[str] = []
    for index, charger in enumerate(config.charger):
        try:
            tls = _context(config, charger, index) if external.tls else None
        except ConfigError as error:
            problems += error.problems
            continue
        found[charger.id] = Endpoint(
            external.host,
            external.port or (443 if external.tls else 80),
            external.path,
            tls,
            charger.upstream.user or charger.id,
            charger.upstream.password,
            external.ping_interval,
        )
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def upstream_url(config: Config) -> str:
    """Where the external central system is, for people; empty when gateway and BMS are the central system."""
    if config.gateway.mode is not Mode.EXTERNAL:
        return ""
    external = config.ocpp.external
    scheme, port = ("wss", 443) if external.tls else ("ws", 80)
    return f"{scheme}://{external.host}:{external.port or port}{external.path.rstrip('/')}/<charger id>"


def _context(config: Config, charger: ChargerTable, index: int) -> ssl.SSLContext:
    """TLS 1.2 or newer that trusts the authorities of this computer, or the given one only."""
    ca, certificate, key = config.ocpp.external.ca, charger.upstream.certificate, charger.upstream.key
    table = f"charger[{index}].upstream"
    problems = [
        *_unreadable("ocpp.external.ca", ca),
        *_unreadable(f"{table}.certificate", certificate),
        *_unreadable(f"{table}.key", key),
    ]
    if problems:
        raise ConfigError(problems)
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:
        raise ConfigError([f'ocpp.external.ca = "{ca}" must be a PEM file with certificates: {error}']) from None
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None, password=lambda: b"")
        except ssl.SSLError as error:
            raise ConfigError(
                [
                    f'{table}.certificate = "{certificate}" must be a PEM file with a certificate, and '
                    f"{table}.key the one with its private key, without a passphrase: {error}"
                ]
            ) from None
    return context


def _unreadable(name: str, path: str) -> Iterator[str]:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        yield f'{name} = "{path}" must be a PEM file that the gateway can read: {error.strerror}'
