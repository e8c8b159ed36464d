"""Work in the background that ends with its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Tasks:
    """The tasks of one owner; the event loop alone would not keep them alive."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run something until it is done or the owner ends."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """End everything, without waiting for it."""
        for task in list(self._running):
            task.cancel()

    async def close(self) -> None:
        """End everything."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
