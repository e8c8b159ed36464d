"""The configuration file: what is accepted, and that every mistake is told with key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ampgate.bridge.policy import Policy
from ampgate.bridge.results import StatusOrder
from ampgate.config import Config, Parity, Transport, load, parse
from ampgate.registers.codec import ByteOrder
from ampgate.settings import ConfigError, keys

PORT = "a whole number, 0…65535"
CHARGER = "[[charger]]\nid = 'CP1'\n"

MISTAKES: dict[str, str] = {
    "[ocpp]\nport = 70000": f"ocpp.port = 70000 must be {PORT}",
    "[ocpp]\nport = -1": f"ocpp.port = -1 must be {PORT}",
    "[ocpp]\nport = '9000'": f'ocpp.port = "9000" must be {PORT}',
    "[ocpp]\nport = 9000.5": f"ocpp.port = 9000.5 must be {PORT}",
    "[ocpp]\nport = true": f"ocpp.port = true must be {PORT}",
    "[ocpp]\nport = 99999999999999999999": f"ocpp.port = 99999999999999999999 must be {PORT}",
    "[ocpp]\nport = []": f"ocpp.port = [] must be {PORT}",
    "[ocpp]\nhost = 5": "ocpp.host = 5 must be a text",
    "[ocpp]\nheartbeat_interval = 0": "ocpp.heartbeat_interval = 0 must be a whole number, 1…86400",
    "[ocpp]\ntcp_keep_alive = 32768": "ocpp.tcp_keep_alive = 32768 must be a whole number, 0…32767",
    "[ocpp]\nping_interval = -0.1": "ocpp.ping_interval = -0.1 must be a number, 0…86400",
    "[ocpp]\nping_interval = nan": "ocpp.ping_interval = nan must be a number, 0…86400",
    "[ocpp]\nping_interval = inf": "ocpp.ping_interval = inf must be a number, 0…86400",
    "[ocpp]\ncall_timeout = 0": "ocpp.call_timeout = 0 must be a number, more than 0…600",
    "[ocpp]\nrequire_subprotocol = 1": "ocpp.require_subprotocol = 1 must be true or false",
    "[bms]\nanswer_timeout = 601": "bms.answer_timeout = 601 must be a number, more than 0…600",
    "[bms]\nheartbeat_timeout = 1979-05-27": 'bms.heartbeat_timeout = "1979-05-27" must be a number, 0…86400',
    "[bms]\npolicy = 'maybe'": 'bms.policy = "maybe" must be "reject" or "accept" or "list"',
    "[bms]\ntags = ['A', 5]": 'bms.tags = ["A",5] must be a list, each item a text of 1…20 characters',
    "[bms]\ntags = ['123456789012345678901']": 'bms.tags = ["123456789012345678901"] must be a list, each item '
    "a text of 1…20 characters",
    "[modbus]\nunit_id = 248": "modbus.unit_id = 248 must be a whole number, 1…247",
    "[modbus]\ntransport = 'udp'": 'modbus.transport = "udp" must be "tcp" or "rtu" or "tcp+rtu"',
    "[modbus]\nbyte_order = 'middle'": 'modbus.byte_order = "middle" must be "big" or "little" or '
    '"word-inverted-big" or "word-inverted-little"',
    "[modbus]\nstatus_order = 'south'": 'modbus.status_order = "south" must be "manual" or "north"',
    "[modbus]\nread_only = 'no'": 'modbus.read_only = "no" must be true or false',
    "[modbus.tcp]\nmax_clients = 0": "modbus.tcp.max_clients = 0 must be a whole number, 1…64",
    "[modbus.tcp]\nallow = '10.0.0.0/8'": 'modbus.tcp.allow = "10.0.0.0/8" must be a list, each item a text',
    "[modbus.rtu]\nbaudrate = 9601": "modbus.rtu.baudrate = 9601 must be 1200 or 2400 or 4800 or 9600 or 19200 or "
    "38400 or 57600 or 115200",
    "[modbus.rtu]\nparity = 'E'": 'modbus.rtu.parity = "E" must be "none" or "even" or "odd"',
    "[modbus.rtu]\nstopbits = 3": "modbus.rtu.stopbits = 3 must be 1 or 2",
    "[gateway]\nname = ''": 'gateway.name = "" must be a text of 1…64 characters',
    "[gateway]\nmode = 'cloud'": 'gateway.mode = "cloud" must be "bms" or "external"',
    "[gateway]\nmode = 'external'": (
        'ocpp.external.host is missing; with gateway.mode = "external" it must be a name or address'
    ),
    "[ocpp.external]\nhost = 'ws://x'": (
        'ocpp.external.host = "ws://x" must be a text of 0…253 characters without blanks and /'
    ),
    "[ocpp.external]\npath = 'ocpp'": (
        'ocpp.external.path = "ocpp" must be a text of 0…1024 characters that begins with /, without blanks, ? and #'
    ),
    "[ocpp.external]\nca = 'ca.pem'": 'ocpp.external.ca = "ca.pem" needs ocpp.external.tls = true',
    "[[charger]]\nid = 'A'\nupstream.certificate = 'a.pem'": (
        "charger[0].upstream.certificate needs ocpp.external.tls = true"
    ),
    "[ocpp.external]\ntls = true\n[[charger]]\nid = 'A'\nupstream.key = 'a.key'": (
        "charger[0].upstream.key needs charger[0].upstream.certificate"
    ),
    "[[charger]]\nid = 'A'\nupstream.user = 'a'": "charger[0].upstream.user needs charger[0].upstream.password",
    "[[charger]]\nid = 'A'\nupstream.user = 'a:b'": (
        'charger[0].upstream.user = "a:b" must be a text of 0…255 characters without :'
    ),
    "[[charger]]\nid = 'A'\nupstream.password = 12345": (
        "charger[0].upstream.password = (not shown) must be a text of 0…255 characters"
    ),
    "[[charger]]\nname = 'x'": "charger[0].id is missing; it must be a text of 1…255 characters without blanks and /",
    "[[charger]]\nid = 'a/b'": 'charger[0].id = "a/b" must be a text of 1…255 characters without blanks and /',
    f"{CHARGER}[[charger]]\nid = 'a b'": 'charger[1].id = "a b" must be a text of 1…255 characters without blanks '
    "and /",
    f"{CHARGER}connectors = 8": "charger[0].connectors = 8 must be a whole number, 1…7",
    f"{CHARGER}connectors = 0": "charger[0].connectors = 0 must be a whole number, 1…7",
    # tables and keys
    "modbus = 5": "modbus must be a table, written [modbus]",
    "[charger]\nid = 'CP1'": "charger must be a list of tables, written [[charger]]",
    "charger = ['CP1']": "charger must be a list of tables, written [[charger]]",
    "[modbuss]": "modbuss is not a key; did you mean modbus?",
    "[modbus]\nbyteorder = 'big'": "modbus.byteorder is not a key; did you mean byte_order?",
    f"{CHARGER}conectors = 2": "charger[0].conectors is not a key; did you mean connectors?",
    "[bms]\nzzz = 1": "bms.zzz is not a key; allowed: answer_timeout, heartbeat_timeout, policy, tags",
    # what a single value cannot show
    "schema = 2": "schema = 2 must be 1",
    "[gateway]\ntimezone = 'Mars/Base'": 'gateway.timezone = "Mars/Base" must be a time zone such as "Europe/Madrid"',
    "[gateway]\ntimezone = '../etc'": 'gateway.timezone = "../etc" must be a time zone such as "Europe/Madrid"',
    "[gateway]\ntimezone = ''": 'gateway.timezone = "" must be a time zone such as "Europe/Madrid"',
    "[modbus.tcp]\nallow = ['10.0.0.1/8']": 'modbus.tcp.allow: "10.0.0.1/8" must be a network such as "10.0.0.0/8" '
    "(10.0.0.1/8 has host bits set)",
    CHARGER + CHARGER: 'charger: id "CP1" is used 2 times; each charger needs its own',
    f"{CHARGER}inactive = ['Power.Facto']": 'charger[0].inactive: "Power.Facto" is not a signal of the map; '
    'did you mean "Power.Factor"?',
    f"{CHARGER}inactive = ['connector.power_facto']": 'charger[0].inactive: "connector.power_facto" is not a signal '
    'of the map; did you mean "connector.power_factor"?',
    f"{CHARGER}inactive = ['%']": 'charger[0].inactive: "%" is not a signal of the map',
    "[modbus]\nunit_id = 247\n"
    + "".join(f"[[charger]]\nid = 'CP{number}'\n" for number in range(33)): "modbus.unit_id = "
    "247 must be at most 246, as 33 chargers take 2 unit ids",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text.splitlines()[-1][:40])
def test_mistake(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, "site.toml")
    assert error.value.problems == [f"site.toml: {MISTAKES[text]}"]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse("[ocpp]\nport = 70000\nhots = 'x'\n[bms]\npolicy = 5\n[[charger]]\n[[charger]]\nid = ''\nconnectors = 9")
    assert len(error.value.problems) == 6
    for key in ("ocpp.port", "ocpp.hots", "bms.policy", "charger[0].id", "charger[1].id", "charger[1].connectors"):
        assert sum(key in problem for problem in error.value.problems) == 1
    assert str(error.value) == "\n".join(error.value.problems)
    with pytest.raises(ConfigError) as error:
        parse(f"schema = 3\n[gateway]\ntimezone = 'x'\n[modbus.tcp]\nallow = ['a', 'b']\n{CHARGER}{CHARGER}")
    assert len(error.value.problems) == 5


def test_what_is_not_toml() -> None:
    with pytest.raises(ConfigError, match=r"site.toml: not TOML: .* line 2"):
        parse("[ocpp]\nport 5", "site.toml")


def test_an_empty_file_has_every_default() -> None:
    config = parse("")
    assert config == Config()
    assert (config.modbus.tcp.port, config.modbus.tcp.max_clients, config.modbus.unit_id) == (502, 6, 1)
    assert (config.ocpp.port, config.ocpp.heartbeat_interval, config.ocpp.require_subprotocol) == (9000, 300, False)
    assert (config.bms.answer_timeout, config.bms.heartbeat_timeout, config.bms.policy) == (15, 60, Policy.REJECT)
    assert (config.modbus.byte_order, config.modbus.status_order) == (ByteOrder.BIG, StatusOrder.MANUAL)
    assert config.charger == []


def test_a_whole_file() -> None:
    config = parse(
        """
        schema = 1
        [gateway]
        name = "Garage"
        timezone = "Europe/Madrid"
        [modbus]
        transport = "tcp+rtu"
        unit_id = 7
        byte_order = "word-inverted-little"
        status_order = "north"
        extensions = false
        read_only = true
        [modbus.tcp]
        host = "192.0.2.1"
        port = 1502
        max_clients = 2
        allow = ["192.0.2.0/24", "2001:db8::/32"]
        [modbus.rtu]
        device = "/dev/ttyUSB0"
        baudrate = 115200
        parity = "even"
        stopbits = 2
        [ocpp]
        port = 0
        ping_interval = 0
        call_timeout = 0.5
        [bms]
        policy = "list"
        tags = ["A", "B"]
        [[charger]]
        id = "CP#1"
        name = "Left"
        connectors = 7
        inactive = ["Power.Factor", "connector.rpm"]
        [[charger]]
        id = "00:1B:44:11"
        """
    )
    assert (config.gateway.name, config.gateway.timezone) == ("Garage", "Europe/Madrid")
    modbus = config.modbus
    assert (modbus.transport, modbus.unit_id, modbus.byte_order) == (Transport.BOTH, 7, ByteOrder.WORD_INVERTED_LITTLE)
    assert (modbus.status_order, modbus.extensions, modbus.read_only) == (StatusOrder.NORTH, False, True)
    assert (modbus.tcp.host, modbus.tcp.port, modbus.tcp.max_clients) == ("192.0.2.1", 1502, 2)
    assert modbus.tcp.allow == ["192.0.2.0/24", "2001:db8::/32"]
    rtu = modbus.rtu
    assert (rtu.device, rtu.baudrate, rtu.parity, rtu.stopbits) == ("/dev/ttyUSB0", 115200, Parity.EVEN, 2)
    assert (config.ocpp.port, config.ocpp.ping_interval, config.ocpp.call_timeout) == (0, 0, 0.5)
    assert (config.bms.policy, config.bms.tags) == (Policy.LIST, ["A", "B"])
    first, second = config.charger
    assert (first.id, first.name, first.connectors) == ("CP#1", "Left", 7)
    assert first.inactive == ["Power.Factor", "connector.rpm"]
    assert (second.id, second.name, second.connectors, second.inactive) == ("00:1B:44:11", "", 1, [])


@pytest.mark.parametrize(("text", "tcp", "rtu"), [("tcp", True, False), ("rtu", False, True), ("tcp+rtu", True, True)])
def test_transport(text: str, tcp: bool, rtu: bool) -> None:
    transport = parse(f"[modbus]\ntransport = '{text}'").modbus.transport
    assert (transport.tcp, transport.rtu) == (tcp, rtu)


def test_loading(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[gateway]\nname = 'Größe'", encoding="utf-8")
    assert load(path).gateway.name == "Größe"
    path.write_text("[gateway]\nname = 5")
    with pytest.raises(ConfigError) as error:
        load(path)
    assert error.value.problems == [f"{path}: gateway.name = 5 must be a text of 1…64 characters"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match=r"latin.toml: .*utf-8"):
        load(tmp_path / "latin.toml")


def test_keys_for_the_documentation() -> None:
    found = {path: (allowed, default) for path, allowed, default in keys(Config)}
    assert found["modbus.tcp.port"] == (PORT, 502)
    assert found["bms.policy"] == ('"reject" or "accept" or "list"', "reject")
    assert found["charger.connectors"] == ("a whole number, 1…7", 1)
    assert found["charger.inactive"][0] == "a list, each item a text"
    assert "modbus" not in found
