"""What the BMS knows and must not forget: sessions, the last charge, use by day. Plain values, kept by `store`."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from msgspec import Struct, field


class Session(Struct, frozen=True):
    """A charging session that runs."""

    connector: int
    transaction: int
    id_tag: str
    user: str
    """Empty when nobody has been named."""
    started: datetime
    """When the BMS received the start message."""
    meter: float
    """Wh at the start."""

    def minutes(self, now: datetime) -> int:
        """Whole minutes since the start message."""
        return max(0, int((now - self.started).total_seconds() // 60))


class Charge(Struct, frozen=True):
    """A charging session that has ended."""

    connector: int
    transaction: int
    id_tag: str
    user: str
    started: datetime
    ended: datetime
    energy: float
    """kWh."""
    minutes: int
    reason: int
    """Number of the reason in the register map and in the driver guide, 0…10."""


class Use(Struct, frozen=True):
    """Sessions of a day, or of all days."""

    sessions: int = 0
    energy: float = 0.0
    """kWh."""
    minutes: int = 0

    def plus(self, charge: Charge) -> Use:
        """One session more."""
        return Use(self.sessions + 1, self.energy + charge.energy, self.minutes + charge.minutes)


class ConnectorRecord(Struct):
    """What is known of one connector."""

    pending: dict[str, str] = field(default_factory=dict)
    """Id tags made for starts that have been requested, and the user of each."""
    last: Charge | None = None
    counter: int = 0
    """0, then 1…65535 and again 1: changes with each completed session."""
    day: date | None = None
    """The day of ``today``."""
    today: Use = Use()
    previous: Use = Use()
    total: Use = Use()

    def complete(self, charge: Charge) -> None:
        """Take in a session that has ended."""
        self.last = charge
        self.counter = self.counter % 65535 + 1
        self.today, self.total = self.today.plus(charge), self.total.plus(charge)

    def turn(self, day: date) -> bool:
        """Begin a new day when it is one; whether it was.

        A clock that is put back by some hours does not bring yesterday back.
        """
        if self.day is not None and timedelta(0) <= self.day - day <= timedelta(days=1):
            return False
        self.previous = self.today if self.day is not None and day - self.day == timedelta(days=1) else Use()
        self.today, self.day = Use(), day
        return True


class StartMessage(Struct, frozen=True):
    """A StartTransaction as the registers show it."""

    connector: int
    id_tag: str
    meter: float
    timestamp: int


class StopMessage(Struct, frozen=True):
    """A StopTransaction as the registers show it."""

    transaction: int
    meter: float
    timestamp: int
    reason: int


class Answer(Struct, frozen=True):
    """What a StartTransaction is answered with."""

    result: int
    transaction: int


class ChargerRecord(Struct):
    """What is known of one charger."""

    connectors: dict[int, ConnectorRecord]
    sessions: list[Session] = field(default_factory=list)
    """Those that run, oldest first."""
    start: tuple[StartMessage, Answer] | None = None
    """The last StartTransaction and its answer: after a broken connection it is shown again."""
    stop: StopMessage | None = None
    """The last StopTransaction that was taken in, for the same reason."""
