"""A configuration in words: what ``ampgate check`` says of a sound file."""

from __future__ import annotations

from collections.abc import Iterator

from ampgate.bridge.policy import Policy, Trust
from ampgate.bridge.results import StatusOrder
from ampgate.config import Config, ExternalTable, Mode, Outage
from ampgate.endpoints import upstream_url
from ampgate.gateway import register_site, serial_line
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.site import Site

_POLICIES = {
    Policy.REJECT: "every id tag is refused",
    Policy.ACCEPT: "every id tag is accepted",
    Policy.LIST: "the id tags of bms.tags are accepted",
}
_MODES = {
    Mode.BMS: "gateway and BMS are the central system",
    Mode.EXTERNAL: "the central system is elsewhere, the BMS reads along",
}
_TRUSTED = {
    Trust.KNOWN: "id tags are judged as it judged them last, unknown ones are refused",
    Trust.ACCEPT: "every id tag is accepted",
    Trust.REJECT: "every id tag is refused",
}


def explain(config: Config, board_port: str) -> Iterator[str]:
    """The lines: how BMS and chargers reach the gateway, what happens when they do not, and every address range.

    ``board_port`` is the serial port that the board has.
    """
    site = register_site(config)
    modbus, ocpp = config.modbus, config.ocpp
    yield f"Mode        {config.gateway.mode}: {_MODES[config.gateway.mode]}"
    yield f"Map         {', '.join(_map(config, site))}"
    if modbus.transport.tcp:
        allowed = f"from {', '.join(modbus.tcp.allow)}" if modbus.tcp.allow else "from any network"
        yield f"Modbus TCP  {modbus.tcp.host}:{modbus.tcp.port}, {modbus.tcp.max_clients} clients {allowed}"
    if modbus.transport.rtu:
        yield f"Modbus RTU  {serial_line(config, board_port)}, address {modbus.unit_id}"
    external = config.gateway.mode is Mode.EXTERNAL
    heartbeat = "" if external else f", heartbeat every {ocpp.heartbeat_interval} s"
    yield f"OCPP        ws://{ocpp.host}:{ocpp.port}/<charger id>{heartbeat}"
    yield from _external(config) if external else _bms(config)
    if not config.charger:
        yield "No charger is configured: nothing will be able to connect. Add a [[charger]] table with an id."
    for index, charger in enumerate(config.charger):
        name = f" ({charger.name})" if charger.name else ""
        unit = f", unit id {modbus.unit_id + site.charger(index)['info.communication'].place.unit}"
        yield f"Charger {index}   {charger.id}{name}{unit if len(site.images) > 1 else ''}"
        yield f"            as a whole {_spans(site, index, None)}"
        for connector in range(charger.connectors + 1):
            yield f"            connector {connector} {_spans(site, index, connector)}"
        if charger.inactive:
            yield f"            not shown: {', '.join(charger.inactive)}"


def _bms(config: Config) -> Iterator[str]:
    bms = config.bms
    yield f"BMS         has {bms.answer_timeout:g} s to answer a request; then {_POLICIES[bms.policy]}"
    if bms.heartbeat_timeout:
        yield f"            counts as absent when it stops writing its heartbeat for {bms.heartbeat_timeout:g} s"


def _external(config: Config) -> Iterator[str]:
    external = config.ocpp.external
    yield f"Upstream    {upstream_url(config)}{_trusting(external)}"
    if external.outage is Outage.DROP:
        yield "            chargers are disconnected while it is away"
        return
    yield f"            while it is away the gateway stands in; {_TRUSTED[external.authorize]}"
    yield f"            it is tried again at least every {external.longest_delay:g} s"


def _trusting(external: ExternalTable) -> str:
    if not external.tls:
        return ""
    return f", trusted by {external.ca or 'the authorities of this computer'}"


def _map(config: Config, site: Site) -> Iterator[str]:
    modbus, last = config.modbus, config.modbus.unit_id + len(site.images) - 1
    yield f"unit id {modbus.unit_id}" if last == modbus.unit_id else f"unit ids {modbus.unit_id}…{last}"
    yield f"{site.active} signals"
    yield f"byte order {modbus.byte_order}"
    order = sorted(modbus.status_order.numbers.items(), key=lambda item: item[1])
    if modbus.status_order is not StatusOrder.MANUAL:
        yield "status " + ", ".join(f"{number} {word}" for word, number in order if word.startswith("Suspended"))
    if not modbus.extensions and any(signal.area == "extension" for signal in SIGNALS.values()):
        yield "without extensions"
    if modbus.read_only:
        yield "read only"


def _spans(site: Site, charger: int, connector: int | None) -> str:
    """First and last address of the original map's part, and of the extension's."""
    spans = []
    for area in ("original", "extension"):
        places = [
            place
            for place in site.places
            if (place.charger, place.connector, place.signal.area) == (charger, connector, area) and place.active
        ]
        if places:
            spans.append(f"{places[0].address}–{places[-1].address + places[-1].signal.registers - 1}")
    return " and ".join(spans) or "(no signal)"
