"""What the control socket answers; the process itself is run by the integration tests."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampgate import control
from ampgate.bms import process
from ampgate.bms.config import AlarmTable, BmsConfig, ChargerTable, ModbusTable, TcpTable
from ampgate.bms.store import StoreError

CONFIG = BmsConfig(
    modbus=ModbusTable(tcp=TcpTable("127.0.0.1", 1)), alarm=AlarmTable(stdout=False), charger=[ChargerTable("CP0", 2)]
)


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:  # short: a socket's path has 107 characters
        yield Path(directory)


async def ask(state: Path, method: str, **parameters: Any) -> Any:
    return await asyncio.to_thread(control.ask, state / control.SOCKET_NAME, method, who="BMS", **parameters)


async def test_answers(state: Path) -> None:
    async with process.prepared(CONFIG, state):
        status = await ask(state, "status")
        assert (status["label"], status["online"], status["gateway"]) == ("OCPP", False, "127.0.0.1:1 unit 1")
        assert status["systems"][1] == {
            "name": "S2",
            "place": "CP0/2",
            "trouble": "",
            "status": "",
            "error": "No error",
            "session": None,
            "last": {"energy": "", "reason": "", "counter": 0},
        }
        nothing = {"sessions": 0, "energy": 0.0, "minutes": 0}
        assert (await ask(state, "use"))[0] == {
            "name": "S1",
            "place": "CP0/1",
            "today": nothing,
            "previous": nothing,
            "total": nothing,
        }
        assert await ask(state, "sessions", count=5) == []
        assert len(await ask(state, "objects", reference="M1")) == 6
        assert await ask(state, "write", reference="M1.DL", value="Yard") == "M1.DL = Yard"
    with pytest.raises(control.ControlError, match="no BMS is running"):
        await ask(state, "status")


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("task", {"place": "CP0", "task": 2, "user": ""}, r"say which connector: S1 \(CP0/1\), S2"),
        ("task", {"place": "S1", "task": 2, "user": ""}, "no charging session runs"),
        ("task", {"place": "S1", "task": 1, "user": ""}, r"no connection to the gateway: 127\.0\.0\.1:1 unit 1"),
        ("reset", {"place": "S1", "what": 3}, "no connection to the gateway"),
        ("write", {"reference": "S1.M.S", "value": "1"}, "can only be read"),
        ("objects", {"reference": "S3"}, "there is no object S3"),
    ],
)
async def test_refusals(
    state: Path, method: str, parameters: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with process.prepared(CONFIG, state):
        with pytest.raises(control.ControlError, match=words):
            await ask(state, method, **parameters)
    assert "Traceback" not in caplog.text


async def test_a_full_disk_is_a_refusal_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process.prepared(CONFIG, state) as bms:

        class Full:
            def execute(self, *_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(bms._store, "_db", Full())
            with pytest.raises(control.ControlError, match="disk is full"):
                await ask(state, "write", reference="M1.RC", value="Yes")


async def test_one_for_a_state_directory(state: Path) -> None:
    async with process.prepared(CONFIG, state):
        with pytest.raises(control.ControlError, match="another BMS is running with"):
            async with asyncio.timeout(10), process.prepared(CONFIG, state):
                pass
        assert (await ask(state, "status"))["label"] == "OCPP", "the first one is still there"


async def test_a_state_that_cannot_be_used(state: Path) -> None:
    (state / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        async with process.prepared(CONFIG, state / "file"):
            pass
