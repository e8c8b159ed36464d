"""One charger of which gateway and BMS are the central system: what happens on each of its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from ampgate.bridge.sessions import Sessions, Settings
from ampgate.bridge.signals import ChargerSetting, Signals
from ampgate.bridge.transactions import Running
from ampgate.ocpp import v16
from ampgate.ocpp.link import Handler, Link
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.registers.site import Site

_Handle = Callable[[Any], "v16.Message | Awaitable[v16.Message]"]


class Charger(Signals):
    """A configured charger: `handle` answers its messages; its registers show it, its operations call it."""

    def __init__(
        self, index: int, setting: ChargerSetting, site: Site, settings: Settings, *, heartbeat_interval: int
    ) -> None:
        super().__init__(index, setting, site, settings)
        self._heartbeat_interval = heartbeat_interval
        self._link: Link | None = None
        self._status_unknown = self.boot is not None
        """The gateway was restarted, the charger perhaps not: it may never tell its status again by itself."""
        self.sessions = Sessions(self.id, self._points, settings, self._transaction_changed)
        self._handlers: dict[type[v16.Message], _Handle] = {
            v16.BootNotificationRequest: self._boot_notification,
            v16.HeartbeatRequest: self._heartbeat,
            v16.StatusNotificationRequest: self._status_notification,
            v16.MeterValuesRequest: self._meter_values,
            v16.AuthorizeRequest: self.sessions.authorize,
            v16.StartTransactionRequest: self.sessions.start,
            v16.StopTransactionRequest: self._stop,
            v16.DataTransferRequest: self._data_transfer,
            v16.SignCertificateRequest: self._sign_certificate,
        }
        for request, response in NOTIFICATIONS.items():
            self._handlers[request] = partial(self._notified, response())

    @property
    def link(self) -> Link | None:
        """The open connection to the charger."""
        return self._link

    @property
    def running(self) -> Running:
        """Its running transactions."""
        return self.sessions.running

    @property
    def ready(self) -> bool:
        """Whether its BootNotification was accepted."""
        return self.boot is not None

    @property
    def waiting(self) -> list[str]:
        """The kinds of request that wait for the BMS."""
        return self.sessions.waiting

    def restore(self) -> None:
        """Show running transactions, and the stops that the BMS has still to process."""
        self.sessions.restore()

    # Connection

    def connected(self, link: Link) -> Handler:
        """The charger's websocket is up; returns what answers its messages."""
        self._link = link
        self._connected(link)
        return self.handle

    def disconnected(self) -> None:
        """The websocket is down; the last values stay."""
        link, self._link = self._link, None
        self._disconnected(link)

    async def close(self) -> None:
        """End all work of this charger."""
        await self.sessions.close()
        await super().close()

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

    def _boot_notification(self, request: v16.BootNotificationRequest) -> v16.Message:
        self._booted(request)
        return v16.BootNotificationResponse(
            status=v16.RegistrationStatus.ACCEPTED,
            current_time=v16.format_timestamp(self._settings.now()),
            interval=self._heartbeat_interval,
        )

    def _heartbeat(self, request: v16.HeartbeatRequest) -> v16.Message:
        return v16.HeartbeatResponse(current_time=v16.format_timestamp(self._settings.now()))

    def _status_notification(self, request: v16.StatusNotificationRequest) -> v16.Message:
        self._show_status(request)
        return v16.StatusNotificationResponse()

    def _meter_values(self, request: v16.MeterValuesRequest) -> v16.Message:
        self._show_meter_values(request)
        return v16.MeterValuesResponse()

    def _stop(self, request: v16.StopTransactionRequest) -> Awaitable[v16.Message]:
        self._show_transaction_data(request)
        return self.sessions.stop(request)

    def _data_transfer(self, request: v16.DataTransferRequest) -> v16.Message:
        self._tell(f"DataTransfer of unknown vendor {request.vendor_id}")
        return v16.DataTransferResponse(status=v16.DataTransferStatus.UNKNOWN_VENDOR_ID)

    def _sign_certificate(self, request: v16.SignCertificateRequest) -> v16.Message:
        # The gateway is no certificate authority.
        self._tell("asked for a certificate: rejected")
        return v16.SignCertificateResponse(status=v16.GenericStatus.REJECTED)

    def _notified(self, response: v16.Message, request: Any) -> v16.Message:
        """What only has to be acknowledged and told to people."""
        self._show_notification(request)
        return response


NOTIFICATIONS: Final[dict[type[v16.Message], type[v16.Message]]] = {
    v16.DiagnosticsStatusNotificationRequest: v16.DiagnosticsStatusNotificationResponse,
    v16.FirmwareStatusNotificationRequest: v16.FirmwareStatusNotificationResponse,
    v16.SecurityEventNotificationRequest: v16.SecurityEventNotificationResponse,
    v16.LogStatusNotificationRequest: v16.LogStatusNotificationResponse,
    v16.SignedFirmwareStatusNotificationRequest: v16.SignedFirmwareStatusNotificationResponse,
}
"""What only has to be acknowledged, and with what."""
