"""Background work and its end."""

from __future__ import annotations

import asyncio

import pytest

from ampgate.tasks import Tasks


async def test_a_task_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await Tasks().start(work()) == 7


async def test_closing_ends_what_runs_and_waits_for_it() -> None:
    tasks, ended = Tasks(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = tasks.start(work())
    failed = tasks.start(fail())
    with pytest.raises(OSError, match="no"):
        await failed
    await tasks.close()
    assert task.cancelled()
    assert ended.is_set()
    await tasks.close()  # nothing is left


async def fail() -> None:
    raise OSError("no")
