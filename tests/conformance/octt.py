"""What the certification cases share: one charge point under the hands of a test, and the BMS that serves it.

The charge point is that of the ``ocpp`` package, which says what the test wants, or a simulated one, which is plugged
in, shown cards and unplugged, and says what follows from that.

The BMS knows nothing but registers. Addresses are literal, those of the original's map for charger 0 (configuration
guide r1.2, appendix 2): 100 + offset, and 612 + 100·connector + offset for its connectors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from ocpp.charge_point import camel_to_snake_case
from ocpp.v16 import call, call_result

from ampgate import control
from ampgate.simulator.charger import Charger as SimulatedCharger
from ampgate.simulator.clock import Clock
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import vehicle
from tests.integration.peers import DEADLINE, NOON, Charger, until, words_of_text
from tests.integration.shared import Place

PACKAGE = "ocpp-package"
PEERS = (PACKAGE, *PROFILES)
"""Charge points: an independent one, and simulated ones by the names of their profiles."""
VALID = "VALID-TAG-1"
ACCEPTED, BLOCKED, EXPIRED, INVALID, CONCURRENT = range(5)
"""Registers of results of an authorisation."""
STATUSES = [
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEVSE",
    "SuspendedEV",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
]
"""Register status of a connector: the values 0…8."""
REASONS = [
    "DeAuthorized",
    "EmergencyStop",
    "EVDisconnected",
    "HardReset",
    "Local",
    "Other",
    "PowerLoss",
    "Reboot",
    "Remote",
    "SoftReset",
    "UnlockCommand",
]
"""Register reason of a StopTransaction: the values 0…10."""


class Station(ABC):
    """A charge point of two connectors at most, one of those that a gateway knows, and the BMS's view of it."""

    _clock_error = 0.0
    """Seconds by which the times of its transactions may differ from those that the test knows."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.bms = place.bms
        self.meter_start = 0.0
        """Wh of the last start, as the BMS must see it."""

    # What is done to the charge point, or what it says by itself; the BMS sees it and answers

    @abstractmethod
    async def boot(self) -> Any:
        """Connect, boot, and tell the status of the charger and of its connectors."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection for good."""

    @abstractmethod
    async def restarted(self) -> None:
        """The restart that a Reset asked for: the connection ends, the charge point connects and boots anew."""

    @abstractmethod
    async def status(self, status: str, connector: int = 1, error: str = "NoError") -> None:
        """The connector comes into this state and tells it; the BMS sees it."""

    @abstractmethod
    async def authorize(self, id_tag: str = VALID, verdict: int = ACCEPTED, parent: str = "") -> dict[str, Any]:
        """A card; the BMS answers with this verdict. Returns idTagInfo as the charge point got it."""

    async def authorize_remote_start(self) -> None:
        """Authorize for a remote start, accepted, where the charge point asks for that."""
        assert await self.authorize() == {"status": "Accepted"}

    async def authorize_stop(self) -> None:
        """Authorize of the card that ends its session, accepted, where the charge point asks for that (§4.10)."""
        assert await self.authorize() == {"status": "Accepted"}

    @abstractmethod
    async def start(
        self,
        transaction_id: int,
        id_tag: str = VALID,
        verdict: int = ACCEPTED,
        *,
        connector: int = 1,
        meter: int = 0,
        reservation: int | None = None,
    ) -> dict[str, Any]:
        """StartTransaction; the BMS sees every field and answers with verdict and id. Returns idTagInfo."""

    @abstractmethod
    async def stop(self, transaction_id: int, reason: str, *, id_tag: str | None = None, meter: int = 1000) -> None:
        """What ends the session for this reason; the BMS sees every field of StopTransaction and processes it."""

    @property
    @abstractmethod
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """Operations that the charge point got since `forget`: action and payload in snake case."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the operations so far."""

    @abstractmethod
    def answers(self, action: str, status: str) -> None:
        """What the charge point answers this operation with from now on."""

    async def charging(self, transaction_id: int, *, connector: int = 1) -> None:
        """The state in which many cases begin: identified, plugged in, charging."""
        assert await self.authorize() == {"status": "Accepted"}
        await self.status("Preparing", connector)
        assert await self.start(transaction_id, connector=connector) == {"status": "Accepted"}
        await self.status("Charging", connector)

    # What the BMS does in the blocks of requests

    async def _judge(self, id_tag: str, verdict: int, parent: str) -> None:
        await self.bms.until(164, 1)  # Authorization Flag
        assert await self.bms.text(165, 10) == id_tag
        await self.bms.write_text(178, 10, parent)  # Parent Id Tag
        await self.bms.write(190, verdict)  # Authorization result
        await self.bms.write(177, 1)  # processed
        await self.bms.until(164, 0)

    async def _begin(
        self, transaction_id: int, verdict: int, fields: tuple[int, str, int, int], about: datetime
    ) -> None:
        """Answer a start with these fields: connector, id tag, meter, reservation; its time is nearly ``about``."""
        connector, id_tag, meter, reservation = fields
        self.meter_start = float(meter)
        await self.bms.until(194, 1)  # Start Transaction Flag
        assert await self.bms.word(195) == connector
        assert await self.bms.text(196, 10) == id_tag
        assert await self.bms.float(206) == meter
        assert await self.bms.word(208) == reservation
        assert abs(await self.bms.epoch(209) - about.timestamp()) <= self._clock_error
        await self.bms.write(227, verdict)
        await self.bms.write(228, transaction_id)
        await self.bms.write(214, 1)  # processed
        await self.bms.until(194, 0)

    async def _end(self, transaction_id: int, reason: str, id_tag: str, meter: int, about: datetime) -> None:
        await self.bms.until(234, 1)  # Stop Transaction Flag
        assert await self.bms.text(235, 10) == id_tag
        assert await self.bms.float(245) == meter
        assert abs(await self.bms.epoch(247) - about.timestamp()) <= self._clock_error
        assert await self.bms.read(249, 2) == [transaction_id, REASONS.index(reason)]
        await self.bms.write(268, ACCEPTED)
        await self.bms.write(255, 1)  # processed
        await self.bms.until(234, 0)

    # Operations of the BMS

    async def operate(self, flag: int, result: int) -> int:
        """Set a flag to 1 and wait until it is 0 again; returns what the result register holds then."""
        await self.bms.write(flag, 1)
        await self.bms.until(flag, 0)
        return await self.bms.word(result)

    async def remote_start(self, connector: int = 1, id_tag: str = VALID) -> int:
        """Remote Start: parameters at 477…487, flag 476, result 492."""
        await self.bms.write(477, connector, *words_of_text(id_tag, 10))
        return await self.operate(476, 492)

    async def remote_stop(self, transaction_id: int) -> int:
        """Remote Stop: transaction id at 497, flag 496, result 501."""
        await self.bms.write(497, transaction_id)
        return await self.operate(496, 501)

    async def shows_transaction(self, id_tag: str, connector: int = 1) -> bool:
        """Whether the connector's current-transaction signals (798…811 for connector 1) show this id tag."""
        block = await self.bms.read(698 + 100 * connector, 14)
        return block[:10] == words_of_text(id_tag, 10) if id_tag else block == [0] * 14


class PackageStation(Station):
    """The charge point of the ``ocpp`` package: it says what the test wants, in the order in which it wants it."""

    charger: Charger

    async def connect(self) -> None:
        """Open a connection and say nothing."""
        self.charger = await Charger.connect(self._place.gateway.ocpp_port, self._place.identity)
        await self.bms.until(100, 0)  # Charger Communication status: no error

    async def boot(self) -> call_result.BootNotification:
        await self.connect()
        answer = await self.charger.boot("Vendor", "Model")
        for connector in range(3):
            await self.status("Available", connector)
        return answer

    async def restarted(self) -> None:
        await self.close()
        assert (await self.boot()).status == "Accepted"

    async def lose_power(self) -> None:
        """The connection is cut without a word."""
        self.charger.websocket.transport.abort()
        await self.bms.until(100, 1)  # Charger Communication status: error
        await self.charger.close()

    async def close(self) -> None:
        await self.charger.close()
        await self.bms.until(100, 1)

    async def status(self, status: str, connector: int = 1, error: str = "NoError") -> None:
        await self.charger.status(connector, status, error)
        assert await self.bms.word(614 + 100 * connector) == STATUSES.index(status)

    async def authorize(self, id_tag: str = VALID, verdict: int = ACCEPTED, parent: str = "") -> dict[str, Any]:
        asked = asyncio.create_task(self.charger.ask(call.Authorize(id_tag=id_tag)))
        await self._judge(id_tag, verdict, parent)
        info: dict[str, Any] = (await asked).id_tag_info
        return info

    async def start(
        self,
        transaction_id: int,
        id_tag: str = VALID,
        verdict: int = ACCEPTED,
        *,
        connector: int = 1,
        meter: int = 0,
        reservation: int | None = None,
        timestamp: str = NOON,
    ) -> dict[str, Any]:
        request = call.StartTransaction(
            connector_id=connector,
            id_tag=id_tag,
            meter_start=meter,
            timestamp=timestamp,
            reservation_id=reservation,
        )
        asked = asyncio.create_task(self.charger.ask(request))
        fields = (connector, id_tag, meter, reservation or 0)
        await self._begin(transaction_id, verdict, fields, datetime.fromisoformat(timestamp))
        answer = await asked
        assert answer.transaction_id == transaction_id
        info: dict[str, Any] = answer.id_tag_info
        return info

    async def stop(
        self,
        transaction_id: int,
        reason: str,
        *,
        id_tag: str | None = None,
        meter: int = 1000,
        timestamp: str = "2026-01-31T13:00:00Z",
    ) -> None:
        request = call.StopTransaction(
            meter_stop=meter, timestamp=timestamp, transaction_id=transaction_id, reason=reason, id_tag=id_tag
        )
        asked = asyncio.create_task(self.charger.ask(request))
        await self._end(transaction_id, reason, id_tag or "", meter, datetime.fromisoformat(timestamp))
        await asked

    @property
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        return self.charger.asked

    def forget(self) -> None:
        self.charger.asked.clear()

    def answers(self, action: str, status: str) -> None:
        self.charger.replies[action] = getattr(call_result, action)(status=status)


class SimulatedStation(Station):
    """A simulated charge point of one of the profiles, and what the gateway's trace has of the talk with it."""

    _clock_error = DEADLINE

    def __init__(self, place: Place, profile: str) -> None:
        super().__init__(place)
        self._events: list[str] = []
        self._forgotten = 0
        self._work: asyncio.Task[None] | None = None
        self.charger = SimulatedCharger(
            f"ws://127.0.0.1:{place.gateway.ocpp_port}",
            place.identity,
            profile=PROFILES[profile],
            clock=Clock(60),
            backoff=(0.05, 0.2),
            settings={} if profile.startswith("evlink") else {"AuthorizeRemoteTxRequests": "true"},
            listener=lambda event: self._events.append(event.text),
        )

    async def _until(self, condition: Any, what: str) -> None:
        assert await self.charger.until(condition, DEADLINE), what

    async def _quiet(self) -> None:
        """Until the gateway has answered everything."""
        await self._until(lambda: self.charger.online and not self.charger.connection.outbox, "nothing left to send")

    def _talk(self, kind: int, *, sent: bool) -> list[list[Any]]:
        frames = control.ask(self._place.gateway.state / "control.sock", "trace", count=10_000)
        talk = [
            json.loads(frame["data"])
            for frame in frames
            if frame["peer"] == f"ocpp {self._place.identity}" and frame["sent"] == sent
        ]
        return [frame for frame in talk if frame[0] == kind]

    def _id_tag_info(self, action: str) -> dict[str, Any]:
        """That of the last answer to this action."""
        message_id = [frame[1] for frame in self._talk(2, sent=False) if frame[2] == action][-1]
        [answer] = [frame[2] for frame in self._talk(3, sent=True) if frame[1] == message_id]
        info: dict[str, Any] = camel_to_snake_case(answer["idTagInfo"])
        return info

    async def boot(self) -> None:
        self._work = asyncio.create_task(self.charger.run())
        await self._quiet()
        await self.bms.until(100, 0)

    async def restarted(self) -> None:
        await until(lambda: self._events.count("BootNotification: Accepted") == 2, "a second boot")
        await self._quiet()

    async def close(self) -> None:
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
            await self.bms.until(100, 1)

    async def status(self, status: str, connector: int = 1, error: str = "NoError") -> None:
        place = self.charger.connectors[connector]
        if status == "Finishing" and place.vehicle is None:
            return  # the car has gone already
        match status:
            case "Preparing" if place.vehicle is None:
                self.charger.plug_in(connector, vehicle(place.supply, 40))
            case "SuspendedEV" if place.vehicle is not None:
                place.vehicle.soc = 100.0
            case "Available" if place.vehicle is not None:
                self.charger.unplug(connector)
        await self._until(lambda: place.status == status or place.transaction is not None, status)
        if status != "Preparing":  # with an authorisation it is over as soon as it begins
            await self.bms.until(614 + 100 * connector, STATUSES.index(status))

    async def authorize(self, id_tag: str = VALID, verdict: int = ACCEPTED, parent: str = "") -> dict[str, Any]:
        shown = asyncio.create_task(self.charger.present(1, id_tag))
        await self._judge(id_tag, verdict, parent)
        assert await shown == (verdict == ACCEPTED)
        return self._id_tag_info("Authorize")

    async def authorize_remote_start(self) -> None:
        if self.charger.settings.boolean("AuthorizeRemoteTxRequests"):
            await self._judge(VALID, ACCEPTED, "")

    async def authorize_stop(self) -> None:
        pass  # it knows the card that began the session

    async def start(
        self,
        transaction_id: int,
        id_tag: str = VALID,
        verdict: int = ACCEPTED,
        *,
        connector: int = 1,
        meter: int = 0,
        reservation: int | None = None,
    ) -> dict[str, Any]:
        place = self.charger.connector(connector)
        await self._until(lambda: place.transaction is not None, "a transaction")
        assert place.transaction is not None
        fields = (connector, id_tag, place.transaction.meter_start, reservation or 0)
        await self._begin(transaction_id, verdict, fields, datetime.now(UTC))
        await self._quiet()
        assert place.transaction.id == transaction_id
        return self._id_tag_info("StartTransaction")

    async def stop(self, transaction_id: int, reason: str, *, id_tag: str | None = None, meter: int = 1000) -> None:
        [place] = [other for other in self.charger.connectors if other.transaction is not None] or [None]
        match reason:
            case "Local":
                assert id_tag is not None
                assert await self.charger.present(1, id_tag)
            case "EVDisconnected":
                self.charger.unplug(1)
        place = place or self.charger.connector(1)
        await self._until(lambda: place.transaction is None, "the end of the transaction")
        if "no-reason" in self.charger.quirks:
            reason = "Local"  # what a StopTransaction without reason means (§6.49)
        await self._end(transaction_id, reason, id_tag or "", place.meter, datetime.now(UTC))

    @property
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        calls = [(frame[2], camel_to_snake_case(frame[3])) for frame in self._talk(2, sent=True)]
        return calls[self._forgotten :]

    def forget(self) -> None:
        self._forgotten += len(self.asked)

    def answers(self, action: str, status: str) -> None:
        """It answers so by itself: a test for which it does not is not for simulated stations."""
