"""A conversation that one gateway has recorded (``ampgate trace --save``), played to another one (``--replay``)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call

from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import vehicle
from ampgate.trace import LONGEST
from tests.integration.conftest import StartGateway
from tests.integration.peers import DEADLINE, NOON, Bms, Charger, GatewayProcess, until, words_of_text
from tests.integration.shared import Place
from tests.integration.simulated import at

PlugIn = Callable[..., Awaitable[Charger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]
ACCEPT: dict[str, Any] = {"policy": "accept", "answer_timeout": 0.05}


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def pause_before(path: Path, text: str) -> None:
    """Make the recording one of ten minutes ago, with a pause of 40 s before the last frame that holds this."""
    frames = [json.loads(line) for line in lines_of(path)]
    last = max(index for index, frame in enumerate(frames) if text in frame["data"])
    for index, frame in enumerate(frames):
        frame["at"] -= 600 if index < last else 560
    write_lines(path, list(map(json.dumps, frames)))


def forget(state: Path) -> None:
    """Take away what a gateway has left."""
    for file in state.iterdir():
        file.unlink()


async def ampgate(*arguments: str, deadline: float = 4 * DEADLINE) -> tuple[int, str]:
    """The command line; exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ampgate", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        async with asyncio.timeout(deadline):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def replay(gateway: GatewayProcess, path: Path, *options: str) -> tuple[int, str]:
    url = f"ws://127.0.0.1:{gateway.ocpp_port}"
    return await ampgate("simulate", "--url", url, "--replay", str(path), *options)


async def record(gateway: GatewayProcess, charger: Charger, bms: Bms, path: Path) -> None:
    """A session with the ``ocpp`` package's charge point, stopped by the BMS, and its trace in a file.

    Before it, the gateway gives away transaction ids that the next one will not give.
    """
    for number in range(3):
        answer = await charger.ask(
            call.StartTransaction(connector_id=2, id_tag=f"BEFORE-{number}", meter_start=number, timestamp=NOON)
        )
        stop = call.StopTransaction(meter_stop=9, timestamp=NOON, transaction_id=answer.transaction_id)
        await charger.ask(stop)
        await bms.until(234, 1)
        await bms.write(255, 1)
        await bms.until(234, 0)
    await charger.close()
    again = await Charger.connect(gateway.ocpp_port, "CP0")
    await again.boot("Recorded", "Station")
    await again.status(1, "Preparing")
    await again.ask(call.Authorize(id_tag="CARD"))
    started = await again.ask(
        call.StartTransaction(connector_id=1, id_tag="CARD", meter_start=100, timestamp="2026-01-31T13:00:00Z")
    )
    await again.status(1, "Charging")
    value = [{"timestamp": "2026-01-31T13:01:00Z", "sampled_value": [{"value": "1500"}]}]
    await again.ask(call.MeterValues(connector_id=1, transaction_id=started.transaction_id, meter_value=value))
    await bms.write(497, started.transaction_id)
    await bms.write(496, 1)  # Remote Stop Flag
    await bms.until(496, 0)
    await again.ask(
        call.StopTransaction(
            meter_stop=2100, timestamp="2026-01-31T13:02:00Z", transaction_id=started.transaction_id, reason="Remote"
        )
    )
    code, output = await ampgate("trace", "--state", str(gateway.state), "--save", str(path))
    assert (code, output.startswith(f"{path}: ")) == (0, True), output
    await again.close()
    lines = lines_of(path)
    boot = next(index for index, line in enumerate(lines) if "Recorded" in line)
    write_lines(path, lines[boot:])


@pytest.fixture
async def recording(start_gateway: StartGateway, plug_in: PlugIn, poll: Poll, tmp_path: Path, state: Path) -> Path:
    """The file, of a gateway that has ended; the next one begins with an empty journal."""
    path = tmp_path / "trace.jsonl"
    gateway = await start_gateway(bms=ACCEPT)
    await record(gateway, await plug_in(gateway), await poll(gateway), path)
    assert gateway.terminate() == 0
    forget(state)
    return path


async def test_the_same_answers_with_other_transaction_ids(
    recording: Path, start_gateway: StartGateway, poll: Poll
) -> None:
    text = "".join(lines_of(recording))
    assert "modbus" in text  # the file is whole, as it was saved
    gateway = await start_gateway(bms=ACCEPT)
    bms = await poll(gateway)
    code, output = await replay(gateway, recording, "--pace", "max")
    assert code == 0, output
    assert "CP0: 7 messages sent, 7 answers as recorded, 0 differences" in output
    assert "RemoteStopTransaction was asked of the charger then, and not now" in output
    assert await bms.text(127, 10) == "Recorded"
    assert await bms.float(740) == 1500
    assert await bms.read(234, 1) == [1]  # Stop Transaction Flag
    assert await bms.float(245) == 2100
    recorded = re.search(r'transactionId\\":(\d+)', text)
    assert recorded is not None
    assert await bms.word(249) == 1 != int(recorded[1])  # the id of now, in the stop as well


async def test_what_is_answered_in_another_way_is_told(recording: Path, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(bms=ACCEPT | {"policy": "reject"}, ocpp={"heartbeat_interval": 77})
    code, output = await replay(gateway, recording, "--pace", "max")
    assert code == 1
    assert re.search(r"CP0  BootNotification \S+: interval 77, recorded 300", output), output
    assert re.search(r"CP0  Authorize \S+: idTagInfo.status Invalid, recorded Accepted", output), output
    assert re.search(r"CP0  StartTransaction \S+: idTagInfo.status Invalid, recorded Accepted", output), output
    assert "CP0: 7 messages sent, 4 answers as recorded, 3 differences" in output


async def test_a_charger_that_is_not_configured(recording: Path, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(chargers=["OTHER"])
    code, output = await replay(gateway, recording, "--pace", "max")
    assert code == 1
    assert "CP0  failed: refused with HTTP 404" in output


async def test_what_the_gateway_asks_is_answered_as_recorded(
    recording: Path, start_gateway: StartGateway, poll: Poll
) -> None:
    """At ten times the recorded pace, with a long pause in which the BMS asks for what it asked then, and more.

    The recording is of ten minutes ago; its timestamps are moved as far.
    """
    pause_before(recording, '"StopTransaction"')
    gateway = await start_gateway(bms=ACCEPT)
    bms = await poll(gateway)
    playing = asyncio.create_task(replay(gateway, recording, "--pace", "10", "--now"))
    try:
        await bms.until(714, 2)  # Charging
        await bms.until(740, 0x44BB, 0x8000)  # 1500 Wh
        await bms.write(497, 1)
        await bms.write(496, 1)  # Remote Stop Flag
        await bms.until(496, 0)
        assert await bms.word(501) == 0  # Accepted, as then
        await bms.write(366, 1)  # Clear Cache Flag, which was not asked then
        await bms.until(366, 0)
        assert await bms.word(371) == 23  # CALLERROR
        code, output = await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    assert code == 0, output
    assert "ClearCache is asked of the charger now, and was not then" in output
    assert "RemoteStopTransaction" not in output
    assert 600 <= await bms.epoch(247) - 1769864520 < 900  # the charger's clock said 13:02:00 on 31 January


async def test_a_long_answer_is_recorded_and_played_whole(
    start_gateway: StartGateway, poll: Poll, tmp_path: Path, state: Path
) -> None:
    """An EVlink with a long name that measures all it can tells all parameters in one answer to GetConfiguration."""
    path = tmp_path / "trace.jsonl"

    async def ask(bms: Bms) -> str:
        await bms.write(1751, 1)  # Get Configuration flag; an empty key asks for all
        await bms.until(1751, 0)
        assert await bms.word(1753) == 0  # Accepted
        return await bms.text(1805, 95)

    gateway = await start_gateway()
    bms = await poll(gateway)
    settings = {
        "MeterValuesSampledData": ",".join(reading.listed for reading in PROFILES["evlink"].readings),
        "stationName": "Visitors' car park, second basement, " * 5,
    }
    async with at(Place(gateway, "CP0", bms), "evlink", settings=settings) as charger:  # type: ignore[arg-type]
        await until(lambda: charger.online and not charger.connection.outbox, "nothing left to send")
        number = await ask(bms)
        assert number == str(len(PROFILES["evlink"].keys))
        charger.plug_in(1, vehicle(charger.connector(1).supply, 40))
        await bms.until(714, 1)
        code, output = await ampgate("trace", "--state", str(gateway.state), "--save", str(path))
        assert code == 0, output
    assert max(len(json.loads(line)["data"]) for line in lines_of(path)) > LONGEST
    assert gateway.terminate() == 0
    forget(state)
    pause_before(path, '"StatusNotification"')
    gateway = await start_gateway()
    bms = await poll(gateway)
    playing = asyncio.create_task(replay(gateway, path, "--pace", "10"))
    try:
        await bms.until(127, *words_of_text("Schneider Electric", 10))  # ChargePointVendor
        assert await ask(bms) == number
        code, output = await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    assert code == 0, output
    assert "note:" not in output


async def test_a_recording_without_its_begin_is_booted_first(recording: Path, start_gateway: StartGateway) -> None:
    lines = lines_of(recording)
    write_lines(recording, [line for line in lines if "BootNotification" not in line])
    gateway = await start_gateway(bms=ACCEPT)
    code, output = await replay(gateway, recording, "--pace", "max")
    assert code == 0, output
    assert "one was sent before" in output
