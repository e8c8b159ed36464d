"""From power to service."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hil import lan
from hil.conftest import CONFIG
from hil.strategy import GatewayStrategy, listens, until

pytestmark = pytest.mark.lg_feature(["console", "network"])

TEST_MODULES = {"gpio_sim", "i2c_stub"}
"""Simulated hardware of the virtual bench: unsigned and from outside of the kernel's tree."""
OUT_OF_TREE, UNSIGNED = 1 << 12, 1 << 13
"""Documentation/admin-guide/tainted-kernels.rst"""


def test_boot_to_service(device: GatewayStrategy, measured: Callable[[str], None]) -> None:
    until(lambda: listens(device.address, 9000), "OCPP")
    until(lambda: device.run_code("systemctl is-system-running --wait")[0] == "running", "state running")
    assert device.run("systemctl list-units --failed --no-legend --plain") == ""
    measured(device.run("systemd-analyze time"))
    measured(device.run("systemd-analyze blame | head -n 12"))
    measured(device.run("systemd-analyze critical-chain ampgate-gateway.service --no-pager | tail -n +4"))


def test_no_ordering_cycle(device: GatewayStrategy) -> None:
    assert "ordering cycle" not in device.run("journalctl --boot --no-pager --quiet")


def test_the_kernel_is_tainted_by_the_test_modules_alone(device: GatewayStrategy) -> None:
    taint = int(device.run("cat /proc/sys/kernel/tainted"))
    assert taint & ~(OUT_OF_TREE | UNSIGNED) == 0
    tainting = device.run(r"grep -lE '[OE]' /sys/module/*/taint || true").split()
    assert {Path(name).parent.name for name in tainting} <= TEST_MODULES


def test_the_root_file_system_is_read_only(device: GatewayStrategy) -> None:
    assert re.search(r"^\S+ / \S+ ro\b", device.run("cat /proc/mounts"), re.MULTILINE)
    assert device.run_code("touch /etc/x")[1]


def test_no_program_takes_another_users_rights(device: GatewayStrategy) -> None:
    assert device.run(r"find / -xdev -type f \( -perm -4000 -o -perm -2000 \)") == ""


def test_the_data_partition_has_grown_to_the_end_of_the_card(device: GatewayStrategy) -> None:
    disk = int(device.run("cat /sys/class/block/vda/size"))
    start = int(device.run("cat /sys/class/block/vda4/start"))
    size = int(device.run("cat /sys/class/block/vda4/size"))
    assert disk - 8192 <= start + size <= disk  # in sectors of 512 bytes
    assert 300 < int(device.run("df -m /data | tail -n 1").split()[1]) < 1000


def test_only_the_documented_ports_are_open(device: GatewayStrategy) -> None:
    assert [port for port in (22, 80, 502, 5355, 9000) if listens(device.address, port)] == [502, 9000]
    udp = {line.split()[1].rsplit(":", 1)[1] for line in device.run("cat /proc/net/udp | tail -n +2").splitlines()}
    assert udp <= {f"{port:04X}" for port in (68, 5353)}


def test_public_certificate_authorities_are_known(device: GatewayStrategy) -> None:
    """`tls = true` without `ca` trusts them."""
    count = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(device.run(f"python3 -I -c '{count}'")) > 100


def test_every_unit_of_ours_is_sandboxed(device: GatewayStrategy) -> None:
    """quality.md: exposure of at most 2.5."""
    for name in device.run("systemctl list-unit-files --no-legend 'ampgate-*.service' | cut -d ' ' -f 1").split():
        found = device.run(f"systemd-analyze security {name} --no-pager | tail -n 1")
        assert float(re.search(r": ([0-9.]+) ", found).group(1)) <= 2.5, found


def test_memory_of_the_gateway(device: GatewayStrategy, measured: Callable[[str], None]) -> None:
    pid = device.run("systemctl show --property MainPID --value ampgate-gateway")
    rss = int(re.search(r"VmRSS:\s+(\d+) kB", device.run(f"cat /proc/{pid}/status")).group(1))
    measured(f"gateway: {rss / 1024:.1f} MB resident")
    assert rss < 64 * 1024


def test_the_lease_is_ours(device: GatewayStrategy) -> None:
    first, last = (tuple(map(int, address.split("."))) for address in lan.LEASES)
    assert first <= tuple(map(int, device.address.split("."))) <= last


def test_the_firewall_lets_in_what_the_gateway_listens_on(device: GatewayStrategy) -> None:
    """Any port of the gateway's configuration, and no port of another program."""
    device.configure(f"{CONFIG}\n[modbus.tcp]\nport = 1502\n")
    device.run("systemd-run --quiet --collect --unit stranger python3 -I -m http.server --bind 0.0.0.0 1503")
    try:
        until(lambda: listens(device.address, 1502) and listens(device.address, 9000), "the gateway's ports")
        until(lambda: device.run("cat /proc/net/tcp").count(":05DF 00000000") == 1, "the other program's port")
        assert not listens(device.address, 1503)
        assert not listens(device.address, 502)
    finally:
        device.run("systemctl stop stranger")
        device.configure(CONFIG)
