"""The reference BMS at a real gateway process with a simulated charger: the driver guide, walked through.

Expected values are taken by hand from the driver guide: its operation section step by step, and every row of its object
tables. The charger is that of the ``ocpp`` package.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call

from ampgate.bms import objects
from ampgate.bms.alarms import Alarm, Alarms, Outlet
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import BmsConfig, ChargerTable, ModbusTable, RtuTable, TcpTable, UserTable
from ampgate.bms.service import Bms
from ampgate.bms.store import Store
from tests.conformance.serial_line import cable
from tests.integration.conftest import StartGateway
from tests.integration.peers import NOON, Charger, GatewayProcess, config_of, until

PlugIn = Callable[..., Awaitable[Charger]]

# The driver guide's tables: reference, type, access. R is read only, RW "Adjustable", W "Adjustable-only".
# The guide's Modbus Object Reference (RP) is adjustable; here the configuration file says where the gateway is.
TABLE = r"""
M1.DL    Obj\Text: 20 chars   RW
M1.E     Obj\NoYes            RW
M1.RP    Obj\Obj              R
M1.RR    Obj\Num: 1...300     RW
M1.DS    Obj\NoYes            R
M1.RC    Obj\NoYes            RW
S1.A.U   Obj\Text: 120 chars  W
S1.A.T   Obj\Enum             W
S1.A.TU  Obj\Text: 120 chars  W
S1.A.RST Obj\Enum             RW
S1.M.S   Obj\Enum             R
S1.M.E   Obj\Enum             R
S1.C.S   Obj\NoYes            R
S1.C.D   Obj\Num              R
S1.C.U   Obj\Text: 120 chars  R
S1.L.T   Obj\DateTime         R
S1.L.U   Obj\Text: 120 chars  R
S1.L.E   Obj\Float            R
S1.L.D   Obj\Num              R
S1.L.R   Obj\Enum             R
S1.L.C   Obj\Num: 0...65535   R
S1.T.C   Obj\Num: 0...65535   R
S1.T.E   Obj\Float            R
S1.T.D   Obj\Num: 0...65535   R
S1.P.C   Obj\Num: 0...65535   R
S1.P.E   Obj\Float            R
S1.P.D   Obj\Num: 0...65535   R
S1.F.C   Obj\Num: 0...65535   R
S1.F.E   Obj\Float            R
S1.F.D   Obj\Num: 0...65535   R
"""

# Number of the register map (configuration guide, appendix 2) or OCPP's word, and the driver guide's number and words.
STATUSES = {
    "Available": (0, "Available"),
    "Preparing": (1, "Preparing"),
    "Charging": (2, "Charging"),
    "SuspendedEV": (3, "Suspended EV"),
    "SuspendedEVSE": (4, "Suspended EVSE"),
    "Finishing": (5, "Finishing"),
    "Reserved": (6, "Reserved"),
    "Unavailable": (7, "Unavailable"),
    "Faulted": (8, "Fault"),
}
ERRORS = {
    "ConnectorLockFailure": (0, "Connector lock failure"),
    "EVCommunicationError": (1, "EV communication error"),
    "GroundFailure": (2, "Ground failure"),
    "HighTemperature": (3, "High temperature"),
    "InternalError": (4, "Internal error"),
    "LocalListConflict": (5, "Local list conflict"),
    "NoError": (6, "No error"),
    "OtherError": (7, "Other error"),
    "OverCurrentFailure": (8, "Over current failure"),
    "OverVoltage": (9, "Over voltage"),
    "PowerMeterFailure": (10, "Power meter failure"),
    "PowerSwitchFailure": (11, "Power switch failure"),
    "ReaderFailure": (12, "Reader failure"),
    "ResetFailure": (13, "Reset failure"),
    "UnderVoltage": (14, "Under voltage"),
    "WeakSignal": (15, "Weak signal"),
}
REASONS = {
    "DeAuthorized": (0, "De-authorized"),
    "EmergencyStop": (1, "Emergency stop"),
    "EVDisconnected": (2, "EV disconnected"),
    "HardReset": (3, "Hard reset"),
    "Local": (4, "Local"),
    "Other": (5, "Other"),
    "PowerLoss": (6, "Power loss"),
    "Reboot": (7, "Reboot"),
    "Remote": (8, "Remote"),
    "SoftReset": (9, "Soft reset"),
    "UnlockCommand": (10, "Unlock command"),
}


class Clock:
    """The BMS's clock, which the test sets."""

    def __init__(self, at: str) -> None:
        self.set(at)

    def __call__(self) -> datetime:
        return self.at

    def set(self, at: str) -> None:
        """Local time."""
        self.at = datetime.strptime(at, "%d/%m/%y %H:%M:%S").astimezone()


class Operator:
    """A BMS that works, its clock, and what is seen and done at it."""

    def __init__(self, bms: Bms, clock: Clock, alarms: list[Alarm]) -> None:
        self.bms, self.clock = bms, clock
        self._alarms = alarms

    def text(self, reference: str) -> str:
        """An object as text."""
        (reading,) = objects.readings(self.bms, reference)
        return reading.text

    def texts(self, under: str) -> dict[str, str]:
        """Objects at or below a reference: those that can be read."""
        return {one.reference: one.text for one in objects.readings(self.bms, under) if one.access != "W"}

    async def shows(self, **expected: str) -> None:
        """Wait until objects of S1 read this; ``_`` stands for the dot."""

        def equal() -> bool:
            self.bms.wake()
            return {name: self.text(f"S1.{name.replace('_', '.')}") for name in expected} == expected

        await until(equal, f"{expected}")

    async def write(self, reference: str, value: str) -> str:
        """Write an object."""
        return await objects.write(self.bms, reference, value)

    async def while_polling(self, question: Awaitable[Any]) -> Any:
        """The answer to what a charger asks, to which the BMS has to do its part."""
        asked = asyncio.ensure_future(question)

        def answered() -> bool:
            self.bms.wake()
            return asked.done()

        await until(answered, "an answer by way of the BMS")
        return asked.result()

    async def alarms(self, count: int) -> list[tuple[str, ...]]:
        """The texts of all alarms so far, which must be as many."""
        await until(lambda: len(self._alarms) >= count, f"{count} alarms")
        assert len(self._alarms) == count
        return [tuple(alarm.fields.values()) for alarm in self._alarms]


Work = Callable[..., contextlib.AbstractAsyncContextManager[Operator]]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Let a BMS work at a gateway for the time of a block; its state is that of the block before."""

    @contextlib.asynccontextmanager
    async def work(modbus: ModbusTable, at: str = "19/06/23 14:22:00", **tables: Any) -> AsyncIterator[Operator]:
        clock, raised = Clock(at), list[Alarm]()
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(contextlib.closing(Store(tmp_path / "bms")))
            alarms = stack.enter_context(contextlib.closing(Alarms([Outlet("test", raised.append)])))
            bms = Bms(BmsConfig(modbus=modbus, **tables), store, alarms, now=clock)
            running = asyncio.create_task(bms.run())
            try:
                await until(lambda: running.done() or bms.systems[0].status, "the BMS polls")
                yield Operator(bms, clock, raised)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    return work


def tcp(gateway: GatewayProcess, **options: Any) -> ModbusTable:
    return ModbusTable(tcp=TcpTable("127.0.0.1", gateway.modbus_port), **options)


@pytest.fixture(params=["tcp", "rtu"])
def line(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, Any], Callable[[GatewayProcess], ModbusTable]]]:
    """A transport: the configuration of a gateway that has it, and that of a BMS on it."""
    if request.param == "tcp":
        yield config_of(), tcp
        return
    with cable() as wire:
        config = config_of()
        config["modbus"] |= {"transport": "tcp+rtu", "rtu": {"device": wire.server, "baudrate": 19200, "stopbits": 2}}
        rtu = RtuTable(wire.client, 19200, stopbits=2)
        yield config, lambda gateway: ModbusTable(transport="rtu", rtu=rtu)


def begin(id_tag: str, meter: int, connector: int = 1) -> call.StartTransaction:
    return call.StartTransaction(connector_id=connector, id_tag=id_tag, meter_start=meter, timestamp=NOON)


def end(transaction: int, meter: int, reason: str | None = None) -> call.StopTransaction:
    return call.StopTransaction(transaction_id=transaction, meter_stop=meter, timestamp=NOON, reason=reason)


async def test_the_driver_guide(line: Any, start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    config, connected = line
    gateway = await start_gateway(config=config)
    charger = await plug_in(gateway)
    modbus = connected(gateway)
    async with work(modbus) as operator:
        write, shows = operator.write, operator.shows
        rows = [re.fullmatch(r"(\S+) +(.*?) +(\w+)", row) for row in TABLE.strip().splitlines()]
        assert [(one.reference, one.type, one.access) for one in objects.readings(operator.bms)] == [
            row.groups() for row in rows
        ]

        # Nothing has happened yet
        assert operator.texts("") == {
            "M1.DL": "OCPP",
            "M1.E": "Yes",
            "M1.RP": modbus.reference,
            "M1.RR": "1",
            "M1.DS": "Yes",
            "M1.RC": "No",
            "S1.A.RST": "None",
            "S1.M.S": "Available",
            "S1.M.E": "No error",
            **{"S1.C.S": "No", "S1.C.D": "0", "S1.C.U": ""},
            **{"S1.L.T": "", "S1.L.U": "", "S1.L.E": "", "S1.L.D": "", "S1.L.R": "", "S1.L.C": "0"},
            **{"S1.T.C": "0", "S1.T.E": "0.000", "S1.T.D": "0"},
            **{"S1.P.C": "0", "S1.P.E": "0.000", "S1.P.D": "0"},
            **{"S1.F.C": "0", "S1.F.E": "0.000", "S1.F.D": "0"},
        }

        # Request start charge: rejected unless the charger is in the 'preparing' state
        await charger.status(1, "Available")
        await shows(M_S="Available", M_E="No error")
        with pytest.raises(TaskRefused, match="Available; it can be started when it is Preparing"):
            await write("S1.A.T", "Start")
        await charger.status(1, "Preparing")
        await shows(M_S="Preparing", M_E="No error")
        await write("S1.A.U", "User A")
        assert await write("S1.A.T", "start") == "start: accepted"
        asked = await charger.until_asked("RemoteStartTransaction")
        tag = asked["id_tag"]
        assert asked["connector_id"] == 1
        assert 1 <= len(tag) <= 20

        # Authorize: only an id tag generated during a request start charge
        answer = await operator.while_polling(charger.ask(call.Authorize(id_tag=tag)))
        assert answer.id_tag_info == {"status": "Accepted"}
        answer = await operator.while_polling(charger.ask(call.Authorize(id_tag="04A2B3C4")))
        assert answer.id_tag_info == {"status": "Invalid"}
        assert operator.text("S1.C.S") == "No"

        # Start: validated again, a transaction id, the charging duration timer
        answer = await operator.while_polling(charger.ask(begin("04A2B3C4", 12000)))
        assert answer.id_tag_info == {"status": "Invalid"}
        declined = answer.transaction_id
        assert operator.text("S1.C.S") == "No"
        answer = await operator.while_polling(charger.ask(begin(tag, 12000)))
        assert answer.id_tag_info == {"status": "Accepted"}
        transaction = answer.transaction_id
        assert 0 < transaction != declined
        assert await operator.alarms(1) == [("OCPP", "Charging start", "User A", "4", "19/06/23", "14:22:00")]
        await charger.status(1, "Charging")
        await shows(M_S="Charging", C_S="Yes", C_D="0", C_U="User A")
        operator.clock.set("19/06/23 15:22:59")
        await shows(C_D="60")
        with pytest.raises(TaskRefused, match="Charging; it can be started when it is Preparing"):
            await write("S1.A.TU", "start User B")

        # Request stop charge: the last transaction id
        assert await write("S1.A.T", "2") == "stop: accepted"
        assert (await charger.until_asked("RemoteStopTransaction"))["transaction_id"] == transaction
        assert operator.text("S1.C.S") == "Yes", "a stop is requested, not yet heard of"

        # Stop: 12 123 Wh less 12 000 Wh; 14:22:00 to 15:31:25 are 69 whole minutes
        operator.clock.set("19/06/23 15:31:25")
        await operator.while_polling(charger.ask(end(transaction, 12123, "Remote")))
        use = {"C": "1", "E": "0.123", "D": "69"}
        assert operator.texts("S1.C") == {"S1.C.S": "No", "S1.C.D": "0", "S1.C.U": ""}
        assert operator.texts("S1.L") == {
            "S1.L.T": "19/06/23 14:22:00",
            "S1.L.U": "User A",
            "S1.L.E": "0.123",
            "S1.L.D": "69",
            "S1.L.R": "Remote",
            "S1.L.C": "1",
        }
        assert operator.texts("S1.T") == {f"S1.T.{name}": text for name, text in use.items()}
        assert operator.texts("S1.F") == {f"S1.F.{name}": text for name, text in use.items()}
        assert operator.text("S1.P.C") == "0"
        assert (await operator.alarms(2))[1] == (
            "OCPP",
            "Charging stop (0.123kWh)",
            "User A",
            "4",
            "19/06/23",
            "15:31:25",
        )
        await charger.status(1, "Finishing")
        await shows(M_S="Finishing")
        with pytest.raises(TaskRefused, match="no charging session runs"):
            await write("S1.A.T", "Stop")

        # A second session without a user, ended at the charger
        await charger.status(1, "Preparing")
        await write("S1.A.T", "Start")
        second = (await charger.until_asked("RemoteStartTransaction", 2))["id_tag"]
        assert second != tag
        answer = await operator.while_polling(charger.ask(call.Authorize(id_tag=tag)))
        assert answer.id_tag_info == {"status": "Invalid"}, "the first id tag was for the first session"
        answer = await operator.while_polling(charger.ask(begin(second, 12123)))
        assert answer.transaction_id not in (transaction, declined)
        operator.clock.at += timedelta(minutes=10)
        await operator.while_polling(charger.ask(end(answer.transaction_id, 13623, "Local")))
        assert operator.text("S1.L.U") == ""
        assert operator.text("S1.L.R") == "Local"
        assert operator.text("S1.L.C") == "2"
        assert operator.texts("S1.T") == {"S1.T.C": "2", "S1.T.E": "1.623", "S1.T.D": "79"}
        alarms = await operator.alarms(4)
        assert [alarm[1:3] for alarm in alarms[2:]] == [
            ("Charging start", "Unknown"),
            ("Charging stop (1.500kWh)", "Unknown"),
        ]

        # The next day, and reset counters
        operator.clock.set("20/06/23 00:00:01")
        assert operator.texts("S1.T") == {"S1.T.C": "0", "S1.T.E": "0.000", "S1.T.D": "0"}
        assert operator.texts("S1.P") == {"S1.P.C": "2", "S1.P.E": "1.623", "S1.P.D": "79"}
        assert operator.texts("S1.F") == {"S1.F.C": "2", "S1.F.E": "1.623", "S1.F.D": "79"}
        await write("M1.RC", "Yes")
        assert operator.texts("S1.F") == {"S1.F.C": "0", "S1.F.E": "0.000", "S1.F.D": "0"}
        assert operator.text("S1.P.C") == "2"
        assert operator.text("M1.RC") == "No"

        # Unlock and reset
        await charger.status(1, "Finishing")
        assert await write("S1.A.TU", "unlock") == "unlock: unlocked"
        assert await charger.until_asked("UnlockConnector") == {"connector_id": 1}
        assert await write("S1.A.RST", "Clear EV authorization cache") == "clear EV authorization cache: accepted"
        await charger.until_asked("ClearCache")
        assert await write("S1.A.RST", "3") == "reset EV: accepted"
        assert await charger.until_asked("Reset") == {"type": "Soft"}
        assert await write("S1.A.RST", "1") == "clear gateway registers: done"

        # Setup
        await write("M1.DL", "Car park")
        await write("M1.RR", "300")
        assert operator.texts("M1") | {"M1.RP": ""} == {
            "M1.DL": "Car park",
            "M1.E": "Yes",
            "M1.RP": "",
            "M1.RR": "300",
            "M1.DS": "Yes",
            "M1.RC": "No",
        }
        await write("M1.E", "No")
        await until(lambda: operator.text("M1.DS") == "No", "it leaves the gateway alone")
        with pytest.raises(TaskRefused, match="not enabled"):
            await write("S1.A.T", "Start")
        await write("M1.E", "Yes")
        await until(lambda: operator.text("M1.DS") == "Yes", "it polls again")


@pytest.mark.parametrize("order", ["manual", "north"])
async def test_every_status_and_error(order: str, start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    """The driver guide numbers the suspended states the other way round than the register map of the gateway."""
    gateway = await start_gateway(modbus={"status_order": order})
    charger = await plug_in(gateway)
    async with work(tcp(gateway, status_order=order)) as operator:

        async def sent(status: str, error: str, reference: str, number: int, words: str) -> None:
            await charger.status(1, status, error)
            await operator.shows(**{reference.replace(".", "_"): words})
            assert objects.readings(operator.bms, f"S1.{reference}")[0].value == number

        for status, (number, words) in STATUSES.items():
            await sent(status, "NoError", "M.S", number, words)
        for error, (number, words) in ERRORS.items():
            await sent("Faulted", error, "M.E", number, words)


async def test_every_stop_reason(start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    gateway = await start_gateway()
    charger = await plug_in(gateway)
    async with work(tcp(gateway), user=[UserTable("User B", ["04A2B3C4"])]) as operator:
        for counter, (reason, (number, words)) in enumerate(REASONS.items(), 1):
            meter = 1000 * counter
            started = await operator.while_polling(charger.ask(begin("04a2b3c4", meter)))
            assert started.id_tag_info == {"status": "Accepted"}
            await operator.while_polling(charger.ask(end(started.transaction_id, meter + 1, reason)))
            assert objects.readings(operator.bms, "S1.L.R")[0].value == number
            assert operator.texts("S1.L") | {"S1.L.T": ""} == {
                "S1.L.T": "",
                "S1.L.U": "User B",
                "S1.L.E": "0.001",
                "S1.L.D": "0",
                "S1.L.R": words,
                "S1.L.C": str(counter),
            }


async def test_a_gateway_with_the_original_map_only(start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    gateway = await start_gateway(modbus={"extensions": False})
    charger = await plug_in(gateway)
    await charger.status(1, "Preparing")
    async with work(tcp(gateway)) as operator:
        assert await operator.write("S1.A.TU", "Start User A") == "start: accepted"
        tag = (await charger.until_asked("RemoteStartTransaction"))["id_tag"]
        started = await operator.while_polling(charger.ask(begin(tag, 0)))
        assert started.id_tag_info == {"status": "Accepted"}
        assert await operator.write("S1.A.T", "Unlock") == "unlock: done"
        assert not operator.bms.extensions
        assert gateway.status()["modbus"]["tcp"]["exceptions"] == 1, "the question for the extensions"


async def test_what_the_charger_refuses(start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    from ocpp.v16 import call_result

    gateway = await start_gateway()
    charger = await plug_in(gateway)
    charger.replies["RemoteStartTransaction"] = call_result.RemoteStartTransaction(status="Rejected")
    charger.replies["UnlockConnector"] = call_result.UnlockConnector(status="UnlockFailed")
    await charger.status(1, "Preparing")
    async with work(tcp(gateway)) as operator:
        with pytest.raises(TaskRefused, match="start: rejected"):
            await operator.write("S1.A.T", "Start")
        tag = charger.asked[0][1]["id_tag"]
        answer = await operator.while_polling(charger.ask(call.Authorize(id_tag=tag)))
        assert answer.id_tag_info == {"status": "Invalid"}, "its id tag is void"
        with pytest.raises(TaskRefused, match="unlock: unlock failed"):
            await operator.write("S1.A.T", "Unlock")
        await charger.close()
        await until(lambda: gateway.status()["ocpp"]["connected"] == 0, "the charger has gone")
        with pytest.raises(TaskRefused, match="start: the charger is not connected to the gateway"):
            await operator.write("S1.A.T", "Start")


async def test_a_start_is_void_when_the_cable_is_pulled(
    start_gateway: StartGateway, plug_in: PlugIn, work: Work
) -> None:
    gateway = await start_gateway()
    charger = await plug_in(gateway)
    await charger.status(1, "Preparing")
    async with work(tcp(gateway)) as operator:
        await operator.write("S1.A.T", "Start")
        tag = (await charger.until_asked("RemoteStartTransaction"))["id_tag"]
        await charger.status(1, "Available")
        await operator.shows(M_S="Available")
        answer = await operator.while_polling(charger.ask(call.Authorize(id_tag=tag)))
        assert answer.id_tag_info == {"status": "Invalid"}


async def test_many_chargers(start_gateway: StartGateway, plug_in: PlugIn, work: Work) -> None:
    """32 chargers a unit id: the 33rd is charger 0 of the next one; each connector is a system of its own."""
    names = [f"CP{number}" for number in range(33)]
    gateway = await start_gateway(chargers=names)
    last = await plug_in(gateway, "CP32")
    await last.status(2, "Preparing")
    async with work(tcp(gateway), charger=[ChargerTable(name, 2) for name in names]) as operator:
        bms = operator.bms
        system = bms.system("CP32/2")
        assert system is bms.system("s66")
        await until(lambda: system.status == "Preparing", "the last connector is polled")
        assert await operator.write("S66.A.TU", "start User Z") == "start: accepted"
        asked = await last.until_asked("RemoteStartTransaction")
        assert asked["connector_id"] == 2
        wrong = await operator.while_polling(last.ask(begin(asked["id_tag"], 0, 1)))
        assert wrong.id_tag_info == {"status": "Invalid"}, "the id tag was made for connector 2"
        started = await operator.while_polling(last.ask(begin(asked["id_tag"], 0, 2)))
        assert started.id_tag_info == {"status": "Accepted"}
        assert (await operator.alarms(1))[0][:3] == ("OCPP CP32/2", "Charging start", "User Z")
        with pytest.raises(TaskRefused, match=r"say which connector: S65 \(CP32/1\), S66 \(CP32/2\)"):
            bms.system("CP32")


async def test_a_charger_that_the_gateway_does_not_have(
    start_gateway: StartGateway, plug_in: PlugIn, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway()
    charger = await plug_in(gateway)
    await charger.status(1, "Preparing")
    tables = {"charger": [ChargerTable("CP0", 1), ChargerTable("CP1", 1)]}
    async with work(tcp(gateway), **tables) as operator:
        await operator.shows(M_S="Preparing")
        await until(lambda: operator.bms.systems[1].trouble, "the other one is asked for")
        assert "does the gateway have this charger" in operator.bms.systems[1].trouble
        assert operator.bms.systems[0].trouble == ""
        assert operator.text("M1.DS") == "Yes"
        await operator.shows(M_S="Preparing")
    assert sum("does the gateway have this charger" in record.message for record in caplog.records) == 1
