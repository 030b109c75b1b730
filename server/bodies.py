"""Bodies of other servers' answers: whole, and bounded."""

from __future__ import annotations

from aiohttp import StreamReader


async def read_whole(content: StreamReader, most: int) -> bytes | None:
    """Read a body to its end; None if it has more than ``most`` bytes.

    ``content.read(most)`` would give what has arrived so far.
    """
    body = bytearray()
    async for part in content.iter_any():
        body += part
        if len(body) > most:
            return None
    return bytes(body)
