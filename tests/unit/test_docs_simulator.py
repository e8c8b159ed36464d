"""The pages on the simulator and on EVlink say what the tables of the simulator hold."""

from __future__ import annotations

import pytest

from ampgate.bridge.results import numbers
from ampgate.simulator.command import OFFLINE
from ampgate.simulator.console import COMMANDS
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.quirks import QUIRKS
from ampgate.simulator.settings import Key
from tests.unit.test_docs import DOCS, code, rows

pytestmark = pytest.mark.unit

SIMULATOR = DOCS / "simulator.md"
EVLINK = DOCS / "evlink.md"
PRODUCTS = {"P": "evlink-parking", "C": "evlink-city", "W": "evlink"}


def takes(key: Key) -> str:
    """What the page says that a key takes."""
    unit = f" {key.unit}" if key.unit else ""
    if key.readonly:
        return "read-only"
    match key.kind:
        case "boolean":
            text = "true, false"
        case "text":
            text = " or ".join(key.words) or "text"
        case "list":
            text = "list of measurands"
        case _:
            assert key.limits is not None
            least, most = key.limits
            text = f"{least}{unit} and more" if most == 999_999_999 else f"{least}–{most}{unit}"
            text += f", or {key.words[0]}" if key.words else ""
    text += f"; others become {key.outside}" if key.outside else ""
    return text + ("; after a restart" if key.restart else "")


def test_profiles() -> None:
    listed = [(code(row["profile"]), row["charger"], row["connectors"]) for row in rows(SIMULATOR, "profile")]
    assert listed == [(name, profile.summary, str(profile.connectors)) for name, profile in PROFILES.items()]


def test_quirks() -> None:
    listed = {code(row["quirk"]): row["what the charger does"] for row in rows(SIMULATOR, "quirk")}
    assert listed == {name: quirk.summary for name, quirk in QUIRKS.items()}


def test_commands() -> None:
    listed = {code(row["command"]): row["what it does"] for row in rows(SIMULATOR, "command")}
    assert listed == {command.usage(name): command.summary for name, command in COMMANDS.items()}


def test_strategies_for_a_lost_link() -> None:
    assert [code(row["`--offline`"]) for row in rows(SIMULATOR, "`--offline`")] == list(OFFLINE)


def test_parameters_of_an_evlink() -> None:
    listed = {code(row["key"]): (row["station"], row["takes"], row["comes with"]) for row in rows(EVLINK, "key")}
    products: dict[str, str] = {}
    known: dict[str, Key] = {}
    for product, profile in PRODUCTS.items():
        for key in PROFILES[profile].keys:
            products[key.name] = products.get(key.name, "") + product
            known[key.name] = key
    assert listed == {name: (products[name], takes(key), key.value) for name, key in known.items()}


def test_vendor_errors_of_an_evlink() -> None:
    codes = numbers("connector.error_code")
    shown = {}
    for product, profile in PRODUCTS.items():
        for fault in PROFILES[profile].faults:
            error = f"{codes[fault.error_code.value]} {fault.error_code.value}"
            status = "Faulted" if fault.blocks else "unchanged"
            status += f", for {fault.passes:g} s" if fault.passes else ""
            before = shown.get(fault.name, (fault.text, "", error, status))
            shown[fault.name] = (before[0], before[1] + product, error, status)
    columns = ("event", "station", "error code (715)", "status (714)")
    listed = {row["code"]: tuple(row[column] for column in columns) for row in rows(EVLINK, "code", *columns)}
    assert listed == shown
