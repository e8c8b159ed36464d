"""The root file system overlay: sound units, sandboxed, that name only files that are there."""

import configparser
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ampgate.config import Config, load
from ampgate.system import places
from ampgate.system.__main__ import COMMANDS
from ampgate.system.factory import BOARD_FILE
from tests.tools import needs
from tests.unit.system.overlay import OVERLAY, UNITS

SERVICES = sorted(path.name for path in UNITS.glob("ampgate-*.service"))
PATHS = sorted(path.name for path in UNITS.glob("ampgate-*.path"))
EXPOSURE = 2.5
"""The most that systemd-analyze may count for one of our units."""

# Of the distribution, of the image's build, or made by one of our units before they are needed
_ELSEWHERE = {"/usr/share/ampgate/board.env", "/etc/rauc/keyring.pem", "/etc/fw_env.config"}
_MADE = ("/run/", "/data", "/boot", "/dev/", "/proc/")
_PROGRAMS = {"/usr/bin/python3", "/usr/bin/ampgate", "/usr/sbin/nft", "/usr/sbin/hwclock", "/usr/sbin/chronyd"}


def unit(name):
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read(UNITS / name)
    return parser


def values(name, key):
    return re.findall(rf"^{key}=(.*)$", (UNITS / name).read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root file system of the overlay and the units that systemd brings, with the programs that ours start."""
    needs("systemd-analyze")
    top = tmp_path_factory.mktemp("root")
    shutil.copytree(OVERLAY, top, symlinks=True, dirs_exist_ok=True)
    theirs = Path("/usr/lib/systemd/system")
    for path in theirs.iterdir():
        if path.is_file() and not path.is_symlink():
            shutil.copy(path, top / "usr/lib/systemd/system")
    for program in _PROGRAMS:
        path = top / program[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return top


def test_systemd_finds_nothing_wrong(root):
    words = ["systemd-analyze", "verify", "--man=no", f"--root={root}"]
    found = subprocess.run(
        [*words, *(root / "usr/lib/systemd/system" / name for name in SERVICES + PATHS)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [
        line
        for line in (found.stdout + found.stderr).splitlines()
        # known from systemd 255 on, which the device has
        if "ampgate" in line and "NFTSet" not in line
    ]
    assert not ours


def test_the_device_starts_without_an_ordering_cycle(root):
    """With the mounts of fstab, and everything enabled that the presets enable."""
    mounts = root / "etc/systemd/system"
    generator = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")
    subprocess.run(["systemctl", f"--root={root}", "preset-all"], check=True, capture_output=True)
    environment = {"SYSTEMD_FSTAB": str(root / "etc/fstab"), "PATH": "/usr/bin:/bin"}
    subprocess.run([generator, mounts, mounts, mounts], check=True, env=environment)
    assert (mounts / "data.mount").exists()
    assert (mounts / "multi-user.target.wants/ampgate-gateway.service").is_symlink()
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", "multi-user.target"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cycle" not in found.stdout + found.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_sandboxed(root, name):
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--root={root}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(rf"exposure level for {re.escape(name)}: ([0-9.]+)", found.stdout)
    assert match, found.stdout + found.stderr
    assert float(match[1]) <= EXPOSURE


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_sets_what_the_sandbox_takes_back(name):
    """Drop-ins win over the unit: what a service needs stands in a drop-in that comes later."""
    sandbox = set(unit("ampgate-.service.d/10-sandbox.conf")["Service"])
    assert not sandbox & set(unit(name)["Service"])
    assert (UNITS / f"{name}.d/20-needs.conf").is_file()


def test_every_program_and_file_that_is_named_is_there():
    for path in (path for path in OVERLAY.rglob("*") if path.is_file() and not path.is_symlink()):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        for name in re.findall(r"(?<![\w.])/(?:usr|etc|data|run|boot)/[\w./-]*", text):
            if name in _PROGRAMS | _ELSEWHERE or name.startswith(_MADE):
                continue
            assert (OVERLAY / name[1:]).exists() or name.startswith("/usr/lib/systemd"), f"{path}: {name}"


def test_every_command_of_a_unit_exists():
    used = set()
    for name in SERVICES:
        for key in ("ExecStart", "ExecStopPost"):
            for words in map(str.split, values(name, key)):
                if "ampgate.system" in words:
                    used.add(words[words.index("ampgate.system") + 1])
    assert used == set(COMMANDS)
    for target in COMMANDS.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_gateway_is_started_with_options_that_it_has():
    (words,) = values("ampgate-gateway.service", "ExecStart")
    from ampgate.cli import _parser

    options = _parser().parse_args(words.split()[1:])
    assert options.system_clock
    assert options.defaults == Path("/usr/share/ampgate/config.toml")


def test_factory_settings_of_the_gateway():
    """device.md: Modbus TCP 502, RTU 9600 8N1 address 1, OCPP 9000, no chargers."""
    config = load(OVERLAY / "usr/share/ampgate/config.toml")
    assert config.modbus.transport.tcp
    assert config.modbus.transport.rtu
    assert (config.modbus.tcp.port, config.modbus.unit_id, config.ocpp.port) == (502, 1, 9000)
    line = config.modbus.rtu
    assert (line.baudrate, line.parity, line.stopbits) == (9600, "none", 1)
    assert config.charger == Config().charger == []


def test_the_firewall_lets_in_the_ports_of_the_factory():
    config = load(OVERLAY / "usr/share/ampgate/config.toml")
    rules = (OVERLAY / "usr/share/ampgate/firewall.nft").read_text()
    (ports,) = re.findall(r"^\s*tcp dport \{ (.*) \} accept", rules, re.MULTILINE)
    assert {config.modbus.tcp.port, config.ocpp.port} <= set(map(int, ports.split(", ")))


def test_presets_enable_what_can_be_enabled():
    """A unit with [Install] is started through the preset; what has none is started by another unit."""
    preset = (OVERLAY / "usr/lib/systemd/system-preset/00-ampgate.preset").read_text()
    assert "enable ampgate-*\n" in preset
    assert preset.rstrip().endswith("disable *")
    started = {name for name in SERVICES + PATHS if unit(name).has_section("Install")}
    by_path = {unit(name).get("Path", "Unit", fallback=name.replace(".path", ".service")) for name in PATHS}
    assert started | by_path == set(SERVICES + PATHS)


def test_users_of_the_units_are_made():
    users = re.findall(r"^u ([\w-]+)", (OVERLAY / "usr/lib/sysusers.d/ampgate.conf").read_text(), re.MULTILINE)
    assert {user for name in SERVICES for user in values(name, "User")} == set(users)


def test_units_and_programs_agree_on_paths():
    tmpfiles = (OVERLAY / "usr/lib/tmpfiles.d/ampgate.conf").read_text()
    assert f"d {places.REQUESTS} 0770 ampgate root\n" in tmpfiles
    assert f"d {places.ANSWERS} " in tmpfiles.replace("  ", " ")
    assert f"d {places.CONFIRMED_NETWORK.parent} " in tmpfiles
    assert values("ampgate-network-request.path", "PathExists") == [str(places.REQUESTS / places.NETWORK_REQUEST)]
    assert values("ampgate-factory-reset-request.path", "PathExists") == [str(places.REQUESTS / places.RESET_REQUEST)]
    assert values("ampgate-bms-clock.path", "PathChanged") == [str(places.CLOCK_SET_BY_BMS)]
    assert f"!{places.CLOCK_SET_BY_BMS}" in values("ampgate-time.service", "ConditionPathExists")
    assert f"!{places.ANSWERS}/static-address" in values("ampgate-network-fallback.service", "ConditionPathExists")
    assert values("ampgate-network-fallback.service", "RuntimeDirectory") == [places.FALLBACK_STATE.parent.name]
    assert f"{BOARD_FILE}" == "/usr/share/ampgate/board.toml"


def test_the_reset_comes_before_everything_that_touches_the_data_partition():
    (before,) = values("ampgate-factory-reset.service", "Before")
    assert "data.mount" in before
    assert r"systemd-fsck@dev-disk-by\x2dpartlabel-data.service" in before
    assert unit("ampgate-factory-reset.service").get("Unit", "DefaultDependencies") == "no"


@pytest.mark.parametrize("tool", ["nft"])
def test_the_firewall_is_sound(tool):
    needs(tool, root=True)
    subprocess.run(
        ["unshare", "--net", tool, "--check", "--file", OVERLAY / "usr/share/ampgate/firewall.nft"], check=True
    )
