"""The newest item wins, from any thread, and nothing piles up while the loop is busy."""

from __future__ import annotations

import asyncio
import threading
import time

from server.media.mailbox import Mailbox


async def test_a_stalled_loop_finds_the_newest_only() -> None:
    taken: list[int] = []
    dropped: list[int] = []
    mailbox: Mailbox[int] = Mailbox(asyncio.get_running_loop(), taken.append, lambda: dropped.append(1))
    thread = threading.Thread(target=lambda: [mailbox.put(i) for i in range(1000)])
    thread.start()
    thread.join()  # the loop is blocked meanwhile
    assert taken == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert taken == [999]
    assert len(dropped) == 999


async def test_items_at_leisure_all_arrive() -> None:
    taken: list[int] = []
    mailbox: Mailbox[int] = Mailbox(asyncio.get_running_loop(), taken.append)

    def put() -> None:
        for i in range(20):
            mailbox.put(i)
            while len(taken) <= i:
                time.sleep(0.0005)

    await asyncio.to_thread(put)
    assert taken == list(range(20))


async def test_nothing_comes_after_the_end() -> None:
    taken: list[int] = []
    mailbox: Mailbox[int] = Mailbox(asyncio.get_running_loop(), taken.append)
    mailbox.put(1)
    mailbox.close()
    mailbox.put(2)
    await asyncio.sleep(0.01)
    assert taken == []
