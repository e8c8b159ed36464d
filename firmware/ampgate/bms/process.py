"""``ampgate bms run``: the BMS as a process, and what its other commands may ask it over the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from ampgate import __version__, control
from ampgate.bms import alarms, kinds, objects
from ampgate.bms.charger import TaskRefused
from ampgate.bms.config import BmsConfig
from ampgate.bms.service import Bms, System
from ampgate.bms.store import Store, StoreError

log = logging.getLogger(__name__)

TITLE: Final = "BMS"


class Commands:
    """The methods of the control socket; `control.ControlError` says why something cannot be done."""

    def __init__(self, bms: Bms) -> None:
        self._bms = bms

    def methods(self) -> dict[str, Callable[..., Any]]:
        """All of them by name."""
        methods: tuple[Callable[..., Any], ...] = (
            *(self.status, self.use, self.sessions, self.objects),
            *(self.write, self.task, self.reset),
        )
        return {method.__name__: _refusing(method) for method in methods}

    def status(self) -> dict[str, Any]:
        """Connection, and of each system its monitor, charging session and last charge."""
        bms = self._bms
        return {
            "version": __version__,
            "label": bms.label,
            "enabled": bms.enabled,
            "online": bms.client.online,
            "gateway": bms.config.modbus.reference,
            "extensions": bms.extensions,
            "read_rate": bms.read_rate,
            "trouble": bms.trouble,
            "systems": [self._system(system) for system in bms.systems],
        }

    def _system(self, system: System) -> dict[str, Any]:
        text = {
            reading.reference.partition(".")[2]: reading.text for reading in objects.readings(self._bms, system.name)
        }
        return {
            "name": system.name,
            "place": system.place,
            "trouble": system.trouble,
            "status": text["M.S"],
            "error": text["M.E"],
            "session": system.session
            and {"user": text["C.U"], "minutes": int(text["C.D"]), "transaction": system.session.transaction},
            "last": {"energy": text["L.E"], "reason": text["L.R"], "counter": system.record.counter},
        }

    def use(self) -> list[dict[str, Any]]:
        """Today's, previous day's and total use of each system."""
        self._bms.turn_day()
        return [
            {
                "name": system.name,
                "place": system.place,
                "today": msgspec.to_builtins(system.record.today),
                "previous": msgspec.to_builtins(system.record.previous),
                "total": msgspec.to_builtins(system.record.total),
            }
            for system in self._bms.systems
        ]

    def sessions(self, count: int) -> list[dict[str, Any]]:
        """The last completed sessions, oldest first."""
        return [
            msgspec.to_builtins(charge)
            | {"place": f"{name}/{charge.connector}", "reason": kinds.REASONS.get(charge.reason, "")}
            for name, charge in self._bms.charges(count)
        ]

    def objects(self, reference: str) -> list[dict[str, Any]]:
        """Objects at or below a reference; all of them for an empty one."""
        return [reading._asdict() for reading in objects.readings(self._bms, reference)]

    async def write(self, reference: str, value: str) -> str:
        """Write an object."""
        return await objects.write(self._bms, reference, value)

    async def task(self, place: str, task: int, user: str) -> str:
        """Start, stop or unlock."""
        system = self._bms.system(place)
        system.user = user
        return f"{system.place}: {await objects.do_task(self._bms, system, task)}"

    async def reset(self, place: str, what: int) -> str:
        """Reset the gateway's registers, the charger's cache or the charger."""
        system = self._bms.system(place)
        return f"{system.place}: {await objects.do_reset(self._bms, system, what)}"


def _refusing(method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def ask(**parameters: Any) -> Any:
        try:
            answer = method(**parameters)
            return await answer if inspect.isawaitable(answer) else answer
        except (TaskRefused, StoreError) as error:
            raise control.ControlError(str(error)) from None

    return ask


@contextlib.asynccontextmanager
async def prepared(config: BmsConfig, state: Path) -> AsyncIterator[Bms]:
    """A BMS with its state directory, alarms and control socket; it works while its `Bms.run` does.

    `StoreError` when its state cannot be kept, `control.ControlError` when another one runs with it.
    """
    # Its errors are ours to tell, once and with the address.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    with contextlib.closing(Store(state)) as store, contextlib.closing(alarms.configured(config.alarm)) as receivers:
        bms = Bms(config, store, receivers)
        server = control.ControlServer(state / control.SOCKET_NAME, Commands(bms).methods(), TITLE)
        try:
            await server.start()
            yield bms
        finally:
            await server.stop()


async def run(config: BmsConfig, state: Path) -> None:
    """Run a BMS until SIGTERM or SIGINT; errors as of `prepared`."""
    async with prepared(config, state) as bms:
        log.info("polling %s every %g s, systems: %d", config.modbus.reference, bms.read_rate, len(bms.systems))
        work = asyncio.ensure_future(bms.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work
        log.info("stopping")
