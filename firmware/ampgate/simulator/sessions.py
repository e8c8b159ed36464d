"""The sessions of a charge point: who may charge, how a transaction begins and how it ends (OCPP 1.6 §3, §4.8, §4.10).

Starts and stops go into the queue of `connection`; the status of a connector follows from facts (see `connector`).
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError
from ampgate.simulator.authorization import KnownTags, same_tag
from ampgate.simulator.connection import Outgoing
from ampgate.simulator.connector import Connector, Transaction
from ampgate.simulator.events import reason as why

if TYPE_CHECKING:
    from ampgate.simulator.charger import Charger


class Sessions:
    """All sessions of one charge point."""

    def __init__(self, charger: Charger) -> None:
        self._charger = charger
        self.tags = KnownTags()

    async def present(self, connector: Connector, id_tag: str, profile: v16.ChargingProfile | None = None) -> bool:
        """A card at the reader: starts a transaction (with this TxProfile), or stops the one that runs with it.

        True when the charger did what the card asked for; starting may still wait for a car to be plugged in.
        """
        transaction = connector.transaction
        if transaction is not None:
            if not same_tag(transaction.id_tag, id_tag):
                self._tell(connector, f"id tag {id_tag} did not start this session: ignored")
                return False
            self.stop(connector, v16.Reason.LOCAL, id_tag)
            return True
        if not connector.idle or not connector.usable:
            return False
        connector.presenting = True
        self._charger.refresh(connector)
        try:
            accepted = await self._authorize(connector, id_tag)
        finally:
            connector.presenting = False
        if accepted and connector.transaction is None and connector.usable:
            self.authorized(connector, id_tag, profile)
        self._charger.refresh(connector)
        return accepted

    async def _authorize(self, connector: Connector, id_tag: str) -> bool:
        """Ask the central system; while it cannot be asked, decide as the settings say (§3.5, §4.1)."""
        settings = self._charger.settings
        if not self.may_use(connector, id_tag):
            self._tell(connector, f"id tag {id_tag}: reserved for somebody else")
            return False
        if settings.boolean("LocalPreAuthorize") and self._known(id_tag):
            self._tell(connector, f"id tag {id_tag}: known, accepted")
            return True
        try:
            async with asyncio.timeout(settings.integer("rfidStatusTimeout") or None):
                response = await self._charger.connection.call(v16.AuthorizeRequest(id_tag=id_tag))
        except ConnectionError:
            accepted = self._accepted_offline(id_tag)
            self._tell(connector, f"id tag {id_tag}: offline, {'accepted' if accepted else 'rejected'}")
            return accepted
        except (CallError, TimeoutError) as error:
            self._tell(connector, f"id tag {id_tag}: Authorize failed: {why(error)}")
            return False
        assert isinstance(response, v16.AuthorizeResponse)
        info = response.id_tag_info
        self._remember(id_tag, info)
        self._tell(connector, f"id tag {id_tag}: {info.status.value}")
        return info.status is v16.AuthorizationStatus.ACCEPTED and self.may_use(
            connector, id_tag, info.parent_id_tag, final=True
        )

    def _accepted_offline(self, id_tag: str) -> bool:
        """Everybody, those who are known, or nobody (§3.5.3, §3.5.4)."""
        settings = self._charger.settings
        if settings.boolean("LocalAuthorizeOffline") and self._known(id_tag):
            return True
        return settings.boolean("AllowOfflineTxForUnknownId")

    def _known(self, id_tag: str) -> bool:
        settings = self._charger.settings
        return self.tags.accepts(
            id_tag,
            use_list=settings.boolean("LocalAuthListEnabled"),
            use_cache=settings.boolean("AuthorizationCacheEnabled"),
        )

    def _remember(self, id_tag: str, info: v16.IdTagInfo) -> None:
        if self._charger.settings.boolean("AuthorizationCacheEnabled"):
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
        whole, *connectors = self._charger.connectors
        if whole.reservation is None or same_tag(whole.reservation.id_tag, id_tag):
            return True
        others = [other for other in connectors if other is not connector]
        return any(other.status is v16.ChargePointStatus.AVAILABLE for other in others)

    def authorized(self, connector: Connector, id_tag: str, profile: v16.ChargingProfile | None = None) -> None:
        """The id tag may charge here: start, or wait ConnectionTimeOut for a car."""
        connector.id_tag, connector.profile = id_tag, profile
        connector.id_tag_deadline = time.monotonic() + self._charger.settings.integer("ConnectionTimeOut")
        if connector.vehicle is not None:
            self.start(connector, id_tag)
        self._charger.refresh(connector)

    def start(self, connector: Connector, id_tag: str) -> None:
        """Begin a transaction with the car that is plugged in."""
        now, charger = datetime.now(UTC), self._charger
        measurands = charger.settings.words("StopTxnSampledData")
        transaction = Transaction(
            id_tag=id_tag,
            meter_start=connector.meter,
            started=now,
            begin=connector.readings(now, v16.ReadingContext.TRANSACTION_BEGIN, measurands),
            reservation_id=self._take_reservation(connector, id_tag),
        )
        connector.transaction, connector.id_tag, connector.finished = transaction, None, False
        if connector.profile is not None:
            charger.profiles.install(connector.number, connector.profile, now)
        if not charger.online:
            self.energise(connector)
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

        charger.queue(Outgoing(lambda: request, answered, given_up, lasting=True))
        charger.sample_from_now(connector)

    def _take_reservation(self, connector: Connector, id_tag: str) -> int | None:
        """The reservation that this transaction uses up."""
        for place in (connector, self._charger.connectors[0]):
            if place.reservation is not None and (place is connector or same_tag(place.reservation.id_tag, id_tag)):
                number, place.reservation = place.reservation.id, None
                return number
        return None

    def _started(self, connector: Connector, transaction: Transaction, status: v16.AuthorizationStatus) -> None:
        """The central system has answered StartTransaction (§4.8)."""
        if connector.transaction is not transaction:
            return
        if status is v16.AuthorizationStatus.ACCEPTED:
            self._tell(connector, f"transaction {transaction.id} with id tag {transaction.id_tag}")
            self.energise(connector)
        elif self._charger.settings.boolean("StopTransactionOnInvalidId"):
            self._tell(connector, f"id tag {transaction.id_tag}: {status.value} at the start")
            self.stop(connector, v16.Reason.DE_AUTHORIZED)
        self._charger.refresh(connector)

    def energise(self, connector: Connector) -> None:
        """Close the contactor if there is a transaction."""
        if connector.transaction is not None:
            connector.transaction.energised = True
            connector.offer(self._charger.limit(connector, datetime.now(UTC)))

    def stop(self, connector: Connector, reason: v16.Reason, id_tag: str | None = None) -> None:
        """End the running transaction of this connector."""
        transaction, charger = connector.transaction, self._charger
        assert transaction is not None
        connector.disconnect()
        now, meter = datetime.now(UTC), connector.meter
        measurands = charger.settings.words("StopTxnSampledData")
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
        charger.profiles.end_transaction(connector.number)
        charger.queue(Outgoing(make, lasting=True))
        energy = (meter - transaction.meter_start) / 1000
        minutes = charger.clock.simulated((now - transaction.started).total_seconds()) / 60
        self._tell(
            connector,
            f"session ended ({reason.value}): {energy:.2f} kWh in {minutes:.0f} min, id tag {transaction.id_tag}",
        )
        charger.refresh(connector)

    def end_all(self, reason: v16.Reason) -> None:
        """End every transaction and forget who was about to begin one."""
        for connector in self._charger.connectors:
            if connector.transaction is not None:
                self.stop(connector, reason)
            connector.id_tag, connector.finished = None, False

    def _tell(self, connector: Connector, text: str) -> None:
        self._charger.tell("session", text, connector.number)
