"""Every object of the driver guide (*Object Specifications*), one row each: reference, type, access and what it is.

References begin with ``M1``, the driver's setup, or ``S1``, ``S2``, …, the system of one connector.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from ampgate.bms import kinds
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import MAX_LABEL, MAX_USER, READ_RATES
from ampgate.bms.kinds import DATE_TIME, FLOAT, NO_YES, Kind, enum, number, text
from ampgate.bms.records import Use
from ampgate.bms.service import Bms, System

SETUP: Final = "M1"
MOST: Final = 65535
_STATUS: Final = {words.replace(" ", ""): value for value, words in kinds.STATUSES.items()} | {"Faulted": 8}
"""Words of the register map to the driver guide's numbers."""


class Object(NamedTuple):
    """One row; ``read`` and ``write`` take what the object belongs to: the `Bms`, or it and a `System`."""

    reference: str
    description: str
    kind: Kind
    read: Callable[..., Any] | None = None
    """Its value; None for none yet."""
    write: Callable[..., Any] | None = None
    """Take a value; may be awaited, raises `TaskRefused`."""

    @property
    def access(self) -> Literal["R", "W", "RW"]:
        """``RW`` is the guide's *Adjustable*, ``W`` its *Adjustable-only*."""
        return "R" if self.write is None else "W" if self.read is None else "RW"


class Reading(NamedTuple):
    """An object and its value now."""

    reference: str
    description: str
    type: str
    access: str
    value: Any
    text: str


# Action


def _set_user(bms: Bms, system: System, user: str) -> None:
    system.user = user


async def do_task(bms: Bms, system: System, task: int) -> str:
    """Start, Stop or Unlock; the user that was set before is used up."""
    user, system.user = system.user, ""
    match task:
        case 1:
            return await bms.start(system, user)
        case 2:
            return await bms.stop(system)
        case 3:
            return await bms.unlock(system)
        case _:
            return "nothing to do"


async def _do_task_and_user(bms: Bms, system: System, words: str) -> str:
    task, _, user = words.partition(" ")
    try:
        assert _TASK.parse is not None
        value = _TASK.parse(task)
    except ValueError as error:
        raise TaskRefused(f"the first word must be {error}") from None
    system.user = user.strip()
    return await do_task(bms, system, value)


async def do_reset(bms: Bms, system: System, what: int) -> str:
    """Clear gateway registers, clear the charger's cache, or reset the charger."""
    match what:
        case 1:
            return await bms.clear_registers(system)
        case 2:
            return await bms.clear_cache(system)
        case 3:
            return await bms.reset(system)
        case _:
            return "nothing to do"


# Charging session and last charge


def _last(name: str) -> Callable[[Bms, System], Any]:
    return lambda bms, system: getattr(system.record.last, name, None)


def _duration(bms: Bms, system: System) -> int:
    return system.session.minutes(bms.now()) if system.session else 0


# Setup


def _set_label(bms: Bms, label: str) -> None:
    bms.label = label


def _enable(bms: Bms, enabled: int) -> None:
    bms.enabled = bool(enabled)
    bms.wake()


def _set_read_rate(bms: Bms, seconds: int) -> None:
    bms.read_rate = seconds
    bms.wake()


def _reset_counters(bms: Bms, reset: int) -> None:
    if reset:
        bms.reset_counters()


# The tables

_TASK: Final = enum(kinds.TASKS)
_USER: Final = text(MAX_USER)
_COUNT: Final = number(0, MOST)

SETUP_OBJECTS: Final = (
    Object("DL", "System Label", text(MAX_LABEL), lambda bms: bms.label, _set_label),
    Object("E", "Enabled", NO_YES, lambda bms: int(bms.enabled), _enable),
    Object("RP", "Modbus Object Reference", Kind("Obj\\Obj", str), lambda bms: bms.config.modbus.reference),
    Object("RR", "Read rate (s)", number(*READ_RATES), lambda bms: bms.read_rate, _set_read_rate),
    Object("DS", "Comms Online", NO_YES, lambda bms: int(bms.client.online)),
    Object("RC", "Reset Counters", NO_YES, lambda bms: 0, _reset_counters),
)


def _use(container: str, title: str, use: Callable[[System], Use]) -> Iterator[Object]:
    yield Object(f"{container}.C", f"{title}: Total Session Count", _COUNT, lambda bms, system: use(system).sessions)
    yield Object(f"{container}.E", f"{title}: Energy (kWh)", FLOAT, lambda bms, system: use(system).energy)
    yield Object(f"{container}.D", f"{title}: Duration (mins)", _COUNT, lambda bms, system: use(system).minutes)


SYSTEM_OBJECTS: Final = (
    Object("A.U", "Action: User", _USER, None, _set_user),
    Object("A.T", "Action: Task", _TASK, None, do_task),
    Object("A.TU", "Action: Task & User", _USER, None, _do_task_and_user),
    Object("A.RST", "Action: Reset", enum(kinds.RESETS), lambda bms, system: 0, do_reset),
    Object("M.S", "Monitor: Charger Status", enum(kinds.STATUSES), lambda bms, system: _STATUS.get(system.status)),
    Object("M.E", "Monitor: Charger Error", enum(kinds.ERRORS), lambda bms, system: system.error),
    Object("C.S", "Charging Session: Started", NO_YES, lambda bms, system: int(system.session is not None)),
    Object("C.D", "Charging Session: Duration (mins)", number(), _duration),
    Object("C.U", "Charging Session: User", _USER, lambda bms, system: system.session.user if system.session else ""),
    Object("L.T", "Last Charge: Start Time", DATE_TIME, _last("started")),
    Object("L.U", "Last Charge: User", _USER, _last("user")),
    Object("L.E", "Last Charge: Energy (kWh)", FLOAT, _last("energy")),
    Object("L.D", "Last Charge: Duration (mins)", number(), _last("minutes")),
    Object("L.R", "Last Charge: Stop Reason", enum(kinds.REASONS), _last("reason")),
    Object("L.C", "Last Charge: Counter", number(0, MOST), lambda bms, system: system.record.counter),
    *_use("T", "Today's Use", lambda system: system.record.today),
    *_use("P", "Previous Day's Use", lambda system: system.record.previous),
    *_use("F", "Total Use", lambda system: system.record.total),
)


def readings(bms: Bms, under: str = "") -> list[Reading]:
    """All objects, or those at or below a reference such as ``S1.L``; `TaskRefused` when there is none."""
    bms.turn_day()
    found = [
        Reading(reference, one.description, one.kind.name, one.access, *_value(one, owner))
        for reference, one, owner in _all(bms)
        if not under or f"{reference}.".casefold().startswith(f"{under}.".casefold())
    ]
    if not found:
        raise TaskRefused(_unknown(bms, under))
    return found


async def write(bms: Bms, reference: str, words: str) -> str:
    """Write an object; what came of it, or `TaskRefused`."""
    for name, one, owner in _all(bms):
        if name.casefold() == reference.casefold():
            if one.write is None or one.kind.parse is None:
                raise TaskRefused(f"{name} ({one.description}) can only be read")
            try:
                value = one.kind.parse(words)
            except ValueError as error:
                raise TaskRefused(f"{name} ({one.description}) must be {error}") from None
            outcome = one.write(*owner, value)
            return str(await outcome if inspect.isawaitable(outcome) else f"{name} = {one.kind.show(value)}")
    raise TaskRefused(_unknown(bms, reference))


def _all(bms: Bms) -> Iterator[tuple[str, Object, tuple[Any, ...]]]:
    for one in SETUP_OBJECTS:
        yield f"{SETUP}.{one.reference}", one, (bms,)
    for system in bms.systems:
        for one in SYSTEM_OBJECTS:
            yield f"{system.name}.{one.reference}", one, (bms, system)


def _value(one: Object, owner: tuple[Any, ...]) -> tuple[Any, str]:
    value = None if one.read is None else one.read(*owner)
    shown = "" if value is None else one.kind.show(value)
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value, shown


def _unknown(bms: Bms, reference: str) -> str:
    return f"there is no object {reference}; there are {SETUP}.DL to {bms.systems[-1].name}.F.D"
