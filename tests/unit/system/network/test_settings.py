"""Network settings: what is taken and what is refused, with a reason."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from ampgate.system.network.settings import Settings, SettingsError, parse

FULL = """
schema = 1
address = "10.0.0.5/24"
gateway = "10.0.0.1"
dns = ["10.0.0.1", "2001:db8::1"]
ntp = ["ntp.example.com", "10.0.0.2"]
hostname = "garage-1"
mdns = false
"""


def test_every_key():
    settings = parse(FULL)
    assert settings.address == IPv4Interface("10.0.0.5/24")
    assert settings.gateway == IPv4Address("10.0.0.1")
    assert [str(server) for server in settings.dns] == ["10.0.0.1", "2001:db8::1"]
    assert settings.ntp == ("ntp.example.com", "10.0.0.2")
    assert settings.hostname == "garage-1"
    assert settings.mdns is False


@pytest.mark.parametrize("text", ["", 'schema = 1\naddress = ""\ngateway = ""\ndns = []\nntp = []\nhostname = ""'])
def test_nothing_is_the_factory_setting(text):
    assert parse(text) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("address = ", "not TOML"),
        ("schema = 2", "schema must be 1"),
        ('adress = "10.0.0.5/24"', "did you mean address?"),
        ("vlan = 7", "allowed: address, gateway"),
        ("address = 5", "prefix length"),
        ('address = "10.0.0.5"', "prefix length"),
        ('address = "10.0.0.5/31"', "prefix length"),
        ('address = "10.0.0.5/7"', "prefix length"),
        ('address = "10.0.0.0/24"', "prefix length"),
        ('address = "10.0.0.255/24"', "prefix length"),
        ('address = "127.0.0.1/8"', "prefix length"),
        ('address = "224.0.0.5/24"', "prefix length"),
        ('address = "240.0.0.5/24"', "prefix length"),
        ('address = "0.1.2.3/24"', "prefix length"),
        ('address = "169.254.3.4/16"', "prefix length"),
        ('address = "10.0.0.5/24\\nDHCP=yes"', "prefix length"),
        ('gateway = "10.0.0.1"', "needs a static address"),
        ('address = "10.0.0.5/24"\ngateway = "10.0.1.1"', "another address of the network 10.0.0.0/24"),
        ('address = "10.0.0.5/24"\ngateway = "10.0.0.5"', "another address of the network"),
        ('dns = "10.0.0.1"', "a list"),
        ('dns = ["ns.example.com"]', "IP addresses"),
        ('dns = ["fe80::1%eth0"]', "IP addresses"),
        ('dns = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"]', "up to 4"),
        ('ntp = ["ntp example"]', "host names"),
        ('ntp = ["a\\nserver b"]', "host names"),
        ('ntp = ["a\\n"]', "host names"),
        ('ntp = [""]', "host names"),
        ("ntp = [1]", "host names"),
        ('hostname = "Garage"', "small letters"),
        ('hostname = "-garage"', "small letters"),
        ('hostname = "a.b"', "small letters"),
        ('hostname = "garage\\n"', "small letters"),
        (f'hostname = "{"a" * 64}"', "63"),
        ("mdns = 1", "true or false"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(SettingsError) as caught:
        parse(text, "net.toml")
    assert words in str(caught.value)
    assert all(problem.startswith("net.toml: ") for problem in caught.value.problems)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingsError) as caught:
        parse('mdns = 1\nhostname = "A"\nvlan = 3')
    assert len(caught.value.problems) == 3
