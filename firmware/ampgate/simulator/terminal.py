"""A simulated site on the terminal: one line an event."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from ampgate.simulator.events import Event
from ampgate.simulator.site import Plan, Site

try:
    from uvloop import run as run_loop
except ImportError:  # not available on every platform
    from asyncio import run as run_loop  # type: ignore[assignment]

_BRIEF: Final = ("link", "session")
"""Kinds of events that are shown without --verbose."""


def run(args: argparse.Namespace, ids: Sequence[str]) -> int:
    """Simulate these chargers with the options of `command`, until SIGINT or SIGTERM."""
    site = Site(
        args.url,
        [Plan(identity, args.connectors) for identity in ids],
        tags=args.tags,
        speed=args.speed,
        sample_interval=args.sample_interval,
        seed=args.seed,
        listener=lambda event: _show(event, verbose=args.verbose),
    )
    run_loop(_until_stopped(site))
    return 0


async def _until_stopped(site: Site) -> None:
    work = asyncio.ensure_future(site.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _show(event: Event, *, verbose: bool) -> None:
    if verbose or event.kind in _BRIEF:
        place = event.charger if event.connector is None else f"{event.charger}/{event.connector}"
        print(f"{datetime.now():%H:%M:%S}  {place:<10} {event.text}", flush=True)
