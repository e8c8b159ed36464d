"""Settings as files; that systemd-networkd takes them is shown in tests/integration/test_network.py."""

import configparser

from ampgate.system.network import render
from ampgate.system.network.settings import Settings, parse
from tests.unit.system.overlay import OVERLAY


def sections(text):
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def test_the_factory_file_is_what_the_factory_settings_give():
    vendor = (OVERLAY / "usr/lib/systemd/network/50-ethernet.network").read_text()
    assert sections(render.networkd(Settings(), "eth0")) == sections(vendor)


def test_a_static_address():
    found = sections(render.networkd(parse('address = "10.0.0.5/24"\ngateway = "10.0.0.1"'), "eth0"))
    assert found["Network"]["DHCP"] == "no"
    assert found["Address"] == {"Address": "10.0.0.5/24", "DuplicateAddressDetection": "ipv4"}
    assert found["Route"] == {"Gateway": "10.0.0.1"}
    assert "DHCPv4" not in found


def test_own_name_servers_replace_those_of_dhcp():
    text = render.networkd(parse('dns = ["10.0.0.1", "10.0.0.2"]'), "eth0")
    assert "DNS=10.0.0.1\nDNS=10.0.0.2\n" in text
    assert text.count("UseDNS=no") == 3


def test_time_servers_for_chrony():
    assert render.chrony_sources(parse('ntp = ["a.example", "10.0.0.2"]')) == (
        "server a.example iburst\nserver 10.0.0.2 iburst\n"
    )


def test_host_name():
    mac = bytes.fromhex("dca632010203")
    assert render.host_name(Settings(), mac) == "ampgate-010203"
    assert render.host_name(Settings(hostname="garage"), mac) == "garage"
