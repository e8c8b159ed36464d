"""The configuration file of the reference BMS."""

from __future__ import annotations

from pathlib import Path

import pytest

from ampgate.bms.config import BmsConfig, ChargerTable, load, parse
from ampgate.settings import ConfigError

CHARGER = "[[charger]]\nname = 'Garage'\n"


def test_an_empty_file_is_the_driver_guides_case() -> None:
    """One charger with one connector; label, rate and the gateway's factory settings."""
    config = parse("")
    assert config == BmsConfig()
    assert config.charger == [ChargerTable("Charger", 1)]
    assert (config.bms.label, config.bms.enabled, config.bms.read_rate) == ("OCPP", True, 1)
    assert (config.modbus.transport, config.modbus.unit_id, config.modbus.byte_order) == ("tcp", 1, "big")
    assert config.user == []


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("[modbus]\nunit_id = 5\n[modbus.tcp]\nhost = '10.0.0.9'", "10.0.0.9:502 unit 5"),
        ("[modbus]\ntransport = 'rtu'\n[modbus.rtu]\nparity = 'even'", "/dev/ttyUSB0 9600 8E1 address 1"),
    ],
)
def test_the_reference_of_the_gateway(text: str, reference: str) -> None:
    assert parse(text).modbus.reference == reference


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[bms]\nread_rate = 0", "bms.read_rate = 0 must be a whole number, 1…300"),
        ("[bms]\nread_rate = 301", "bms.read_rate = 301 must be a whole number, 1…300"),
        (f"[bms]\nlabel = '{'x' * 21}'", f'bms.label = "{"x" * 21}" must be a text of 0…20 characters'),
        ("charger = []", "charger = [] must have one charger at least"),
        ("[[charger]]\nname = 'a/b'", 'charger[0].name = "a/b" must be a text of 1…64 characters without blanks and /'),
        (
            f"{CHARGER}[[charger]]\nname = 'GARAGE'",
            'charger: name "garage" is used more than once; each charger needs its own',
        ),
        ("[[charger]]\nname = 's2'", 'charger[0].name = "s2" is what systems are called; choose another'),
        (f"{CHARGER}connectors = 8", "charger[0].connectors = 8 must be a whole number, 1…7"),
        ("[[user]]\nname = 'A'\n[[user]]\nname = 'a'", 'user: name "a" is used more than once'),
        (
            "[[user]]\nname = 'A'\ntags = ['T1']\n[[user]]\nname = 'B'\ntags = ['t1']",
            'user: id tag "t1" is used more than once (upper and lower case are the same)',
        ),
        (f"[[user]]\nname = '{'x' * 121}'", f'user[0].name = "{"x" * 121}" must be a text of 1…120 characters'),
        (
            "[modbus]\nunit_id = 247\n" + "".join(f"[[charger]]\nname = 'C{number}'\n" for number in range(33)),
            "modbus.unit_id = 247 must be at most 246, as 33 chargers take 2 unit ids",
        ),
        ("[alarm]\nsyslog = 'here'", 'alarm.syslog = "here" must be a path such as "/dev/log", or "host:port"'),
        ("[alarm]\nsyslog = 'h:70000'", 'alarm.syslog = "h:70000" must be a path such as "/dev/log", or "host:port"'),
        *(
            (
                f"[alarm]\nwebhook = '{url}'",
                "alarm.webhook must be an address that begins with http:// or https:// and names a host",
            )
            for url in ("ftp://x/", "http://", "http://x:99999/", "http://[/")
        ),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, "bms.toml")
    assert error.value.problems == [f"bms.toml: {problem}"]


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "bms.toml"
    path.write_text(
        "[alarm]\nsyslog = 'log.example.com:514'\nwebhook = 'https://example.com:8443/x'\n"
        f"{CHARGER}connectors = 2\n[[user]]\nname = 'User A'\ntags = ['04A2B3C4']"
    )
    config = load(path)
    assert config.charger == [ChargerTable("Garage", 2)]
    assert config.user[0].tags == ["04A2B3C4"]
