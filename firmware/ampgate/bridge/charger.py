"""One charger as the gateway sees it: its state, its registers, and what happens on each message."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from ampgate.bridge.commands import Commands
from ampgate.bridge.locallist import LocalList
from ampgate.bridge.measurands import Meter
from ampgate.bridge.operations import Context
from ampgate.bridge.results import numbers
from ampgate.bridge.sessions import Sessions, Settings, Transaction
from ampgate.ocpp import v16
from ampgate.ocpp.link import Handler, Link
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.registers.site import Site

log = logging.getLogger(__name__)

ONLINE, OFFLINE = 0, 1
"""Values of the register Charger Communication status."""
_LONG_AGO: Final = 65535
QUIET: Final = 5.0
"""Seconds after which a charger that reconnects without a word may be called."""


_Handle = Callable[[Any], "v16.Message | Awaitable[v16.Message]"]


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


class Charger:
    """A configured charger: `handle` answers its messages; its registers show it, its operations call it."""

    def __init__(
        self, index: int, setting: ChargerSetting, site: Site, settings: Settings, *, heartbeat_interval: int
    ) -> None:
        self.index = index
        self.id = setting.id
        self.name = setting.name
        self._settings = settings
        self._heartbeat_interval = heartbeat_interval
        self._points = site.charger(index)
        self.connectors = [Connector(number, site, index, settings) for number in range(setting.connectors + 1)]
        self.link: Link | None = None
        self._last_received: float | None = None
        self._spoken = asyncio.Event()
        self.boot: v16.BootNotificationRequest | None = None
        """The last accepted BootNotification, perhaps of before a restart of the gateway."""
        self.sessions = Sessions(self.id, self._points, settings, self._transaction_changed)
        self._handlers: dict[type[v16.Message], _Handle] = {
            v16.BootNotificationRequest: self._booted,
            v16.HeartbeatRequest: self._heartbeat,
            v16.StatusNotificationRequest: self._status,
            v16.MeterValuesRequest: self._meter_values,
            v16.AuthorizeRequest: self.sessions.authorize,
            v16.StartTransactionRequest: self.sessions.start,
            v16.StopTransactionRequest: self._stop,
            v16.DataTransferRequest: self._data_transfer,
            v16.SignCertificateRequest: self._sign_certificate,
        }
        for request, response in _NOTIFICATIONS.items():
            self._handlers[request] = partial(self._notified, response())
        self._points["info.communication"].set(OFFLINE)
        known = settings.journal.charger(self.id)
        self._status_unknown = known.boot is not None
        """The gateway was restarted, the charger perhaps not: it may never tell its status again by itself."""
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

    # Connection

    def connected(self, link: Link) -> Handler:
        """The charger's websocket is up; returns what answers its messages."""
        self.link = link
        # A charger may be about to boot; until it has spoken, or is quiet, it is not called (errata 3.40).
        self._spoken = asyncio.Event()
        self._quiet = asyncio.get_running_loop().call_later(QUIET, self._spoken.set)
        self._points["info.communication"].set(ONLINE)
        self._points["charger_state.online_since"].set(self._settings.now().timestamp())
        self._tell(f"connected from {link.address}")
        return self.handle

    def disconnected(self) -> None:
        """The websocket is down; the last values stay."""
        self._last_received = self.link.last_received if self.link else self._last_received
        self.link = None
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
        await self.sessions.close()
        await self.commands.close()

    async def call(self, request: v16.Message) -> v16.Message:
        """Call the charger: as `Link.call`; `ConnectionError` also before its BootNotification was answered."""
        while self.link is not None and self.boot is not None and not self._spoken.is_set():
            await self._spoken.wait()  # again, when it is a new connection by then
        if self.link is None or self.boot is None:
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

    def handle(self, request: v16.Message) -> v16.Message | Awaitable[v16.Message]:
        """Answer one request of the charger, at once or later; raises `CallError` to refuse it."""
        handler = self._handlers.get(type(request))
        if handler is None:
            raise CallError(ErrorCode.NOT_SUPPORTED, "this is a message from a central system to a charge point")
        if self.boot is None and type(request) is not v16.BootNotificationRequest:
            raise CallError(ErrorCode.SECURITY_ERROR, "BootNotification has to come first")
        if not self._spoken.is_set():
            asyncio.get_running_loop().call_soon(self._spoken.set)  # when this answer is on its way
            if self._status_unknown:
                self._status_unknown = False
                if type(request) is not v16.BootNotificationRequest:
                    self.commands.ask_for_status()
        return handler(request)

    def _booted(self, request: v16.BootNotificationRequest) -> v16.Message:
        self._settings.journal.booted(self.id, v16.encode(request))
        self._show_boot(request)
        for connector in self.connectors:
            connector.meter.restart()
        self._tell(f"booted: {self.vendor} {self.model}")
        return v16.BootNotificationResponse(
            status=v16.RegistrationStatus.ACCEPTED,
            current_time=v16.format_timestamp(self._settings.now()),
            interval=self._heartbeat_interval,
        )

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

    def _heartbeat(self, request: v16.HeartbeatRequest) -> v16.Message:
        return v16.HeartbeatResponse(current_time=v16.format_timestamp(self._settings.now()))

    def _status(self, request: v16.StatusNotificationRequest) -> v16.Message:
        connector = self._connector(request.connector_id, "StatusNotification")
        if connector is not None:
            before = connector.status
            connector.show_status(request)
            self._points["charger_state.vendor_error_code"].set(v16.text(request.vendor_error_code))
            self._points["charger_state.status_info"].set(v16.text(request.info))
            if request.status != before:
                error = "" if request.error_code == "NoError" else f", {request.error_code}"
                self._tell(f"connector {connector.number}: {request.status}{error}")
        return v16.StatusNotificationResponse()

    def _meter_values(self, request: v16.MeterValuesRequest) -> v16.Message:
        connector = self._connector(request.connector_id, "MeterValues")
        if connector is not None:
            connector.meter.update(request.meter_value)
        return v16.MeterValuesResponse()

    def _stop(self, request: v16.StopTransactionRequest) -> Awaitable[v16.Message]:
        transaction = self.sessions.running.get(request.transaction)
        connector = self._connector(transaction.connector, "StopTransaction") if transaction else None
        if connector is not None and request.transaction_data:
            connector.meter.update(request.transaction_data)
        return self.sessions.stop(request)

    def _transaction_changed(self, transaction: Transaction, runs: bool) -> None:
        connector = self._connector(transaction.connector, "StartTransaction")
        if connector is not None and transaction.accepted:
            connector.show_transaction(transaction if runs else None)

    def _full_transaction_id(self, shown: int) -> int:
        return next((full for full in self.sessions.running if full & 0xFFFF == shown), shown)

    def _connector(self, number: int, message: str) -> Connector | None:
        if number < len(self.connectors):
            return self.connectors[number]
        log.warning("%s: %s of connector %d, but connectors = %d", self.id, message, number, len(self.connectors) - 1)
        return None

    def _data_transfer(self, request: v16.DataTransferRequest) -> v16.Message:
        self._tell(f"DataTransfer of unknown vendor {request.vendor_id}")
        return v16.DataTransferResponse(status=v16.DataTransferStatus.UNKNOWN_VENDOR_ID)

    def _sign_certificate(self, request: v16.SignCertificateRequest) -> v16.Message:
        # The gateway is no certificate authority.
        self._tell("asked for a certificate: rejected")
        return v16.SignCertificateResponse(status=v16.GenericStatus.REJECTED)

    def _notified(self, response: v16.Message, request: Any) -> v16.Message:
        """What only has to be acknowledged and told to people."""
        name = v16.ACTION_OF[type(request)].name
        shown = _SHOWN_STATUS.get(type(request))
        if shown is not None:
            self._points[shown].set(numbers(shown)[request.status])
        self._tell(f"{name}: {getattr(request, 'status', '') or request.type}")
        return response

    def _tell(self, text: str) -> None:
        self._settings.activity.add(self.id, text)


_SHOWN_STATUS: Final[dict[type[v16.Message], str]] = {
    v16.DiagnosticsStatusNotificationRequest: "charger_state.diagnostics_status",
    v16.FirmwareStatusNotificationRequest: "charger_state.firmware_status",
}
_NOTIFICATIONS: Final[dict[type[v16.Message], type[v16.Message]]] = {
    v16.DiagnosticsStatusNotificationRequest: v16.DiagnosticsStatusNotificationResponse,
    v16.FirmwareStatusNotificationRequest: v16.FirmwareStatusNotificationResponse,
    v16.SecurityEventNotificationRequest: v16.SecurityEventNotificationResponse,
    v16.LogStatusNotificationRequest: v16.LogStatusNotificationResponse,
    v16.SignedFirmwareStatusNotificationRequest: v16.SignedFirmwareStatusNotificationResponse,
}
