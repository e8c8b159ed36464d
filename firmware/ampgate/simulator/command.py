"""``ampgate simulate``: a car park of simulated chargers on the command line."""

from __future__ import annotations

import argparse
import sys
from typing import Final
from urllib.parse import urlsplit

DEFAULT_TAGS: Final = ("DEMO-1", "DEMO-2", "DEMO-3", "DEMO-4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``ampgate simulate``."""
    parser.description = (
        "Run simulated OCPP 1.6 chargers with cars that come, charge and leave. Time for cars passes faster than real "
        "time (--speed); heartbeats, sampling and timestamps are real. Ctrl-C ends it."
    )
    add = parser.add_argument
    add("--url", type=_url, default="ws://127.0.0.1:9000", help="central system, without the charger id (%(default)s)")
    add("--count", type=_natural, default=1, metavar="N", help="number of chargers (%(default)s)")
    add("--connectors", type=_connectors, default=1, metavar="N", help="connectors of each charger, 1…7 (%(default)s)")
    add("--id", action="append", metavar="ID", help="charger id; once for each charger, instead of --count")
    add("--id-prefix", default="CP", metavar="TEXT", help="ids are TEXT001, TEXT002, … (%(default)s)")
    add("--tags", type=_tags, default=DEFAULT_TAGS, metavar="A,B,…", help=f"id tags ({','.join(DEFAULT_TAGS)})")
    add("--speed", type=_positive, default=60.0, metavar="X", help="simulated seconds in a real one (%(default)g)")
    add(
        "--sample-interval",
        type=_positive,
        default=5.0,
        metavar="S",
        help="real seconds between two MeterValues of a session (%(default)g)",
    )
    add("--seed", type=int, default=1, metavar="N", help="another number, other cars (%(default)s)")
    add("--verbose", action="store_true", help="show status changes and what the central system asks, too")


def run(args: argparse.Namespace) -> int:
    """Simulate until SIGINT or SIGTERM; exit code 0, or 2 for wrong use."""
    from ampgate.simulator import terminal  # noqa: PLC0415  every command of ampgate asks for the options above

    ids = args.id or [f"{args.id_prefix}{number:03d}" for number in range(1, args.count + 1)]
    if len(set(ids)) < len(ids):
        print("ampgate simulate: each --id may be given once", file=sys.stderr)
        return 2
    return terminal.run(args, ids)


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


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(tag.strip() for tag in text.split(",") if tag.strip())
    if not tags or any(len(tag) > 20 for tag in tags):
        raise argparse.ArgumentTypeError("id tags have 1 to 20 characters and are separated by commas")
    return tags
