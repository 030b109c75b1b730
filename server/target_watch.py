"""Ends uploads that were forgotten or have expired in the calls where they are shown."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from server.media.service import MediaService
from server.targets.remote import RemoteTargets, Standing
from server.targets.store import is_upload_id

logger = logging.getLogger(__name__)

CHECK_S: Final = 5.0


class TargetWatch:
    """Asks every few seconds how the uploads stand that a worker's drivers are shown behind.

    Args:
        targets: the worker's targets.
        media: whose drivers they are.
    """

    def __init__(self, targets: RemoteTargets, media: MediaService) -> None:
        self._targets = targets
        self._media = media
        self._gone: set[str] = set()

    async def run(self, every_s: float = CHECK_S) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.check()
            except Exception:  # the next check may do better
                logger.exception("Targets could not be checked")

    async def check(self) -> None:
        """Put away what is gone; show what could not be fetched before and can be now."""
        in_use = {target for target in self._media.targets if is_upload_id(target)}
        self._gone &= in_use
        for target in in_use - self._gone:
            standing = await asyncio.to_thread(self._targets.check, target)
            if standing is Standing.GONE:
                self._gone.add(target)
                self._media.put_away(target)
            elif standing is Standing.THERE and self._targets.was_missed(target):
                self._media.show_again(target)
        await asyncio.to_thread(self._targets.keep_only, in_use)
