"""How a simulated site is shown: every connector with what it does."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Final

from ampgate.simulator.connector import Connector
from ampgate.simulator.faults import NO_FAULT
from ampgate.simulator.site import Site

_HEAD = ("charger", "conn", "profile", "link", "status", "fault", "kW", "A", "limit", "kWh", "car", "id tag")
_FEWEST_EVENTS: Final = 3
"""Events that a terminal shows at least."""


def state(site: Site) -> list[dict[str, Any]]:
    """Every charger and connector, for programs. Units as the names say: W, A, Wh, %."""
    now = datetime.now(UTC)
    return [
        {
            "id": charger.identity,
            "profile": charger.profile.name,
            "quirks": sorted(charger.quirks),
            "online": charger.online,
            "connectors": [
                _state(connector) | {"limit_a": charger.limit(connector, now)} for connector in charger.connectors[1:]
            ],
        }
        for charger in site.chargers
    ]


def _state(connector: Connector) -> dict[str, Any]:
    transaction, vehicle = connector.transaction, connector.vehicle
    return {
        "number": connector.number,
        "status": connector.status.value,
        "fault": None if connector.fault is NO_FAULT else connector.fault.name,
        "power_w": round(connector.draw.power),
        "current_a": round(max(connector.draw.currents), 1),
        "session_wh": connector.meter - transaction.meter_start if transaction else None,
        "soc": round(vehicle.soc) if vehicle else None,
        "id_tag": transaction.id_tag if transaction else connector.id_tag,
    }


def table(site: Site) -> list[str]:
    """The same for people, one line a connector."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for charger in state(site):
        for connector in charger["connectors"]:
            session = connector["session_wh"]
            rows.append(
                (
                    charger["id"],
                    str(connector["number"]),
                    charger["profile"],
                    "up" if charger["online"] else "down",
                    connector["status"],
                    connector["fault"] or "",
                    f"{connector['power_w'] / 1000:.2f}",
                    f"{connector['current_a']:.1f}",
                    f"{connector['limit_a']:g}",
                    "" if session is None else f"{session / 1000:.2f}",
                    "" if connector["soc"] is None else f"{connector['soc']} %",
                    connector["id_tag"] or "",
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def picture(table: list[str], events: list[str], size: os.terminal_size | None) -> list[str]:
    """A table and the last events below it, cut to a terminal of this size less a line to type in; None is endless."""
    if size is None:
        return [*table, "", *events]
    rows = size.lines - 2  # without the gap and the line to type in
    events = events[-max(_FEWEST_EVENTS, rows - len(table)) :]
    if (room := max(1, rows - len(events))) < len(table):
        table = [*table[: room - 1], f"… and {len(table) - room + 1} more: `show` lists all"]
    return [line[: size.columns] for line in (*table, "", *events)]
