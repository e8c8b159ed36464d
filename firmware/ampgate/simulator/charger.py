"""A charge point that behaves as OCPP 1.6 asks, with cars that somebody plugs in.

The status of a connector follows from facts (see `connector`); this module changes the facts, tells the central system
and keeps the order of what must not be lost: transactions and their readings wait in a queue while the connection is
down. What the central system asks is answered in `operations`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from ampgate.ocpp import v16
from ampgate.ocpp.link import Link
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.simulator import operations
from ampgate.simulator.authorization import KnownTags, same_tag
from ampgate.simulator.clock import Clock
from ampgate.simulator.connector import HARDWARE_LIMIT, Connector, Transaction
from ampgate.simulator.profiles import Profiles
from ampgate.simulator.settings import Settings
from ampgate.simulator.vehicle import Vehicle

SUBPROTOCOL: Final = Subprotocol("ocpp1.6")
TICK: Final = 0.25
"""Real seconds between two looks at cars and timers."""
MAX_QUEUE: Final = 2000
"""Messages kept for later; beyond that readings are left out, starts and stops never (OCPP 1.6 §3.7)."""
REBOOT_TIME: Final = 1.0
"""Real seconds that a restart takes."""
_FLUSH_TIMEOUT: Final = 5.0
_BOOT_RETRY: Final = 10.0
"""Seconds until the next BootNotification when the central system leaves that to us (§4.2)."""

Kind = Literal["link", "status", "session", "operation"]


class Event(NamedTuple):
    """Something that happened at a charger, for people to read."""

    charger: str
    connector: int | None
    kind: Kind
    text: str


Listener = Callable[[Event], None]


@dataclass(slots=True)
class _Outgoing:
    """A CALL to make: ``make`` is called when its turn comes, as the transaction id may be known only then."""

    make: Callable[[], v16.Message]
    answered: Callable[[Any], None] = lambda response: None
    given_up: Callable[[], None] = lambda: None
    lasting: bool = False
    """Whether it survives a lost connection and refusals: it belongs to a transaction (§3.7)."""
    attempts: int = field(default=0)


class Charger:
    """One simulated charge point.

    ``url`` is the central system's without the identity. ``sample_interval`` is in real seconds, ``backoff`` the
    shortest and longest wait before a new connection in real seconds. Methods are called in the event loop of `run`.
    """

    def __init__(
        self,
        url: str,
        identity: str,
        *,
        connectors: int = 1,
        clock: Clock | None = None,
        sample_interval: float = 60.0,
        seed: int = 0,
        vendor: str = "ampgate",
        model: str = "Simulated AC-22",
        backoff: tuple[float, float] = (1.0, 30.0),
        call_timeout: float = 30.0,
        listener: Listener | None = None,
    ) -> None:
        self.identity = identity
        self.clock = clock or Clock()
        self.settings = Settings(
            NumberOfConnectors=str(connectors),
            MeterValueSampleInterval=str(max(1, round(sample_interval))) if sample_interval else "0",
            ConnectorPhaseRotation=",".join(f"{number}.RST" for number in range(connectors + 1)),
        )
        self.sample_interval = sample_interval
        self.tags = KnownTags()
        self.profiles = Profiles()
        self.connectors = [Connector(number, seed * 100 + number) for number in range(connectors + 1)]
        """By number; 0 is the charge point as a whole."""
        self.accepted = False
        """Whether the central system has accepted the last BootNotification."""
        self._boot = v16.BootNotificationRequest(
            charge_point_vendor=vendor,
            charge_point_model=model,
            charge_point_serial_number=f"SIM-{identity}"[:25],
            charge_box_serial_number=identity[:25],
            firmware_version="1.0.0",
            meter_type="Simulated",
        )
        self._url = f"{url.rstrip('/')}/{quote(identity, safe='')}"
        self._backoff = backoff
        self._call_timeout = call_timeout
        self._listener = listener or (lambda event: None)
        self._random = random.Random(seed)
        self._link: Link | None = None
        self._outbox: deque[_Outgoing] = deque()
        self._changed = asyncio.Event()
        self._restart: v16.ResetType | None = None
        self._work: asyncio.TaskGroup | None = None
        self._next_heartbeat = float("inf")
        self._next_sample: dict[int, float] = {}
        self._last_aligned = 0

    # For whoever drives it

    @property
    def online(self) -> bool:
        """Whether it is connected and accepted."""
        return self._link is not None and self.accepted

    def connector(self, number: int) -> Connector:
        """Connector 1 and up."""
        if not 1 <= number < len(self.connectors):
            raise ValueError(f"{self.identity} has connectors 1…{len(self.connectors) - 1}, not {number}")
        return self.connectors[number]

    async def until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``condition`` holds; False when it did not within ``timeout`` real seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def plug_in(self, number: int, vehicle: Vehicle) -> None:
        """A car arrives; `ValueError` when another one is plugged in."""
        connector = self.connector(number)
        if connector.vehicle is not None:
            raise ValueError(f"{self.identity} connector {number} is occupied")
        connector.vehicle, connector.finished = vehicle, False
        self._event("session", f"car plugged in ({vehicle.soc:.0f} %)", number)
        if connector.id_tag is not None:
            self._start(connector, connector.id_tag)
        self.refresh(connector)

    def unplug(self, number: int) -> None:
        """The car leaves; a running transaction ends with it unless StopTransactionOnEVSideDisconnect is false."""
        connector = self.connector(number)
        if connector.transaction is not None and self.settings.boolean("StopTransactionOnEVSideDisconnect"):
            self.stop(connector, v16.Reason.EV_DISCONNECTED)
        connector.vehicle, connector.finished, connector.id_tag = None, False, None
        self.refresh(connector)

    async def present(self, number: int, id_tag: str, profile: v16.ChargingProfile | None = None) -> bool:
        """Hold a card to the reader: starts a transaction (with this TxProfile), or stops the one that runs with it.

        True when the charger did what the card asked for; starting may still wait for a car to be plugged in.
        """
        connector = self.connector(number)
        transaction = connector.transaction
        if transaction is not None:
            if not same_tag(transaction.id_tag, id_tag):
                self._event("session", f"id tag {id_tag} did not start this session: ignored", number)
                return False
            self.stop(connector, v16.Reason.LOCAL, id_tag)
            return True
        if connector.presenting or connector.id_tag is not None or not connector.operative:
            return False
        connector.presenting = True
        self.refresh(connector)
        try:
            accepted = await self._authorize(connector, id_tag)
        finally:
            connector.presenting = False
        if accepted and connector.transaction is None and connector.operative:
            self.authorized(connector, id_tag, profile)
        self.refresh(connector)
        return accepted

    # Life

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as self._work:
            self._work.create_task(self._keep_time())
            self._work.create_task(self._stay_connected())

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that takes longer than an answer may."""
        assert self._work is not None
        self._work.create_task(work)

    async def _stay_connected(self) -> None:
        shortest, longest = self._backoff
        wait, told = shortest, ""
        while True:
            failure = ""
            try:
                async with connect(
                    self._url,
                    subprotocols=[SUBPROTOCOL],
                    compression=None,
                    open_timeout=10,
                    ping_interval=None,
                    close_timeout=2,
                    proxy=None,
                ) as websocket:
                    await self._talk(websocket)
                wait = shortest if self.accepted or self._restart else wait
            except InvalidStatus as error:
                failure = f"refused with HTTP {error.response.status_code}: {_body(error)}"
            except (OSError, InvalidHandshake, EOFError) as error:
                failure = f"no connection: {_reason(error)}"
            if failure and failure != told:
                self._event("link", f"{failure} ({self._url}); trying again")
            told = failure
            if self._restart is not None:
                self._restart, self.accepted = None, False
                await asyncio.sleep(REBOOT_TIME)
                continue
            await asyncio.sleep(wait * self._random.uniform(0.5, 1.0))
            wait = min(2 * wait, longest)

    async def _talk(self, websocket: ClientConnection) -> None:
        link = Link(
            websocket,
            lambda request: operations.answer(self, request),
            call_timeout=self._call_timeout,
            ping_interval=self.settings.integer("WebSocketPingInterval"),
            name=self.identity,
        )
        self._link = link
        self._event("link", f"connected to {self._url}")
        parts = [asyncio.create_task(part) for part in (link.run(), self._converse(link), self._shut_down(link))]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            self._link = None
            self._next_heartbeat = float("inf")
            for connector in self.connectors:
                self._energise(connector)  # nobody is left to ask
            self._event("link", "disconnected")
            self._notify()

    async def _converse(self, link: Link) -> None:
        try:
            while True:
                await self._register(link)
                self._outbox = deque(outgoing for outgoing in self._outbox if outgoing.lasting)
                for connector in reversed(self.connectors):
                    self._outbox.appendleft(self._status_message(connector))
                await self._deliver(link)
        except ConnectionError:
            return

    async def _register(self, link: Link) -> None:
        """BootNotification until accepted (§4.2); a mere reconnect needs none."""
        while not self.accepted:
            try:
                response = await link.call(self._boot)
            except (CallError, TimeoutError) as error:
                self._event("link", f"BootNotification failed: {_reason(error)}")
                await asyncio.sleep(_BOOT_RETRY)
                continue
            assert isinstance(response, v16.BootNotificationResponse)
            self._event("link", f"BootNotification: {response.status.value}")
            if response.status is v16.RegistrationStatus.ACCEPTED:
                self.accepted = True
                if response.interval > 0:
                    self.settings.change("HeartbeatInterval", str(response.interval))
                self.restart_heartbeat()
            else:
                await asyncio.sleep(response.interval if response.interval > 0 else _BOOT_RETRY)
        self.restart_heartbeat()
        self._notify()

    async def _deliver(self, link: Link) -> None:
        """Send what is queued, in order; returns when the central system wants a BootNotification first."""
        while True:
            await self.until(lambda: bool(self._outbox))
            outgoing = self._outbox[0]
            try:
                response = await link.call(outgoing.make())
            except (CallError, TimeoutError) as error:
                if isinstance(error, CallError) and error.code == ErrorCode.SECURITY_ERROR:
                    self.accepted = False
                    return
                if await self._failed(outgoing, error):
                    continue
                self._outbox.popleft()
                outgoing.given_up()
            else:
                self._outbox.popleft()
                outgoing.answered(response)
            self._notify()

    async def _failed(self, outgoing: _Outgoing, error: Exception) -> bool:
        """Whether to send it again: transaction messages are, after a growing pause (§3.7.1)."""
        outgoing.attempts += 1
        name = type(outgoing.make()).__name__.removesuffix("Request")
        again = outgoing.lasting and outgoing.attempts < self.settings.integer("TransactionMessageAttempts")
        self._event("link", f"{name} failed: {_reason(error)}; {'trying again' if again else 'dropped'}")
        if again:
            await asyncio.sleep(outgoing.attempts * self.settings.integer("TransactionMessageRetryInterval"))
        return again

    async def _shut_down(self, link: Link) -> None:
        """Restart when Reset asks for it: stop all transactions, tell of them, hang up (§5.14)."""
        await self.until(lambda: self._restart is not None)
        reason = v16.Reason.HARD_RESET if self._restart is v16.ResetType.HARD else v16.Reason.SOFT_RESET
        for connector in self.connectors:
            if connector.transaction is not None:
                self.stop(connector, reason)
            connector.id_tag, connector.finished = None, False
        await self.until(lambda: not any(outgoing.lasting for outgoing in self._outbox), _FLUSH_TIMEOUT)
        await link.close()

    # Time

    async def _keep_time(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._tick(now, self.clock.simulated(now - last))
            last = now

    def _tick(self, now: float, simulated: float) -> None:
        today = datetime.now(UTC)
        for connector in self.connectors[1:]:
            connector.offer(self.limit(connector, today))
            connector.advance(simulated)
            if connector.id_tag is not None and now >= connector.id_tag_deadline:
                self._event("session", "no car was plugged in: authorisation lapsed", connector.number)
                connector.id_tag = None
            if now >= self._next_sample.get(connector.number, float("inf")):
                self._next_sample[connector.number] = now + self.sample_interval
                self.sample(connector, v16.ReadingContext.SAMPLE_PERIODIC)
        for connector in self.connectors:
            if connector.reservation is not None and connector.reservation.expires <= today:
                connector.reservation = None
                self._event("operation", "reservation expired", connector.number)
            self.refresh(connector)
        if now >= self._next_heartbeat:
            self.restart_heartbeat()
            self.send(v16.HeartbeatRequest())
        self._sample_aligned(today)

    def _sample_aligned(self, today: datetime) -> None:
        """Readings of all connectors at full multiples of ClockAlignedDataInterval since midnight (§9.1)."""
        interval = self.settings.integer("ClockAlignedDataInterval")
        if not interval:
            self._last_aligned = 0
            return
        slot = int(today.timestamp()) // interval
        if self._last_aligned and slot != self._last_aligned and self.online:
            for connector in self.connectors[1:]:
                self.sample(connector, v16.ReadingContext.SAMPLE_CLOCK)
        self._last_aligned = slot

    def restart_heartbeat(self) -> None:
        """Count the heartbeat interval from now."""
        interval = self.settings.integer("HeartbeatInterval")
        self._next_heartbeat = time.monotonic() + interval if interval and self.online else float("inf")

    def restart_sampling(self) -> None:
        """Count the sample interval from now, for all running transactions."""
        for connector in self.connectors[1:]:
            if connector.transaction is not None:
                self._sample_from_now(connector)

    def _sample_from_now(self, connector: Connector) -> None:
        interval = self.sample_interval
        self._next_sample[connector.number] = time.monotonic() + interval if interval else float("inf")

    # Sessions

    async def _authorize(self, connector: Connector, id_tag: str) -> bool:
        """Ask the central system, or the local list and cache while it cannot be asked (§3.5, §4.1)."""
        number = connector.number
        if not self.may_use(connector, id_tag):
            self._event("session", f"id tag {id_tag}: reserved for somebody else", number)
            return False
        if self.settings.boolean("LocalPreAuthorize") and self._known(id_tag):
            self._event("session", f"id tag {id_tag}: known, accepted", number)
            return True
        if self._link is not None and self.accepted:
            try:
                response = await self._link.call(v16.AuthorizeRequest(id_tag=id_tag))
            except (CallError, TimeoutError) as error:
                self._event("session", f"id tag {id_tag}: Authorize failed: {_reason(error)}", number)
                return False
            except ConnectionError:
                pass
            else:
                assert isinstance(response, v16.AuthorizeResponse)
                self._remember(id_tag, response.id_tag_info)
                self._event("session", f"id tag {id_tag}: {response.id_tag_info.status.value}", number)
                parent = response.id_tag_info.parent_id_tag
                return response.id_tag_info.status is v16.AuthorizationStatus.ACCEPTED and self.may_use(
                    connector, id_tag, parent, final=True
                )
        accepted = self.settings.boolean("LocalAuthorizeOffline") and self._known(id_tag)
        self._event("session", f"id tag {id_tag}: offline, {'known' if accepted else 'unknown'}", number)
        return accepted

    def _known(self, id_tag: str) -> bool:
        return self.tags.accepts(
            id_tag,
            use_list=self.settings.boolean("LocalAuthListEnabled"),
            use_cache=self.settings.boolean("AuthorizationCacheEnabled"),
        )

    def _remember(self, id_tag: str, info: v16.IdTagInfo) -> None:
        if self.settings.boolean("AuthorizationCacheEnabled"):
            self.tags.remember(id_tag, info)

    def may_use(self, connector: Connector, id_tag: str, parent: str | None = None, *, final: bool = False) -> bool:
        """Whether no reservation stands against it (§3.10); without ``final`` the parent tag may still decide."""
        reservation = connector.reservation
        if reservation is not None:
            if same_tag(reservation.id_tag, id_tag):
                return True
            if reservation.parent_id_tag is None:
                return False
            return not final or (parent is not None and same_tag(reservation.parent_id_tag, parent))
        anywhere = self.connectors[0].reservation
        if anywhere is None or same_tag(anywhere.id_tag, id_tag):
            return True
        others = [other for other in self.connectors[1:] if other is not connector]
        return any(other.status is v16.ChargePointStatus.AVAILABLE for other in others)

    def authorized(self, connector: Connector, id_tag: str, profile: v16.ChargingProfile | None = None) -> None:
        """The id tag may charge here: start, or wait ConnectionTimeOut for a car."""
        connector.id_tag, connector.profile = id_tag, profile
        connector.id_tag_deadline = time.monotonic() + self.settings.integer("ConnectionTimeOut")
        if connector.vehicle is not None:
            self._start(connector, id_tag)
        self.refresh(connector)

    def _start(self, connector: Connector, id_tag: str) -> None:
        now = datetime.now(UTC)
        transaction = Transaction(
            id_tag=id_tag,
            meter_start=connector.meter,
            started=now,
            begin=connector.readings(
                now, v16.ReadingContext.TRANSACTION_BEGIN, self.settings.words("StopTxnSampledData")
            ),
            reservation_id=self._take_reservation(connector, id_tag),
        )
        connector.transaction, connector.id_tag, connector.finished = transaction, None, False
        if connector.profile is not None:
            self.profiles.install(connector.number, connector.profile, now)
        if not self.online:
            self._energise(connector)
        request = v16.StartTransactionRequest(
            connector_id=connector.number,
            id_tag=id_tag,
            meter_start=transaction.meter_start,
            timestamp=v16.format_timestamp(now),
            reservation_id=transaction.reservation_id,
        )

        def answered(response: v16.StartTransactionResponse) -> None:
            transaction.id = response.transaction_id
            self._remember(id_tag, response.id_tag_info)
            self._started(connector, transaction, response.id_tag_info.status)

        def given_up() -> None:
            transaction.id = -1  # what the messages of a transaction carry whose start nobody confirmed (errata 3.18)
            self._started(connector, transaction, v16.AuthorizationStatus.ACCEPTED)

        self._queue(_Outgoing(lambda: request, answered, given_up, lasting=True))
        self._sample_from_now(connector)

    def _take_reservation(self, connector: Connector, id_tag: str) -> int | None:
        """The reservation that this transaction uses up."""
        for place in (connector, self.connectors[0]):
            if place.reservation is not None and (place is connector or same_tag(place.reservation.id_tag, id_tag)):
                number, place.reservation = place.reservation.id, None
                return number
        return None

    def _started(self, connector: Connector, transaction: Transaction, status: v16.AuthorizationStatus) -> None:
        """The central system has answered StartTransaction (§4.8)."""
        if connector.transaction is not transaction:
            return
        number = connector.number
        if status is v16.AuthorizationStatus.ACCEPTED:
            self._event("session", f"transaction {transaction.id} with id tag {transaction.id_tag}", number)
            self._energise(connector)
        elif self.settings.boolean("StopTransactionOnInvalidId"):
            self._event("session", f"id tag {transaction.id_tag}: {status.value} at the start", number)
            self.stop(connector, v16.Reason.DE_AUTHORIZED)
        self.refresh(connector)

    def _energise(self, connector: Connector) -> None:
        if connector.transaction is not None:
            connector.transaction.energised = True
            connector.offer(self.limit(connector, datetime.now(UTC)))

    def stop(self, connector: Connector, reason: v16.Reason, id_tag: str | None = None) -> None:
        """End the running transaction of this connector."""
        transaction = connector.transaction
        assert transaction is not None
        connector.disconnect()
        now, meter = datetime.now(UTC), connector.meter
        measurands = self.settings.words("StopTxnSampledData")
        end = connector.readings(now, v16.ReadingContext.TRANSACTION_END, measurands)

        def make() -> v16.Message:
            return v16.StopTransactionRequest(
                transaction_id=transaction.id if transaction.id is not None else -1,
                meter_stop=meter,
                timestamp=v16.format_timestamp(now),
                id_tag=id_tag,
                reason=reason.value,
                transaction_data=[transaction.begin, end] if measurands else None,
            )

        connector.transaction, connector.finished = None, True
        if connector.operative_later is not None:
            connector.operative, connector.operative_later = connector.operative_later, None
        self._next_sample.pop(connector.number, None)
        self.profiles.end_transaction(connector.number)
        self._queue(_Outgoing(make, lasting=True))
        energy = (meter - transaction.meter_start) / 1000
        minutes = self.clock.simulated((now - transaction.started).total_seconds()) / 60
        self._event(
            "session",
            f"session ended ({reason.value}): {energy:.2f} kWh in {minutes:.0f} min, id tag {transaction.id_tag}",
            connector.number,
        )
        self.refresh(connector)

    def limit(self, connector: Connector, now: datetime) -> float:
        """A per phase that the connector may offer now; the charge point's limit is shared by who charges."""
        started = connector.transaction.started if connector.transaction is not None else None
        own = self.profiles.connector_limit(connector.number, now, started)
        whole = self.profiles.charge_point_limit(now)
        limit = HARDWARE_LIMIT if own is None else min(HARDWARE_LIMIT, own)
        if whole is not None:
            sharing = sum(other.transaction is not None for other in self.connectors)
            limit = min(limit, whole / max(1, sharing))
        return limit

    # Messages

    def send(self, request: v16.Message) -> None:
        """Queue a message that may get lost with the connection."""
        self._queue(_Outgoing(lambda: request))

    def send_boot(self) -> None:
        """Send BootNotification without a restart, as TriggerMessage asks."""
        self.send(self._boot)

    def send_status(self, connector: Connector) -> None:
        """Send StatusNotification with the status of the moment in which it leaves."""
        self._queue(self._status_message(connector))

    def sample(self, connector: Connector, context: v16.ReadingContext) -> None:
        """Send MeterValues; in a transaction they are kept while offline."""
        transaction, now = connector.transaction, datetime.now(UTC)
        clock = context is v16.ReadingContext.SAMPLE_CLOCK
        measurands = self.settings.words("MeterValuesAlignedData" if clock else "MeterValuesSampledData")
        if not measurands or len(self._outbox) >= MAX_QUEUE or (transaction is None and not self.online):
            return
        readings = connector.readings(now, context, measurands)

        def make() -> v16.Message:
            return v16.MeterValuesRequest(
                connector_id=connector.number,
                transaction_id=transaction.id if transaction is not None else None,
                meter_value=[readings],
            )

        self._queue(_Outgoing(make, lasting=transaction is not None))

    def refresh(self, connector: Connector) -> None:
        """Tell the central system when the status has become another one."""
        status = connector.status
        if status is connector.reported:
            return
        self._event("status", f"{connector.reported.value} → {status.value}", connector.number)
        connector.reported = status
        if self.online:
            self._queue(self._status_message(connector, status))
        self._notify()

    def reset(self, kind: v16.ResetType) -> None:
        """Restart soon, after the present answer is out."""
        self._restart = kind
        self._notify()

    def _status_message(self, connector: Connector, status: v16.ChargePointStatus | None = None) -> _Outgoing:
        now = v16.format_timestamp(datetime.now(UTC))
        return _Outgoing(
            lambda: v16.StatusNotificationRequest(
                connector_id=connector.number,
                error_code=v16.ChargePointErrorCode.NO_ERROR.value,
                status=status or connector.status,
                timestamp=now,
            )
        )

    def _queue(self, outgoing: _Outgoing) -> None:
        self._outbox.append(outgoing)
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def operation(self, text: str, connector: int | None = None) -> None:
        """Tell the listener of something that the central system asked for."""
        self._event("operation", text, connector)

    def _event(self, kind: Kind, text: str, connector: int | None = None) -> None:
        self._listener(Event(self.identity, connector, kind, text))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _body(error: InvalidStatus) -> str:
    body = error.response.body or b""
    return body[:200].decode("utf-8", "replace").strip() or error.response.reason_phrase
