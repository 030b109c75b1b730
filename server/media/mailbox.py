"""A one-slot mailbox between a thread and the event loop: the newest item wins, the rest is counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands items from any thread to one consumer on the event loop, keeping only the newest.

    A loop that stalls finds one item when it goes on, however many were put; nothing piles up.

    Args:
        loop: the consumer's event loop.
        consume: called on the loop with the newest item.
        on_drop: called on the putting thread for each item that was displaced unread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        consume: Callable[[T], None],
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._consume = consume
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._slot: list[T] = []
        self._scheduled = False
        self._closed = False

    def put(self, item: T) -> None:
        """Leave an item for the consumer. Thread-safe; never blocks; after :meth:`close` does nothing."""
        with self._lock:
            if self._closed:
                return
            displaced = bool(self._slot)
            self._slot = [item]
            if not self._scheduled:
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop has been closed
                    self._closed = True
                    return
                self._scheduled = True
        if displaced:
            self._on_drop()

    def close(self) -> None:
        """Deliver nothing any more."""
        with self._lock:
            self._closed = True
            self._slot = []

    def _deliver(self) -> None:
        with self._lock:
            slot, self._slot = self._slot, []
            self._scheduled = False
            if self._closed:
                return
        for item in slot:
            self._consume(item)
