"""Tasks that live and end together: the parts of a node's work on the log."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

CANCEL_S: Final = 0.1


async def first_failure(*parts: Coroutine[Any, Any, None]) -> None:
    """Run these, which do not end by themselves, until one fails; raise what it raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    for task in tasks:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it was seen
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(tasks)
    for task in done:
        task.result()


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: Redis' client may swallow a cancellation that meets an answer."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_S)
