"""What the registers show of one charger, whoever is its central system, and how the BMS's operations reach it."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from typing import Any, Final, Protocol

import msgspec

from ampgate.bridge.commands import Commands
from ampgate.bridge.locallist import LocalList
from ampgate.bridge.measurands import Meter
from ampgate.bridge.operations import Context
from ampgate.bridge.results import numbers
from ampgate.bridge.sessions import Settings
from ampgate.bridge.transactions import Running, Transaction
from ampgate.ocpp import v16
from ampgate.registers.site import Site

log = logging.getLogger(__name__)

ONLINE, OFFLINE = 0, 1
"""Values of the register Charger Communication status."""
_LONG_AGO: Final = 65535
QUIET: Final = 5.0
"""Seconds after which a charger that reconnects without a word may be called."""


class Connection(Protocol):
    """What is needed of the connection to a charger."""

    last_received: float
    """Moment of its last frame, of the monotonic clock."""

    @property
    def address(self) -> str:
        """Network address of the charger."""

    async def call(self, request: v16.Message) -> v16.Message:
        """Ask the charger; `CallError`, `TimeoutError` or `ConnectionError` when that fails."""


class ChargerSetting(msgspec.Struct, frozen=True):
    """A configured charger."""

    id: str
    name: str = ""
    connectors: int = 1


class Connector:
    """One connector, or with number 0 the charger as a whole."""

    def __init__(self, number: int, site: Site, charger: int, settings: Settings) -> None:
        self.number = number
        self.points = site.connector(charger, number)
        self.meter = Meter(self.points, settings.now)
        self._statuses = settings.status_order.numbers
        self.status: v16.ChargePointStatus | None = None
        self.error = ""
        self.points["connector.availability"].set(1)
        self.points["connector.error_code"].set(numbers("connector.error_code")["NoError"])

    def show_status(self, request: v16.StatusNotificationRequest) -> None:
        """Show status, error code and whether the connector is available."""
        self.status, self.error = request.status, request.error_code
        codes = numbers("connector.error_code")
        self.points["connector.status"].set(self._statuses[request.status])
        self.points["connector.error_code"].set(codes.get(request.error_code, codes["OtherError"]))
        self.show_availability()

    def show_availability(self) -> None:
        """1 unless the charger says Unavailable."""
        self.points["connector.availability"].set(self.status != v16.ChargePointStatus.UNAVAILABLE)

    def show_transaction(self, transaction: Transaction | None) -> None:
        """Fill or clear the current-transaction signals."""
        values: dict[str, Any] = {"id_tag": "", "meter_start": 0, "timestamp": 0}
        if transaction is not None:
            values = {
                "id_tag": transaction.id_tag,
                "meter_start": transaction.meter_start,
                "timestamp": transaction.started,
            }
        for name, value in values.items():
            self.points[f"transaction.{name}"].set(value)


class Signals(ABC):
    """One configured charger: its registers, fed by its messages, and the operations that the BMS starts at it."""

    def __init__(self, index: int, setting: ChargerSetting, site: Site, settings: Settings) -> None:
        self.index = index
        self.id = setting.id
        self.name = setting.name
        self._settings = settings
        self._points = site.charger(index)
        self.connectors = [Connector(number, site, index, settings) for number in range(setting.connectors + 1)]
        self._last_received: float | None = None
        self._spoken = asyncio.Event()
        self.boot: v16.BootNotificationRequest | None = None
        """The last accepted BootNotification, perhaps of before a restart of the gateway."""
        self._points["info.communication"].set(OFFLINE)
        known = settings.journal.charger(self.id)
        if known.boot is not None:
            self._show_boot(v16.decode(v16.BootNotificationRequest, known.boot))
        self.commands = Commands(
            self.id,
            self._points,
            self.call,
            Context(setting.connectors, self._full_transaction_id),
            local_list=LocalList.kept(settings.journal, self.id),
            activity=settings.activity,
        )
        for connector in self.connectors:
            self.commands.watch_connector(connector.number, connector.points, connector.show_availability)

    @property
    def upstream_away(self) -> bool:
        """Whether it is connected and its external central system is not."""
        return False

    @property
    @abstractmethod
    def link(self) -> Connection | None:
        """The open connection to the charger."""

    @property
    @abstractmethod
    def running(self) -> Running:
        """Its running transactions."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether its BootNotification was accepted, so that it may be called (OCPP 1.6 §4.2)."""

    @property
    @abstractmethod
    def waiting(self) -> list[str]:
        """The kinds of request that wait for the BMS."""

    @property
    def upstream(self) -> dict[str, Any] | None:
        """What ``ampgate status`` shows of an external central system; None without one."""
        return None

    @abstractmethod
    def disconnected(self) -> None:
        """The websocket is down; the last values stay."""

    @abstractmethod
    def restore(self) -> None:
        """Show what the journal knows of transactions."""

    # Connection

    def _connected(self, connection: Connection) -> None:
        # A charger may be about to boot; until it has spoken, or is quiet, it is not called (errata 3.40).
        self._spoken = asyncio.Event()
        self._quiet = asyncio.get_running_loop().call_later(QUIET, self._spoken.set)
        self._points["info.communication"].set(ONLINE)
        self._points["charger_state.online_since"].set(self._settings.now().timestamp())
        self._tell(f"connected from {connection.address}")

    def _disconnected(self, connection: Connection | None) -> None:
        self._last_received = connection.last_received if connection else self._last_received
        self._quiet.cancel()
        self._spoken.set()  # who waits to call it hears that it is gone
        self._points["info.communication"].set(OFFLINE)
        self._points["charger_state.online_since"].clear()
        self._tell("disconnected")

    def show_age(self) -> None:
        """Show how long ago the charger sent its last message; 65535 when that is longer or never was."""
        last = self.link.last_received if self.link else self._last_received
        age = _LONG_AGO if last is None else min(_LONG_AGO, int(time.monotonic() - last))
        self._points["charger_state.message_age"].set(age)

    async def close(self) -> None:
        """End all work of this charger."""
        await self.commands.close()

    async def call(self, request: v16.Message) -> v16.Message:
        """Call the charger: as `Link.call`; `ConnectionError` also before its BootNotification was answered."""
        while self.link is not None and self.ready and not self._spoken.is_set():
            await self._spoken.wait()  # again, when it is a new connection by then
        if self.link is None or not self.ready:
            raise ConnectionError(f"{self.id} is not connected or has not booted")
        return await self.link.call(request)

    @property
    def vendor(self) -> str:
        """As the charger told in its boot notification; empty before."""
        return v16.text(self.boot.charge_point_vendor) if self.boot else ""

    @property
    def model(self) -> str:
        """As the charger told in its boot notification; empty before."""
        return v16.text(self.boot.charge_point_model) if self.boot else ""

    # Messages of the charger

    def _booted(self, request: v16.BootNotificationRequest) -> None:
        self._settings.journal.booted(self.id, v16.encode(request))
        self._show_boot(request)
        for connector in self.connectors:
            connector.meter.restart()
        self._tell(f"booted: {self.vendor} {self.model}")

    def _show_boot(self, boot: v16.BootNotificationRequest) -> None:
        self.boot = boot
        for signal, value in (
            ("charge_box_serial", boot.charge_box_serial_number),
            ("charge_point_serial", boot.charge_point_serial_number),
            ("vendor", boot.charge_point_vendor),
            ("model", boot.charge_point_model),
        ):
            self._points[f"info.{signal}"].set(v16.text(value))
        self._points["charger_state.firmware_version"].set(v16.text(boot.firmware_version))

    def _show_status(self, request: v16.StatusNotificationRequest) -> None:
        connector = self._connector(request.connector_id, "StatusNotification")
        if connector is not None:
            before = connector.status
            connector.show_status(request)
            self._points["charger_state.vendor_error_code"].set(v16.text(request.vendor_error_code))
            self._points["charger_state.status_info"].set(v16.text(request.info))
            if request.status != before:
                error = "" if request.error_code == "NoError" else f", {request.error_code}"
                self._tell(f"connector {connector.number}: {request.status}{error}")

    def _show_meter_values(self, request: v16.MeterValuesRequest) -> None:
        connector = self._connector(request.connector_id, "MeterValues")
        if connector is not None:
            connector.meter.update(request.meter_value)

    def _show_transaction_data(self, request: v16.StopTransactionRequest) -> None:
        transaction = self.running.get(request.transaction)
        connector = self._connector(transaction.connector, "StopTransaction") if transaction else None
        if connector is not None and request.transaction_data:
            connector.meter.update(request.transaction_data)

    def _transaction_changed(self, transaction: Transaction, runs: bool) -> None:
        connector = self._connector(transaction.connector, "StartTransaction")
        if connector is not None and transaction.accepted:
            connector.show_transaction(transaction if runs else None)

    def _full_transaction_id(self, shown: int) -> int:
        return self.running.full_id(shown)

    def _connector(self, number: int, message: str) -> Connector | None:
        if number < len(self.connectors):
            return self.connectors[number]
        log.warning("%s: %s of connector %d, but connectors = %d", self.id, message, number, len(self.connectors) - 1)
        return None

    def _show_notification(self, request: Any) -> None:
        """What only has to be told to people."""
        name = v16.ACTION_OF[type(request)].name
        shown = _SHOWN_STATUS.get(type(request))
        if shown is not None:
            self._points[shown].set(numbers(shown)[request.status])
        self._tell(f"{name}: {getattr(request, 'status', '') or request.type}")

    def _tell(self, text: str) -> None:
        self._settings.activity.add(self.id, text)


_SHOWN_STATUS: Final[dict[type[v16.Message], str]] = {
    v16.DiagnosticsStatusNotificationRequest: "charger_state.diagnostics_status",
    v16.FirmwareStatusNotificationRequest: "charger_state.firmware_status",
}
