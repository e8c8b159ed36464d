"""The charging profiles of a charge point and the limit that results from them (OCPP 1.6 §3.13, §5.16). No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ampgate.ocpp import v16

_RECURRENCE: Final = {
    v16.RecurrencyKindType.DAILY: timedelta(days=1),
    v16.RecurrencyKindType.WEEKLY: timedelta(weeks=1),
}
_Purpose = v16.ChargingProfilePurposeType
_Kind = v16.ChargingProfileKindType


@dataclass(frozen=True, slots=True)
class Rules:
    """What a charge point accepts of a charging profile, beyond the rules of OCPP 1.6 §5.16."""

    stack_level: int = 8
    """Highest stack level."""
    periods: int = 24
    """Periods of a schedule."""
    installed: int = 20
    """Profiles at a time."""
    watts: bool = True
    """Whether limits may be in W, besides A."""
    phases: bool = True
    """Whether a period may have numberPhases."""
    least_rate: bool = True
    """Whether a schedule may have minChargingRate."""
    composite_of_all: bool = True
    """Whether GetCompositeSchedule works for connector 0."""
    voltage: float = 230.0
    """V of a phase, by which limits in W are converted."""
    supply_phases: int = 3
    """Phases that a limit in W is for when it does not say."""

    def amperes(self, period: v16.ChargingSchedulePeriod, unit: v16.ChargingRateUnitType) -> float:
        """The limit of a period in A per phase."""
        if unit is v16.ChargingRateUnitType.A:
            return period.limit
        return period.limit / (self.voltage * (period.number_phases or self.supply_phases))

    def watts_of(self, current: float) -> float:
        """W over all phases at this current in A per phase."""
        return current * self.voltage * self.supply_phases

    def allow(self, connector: int, profile: v16.ChargingProfile) -> bool:
        """Whether a profile for this connector keeps all rules, those of OCPP 1.6 §5.16 among them."""
        purpose, kind = profile.charging_profile_purpose, profile.charging_profile_kind
        schedule = profile.charging_schedule
        periods = schedule.charging_schedule_period
        starts = [period.start_period for period in periods]
        return (
            0 <= profile.stack_level <= self.stack_level
            and 1 <= len(periods) <= self.periods
            and starts[0] == 0
            and starts == sorted(starts)
            and (purpose is not _Purpose.CHARGE_POINT_MAX_PROFILE or (connector == 0 and kind is not _Kind.RELATIVE))
            and (purpose is not _Purpose.TX_PROFILE or connector > 0)
            and (kind is not _Kind.RECURRING or profile.recurrency_kind is not None)
            and (self.watts or schedule.charging_rate_unit is v16.ChargingRateUnitType.A)
            and (self.least_rate or schedule.min_charging_rate is None)
            and (self.phases or all(period.number_phases is None for period in periods))
        )


@dataclass(frozen=True, slots=True)
class _Installed:
    """A profile, where it was installed and since when."""

    connector: int
    profile: v16.ChargingProfile
    since: datetime
    rules: Rules

    def valid(self, now: datetime) -> bool:
        since = v16.read_timestamp(self.profile.valid_from)
        until = v16.read_timestamp(self.profile.valid_to)
        return (since is None or since <= now) and (until is None or now < until)

    def start(self, started: datetime | None) -> datetime:
        """What its times count from: Relative from the start of charging, without one from its installation."""
        if self.profile.charging_profile_kind is _Kind.RELATIVE:
            return started or self.since
        return v16.read_timestamp(self.profile.charging_schedule.start_schedule) or self.since

    def limit(self, now: datetime, started: datetime | None) -> float | None:
        """A per phase at this moment; None outside of its schedule."""
        schedule = self.profile.charging_schedule
        elapsed = now - self.start(started)
        if self.profile.charging_profile_kind is _Kind.RECURRING and self.profile.recurrency_kind is not None:
            elapsed %= _RECURRENCE[self.profile.recurrency_kind]
        seconds = elapsed.total_seconds()
        if seconds < 0 or (schedule.duration is not None and seconds >= schedule.duration):
            return None
        periods = [period for period in schedule.charging_schedule_period if period.start_period <= seconds]
        return self.rules.amperes(periods[-1], schedule.charging_rate_unit) if periods else None

    def changes(self, now: datetime, until: datetime, started: datetime | None) -> Iterator[datetime]:
        """The moments in between at which its limit may change."""
        schedule = self.profile.charging_schedule
        marks = [period.start_period for period in schedule.charging_schedule_period]
        marks += [schedule.duration] if schedule.duration is not None else []
        recurrence = _RECURRENCE.get(self.profile.recurrency_kind) if self.profile.recurrency_kind else None
        start = self.start(started)
        if recurrence is not None:
            start += (now - start) // recurrence * recurrence
        while start < until:
            yield from (start + timedelta(seconds=mark) for mark in marks)
            if recurrence is None:
                break
            start += recurrence
        for text in (self.profile.valid_from, self.profile.valid_to):
            moment = v16.read_timestamp(text)
            if moment is not None:
                yield moment


class ChargingProfiles:
    """What SetChargingProfile has installed."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self._installed: list[_Installed] = []

    def __len__(self) -> int:
        return len(self._installed)

    def install(self, connector: int, profile: v16.ChargingProfile, now: datetime) -> bool:
        """Install or replace a profile; False when the rules forbid it or there are too many."""
        if not self.rules.allow(connector, profile):
            return False
        kept = [entry for entry in self._installed if not _replaces(connector, profile, entry)]
        if len(kept) >= self.rules.installed:
            return False
        self._installed = [*kept, _Installed(connector, profile, now, self.rules)]
        return True

    def clear(self, request: v16.ClearChargingProfileRequest) -> bool:
        """Remove what matches; False when nothing did."""
        kept = [entry for entry in self._installed if not _matches(request, entry)]
        cleared = len(kept) < len(self._installed)
        self._installed = kept
        return cleared

    def end_transaction(self, connector: int) -> None:
        """A TxProfile ends with its transaction (§3.13.1)."""
        self._installed = [
            entry
            for entry in self._installed
            if not (entry.connector == connector and entry.profile.charging_profile_purpose is _Purpose.TX_PROFILE)
        ]

    def connector_limit(self, connector: int, now: datetime, started: datetime | None) -> float | None:
        """A per phase for one connector; None when no profile speaks. TxProfile goes before TxDefaultProfile."""
        for purpose in (_Purpose.TX_PROFILE, _Purpose.TX_DEFAULT_PROFILE):
            limit = _strongest(self._of(purpose, (connector, 0)), now, started)
            if limit is not None:
                return limit
        return None

    def charge_point_limit(self, now: datetime) -> float | None:
        """A per phase for the charge point as a whole; None when no profile speaks."""
        return _strongest(self._of(_Purpose.CHARGE_POINT_MAX_PROFILE, (0,)), now, None)

    def changes(self, now: datetime, duration: float, started: datetime | None) -> list[datetime]:
        """``now`` and all moments in the next ``duration`` seconds at which a limit may change."""
        until = now + timedelta(seconds=duration)
        moments = {moment for entry in self._installed for moment in entry.changes(now, until, started)}
        return [now, *sorted(moment for moment in moments if now < moment < until)]

    def _of(self, purpose: _Purpose, connectors: tuple[int, ...]) -> list[_Installed]:
        return [
            entry
            for entry in self._installed
            if entry.connector in connectors and entry.profile.charging_profile_purpose is purpose
        ]


def _strongest(entries: Iterable[_Installed], now: datetime, started: datetime | None) -> float | None:
    """The limit of the highest stack level that is valid now; a connector's own profile goes before that of all."""
    for entry in sorted(entries, key=lambda entry: (-entry.profile.stack_level, -entry.connector)):
        limit = entry.limit(now, started) if entry.valid(now) else None
        if limit is not None:
            return limit
    return None


def _replaces(connector: int, profile: v16.ChargingProfile, entry: _Installed) -> bool:
    """Same id, or same level and purpose on the same connector (§5.16)."""
    old = entry.profile
    same_place = (connector, profile.stack_level, profile.charging_profile_purpose) == (
        entry.connector,
        old.stack_level,
        old.charging_profile_purpose,
    )
    return same_place or profile.charging_profile_id == old.charging_profile_id


def _matches(request: v16.ClearChargingProfileRequest, entry: _Installed) -> bool:
    """An id alone decides; otherwise everything that is given must match (§5.4)."""
    if request.id is not None:
        return entry.profile.charging_profile_id == request.id
    return (
        request.connector_id in (None, entry.connector)
        and request.charging_profile_purpose in (None, entry.profile.charging_profile_purpose)
        and request.stack_level in (None, entry.profile.stack_level)
    )
