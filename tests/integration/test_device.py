"""The device's programs with the real tools: boot loader environment, file systems, a running gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ampgate import control
from ampgate.board import open_board
from ampgate.system import files, health, places
from ampgate.system.factory import Environment, Reset, ResetError, make_file_system
from ampgate.system.network.apply import Device, run_trial, start
from tests.integration.conftest import StartGateway
from tests.integration.peers import config_of
from tests.tools import needs


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A redundant environment of U-Boot in two files."""
    needs("fw_setenv", "fw_printenv", "mkfs.ext4")
    config = tmp_path / "fw_env.config"
    copies = [tmp_path / name for name in ("uboot.env", "uboot-redund.env")]
    config.write_text("".join(f"{path} 0x0 0x4000\n" for path in copies))
    for path in copies:
        path.write_bytes(bytes(0x4000))
    defaults = tmp_path / "defaults"
    defaults.write_text("BOOT_ORDER=A B\n")
    subprocess.run(["fw_setenv", "-c", config, "-f", defaults, "BOOT_A_LEFT", "3"], check=True, capture_output=True)
    return Environment(config)


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"owner's data" + bytes(8 * 1024 * 1024))
    return path


def test_the_request_is_a_variable_of_the_boot_loader(environment: Environment) -> None:
    assert not environment.requested()
    environment.store()
    assert environment.requested()
    environment.clear()
    assert not environment.requested()
    words = ["fw_printenv", "-c", environment.config]
    left = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert sorted(left.split("\n")) == ["", "BOOT_A_LEFT=3", "BOOT_ORDER=A B"]


def test_a_pending_request_makes_the_file_system(environment: Environment, partition: Path) -> None:
    environment.store()
    board = open_board(None)
    reset = Reset(environment, lambda: make_file_system(partition), board, sleep=lambda seconds: None)
    assert reset.run()
    assert not environment.requested()
    (dump,) = needs("dumpe2fs")
    found = subprocess.run([dump, "-h", partition], check=True, capture_output=True, text=True).stdout
    assert "Filesystem volume name:   data" in found
    assert not reset.run()


def test_a_reset_that_fails_is_tried_again(environment: Environment, tmp_path: Path) -> None:
    environment.store()
    reset = Reset(environment, lambda: make_file_system(tmp_path / "missing/data"), open_board(None))
    with pytest.raises(ResetError, match=r"mkfs\.ext4"):
        reset.run()
    assert environment.requested()


def test_an_environment_that_cannot_be_read_asks_for_nothing(tmp_path: Path) -> None:
    needs("fw_printenv")
    environment = Environment(tmp_path / "missing")
    assert not environment.requested()
    with pytest.raises(ResetError, match="fw_setenv"):
        environment.store()


async def test_a_working_gateway_is_healthy(start_gateway: StartGateway, state: Path) -> None:
    await start_gateway()
    await asyncio.to_thread(health.check, state / control.SOCKET_NAME)


async def test_a_gateway_with_an_external_central_system_is_healthy(start_gateway: StartGateway, state: Path) -> None:
    external = {"host": "127.0.0.1", "port": 1}  # away
    await start_gateway(gateway={"mode": "external"}, ocpp={"external": external})
    await asyncio.to_thread(health.check, state / control.SOCKET_NAME)


async def test_a_gateway_that_turns_us_away_is_healthy(start_gateway: StartGateway, state: Path) -> None:
    config = config_of()
    config["modbus"]["tcp"]["allow"] = ["192.0.2.0/24"]
    await start_gateway(config=config)
    await asyncio.to_thread(health.check, state / control.SOCKET_NAME)


def test_no_gateway_is_not_healthy(state: Path) -> None:
    problem = health.wait_until_healthy(state / control.SOCKET_NAME, 0.0)
    assert problem
    assert "no gateway is running" in problem


def ampgate(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ampgate", *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    for name in ("requests", "answers", "data"):
        (tmp_path / name).mkdir()
    made = Device(
        requests=tmp_path / "requests",
        answers=tmp_path / "answers",
        confirmed=tmp_path / "data/settings.toml",
        networkd=tmp_path / "networkd",
        command=lambda words: None,
        set_host_name=lambda name: None,
    )
    start(made)
    return made


def network(device: Device, *words: object) -> subprocess.CompletedProcess[str]:
    return ampgate("network", "--requests", device.requests, "--answers", device.answers, *words)


def watch(device: Device) -> threading.Thread:
    """The path unit: starts a trial when a request is there."""

    def wait() -> None:
        while not (device.requests / places.NETWORK_REQUEST).exists():
            pass
        run_trial(device)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_settings_are_tried_and_confirmed_by_command(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    file.write_text('address = "10.0.0.5/24"\n')
    thread = watch(device)
    tried = network(device, "set", file)
    assert tried.returncode == 0, tried.stderr
    assert "within 60 s" in tried.stdout
    confirmed = network(device, "confirm")
    assert confirmed.stdout == "confirmed\n", confirmed.stderr
    thread.join(30)
    assert device.confirmed.read_text() == file.read_text()
    shown = network(device, "show").stdout
    assert "settings    confirmed" in shown
    assert "address     10.0.0.5/24" in shown


def test_settings_with_a_mistake_never_leave_the_command(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    file.write_text('address = "10.0.0.5"\n')
    refused = network(device, "set", file)
    assert refused.returncode == 1
    assert f"{file}: address = '10.0.0.5' must be" in refused.stderr
    assert not list(device.requests.iterdir())


def test_there_is_nothing_to_confirm(device: Device) -> None:
    refused = network(device, "confirm")
    assert refused.returncode == 1
    assert "nothing is on trial" in refused.stderr


def test_elsewhere_the_commands_say_so(tmp_path: Path) -> None:
    missing = ["--requests", tmp_path / "x", "--answers", tmp_path / "y"]
    assert "this is not the device" in ampgate("network", *missing, "show").stderr
    assert "this is not the device" in ampgate("factory-reset", *missing, "--yes").stderr


def test_a_factory_reset_has_to_be_confirmed(device: Device) -> None:
    words = [sys.executable, "-m", "ampgate", "factory-reset", "--requests", str(device.requests)]
    refused = subprocess.run(words, input="no\n", capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert not list(device.requests.iterdir())
    assert ampgate("factory-reset", "--requests", device.requests, "--yes").returncode == 0
    assert files.take(device.requests / places.RESET_REQUEST) == ""
