"""A charge point that behaves as OCPP 1.6 asks, with cars that somebody plugs in.

The status of a connector follows from facts (see `connector`); this module is what somebody in front of the charge
point can do to it, and what it does as time passes. Who may charge is decided in `sessions`, what the central system
asks is answered in `operations`, and what it is told goes through `connection`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from ampgate.ocpp import v16
from ampgate.simulator.charging_profiles import ChargingProfiles
from ampgate.simulator.clock import Clock
from ampgate.simulator.connection import Connection, Outgoing
from ampgate.simulator.connector import Connector
from ampgate.simulator.events import Event, Kind, Listener
from ampgate.simulator.faults import NO_FAULT, Fault
from ampgate.simulator.profiles import PROFILES, Profile
from ampgate.simulator.sessions import Sessions
from ampgate.simulator.settings import Settings
from ampgate.simulator.vehicle import Vehicle

TICK: Final = 0.25
"""Real seconds between two looks at cars and timers."""
MAX_QUEUE: Final = 2000
"""Messages kept for later; beyond that readings are left out, starts and stops never (OCPP 1.6 §3.7)."""
LONGEST_SERIAL: Final = 25
"""Characters of a serial number that OCPP allows (§6.3)."""


class Charger:
    """One simulated charge point.

    ``url`` is the central system's without the identity; ``tls`` says whom to trust behind wss. ``sample_interval`` is
    in real seconds, ``backoff`` the shortest and longest wait before a new connection in real seconds. ``settings``
    are values of configuration keys to begin with, ``quirks`` bad manners besides those of the profile. Methods are
    called in the event loop of `run`.
    """

    def __init__(
        self,
        url: str,
        identity: str,
        *,
        profile: Profile = PROFILES["generic"],
        connectors: int | None = None,
        clock: Clock | None = None,
        sample_interval: float | None = None,
        seed: int = 0,
        settings: dict[str, str] | None = None,
        quirks: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
        backoff: tuple[float, float] = (1.0, 30.0),
        call_timeout: float = 30.0,
        listener: Listener | None = None,
    ) -> None:
        self.identity = identity
        self.profile = profile
        self.quirks = profile.quirks | quirks
        self.clock = clock or Clock()
        self.sample_interval = profile.sample_interval if sample_interval is None else sample_interval
        count = connectors or profile.connectors
        rotation = "NotApplicable" if profile.supply.phases == 1 else "RST"
        initial = {
            "boxIdentity": identity,
            "NumberOfConnectors": str(count),
            "MeterValueSampleInterval": str(max(1, round(self.sample_interval))) if self.sample_interval else "0",
            "ConnectorPhaseRotation": ",".join(f"{number}.{rotation}" for number in range(count + 1)),
            "ocppCentralAddress": url,
        }
        self.settings = Settings(profile.keys, initial | (settings or {}))
        self.profiles = ChargingProfiles(profile.rules)
        self.connectors = [
            Connector(number, seed * 100 + number, profile.supply, profile.readings) for number in range(count + 1)
        ]
        """By number; 0 is the charge point as a whole."""
        self.sessions = Sessions(self)
        self._listener = listener or (lambda event: None)
        self._changed = asyncio.Event()
        self._work: asyncio.TaskGroup | None = None
        self._next_heartbeat = float("inf")
        self._next_sample: dict[int, float] = {}
        self._last_aligned = 0
        self.connection = Connection(self, url, backoff=backoff, call_timeout=call_timeout, seed=seed, tls=tls)

    # For whoever drives it

    @property
    def online(self) -> bool:
        """Whether it is connected and accepted."""
        return self.connection.online

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
        self.tell("session", f"car plugged in ({vehicle.soc:.0f} %)", number)
        if connector.id_tag is not None:
            self.sessions.start(connector, connector.id_tag)
        self.refresh(connector)

    def unplug(self, number: int) -> None:
        """The car leaves; a running transaction ends with it unless StopTransactionOnEVSideDisconnect is false."""
        connector = self.connector(number)
        if connector.transaction is not None and self.settings.boolean("StopTransactionOnEVSideDisconnect"):
            self.sessions.stop(connector, v16.Reason.EV_DISCONNECTED)
        connector.vehicle, connector.finished, connector.id_tag = None, False, None
        self.refresh(connector)

    async def present(self, number: int, id_tag: str, profile: v16.ChargingProfile | None = None) -> bool:
        """Hold a card to the reader: see `Sessions.present`."""
        return await self.sessions.present(self.connector(number), id_tag, profile)

    def fail(self, number: int, fault: Fault) -> None:
        """A fault appears: it is told, and one that blocks ends the session. At connector 0 it is in all of them."""
        for connector in self._concerned(number):
            connector.fault = fault
            connector.fault_until = float("inf") if fault.passes is None else time.monotonic() + fault.passes
            self.tell("status", f"fault {fault.name} {fault.text}".rstrip(), connector.number)
            if fault.blocks and connector.transaction is not None:
                self.sessions.stop(connector, v16.Reason.OTHER)
            self.refresh(connector)

    def mend(self, number: int) -> None:
        """The fault is gone; at connector 0 all faults are."""
        for connector in self._concerned(number):
            connector.fault, connector.fault_until = NO_FAULT, float("inf")
            self.refresh(connector)

    def _concerned(self, number: int) -> list[Connector]:
        return self.connectors if number == 0 else [self.connector(number)]

    def configure(self, name: str, value: str) -> v16.ConfigurationStatus:
        """Change a configuration key, as ChangeConfiguration or the charge point's own web page do (§5.3)."""
        status = self.settings.change(name, value)
        if status in (v16.ConfigurationStatus.ACCEPTED, v16.ConfigurationStatus.REBOOT_REQUIRED):
            match name.lower():
                case "metervaluesampleinterval":
                    self.sample_interval = self.settings.integer("MeterValueSampleInterval")
                    self._restart_sampling()
                case "heartbeatinterval":
                    self.restart_heartbeat()
        return status

    # Life

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as self._work:
            self._work.create_task(self._keep_time())
            self._work.create_task(self.connection.run())

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that takes longer than an answer may."""
        assert self._work is not None
        self._work.create_task(work)

    def boot(self) -> v16.BootNotificationRequest:
        """Its BootNotification of now."""
        cut = self.settings.boolean("truncateBootNotificationsSerialNumbers")
        return self.profile.boot(self.identity, longest_serial=LONGEST_SERIAL if cut else None)

    def greeting(self) -> list[Outgoing]:
        """What is said first on a new connection: the status of everything (§4.9)."""
        silent = 1 if "no-connector-0" in self.quirks else 0
        return [self._status_message(connector) for connector in self.connectors[silent:]]

    def went_offline(self) -> None:
        """The link is lost: nobody is left to ask who may charge."""
        self._next_heartbeat = float("inf")
        for connector in self.connectors:
            self.sessions.energise(connector)
        self.notify()

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
                self.tell("session", "no car was plugged in: authorisation lapsed", connector.number)
                connector.id_tag = None
            if connector.transaction is not None and now >= self._next_sample.get(connector.number, float("inf")):
                self._next_sample[connector.number] = now + self.sample_interval
                self.sample(connector, v16.ReadingContext.SAMPLE_PERIODIC)
        for connector in self.connectors:
            if connector.reservation is not None and connector.reservation.expires <= today:
                connector.reservation = None
                self.tell("operation", "reservation expired", connector.number)
            if now >= connector.fault_until:
                connector.fault, connector.fault_until = NO_FAULT, float("inf")
            self.refresh(connector)
        if now >= self._next_heartbeat:
            self.restart_heartbeat()
            self.send(v16.HeartbeatRequest())
        self._sample_aligned(today)
        self.connection.check_silence(now)

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

    def _restart_sampling(self) -> None:
        for connector in self.connectors[1:]:
            self.sample_from_now(connector)

    def sample_from_now(self, connector: Connector) -> None:
        """Count the sample interval from now."""
        interval = self.sample_interval
        self._next_sample[connector.number] = time.monotonic() + interval if interval else float("inf")

    def limit(self, connector: Connector, now: datetime) -> float:
        """A per phase that the connector may offer now; the charge point's limit is shared by who charges."""
        started = connector.transaction.started if connector.transaction is not None else None
        own = self.profiles.connector_limit(connector.number, now, started)
        whole = self.profiles.charge_point_limit(now)
        limit = min(connector.supply.limit, self.settings.integer("maxIntensitySocket"))
        limit = limit if own is None else min(limit, own)
        if whole is not None:
            sharing = sum(other.transaction is not None for other in self.connectors)
            limit = min(limit, whole / max(1, sharing))
        return limit

    # Messages

    def queue(self, outgoing: Outgoing) -> None:
        """Send it when its turn comes."""
        self.connection.outbox.append(outgoing)
        self.notify()

    def send(self, request: v16.Message) -> None:
        """Queue a message that may get lost with the connection."""
        self.queue(Outgoing(lambda: request))

    def send_status(self, connector: Connector) -> None:
        """Send StatusNotification with the status of the moment in which it leaves."""
        self.queue(self._status_message(connector))

    def sample(self, connector: Connector, context: v16.ReadingContext) -> None:
        """Send MeterValues; in a transaction they are kept while offline."""
        transaction, now = connector.transaction, datetime.now(UTC)
        clock = context is v16.ReadingContext.SAMPLE_CLOCK
        measurands = self.settings.words("MeterValuesAlignedData" if clock else "MeterValuesSampledData")
        full = len(self.connection.outbox) >= MAX_QUEUE
        if not measurands or full or (transaction is None and not self.online):
            return
        readings = connector.readings(now, context, measurands)

        def make() -> v16.Message:
            return v16.MeterValuesRequest(
                connector_id=connector.number,
                transaction_id=transaction.id if transaction is not None else None,
                meter_value=[readings],
            )

        self.queue(Outgoing(make, lasting=transaction is not None))

    def refresh(self, connector: Connector) -> None:
        """Tell the central system when the status or the fault has become another one."""
        now, before = (connector.status, connector.fault), connector.reported
        if now == before:
            return
        if now[0] is not before[0]:
            self.tell("status", f"{before[0].value} → {now[0].value}", connector.number)
        connector.reported = now
        if self.online and not (connector.number == 0 and "no-connector-0" in self.quirks):
            self.queue(self._status_message(connector, now))
        self.notify()

    def _status_message(
        self, connector: Connector, state: tuple[v16.ChargePointStatus, Fault] | None = None
    ) -> Outgoing:
        timestamp = v16.format_timestamp(datetime.now(UTC))

        def make() -> v16.Message:
            status, fault = state or (connector.status, connector.fault)
            return v16.StatusNotificationRequest(
                connector_id=connector.number,
                error_code=fault.error_code.value,
                status=status,
                info=fault.text or None,
                vendor_id=self.profile.vendor if fault.vendor_code else None,
                vendor_error_code=fault.vendor_code or None,
                timestamp=timestamp,
            )

        return Outgoing(make)

    def notify(self) -> None:
        """Let those look again who wait for something."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def tell(self, kind: Kind, text: str, connector: int | None = None) -> None:
        """Tell the listener what has happened."""
        self._listener(Event(self.identity, connector, kind, text))
