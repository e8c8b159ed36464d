"""The gateway put together in this process; as a process of its own it is met in tests/integration."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sqlite3
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sdnotify
from websockets.asyncio.client import connect

from ampgate import __version__, control
from ampgate import gateway as gateway_module
from ampgate.board import BoardError
from ampgate.config import Config, parse
from ampgate.gateway import Gateway, StartError, register_site, run, serial_line
from ampgate.system import files, places
from ampgate.system.network.lastresort import FALLBACK, State
from tests.integration.peers import DEADLINE, until

LOCAL = "[modbus.tcp]\nhost = '127.0.0.1'\nport = 0\n[ocpp]\nhost = '127.0.0.1'\nport = 0\n"
CHARGER = "[[charger]]\nid = 'CP1'\nname = 'Left'\nconnectors = 2\n"


def config(text: str = "") -> Config:
    return parse(LOCAL + text + CHARGER)


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:  # short: a socket's path has 107 characters
        yield Path(directory)


Make = Callable[..., Gateway]


@pytest.fixture
def make(state: Path) -> Make:
    return lambda settings=None: Gateway(settings or config(), state)


async def modbus(gateway: Gateway, request: bytes, unit: int = 1) -> bytes:
    """One request PDU; returns the response PDU."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.modbus_port)
    writer.write(struct.pack(">HHHB", 1, 0, len(request) + 1, unit) + request)
    async with asyncio.timeout(DEADLINE):
        _, _, length, _ = struct.unpack(">HHHB", await reader.readexactly(7))
        answer = await reader.readexactly(length - 1)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


READ_COMMUNICATION = bytes((3, 0, 100, 0, 1))  # Charger Communication status


async def test_both_sides_meet(make: Make) -> None:
    gateway = make()
    async with gateway.running():
        assert await modbus(gateway, READ_COMMUNICATION) == bytes((3, 2, 0, 1))
        url = f"ws://127.0.0.1:{gateway.ocpp_port}/CP1"
        async with connect(url, subprotocols=["ocpp1.6"]) as charger:  # type: ignore[list-item]
            assert await modbus(gateway, READ_COMMUNICATION) == bytes((3, 2, 0, 0))
            await charger.send('[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]')
            assert '"Accepted"' in str(await charger.recv())
            frames = gateway.frames(100)
            status = gateway.status()
    ocpp = [frame["data"] for frame in frames if frame["peer"] == "ocpp CP1"]
    assert ocpp[0].startswith('[2,"1","BootNotification"')
    assert ocpp[1].startswith('[3,"1",')
    sent = [frame["sent"] for frame in frames if frame["peer"] == "ocpp CP1"]
    assert sent == [False, True]
    bms = [(frame["sent"], frame["data"]) for frame in frames if frame["peer"].startswith("modbus 127.0.0.1:")]
    assert bms[0] == (False, "0001000000060103" + "00640001")
    assert bms[1] == (True, "00010000000501030200" + "01")
    assert len(gateway.frames(1)) == 1
    assert status["version"] == __version__
    assert (status["name"], status["mode"]) == ("ampgate", "bms")
    assert 0 <= status["uptime"] < 60
    tcp = status["modbus"]["tcp"]
    assert (tcp["host"], tcp["port"], tcp["max_clients"]) == ("127.0.0.1", gateway.modbus_port, 6)
    assert (tcp["requests"], tcp["exceptions"], tcp["refused"]) == (2, 0, 0)
    assert status["modbus"]["rtu"] is None
    assert status["ocpp"] == {
        "host": "127.0.0.1",
        "port": gateway.ocpp_port,
        "connected": 1,
        "unknown": {},
        "upstream": "",
    }
    assert (status["chargers"][0]["id"], status["chargers"][0]["vendor"]) == ("CP1", "A")


@pytest.mark.parametrize(("unit", "answer"), [(7, 3), (0, 3), (255, 3), (1, 0x83), (8, 0x83)])
async def test_unit_ids(unit: int, answer: int, make: Make) -> None:
    gateway = make(config("[modbus]\nunit_id = 7\n"))
    async with gateway.running():
        assert (await modbus(gateway, READ_COMMUNICATION, unit))[0] == answer


async def test_more_than_32_chargers_take_another_unit(make: Make) -> None:
    chargers = "".join(f"[[charger]]\nid = 'CP{number}'\n" for number in range(33))
    gateway = make(parse(LOCAL + chargers))
    async with gateway.running():
        for unit in (1, 2):
            assert await modbus(gateway, READ_COMMUNICATION, unit) == bytes((3, 2, 0, 1))
        # 2100 is charger 1 of the unit.
        assert (await modbus(gateway, bytes((3, 0x08, 0x34, 0, 1)), 1))[0] == 3
        assert (await modbus(gateway, bytes((3, 0x08, 0x34, 0, 1)), 2)) == bytes((0x83, 2))


async def test_the_control_socket(make: Make, state: Path) -> None:
    gateway = make()
    async with gateway.running():
        assert await asyncio.to_thread(control.ask, state / "control.sock", "ping") == __version__
        answer = await asyncio.to_thread(control.ask, state / "control.sock", "status")
        assert answer["ocpp"]["port"] == gateway.ocpp_port
        assert await asyncio.to_thread(control.ask, state / "control.sock", "trace", count=5) == []
    with pytest.raises(control.ControlError):
        control.ask(state / "control.sock", "ping")


async def test_a_serial_line_that_is_not_there_is_told(make: Make) -> None:
    gateway = make(config("[modbus]\ntransport = 'rtu'\n[modbus.rtu]\ndevice = '/dev/absent'\nparity = 'even'\n"))
    async with gateway.running():
        status = gateway.status()["modbus"]
    assert status["tcp"] is None
    assert not status["rtu"]["open"]
    assert "/dev/absent" in status["rtu"]["line"]
    assert gateway.modbus_port == 0
    assert gateway._counters()["alarms"] == 4


async def test_the_extension_registers_count(make: Make) -> None:
    gateway = make(config("[modbus]\nunit_id = 9\n"))
    async with gateway.running():
        await modbus(gateway, READ_COMMUNICATION)
        await modbus(gateway, READ_COMMUNICATION, 9)
        gateway.tick()
        # 23 unit id, 24 TCP clients, 25–26 requests
        answer = await modbus(gateway, bytes((3, 0, 23, 0, 4)), 9)
    unit, clients, high, low = struct.unpack(">4H", answer[2:])
    assert (unit, high) == (9, 0)
    assert clients <= 2
    assert low >= 1


def test_what_a_configuration_means() -> None:
    settings = config("[modbus.rtu]\ndevice = '/dev/ttyX'\nbaudrate = 19200\nparity = 'odd'\nstopbits = 2\n")
    line = serial_line(settings, "/dev/ttyBoard")
    assert (line.device, line.baudrate, line.parity, line.stopbits) == ("/dev/ttyX", 19200, "odd", 2)
    assert serial_line(config(), "/dev/ttyBoard").device == "/dev/ttyBoard"
    assert len(register_site(settings).images) == 1


async def test_read_only(make: Make) -> None:
    gateway = make(config("[modbus]\nread_only = true\n"))
    async with gateway.running():
        assert await modbus(gateway, bytes((6, 0, 0, 0, 1))) == bytes((0x86, 2))


# The board


def port_a(gateway: Gateway) -> bool:
    return gateway.box.board.lamps["port_a"].on


async def test_a_board_is_lit_while_the_gateway_runs(make: Make) -> None:
    gateway = make()
    lamps = gateway.box.board.lamps
    assert not any(lamp.on for lamp in lamps.values())
    async with gateway.running():
        await until(lambda: lamps["button"].on, "the button's lamp")
        url = f"ws://127.0.0.1:{gateway.ocpp_port}/CP1"
        async with connect(url, subprotocols=["ocpp1.6"]):  # type: ignore[list-item]
            await until(lambda: port_a(gateway), "LED 1")
        await until(lambda: not port_a(gateway), "LED 1 off")
        await modbus(gateway, READ_COMMUNICATION)
        await until(lambda: lamps["ethernet"].switched == 2, "LED 2 blinks")
    assert not any(lamp.on for lamp in lamps.values())


async def test_a_gateway_that_does_not_start_leaves_the_lamps_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(), make()
    monkeypatch.setattr(second.box.board, "open", lambda: pytest.fail("the lamps are another's"))
    async with first.running():
        with pytest.raises(StartError, match="another gateway is running"):
            await asyncio.to_thread(asyncio.run, second.start())
        second.journal.close()


async def test_the_board_is_moved_through_the_control_socket(make: Make, state: Path) -> None:
    gateway = make()
    async with gateway.running():
        answer = await asyncio.to_thread(control.ask, state / "control.sock", "board", on=[3], pressed=True)
        assert answer["switches"]["now"] == [False, False, True]
        assert answer["button"]
        with pytest.raises(control.ControlError, match="DIP switch 9 must be 1, 2 or 3"):
            await asyncio.to_thread(control.ask, state / "control.sock", "board", off=[9])
        await until(lambda: gateway.box.at_start is not None, "the switches are read")
        gateway.tick()
        assert await modbus(gateway, bytes((3, 0, 42, 0, 1))) == bytes((3, 2, 0, 4))


async def test_a_fallback_address_in_use_shows(make: Make, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = state / "state.json"
    monkeypatch.setattr(places, "FALLBACK_STATE", seen)
    gateway = make()
    red = gateway.box.board.lamps["feedback_red"]

    async def alarms() -> int:
        gateway.tick()
        answer = await modbus(gateway, bytes((3, 0, 8, 0, 1)))
        return int.from_bytes(answer[2:]) & ~2  # no charger is connected

    async with gateway.running():
        assert await alarms() == 0  # this is no device
        assert red.switched == 0
        rival = {"address": str(FALLBACK), "used_by": "02:00:00:00:00:05"}
        files.replace_json(seen, {"interface": "eth0", "state": State.IN_USE} | rival)
        assert await alarms() == 16
        assert gateway.status()["alarms"] == [
            "network: the fallback address 192.168.100.246/24 is in use by 02:00:00:00:00:05"
        ]
        await until(lambda: red.switched == 10, "five flashes")
        seen.unlink()
        assert await alarms() == 0
        assert gateway.status()["alarms"] == []
        assert gateway._signs().trouble is None


def test_a_board_that_is_described_wrongly(state: Path) -> None:
    (state / "board.toml").write_text("backend = 'steam'")
    with pytest.raises(BoardError, match=r"board\.toml: Invalid value 'steam'"):
        asyncio.run(_make(state, state / "board.toml"))


# Starting that fails


@pytest.mark.parametrize("table", ["modbus.tcp", "ocpp"])
async def test_a_port_in_use(table: str, make: Make, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = LOCAL.replace(
            f"[{table}]\nhost = '127.0.0.1'\nport = 0", f"[{table}]\nhost = '127.0.0.1'\nport = {port}"
        )
        gateway = make(parse(text))
        with pytest.raises(
            StartError, match=rf"{table}: cannot listen on 127\.0\.0\.1:{port}: .*; see {table}\.host and"
        ):
            async with gateway.running():
                pass
    with pytest.raises(control.ControlError, match="no gateway is running"):
        control.ask(state / "control.sock", "ping")


async def test_a_port_that_needs_rights(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(host: str, port: int) -> int:
        raise PermissionError(13, "Permission denied")

    gateway = make()
    monkeypatch.setattr(gateway.tcp, "start", refuse)
    with pytest.raises(StartError, match=r"modbus\.tcp: port 0 needs rights .* set modbus\.tcp\.port to 1024 or more"):
        await gateway.start()
    await gateway.stop()


async def test_another_gateway_has_the_directory(make: Make) -> None:
    first, second = make(), make()
    async with first.running():
        with pytest.raises(StartError, match="another gateway is running"):
            # The question goes to another thread here, as the first gateway is another process in real life.
            await asyncio.to_thread(asyncio.run, second.start())
        second.journal.close()
        assert first.status()["ocpp"]["port"]


def test_a_directory_that_cannot_be_made(state: Path) -> None:
    (state / "file").write_text("")
    with pytest.raises(StartError, match="cannot be used"):
        asyncio.run(_make(state / "file" / "below"))


def test_a_journal_that_cannot_be_used(state: Path) -> None:
    with contextlib.closing(sqlite3.connect(state / "journal.db")) as journal:
        journal.execute("PRAGMA user_version = 999")
        journal.execute("CREATE TABLE future (x)")
    with pytest.raises(StartError, match=r"cannot be used: .*schema 999"):
        asyncio.run(_make(state))


async def _make(state: Path, board: Path | None = None) -> None:
    Gateway(config(), state, board)


async def test_the_device_says_who_it_is(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read Device Identification (§6.21), regular objects: the names of the image."""
    release = tmp_path / "release"
    release.write_text('AMPGATE_VENDOR="Somebody"\nAMPGATE_URL="https://example.com"\nAMPGATE_BOARD="cm4"\n')
    read = gateway_module.identity.read
    monkeypatch.setattr(gateway_module.identity, "read", lambda: read(release))
    gateway = make()
    async with gateway.running():
        basic = await modbus(gateway, bytes([0x2B, 0x0E, 1, 0]))
        regular = await modbus(gateway, bytes([0x2B, 0x0E, 2, 3]))
    assert b"Somebody" in basic
    assert b"https://example.com" in regular
    assert b"cm4" in regular


async def test_the_bms_sets_the_clock_of_the_device(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[Any] = []
    monkeypatch.setattr(gateway_module.clock, "adjust", lambda change: changes.append(change) or True)
    gateway = Gateway(config(), state, system_clock=True)
    async with gateway.running():
        date = struct.pack(">BHHB6H", 16, 1, 6, 12, 0, 0, 12, 1, 1, 2040)
        assert (await modbus(gateway, date))[0] == 16
    (change,) = changes
    assert change.days > 365


# The process


class Manager:
    """Receives what systemd would be told (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self._told: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    @property
    def told(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told.append(self.socket.recv(4096).decode())
        return self._told


@pytest.fixture
def systemd(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(state / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(state / "notify"))
    notifiers: list[sdnotify.SystemdNotifier] = []

    class Notifier(sdnotify.SystemdNotifier):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            notifiers.append(self)

    monkeypatch.setattr(gateway_module.sdnotify, "SystemdNotifier", Notifier)
    yield manager
    for notifier in notifiers:
        notifier.socket.close()
    manager.socket.close()
    gc.unfreeze()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_running_until_a_signal(
    number: signal.Signals, state: Path, systemd: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    running = asyncio.create_task(run(config(), state / "state"))
    await until(lambda: "WATCHDOG=1" in systemd.told, "a sign of life")
    signal.raise_signal(number)
    async with asyncio.timeout(DEADLINE):
        await running
    first, *others = systemd.told
    assert first.startswith("READY=1\nSTATUS=")
    assert others == ["WATCHDOG=1", "STOPPING=1"]


async def test_without_a_watchdog_there_is_no_sign_of_life(
    state: Path, systemd: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    running = asyncio.create_task(run(config(), state / "state"))
    await until(lambda: systemd.told, "readiness")
    signal.raise_signal(signal.SIGTERM)
    await running
    assert len(systemd.told) == 2
    assert "WATCHDOG=1" not in systemd.told


@pytest.mark.usefixtures("systemd")
async def test_the_registers_are_brought_up_to_date_every_second(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    monkeypatch.setattr(gateway_module.Bridge, "tick", lambda self: ticks.append(time.monotonic()))
    running = asyncio.create_task(run(config(), state / "state"))
    await until(lambda: len(ticks) == 2, "two ticks")
    signal.raise_signal(signal.SIGTERM)
    await running
    assert ticks[1] - ticks[0] >= 0.99


async def test_systemd_shows_how_many_chargers_are_connected(
    state: Path, systemd: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Gateway] = []

    def keep(*arguments: Any, **options: Any) -> Gateway:
        started.append(Gateway(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(gateway_module, "Gateway", keep)
    running = asyncio.create_task(run(config(), state / "state"))
    await until(lambda: systemd.told, "readiness")
    async with connect(f"ws://127.0.0.1:{started[0].ocpp_port}/CP1", subprotocols=["ocpp1.6"]):
        await until(lambda: "STATUS=chargers connected: 1 of 1" in systemd.told, "the charger in the status")
    signal.raise_signal(signal.SIGTERM)
    await running
