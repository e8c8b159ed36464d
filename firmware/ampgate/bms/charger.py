"""What the BMS decides about one charger (driver guide, *Driver Operation*). No I/O.

Request start → Authorize → Start → Request stop → Stop: each step is one method. Every method leaves the `record` as it
has to be kept before the gateway hears the answer; asked again, it gives the same answer.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Final

from ampgate.bms.records import (
    Answer,
    Charge,
    ChargerRecord,
    ConnectorRecord,
    Session,
    StartMessage,
    StopMessage,
    Use,
)

log = logging.getLogger(__name__)

ACCEPTED: Final = 0
INVALID: Final = 3
"""Authorization results of the register map."""
MAX_TRANSACTION_ID: Final = 65535
MAX_PENDING: Final = 4
"""Starts of one connector that may be under way: a charger may still begin the one before the last."""
MAX_SESSIONS: Final = 16
"""Sessions of one charger: an older one whose end was never heard of gives way."""


class TaskRefused(Exception):
    """Why a task cannot be done now, for people."""


def new_tag() -> str:
    """An id tag for one start: 19 characters in upper case that nobody can guess."""
    return f"BMS{secrets.token_hex(8).upper()}"


class Users:
    """Whose cards are known, by id tag without regard to upper and lower case."""

    def __init__(self, users: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._names = {tag.casefold(): name for name, tags in users for tag in tags}

    def of(self, id_tag: str) -> str | None:
        """The name of the user, None for an unknown card."""
        return self._names.get(id_tag.casefold())


class TransactionIds:
    """Numbers for sessions: 1…65535 in a circle, none that a running session has."""

    def __init__(self, last: int, in_use: Callable[[], Iterable[int]]) -> None:
        self.last = last
        self._in_use = in_use

    def take(self) -> int:
        """The next free one."""
        used = set(self._in_use())
        self.last = next(
            number
            for step in range(MAX_TRANSACTION_ID)
            if (number := (self.last + step) % MAX_TRANSACTION_ID + 1) not in used
        )
        return self.last


class Charger:
    """One charger with its connectors, numbered from 1."""

    def __init__(
        self,
        name: str,
        connectors: int,
        record: ChargerRecord | None = None,
        *,
        users: Users,
        ids: TransactionIds,
        make_tag: Callable[[], str] = new_tag,
    ) -> None:
        self.name = name
        self.record = record or ChargerRecord({})
        for number in range(1, connectors + 1):
            self.record.connectors.setdefault(number, ConnectorRecord())
        self._users, self._ids, self._make_tag = users, ids, make_tag
        self.accepted = self.declined = 0
        """Authorize requests since the start of the process, by answer."""

    def connector(self, number: int) -> ConnectorRecord:
        """What is known of a connector."""
        return self.record.connectors[number]

    def session(self, connector: int) -> Session | None:
        """The session that runs at a connector."""
        return next((session for session in reversed(self.record.sessions) if session.connector == connector), None)

    # Tasks

    def request_start(self, connector: int, user: str, status: str) -> str:
        """An id tag to start a session with; `TaskRefused` unless the connector is *Preparing*."""
        if status != "Preparing":
            raise TaskRefused(f"the charger is {status}; it can be started when it is Preparing (cable connected)")
        tag = self._make_tag()
        pending = self.connector(connector).pending
        pending[tag] = user
        while len(pending) > MAX_PENDING:
            del pending[next(iter(pending))]
        return tag

    def withdraw(self, connector: int, tag: str) -> None:
        """The charger has refused to start: this id tag is void."""
        self.connector(connector).pending.pop(tag, None)

    def request_stop(self, connector: int) -> int:
        """The transaction id to stop; `TaskRefused` when no session runs."""
        session = self.session(connector)
        if session is None:
            raise TaskRefused("no charging session runs")
        return session.transaction

    # What the gateway shows

    def unplugged(self, connector: int) -> bool:
        """The connector is *Available*: starts that were under way are void. Whether there were any."""
        pending = self.connector(connector).pending
        had_some = bool(pending)
        pending.clear()
        return had_some

    def authorize(self, id_tag: str) -> int:
        """Authorization result: accepted are id tags made for a start, until its session has ended, and known cards."""
        known = (
            any(id_tag.upper() in connector.pending for connector in self.record.connectors.values())
            or any(id_tag.casefold() == session.id_tag.casefold() for session in self.record.sessions)
            or self._users.of(id_tag) is not None
        )
        self.accepted += known
        self.declined += not known
        return ACCEPTED if known else INVALID

    def start(self, message: StartMessage, now: datetime) -> tuple[Answer, Session | None]:
        """Judge the id tag again and give the transaction an id; also the session, when it is accepted and new."""
        if self.record.start is not None and self.record.start[0] == message:
            return self.record.start[1], None
        user = self._user(message)
        answer = Answer(INVALID if user is None else ACCEPTED, self._ids.take())
        self.record.start = message, answer
        if user is None:
            return answer, None
        self.connector(message.connector).pending.clear()
        session = Session(message.connector, answer.transaction, message.id_tag, user, now, message.meter)
        sessions = self.record.sessions
        sessions.append(session)
        if len(sessions) > MAX_SESSIONS:
            log.warning("%s: transaction %d has never ended; given up", self.name, sessions.pop(0).transaction)
        return answer, session

    def stop(self, message: StopMessage, now: datetime) -> Charge | None:
        """Take in the end of a session; None when it is not one of ours, or known already."""
        if self.record.stop == message:
            return None
        self.record.stop = message
        session = next((one for one in self.record.sessions if one.transaction == message.transaction), None)
        if session is None:
            log.warning("%s: end of transaction %d, which is not known", self.name, message.transaction)
            return None
        self.record.sessions.remove(session)
        charge = Charge(
            session.connector,
            session.transaction,
            session.id_tag,
            session.user,
            session.started,
            now,
            max(0.0, message.meter - session.meter) / 1000,
            session.minutes(now),
            message.reason,
        )
        self.connector(session.connector).complete(charge)
        return charge

    def turn(self, day: date) -> bool:
        """Begin a new day when it is one; whether it was."""
        return any([connector.turn(day) for connector in self.record.connectors.values()])

    def reset_total(self) -> None:
        """Forget the total use."""
        for connector in self.record.connectors.values():
            connector.total = Use()

    def _user(self, message: StartMessage) -> str | None:
        """Who starts: the user of the start that was requested for this connector, or of the card; None for nobody."""
        connector = self.record.connectors.get(message.connector)
        if connector is None:
            log.warning("%s: start at connector %d, which is not configured", self.name, message.connector)
            return None
        requested = connector.pending.get(message.id_tag.upper())
        return self._users.of(message.id_tag) if requested is None else requested
