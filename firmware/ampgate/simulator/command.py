"""``ampgate simulate``: a car park of simulated chargers on the command line."""

from __future__ import annotations

import argparse
import asyncio
import math
import ssl
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

DEFAULT_TAGS: Final = ("DEMO-1", "DEMO-2", "DEMO-3", "DEMO-4")
OFFLINE: Final = {
    "reject": {"LocalAuthorizeOffline": "false", "AllowOfflineTxForUnknownId": "false"},
    "known": {"LocalAuthorizeOffline": "true", "AllowOfflineTxForUnknownId": "false"},
    "allow": {"LocalAuthorizeOffline": "true", "AllowOfflineTxForUnknownId": "true"},
}
"""Who may charge while the link is lost: settings by strategy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``ampgate simulate``."""
    parser.description = (
        "Run simulated OCPP 1.6 chargers with cars that come, charge and leave. Time for cars passes faster than real "
        "time (--speed); heartbeats, sampling and timestamps are real. While it runs, type commands (`help` lists "
        "them). Ctrl-C ends it."
    )
    add = parser.add_argument
    add("--url", type=_url, default="ws://127.0.0.1:9000", help="central system, without the charger id (%(default)s)")
    add("--ca", type=Path, metavar="FILE", help="certificates to trust behind wss://, in PEM")
    add("--profile", default="generic", metavar="NAME", help="kind of charger, see --list (%(default)s)")
    add("--quirk", action="append", default=[], metavar="NAME", help="a bad manner besides, see --list; repeatable")
    add("--list", action="store_true", help="list profiles, quirks and commands, and end")
    add("--count", type=_natural, default=1, metavar="N", help="number of chargers (%(default)s)")
    add("--connectors", type=_connectors, metavar="N", help="connectors of each charger, 1…7 (as the profile)")
    add("--id", action="append", metavar="ID", help="charger id; once for each charger, instead of --count")
    add("--id-prefix", default="CP", metavar="TEXT", help="ids are TEXT001, TEXT002, … (%(default)s)")
    add("--tags", type=_tags, default=DEFAULT_TAGS, metavar="A,B,…", help=f"id tags ({','.join(DEFAULT_TAGS)})")
    add("--speed", type=_positive, default=60.0, metavar="X", help="simulated seconds in a real one (%(default)g)")
    add(
        "--sample-interval",
        type=_positive,
        metavar="S",
        help="real seconds between two MeterValues of a session (5; EVlink 15)",
    )
    add("--offline", choices=list(OFFLINE), help="who may charge while the link is lost (as the profile)")
    add("--ocpp", choices=("1.5", "1.6"), help="version offered in the handshake; only 1.6 is spoken (1.6)")
    add("--seed", type=int, default=1, metavar="N", help="another number, other cars (%(default)s)")
    add("--manual", action="store_true", help="no drivers: nothing happens but by command")
    add("--table", action="store_true", help="show a table of all connectors instead of lines")
    add("--verbose", action="store_true", help="show status changes and what the central system asks, too")
    add("--socket", type=Path, metavar="PATH", help="take commands at this Unix socket, too")
    add("--tell", metavar="COMMAND", help="give a command to the simulation at --socket, and end")
    add("--replay", type=Path, metavar="FILE", help="play what `ampgate trace --save FILE` has recorded, and end")
    add("--pace", type=_pace, default=1.0, metavar="X", help="times as fast as recorded, or max (%(default)g)")
    add("--now", action="store_true", help="move the timestamps of a recording to the present")


def run(args: argparse.Namespace) -> int:
    """Simulate until SIGINT or SIGTERM; exit code 0, 1 for a failure, or 2 for wrong use."""
    from ampgate.simulator import terminal  # noqa: PLC0415  every command of ampgate asks for the options above

    if args.list:
        print("\n".join(catalogue()))
        return 0
    problem = _problem(args)
    if problem:
        print(f"ampgate simulate: {problem}", file=sys.stderr)
        return 2
    if args.tell is not None:
        return terminal.tell(args.socket, args.tell)
    try:
        tls = ssl.create_default_context(cafile=args.ca) if args.ca else None
    except OSError as error:
        print(f"ampgate simulate: --ca {args.ca}: {error}", file=sys.stderr)
        return 1
    if args.replay is not None:
        return _replay(args, tls)
    args.quirks = frozenset(args.quirk)
    args.settings = OFFLINE.get(args.offline, {}) | ({"ocppVersion": args.ocpp} if args.ocpp else {})
    return terminal.run(args, args.id or [f"{args.id_prefix}{number:03d}" for number in range(1, args.count + 1)], tls)


def _problem(args: argparse.Namespace) -> str:
    from ampgate.simulator.profiles import PROFILES  # noqa: PLC0415
    from ampgate.simulator.quirks import QUIRKS  # noqa: PLC0415

    if args.profile not in PROFILES:
        return f"--profile {args.profile}: there are {', '.join(PROFILES)}"
    for quirk in args.quirk:
        if quirk not in QUIRKS:
            return f"--quirk {quirk}: there are {', '.join(QUIRKS)}"
    if args.id and len(set(args.id)) < len(args.id):
        return "each --id may be given once"
    if args.tell is not None and args.socket is None:
        return "--tell needs --socket, that of the running simulation"
    return ""


def catalogue() -> list[str]:
    """What can be chosen: profiles, quirks, commands."""
    from ampgate.simulator.console import COMMANDS  # noqa: PLC0415
    from ampgate.simulator.profiles import PROFILES  # noqa: PLC0415
    from ampgate.simulator.quirks import QUIRKS  # noqa: PLC0415

    return [
        "Profiles (--profile NAME)",
        *(f"  {profile.name:<18} {profile.summary}" for profile in PROFILES.values()),
        "",
        "Quirks (--quirk NAME; * in the profile misbehaving)",
        *(
            f"  {name:<18} {'*' if name in PROFILES['misbehaving'].quirks else ' '} {quirk.summary}"
            for name, quirk in QUIRKS.items()
        ),
        "",
        "Commands while it runs (CP is an id, a number or `all`; /N a connector)",
        *(f"  {command.usage(name):<20} {command.summary}" for name, command in COMMANDS.items()),
    ]


def _replay(args: argparse.Namespace, tls: ssl.SSLContext | None) -> int:
    from ampgate.simulator import replay  # noqa: PLC0415

    try:
        conversations = replay.read(args.replay)
    except replay.ReplayError as error:
        print(f"ampgate simulate: {error}", file=sys.stderr)
        return 1
    missing = [charger for charger in args.id or [] if charger not in conversations]
    if missing:
        print(f"ampgate simulate: {args.replay} has no {missing[0]}: {', '.join(conversations)}", file=sys.stderr)
        return 1
    chosen = {charger: steps for charger, steps in conversations.items() if not args.id or charger in args.id}
    reports = asyncio.run(replay.play(args.url, chosen, pace=args.pace, now=args.now, tls=tls, tell=_print))
    for report in reports:
        for note in dict.fromkeys(report.notes):
            _print(f"{report.charger}  note: {note}")
        if report.failure:
            _print(f"{report.charger}  failed: {report.failure}")
        _print(
            f"{report.charger}: {report.sent} messages sent, {report.same} answers as recorded, "
            f"{len(report.differences)} differences"
        )
    return 0 if all(report.good for report in reports) else 1


def _print(line: str) -> None:
    print(line, flush=True)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not a websocket address such as ws://127.0.0.1:9000")
    return text


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _connectors(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 7")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _pace(text: str) -> float:
    return math.inf if text == "max" else _positive(text)


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(tag.strip() for tag in text.split(",") if tag.strip())
    if not tags or any(len(tag) > 20 for tag in tags):
        raise argparse.ArgumentTypeError("id tags have 1 to 20 characters and are separated by commas")
    return tags
