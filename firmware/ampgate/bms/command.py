"""``ampgate bms …`` on the command line: options, and what people read."""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from ampgate import control, logs

DEFAULT_CONFIG: Final = Path("bms.toml")
DEFAULT_STATE: Final = Path(".ampgate-bms")
TASK_TIMEOUT: Final = 90.0
"""Seconds that a task may take: the charger has to answer."""
_TASKS: Final = {"start": 1, "stop": 2, "unlock": 3}
_RESETS: Final = {"registers": 1, "cache": 2, "charger": 3}
_PLACE_HELP: Final = (
    "which connector: S1, S2, … as `status` shows them, a charger's name, or name/connector (may be left out when "
    "there is only one)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below ``ampgate bms`` and their options."""
    parser.description = (
        "A building management system for the gateway: `run` polls it over Modbus and answers what chargers ask; the "
        "other commands ask and command the one that runs."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, action: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.add_argument(
            "--state", type=Path, default=DEFAULT_STATE, help="state directory of the BMS (default %(default)s)"
        )
        sub.set_defaults(action=action)
        return sub

    running = add("run", _run, "Poll the gateway, answer chargers, send alarms; Ctrl-C ends it.")
    running.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (default %(default)s)")
    running.add_argument(
        "--log", type=logs.LogFormat, choices=list(logs.LogFormat), default=logs.LogFormat.AUTO, help="default auto"
    )
    running.add_argument(
        "--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO", help="default INFO"
    )

    starting = add("start", _task, "Request start charge: the connector must be Preparing.")
    _place(starting)
    starting.add_argument("--user", default="", metavar="NAME", help="for whom; named in alarms and sessions")
    starting.set_defaults(task="start")
    for name, help_ in (
        ("stop", "Request stop charge."),
        ("unlock", "Unlock the connector, when the cable cannot be unplugged."),
    ):
        sub = add(name, _task, help_)
        _place(sub)
        sub.set_defaults(task=name, user="")

    reset = add("reset", _reset, "Reset the charger, its cache of id tags, or the gateway's registers.")
    reset.add_argument("what", choices=tuple(_RESETS), help="what to reset")
    _place(reset)

    _json(add("status", _status, "Show connection, chargers and charging sessions."))

    sessions = add("sessions", _sessions, "List completed sessions, the last one at the end.")
    sessions.add_argument("--count", type=_natural, default=20, metavar="N", help="how many (default %(default)s)")
    sessions.add_argument("--csv", action="store_true", help="print a table for a spreadsheet")

    use = add("use", _use, "Show use of today, of the previous day and in total.")
    use.add_argument("--reset", action="store_true", help="first reset the total use of all chargers")

    reading = add("objects", _objects, "Show the objects of the driver guide, or write one.")
    reading.add_argument(
        "reference", nargs="?", default="", help="for example S1.L for the last charge, M1 for the setup"
    )
    reading.add_argument("value", nargs="?", help="write this value, for example: objects S1.A.TU 'start User A'")
    _json(reading)


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", nargs="?", default="", metavar="PLACE", help=_PLACE_HELP)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1…1000000")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Carry out a command; the exit code."""
    action: Callable[[argparse.Namespace], int] = options.action
    return action(options)


def _run(options: argparse.Namespace) -> int:
    from ampgate.bms import config, process  # noqa: PLC0415  every command of ampgate asks for the options above
    from ampgate.bms.store import StoreError  # noqa: PLC0415

    settings = config.load(options.config)
    logs.start(options.log, options.log_level)
    try:
        asyncio.run(process.run(settings, options.state))
    except StoreError as error:
        print(f"ampgate: {error}", file=sys.stderr)
        return 1
    return 0


def _ask(options: argparse.Namespace, method: str, **parameters: Any) -> Any:
    path = options.state / control.SOCKET_NAME
    return control.ask(path, method, timeout=TASK_TIMEOUT, who="BMS", **parameters)


def _task(options: argparse.Namespace) -> int:
    print(_ask(options, "task", place=options.place, task=_TASKS[options.task], user=options.user))
    return 0


def _reset(options: argparse.Namespace) -> int:
    print(_ask(options, "reset", place=options.place, what=_RESETS[options.what]))
    return 0


def _status(options: argparse.Namespace) -> int:
    status = _ask(options, "status")
    if options.json:
        _print_json(status)
        return 0
    state = "off" if not status["enabled"] else "online" if status["online"] else "not online"
    map_ = "" if not status["online"] else ", with extensions" if status["extensions"] else ", original map"
    print(f"{status['label']}  gateway {status['gateway']}: {state}{map_}, polled every {status['read_rate']:g} s")
    if status["trouble"]:
        print(status["trouble"])
    print()
    _print_table(
        ("", "charger", "status", "session", "user", "last charge", "reason"),
        [
            (
                system["name"],
                system["place"],
                system["trouble"] or (system["error"] if system["status"] == "Fault" else system["status"]) or "-",
                f"{system['session']['minutes']} min" if system["session"] else "",
                system["session"]["user"] if system["session"] else "",
                f"{system['last']['energy']} kWh" if system["last"]["counter"] else "",
                system["last"]["reason"],
            )
            for system in status["systems"]
        ],
    )
    return 0


_COLUMNS: Final = ("started", "ended", "place", "user", "energy", "minutes", "reason", "transaction", "id_tag")


def _sessions(options: argparse.Namespace) -> int:
    sessions = _ask(options, "sessions", count=options.count)
    if options.csv:
        table = csv.DictWriter(sys.stdout, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(
            session | {name: f"{_local(session[name]):%Y-%m-%d %H:%M:%S}" for name in ("started", "ended")}
            for session in sessions
        )
        return 0
    _print_table(
        ("started", "charger", "user", "kWh", "min", "reason"),
        [
            (
                f"{_local(session['started']):%d/%m/%y %H:%M:%S}",
                session["place"],
                session["user"],
                f"{session['energy']:.3f}",
                str(session["minutes"]),
                session["reason"],
            )
            for session in sessions
        ],
    )
    return 0


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def _use(options: argparse.Namespace) -> int:
    if options.reset:
        _ask(options, "write", reference="M1.RC", value="Yes")
    _print_table(
        ("", "charger", "use", "sessions", "kWh", "min"),
        [
            (
                *((system["name"], system["place"]) if period == "today" else ("", "")),
                period,
                str(system[period]["sessions"]),
                f"{system[period]['energy']:.3f}",
                str(system[period]["minutes"]),
            )
            for system in _ask(options, "use")
            for period in ("today", "previous", "total")
        ],
    )
    return 0


def _objects(options: argparse.Namespace) -> int:
    if options.value is not None:
        print(_ask(options, "write", reference=options.reference, value=options.value))
        return 0
    found = _ask(options, "objects", reference=options.reference)
    if options.json:
        _print_json(found)
    else:
        _print_table(
            ("object", "", "description", "value"),
            [(one["reference"], one["access"], one["description"], one["text"]) for one in found],
        )
    return 0


def _print_json(answer: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(answer)).decode())


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
