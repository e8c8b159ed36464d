"""A simulated site on the terminal: one line an event or a table, and commands from the keyboard or over a socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ampgate import control
from ampgate.simulator import view
from ampgate.simulator.console import CommandError, Console
from ampgate.simulator.events import Event
from ampgate.simulator.profiles import PROFILES
from ampgate.simulator.site import Plan, Site

try:
    from uvloop import run as run_loop
except ImportError:  # not available on every platform
    from asyncio import run as run_loop  # type: ignore[assignment]

_BRIEF: Final = ("link", "session")
"""Kinds of events that are shown without --verbose."""
_REFRESH: Final = 1.0
"""Real seconds between two pictures of the table."""
_LAST: Final = 10
"""Events below the table."""
_HOME: Final = "\x1b[H\x1b[2J"
"""Clears the screen."""


def run(args: argparse.Namespace, ids: Sequence[str], tls: ssl.SSLContext | None) -> int:
    """Simulate these chargers with the options of `command`, until SIGINT or SIGTERM."""
    if not args.verbose:
        logging.getLogger("ampgate.ocpp").setLevel(logging.ERROR)  # quirks get odd answers
    run_loop(_Terminal(args, ids, tls).run())
    return 0


def tell(path: Path, line: str) -> int:
    """Give a command to the simulation that listens at this socket; prints what it says."""
    answer = control.ask(path, "command", who="simulation", option="--socket", line=line)
    print(answer["text"], file=sys.stdout if answer["done"] else sys.stderr)
    return 0 if answer["done"] else 1


class _Terminal:
    def __init__(self, args: argparse.Namespace, ids: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self._table = args.table
        self._shown = ("link", "session", "status", "operation") if args.verbose else _BRIEF
        self._last: deque[str] = deque(maxlen=_LAST)
        self._stop = asyncio.Event()
        self._site = Site(
            args.url,
            [Plan(identity, args.connectors, PROFILES[args.profile]) for identity in ids],
            tags=args.tags,
            speed=args.speed,
            sample_interval=args.sample_interval,
            seed=args.seed,
            drivers=not args.manual,
            settings=args.settings,
            quirks=args.quirks,
            tls=tls,
            listener=self._event,
        )
        self._console = Console(self._site, self._stop.set)
        self._socket = args.socket

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        work = [asyncio.ensure_future(self._site.run())]
        if self._table:
            work.append(asyncio.ensure_future(self._draw()))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            async with self._listening():
                _read_lines(lambda line: loop.call_soon_threadsafe(self._typed, line))
                done, _ = await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
                for part in done:
                    part.result()
        finally:
            for part in (*work, stopped):
                part.cancel()
            await asyncio.gather(*work, stopped, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _listening(self) -> Any:
        if self._socket is None:
            yield
            return
        methods: dict[str, control.Method] = {"command": self._command, "state": lambda: view.state(self._site)}
        server = control.ControlServer(self._socket, methods, who="simulation", option="--socket")
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    def _command(self, line: str) -> dict[str, Any]:
        try:
            return {"done": True, "text": self._console.execute(line)}
        except CommandError as error:
            return {"done": False, "text": str(error)}

    def _typed(self, line: str) -> None:
        text = self._command(line)["text"]
        for part in text.splitlines():
            self._say(part)

    def _event(self, event: Event) -> None:
        if event.kind in self._shown:
            place = event.charger if event.connector is None else f"{event.charger}/{event.connector}"
            self._say(f"{datetime.now():%H:%M:%S}  {place:<10} {event.text}")

    def _say(self, line: str) -> None:
        if self._table:
            self._last.append(line)
        else:
            print(line, flush=True)

    async def _draw(self) -> None:
        while True:
            size = shutil.get_terminal_size() if sys.stdout.isatty() else None
            picture = view.picture(view.table(self._site), list(self._last), size)
            print(_HOME + "\n".join([*picture, "> "]), end="", flush=True)
            await asyncio.sleep(_REFRESH)


def _read_lines(take: Callable[[str], object]) -> None:
    """Hand over what is typed; a thread, as standard input may be anything."""
    if sys.stdin is None or sys.stdin.closed:
        return
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background nothing is typed, and nothing has to stop

    def read() -> None:
        rest = b""
        with contextlib.suppress(OSError, RuntimeError):  # no terminal any more, or no event loop
            while data := os.read(0, 4096):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    take(line.decode("utf-8", "replace"))

    threading.Thread(target=read, daemon=True).start()
