"""What the certification cases share: one charge point under the hands of a test, and the BMS that serves it.

The BMS knows nothing but registers. Addresses are literal, those of the original's map for charger 0 (configuration
guide r1.2, appendix 2): 100 + offset, and 612 + 100·connector + offset for its connectors.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result

from tests.integration.peers import NOON, Charger, words_of_text
from tests.integration.shared import Place

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


class Station:
    """A charge point of two connectors, one of those that a gateway knows, and the BMS's view of it."""

    charger: Charger

    def __init__(self, place: Place) -> None:
        self._place = place
        self.bms = place.bms

    async def connect(self) -> None:
        """Open a connection and say nothing."""
        self.charger = await Charger.connect(self._place.gateway.ocpp_port, self._place.identity)
        await self.bms.until(100, 0)  # Charger Communication status: no error

    async def boot(self) -> call_result.BootNotification:
        """Connect, boot, and tell the status of the charger and of both connectors."""
        await self.connect()
        answer = await self.charger.boot("Vendor", "Model")
        for connector in range(3):
            await self.status("Available", connector)
        return answer

    async def lose_power(self) -> None:
        """The connection is cut without a word."""
        self.charger.websocket.transport.abort()
        await self.bms.until(100, 1)  # Charger Communication status: error
        await self.charger.close()

    async def close(self) -> None:
        await self.charger.close()
        await self.bms.until(100, 1)

    # Messages of the charge point, seen and answered through registers

    async def status(self, status: str, connector: int = 1, error: str = "NoError") -> None:
        """StatusNotification, answered; the BMS sees it."""
        await self.charger.status(connector, status, error)
        assert await self.bms.word(614 + 100 * connector) == STATUSES.index(status)

    async def authorize(self, id_tag: str = VALID, verdict: int = ACCEPTED, parent: str = "") -> dict[str, Any]:
        """Authorize; the BMS answers with this verdict. Returns idTagInfo."""
        asked = asyncio.create_task(self.charger.ask(call.Authorize(id_tag=id_tag)))
        await self.bms.until(164, 1)  # Authorization Flag
        assert await self.bms.text(165, 10) == id_tag
        await self.bms.write_text(178, 10, parent)  # Parent Id Tag
        await self.bms.write(190, verdict)  # Authorization result
        await self.bms.write(177, 1)  # processed
        info: dict[str, Any] = (await asked).id_tag_info
        await self.bms.until(164, 0)
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
    ) -> call_result.StartTransaction:
        """StartTransaction; the BMS sees every field and answers with verdict and transaction id."""
        request = call.StartTransaction(
            connector_id=connector,
            id_tag=id_tag,
            meter_start=meter,
            timestamp=timestamp,
            reservation_id=reservation,
        )
        asked = asyncio.create_task(self.charger.ask(request))
        await self.bms.until(194, 1)  # Start Transaction Flag
        assert await self.bms.word(195) == connector
        assert await self.bms.text(196, 10) == id_tag
        assert await self.bms.float(206) == meter
        assert await self.bms.word(208) == (reservation or 0)
        assert await self.bms.epoch(209) == datetime.fromisoformat(timestamp).timestamp()
        await self.bms.write(227, verdict)
        await self.bms.write(228, transaction_id)
        await self.bms.write(214, 1)  # processed
        answer = await asked
        await self.bms.until(194, 0)
        assert answer.transaction_id == transaction_id
        return answer

    async def stop(
        self,
        transaction_id: int,
        reason: str | None,
        *,
        id_tag: str | None = None,
        meter: int = 1000,
        verdict: int = ACCEPTED,
        timestamp: str = "2026-01-31T13:00:00Z",
    ) -> None:
        """StopTransaction; the BMS sees every field and processes it, and the charge point gets its answer."""
        request = call.StopTransaction(
            meter_stop=meter, timestamp=timestamp, transaction_id=transaction_id, reason=reason, id_tag=id_tag
        )
        asked = asyncio.create_task(self.charger.ask(request))
        await self.bms.until(234, 1)  # Stop Transaction Flag
        assert await self.bms.text(235, 10) == (id_tag or "")
        assert await self.bms.float(245) == meter
        assert await self.bms.epoch(247) == datetime.fromisoformat(timestamp).timestamp()
        assert await self.bms.read(249, 2) == [transaction_id, REASONS.index(reason or "Local")]
        await self.bms.write(268, verdict)
        await self.bms.write(255, 1)  # processed
        await asked
        await self.bms.until(234, 0)

    async def charging(self, transaction_id: int, *, connector: int = 1) -> None:
        """The state in which many cases begin: identified, plugged in, charging."""
        assert await self.authorize() == {"status": "Accepted"}
        await self.status("Preparing", connector)
        answer = await self.start(transaction_id, connector=connector)
        assert answer.id_tag_info == {"status": "Accepted"}
        await self.status("Charging", connector)

    # Operations of the BMS

    def answers(self, action: str, status: str) -> None:
        """What the charge point answers this operation with from now on."""
        self.charger.replies[action] = getattr(call_result, action)(status=status)

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
