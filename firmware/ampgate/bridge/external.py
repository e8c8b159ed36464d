"""An external central system: each charger's conversation with it is read along, and the BMS may put in its word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ampgate.bridge.charger import NOTIFICATIONS
from ampgate.bridge.chargers import Chargers
from ampgate.bridge.policy import Trust
from ampgate.bridge.sessions import Settings
from ampgate.bridge.signals import ChargerSetting, Signals
from ampgate.bridge.standin import StandIn
from ampgate.bridge.transactions import Running, Transaction
from ampgate.journal import Journal
from ampgate.ocpp import rpc, v16
from ampgate.ocpp.relayed import Relayed
from ampgate.registers.site import Site

log = logging.getLogger(__name__)


class ReadAlong(Signals):
    """A charger with an external central system: its registers show what it says to it, and the answers.

    With ``hold`` somebody stands in for the central system while it is away.
    """

    def __init__(
        self,
        index: int,
        setting: ChargerSetting,
        site: Site,
        settings: Settings,
        *,
        hold: bool,
        trust: Trust,
        heartbeat_interval: int,
    ) -> None:
        super().__init__(index, setting, site, settings)
        self._link: Relayed | None = None
        self._running = Running(self._running_changed)
        self._ready = self.boot is not None
        self._stand_in = StandIn(self.id, settings, trust, lambda: self.running, heartbeat_interval) if hold else None
        self._calls: dict[type[v16.Message], Callable[[Any], None]] = {
            v16.BootNotificationRequest: self._boot_asked,
            v16.StatusNotificationRequest: self._show_status,
            v16.MeterValuesRequest: self._show_meter_values,
            v16.StopTransactionRequest: self._stopped,
            **dict.fromkeys(NOTIFICATIONS, self._show_notification),
        }
        self._answers: dict[type[v16.Message], Callable[[Any, Any], None]] = {
            v16.BootNotificationRequest: self._boot_answered,
            v16.AuthorizeRequest: self._authorized,
            v16.StartTransactionRequest: self._started,
        }
        self._verdicts = dict.fromkeys(
            (v16.AuthorizeRequest, v16.StartTransactionRequest, v16.StopTransactionRequest), self._judged
        )

    @property
    def link(self) -> Relayed | None:
        """The open connection to the charger."""
        return self._link

    @property
    def running(self) -> Running:
        """Its running transactions, by the ids that the charger knows."""
        return self._running

    @property
    def ready(self) -> bool:
        """Whether upstream has answered it as one does whose BootNotification was accepted."""
        return self._ready

    @property
    def waiting(self) -> list[str]:
        """Nothing ever waits for the BMS."""
        return []

    @property
    def stand_in(self) -> StandIn | None:
        """Who stands in for the central system while it is away."""
        return self._stand_in

    @property
    def upstream_away(self) -> bool:
        """Whether the charger is connected and its central system is not."""
        return self._link is not None and not self._link.has_upstream

    @property
    def upstream(self) -> dict[str, Any]:
        """What ``ampgate status`` shows of the central system's side."""
        return {
            "state": self._link.state if self._link else "",
            "kept": self._stand_in.count if self._stand_in else 0,
            "given_up": self._stand_in.given_up if self._stand_in else 0,
        }

    def restore(self) -> None:
        """Show running transactions."""
        for record in self._settings.journal.running(self.id):
            self._running.begin(msgspec.json.decode(record, type=Transaction))

    # Connection

    def connected(self, link: Relayed) -> ReadAlong:
        """The charger's websocket is up; returns who reads along."""
        self._link = link
        self._connected(link)
        return self

    def disconnected(self) -> None:
        """The websocket is down; the last values stay."""
        link, self._link = self._link, None
        self._disconnected(link)

    def upstream_changed(self) -> None:
        """Tell people."""
        if self._link is not None:
            self._tell(f"central system {self._link.state}")

    # Reading along

    def called(self, call: rpc.Envelope) -> None:
        """The charger has sent a CALL."""
        if not self._spoken.is_set():
            asyncio.get_running_loop().call_soon(self._spoken.set)  # not before this frame has been dealt with
        self._read(call, self._calls)

    def answered(self, call: rpc.Envelope, answer: rpc.Envelope, *, by_upstream: bool) -> None:
        """The charger gets the answer to its CALL."""
        if answer.kind == rpc.CALLRESULT:
            self._ready = self._ready or _action(call) not in (None, v16.BootNotificationRequest)
            self._read(call, self._answers, answer)
            if by_upstream:
                self._read(call, self._verdicts, answer)

    def _read(self, call: rpc.Envelope, handlers: dict[Any, Callable[..., None]], *answers: rpc.Envelope) -> None:
        """Whatever cannot be read, or shown, must not trouble the bridge: it has passed already."""
        request = _action(call)
        handler = handlers.get(request)
        if handler is None or request is None:
            return
        try:
            responses = [v16.decode(_RESPONSE[request], answer.parts[2]) for answer in answers]
            handler(v16.decode(request, call.parts[3]), *responses)
        except (IndexError, v16.PayloadError) as error:
            log.info("%s: %s is not shown: %s", self.id, v16.ACTION_OF[request].name, error)
        except Exception:
            log.exception("%s: %s is not shown", self.id, v16.ACTION_OF[request].name)

    def _boot_asked(self, request: v16.BootNotificationRequest) -> None:
        self._ready = False

    def _boot_answered(self, request: v16.BootNotificationRequest, response: v16.BootNotificationResponse) -> None:
        if response.status is v16.RegistrationStatus.ACCEPTED:
            self._ready = True
            self._booted(request)
            if self._stand_in is not None and response.interval:
                self._stand_in.heartbeat_interval = response.interval

    def _authorized(self, request: v16.AuthorizeRequest, response: v16.AuthorizeResponse) -> None:
        id_tag = v16.text(request.id_tag)
        self._tell(f"Authorize {id_tag}: {response.id_tag_info.status}")

    def _started(self, request: v16.StartTransactionRequest, response: v16.StartTransactionResponse) -> None:
        id_tag = v16.text(request.id_tag)
        transaction = Transaction(
            response.transaction_id,
            request.connector_id,
            id_tag,
            round(request.meter_start),
            v16.parse_timestamp(request.timestamp, self._settings.now()).timestamp(),
            response.id_tag_info.status is v16.AuthorizationStatus.ACCEPTED,
        )
        self._running.begin(transaction)
        self._points["charger_state.start_transaction_id"].set(transaction.id % (1 << 32))
        self._tell(
            f"StartTransaction {transaction.id} on connector {transaction.connector}, {id_tag}: "
            f"{response.id_tag_info.status}"
        )

    def _stopped(self, request: v16.StopTransactionRequest) -> None:
        self._show_transaction_data(request)
        self._running.end(request.transaction)
        self._points["charger_state.stop_transaction_id"].set(request.transaction % (1 << 32))
        self._tell(f"StopTransaction {request.transaction}, {request.meter_stop} Wh")

    def _judged(self, request: Any, response: Any) -> None:
        if self._stand_in is not None:
            self._stand_in.judged(v16.text(request.id_tag), response.id_tag_info)

    def _running_changed(self, transaction: Transaction, runs: bool) -> None:
        self._transaction_changed(transaction, runs)
        journal = self._settings.journal
        if runs:
            journal.began(self.id, transaction.connector, transaction.id, msgspec.json.encode(transaction))
        else:
            journal.ended(self.id, transaction.id)


class External(Chargers[ReadAlong]):
    """Joins the registers of a site with chargers that have an external central system.

    ``heartbeat_interval`` in seconds is told to chargers only by who stands in.
    """

    def __init__(
        self,
        site: Site,
        chargers: Sequence[ChargerSetting],
        journal: Journal,
        *,
        hold: bool = False,
        trust: Trust = Trust.KNOWN,
        heartbeat_interval: int = 300,
        **options: Any,
    ) -> None:
        def make(index: int, setting: ChargerSetting, settings: Settings) -> ReadAlong:
            return ReadAlong(
                index, setting, site, settings, hold=hold, trust=trust, heartbeat_interval=heartbeat_interval
            )

        # The signals of the clock and of the BMS's heartbeat do not exist: nobody can be absent.
        super().__init__(site, chargers, journal, make, heartbeat_timeout=0.0, **options)
        for charger in self.chargers:
            if not hold and (count := journal.kept_count(charger.id)):
                log.warning(
                    "%s: %d messages for its central system are kept; they are delivered with "
                    'ocpp.external.outage = "hold"',
                    charger.id,
                    count,
                )

    def connected(self, identity: str, link: Relayed) -> ReadAlong:
        """A configured charger has connected; returns who reads along."""
        return self._by_id[identity].connected(link)


_RESPONSE: Final = {action.request: action.response for action in v16.ACTIONS.values()}


def _action(call: rpc.Envelope) -> type[v16.Message] | None:
    try:
        return v16.ACTIONS[msgspec.json.decode(call.parts[2], type=str)].request
    except (IndexError, KeyError, msgspec.DecodeError):
        return None
