"""The last entries of a log that has ended, for nodes that had not read quite as far as others."""

from __future__ import annotations

import base64
import json
from collections import deque
from typing import Final

KEPT_ENTRIES: Final = 500


def place(entry: str) -> tuple[int, ...]:
    """An entry's id (milliseconds-number) for comparison."""
    return tuple(map(int, entry.split("-")))


class Tail:
    """The last entries that a node applied, as they stood in the log."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, bytes]] = deque(maxlen=KEPT_ENTRIES)

    def append(self, entry: str, sealed: bytes) -> None:
        self._entries.append((entry, sealed))

    def clear(self) -> None:
        """Another log begins."""
        self._entries.clear()

    def to_json(self) -> bytes:
        return json.dumps(
            [[entry, base64.b64encode(sealed).decode()] for entry, sealed in self._entries]
        ).encode()

    @staticmethod
    def missed(text: bytes, read: str) -> list[tuple[str, bytes]]:
        """What of a tail follows the entry ``read``; nothing where the tail does not reach back to it."""
        entries = [(entry, base64.b64decode(sealed)) for entry, sealed in json.loads(text)]
        if read not in [entry for entry, _ in entries]:
            return []
        return [(entry, sealed) for entry, sealed in entries if place(entry) > place(read)]
