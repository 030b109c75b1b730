"""Uploads that signaling holds on another machine, for a media worker: fetched, checked, let go in time.

A worker that shares signaling's data directory never fetches. What is fetched lies in a folder of the
worker's own as long as a driver is shown behind it and a minute longer, and goes as soon as signaling says
that the upload has expired or was forgotten: it is asked at each choice of the target and every few seconds
in between.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from server.bodies import read_whole
from server.targets.folder import TargetUnreadable
from server.targets.local import FetchedFolder, LocalTargets
from server.targets.store import PreparedTarget, TargetRecord, TargetUnknown, is_upload_id
from server.targets.transfer import DIGEST, MAX_BYTES, TransferDamaged, tag, unpack

logger = logging.getLogger(__name__)

FETCH_S: Final = 5.0
UNUSED_S: Final = 60.0


class Standing(Enum):
    """What is known of an upload now."""

    THERE = auto()
    GONE = auto()  # signaling says so, or its time is over
    UNKNOWN = auto()  # signaling cannot be asked, or its answer makes no sense


def targets_url(signaling_url: str) -> URL:
    """Where signaling gives targets to workers, from the address of its ``/worker`` WebSocket."""
    url = URL(signaling_url)
    return url.with_scheme({"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)) / "targets"


class RemoteTargets:
    """A worker's targets: those on this machine, and uploads that it fetches.

    Its methods block on disk and network: they are for threads, and may be called from several.

    Args:
        data_dir: where uploads live, if signaling shares it, and fetched ones are put.
        signaling_url: WebSocket address of signaling's ``/worker``.
        secret: the worker secret.
        max_fetched: fetched uploads at once; the one that was used longest ago makes room.
    """

    def __init__(
        self, data_dir: Path | str, signaling_url: str, secret: str, *, max_fetched: int = 64
    ) -> None:
        self.folder = FetchedFolder(data_dir)
        self._local = LocalTargets(data_dir)
        self._url = targets_url(signaling_url)
        self._secret = secret
        self._max_fetched = max_fetched
        self._missed: set[str] = set()  # asked for while signaling could not be reached
        self._used: dict[str, float] = {}  # fetched targets, and when they were last in use
        self._lock = threading.Lock()

    def at_hand(self, target_id: str) -> bool:
        """Whether a target can be loaded without asking anybody (well under a millisecond)."""
        try:
            self._local.kept.record(target_id)
        except TargetUnknown:
            return False
        return True

    def load(self, target_id: str) -> PreparedTarget:
        """A target's crops and landmarks, fetched when they are not here.

        Raises:
            TargetUnknown: there is none by that id, or it cannot be fetched now.
            TargetUnreadable: it is there, and cannot be read at the moment.
        """
        try:
            target = self._local.load(target_id)
        except TargetUnknown:
            standing = self.check(target_id)
            if standing is Standing.UNKNOWN:
                self._missed.add(target_id)
            if standing is not Standing.THERE:
                raise
            target = self._load_again(target_id)
        self._missed.discard(target_id)
        return target

    def _load_again(self, target_id: str) -> PreparedTarget:
        """A target that is on this machine: in the data directory, if that can be read by now, or fetched."""
        for load in (self._local.load, self.folder.store.load):
            with suppress(TargetUnknown):
                return load(target_id)
        raise TargetUnreadable(target_id)

    def check(self, target_id: str) -> Standing:
        """Ask how an upload stands; fetch it if it is there and not here, and let go of it if it is gone."""
        if self.at_hand(target_id):
            return Standing.THERE
        if not is_upload_id(target_id):
            return Standing.GONE
        with self._lock:
            known = self._known(target_id)
            try:
                found = asyncio.run(self._ask(target_id, known))
            except (ClientError, OSError, TimeoutError, TransferDamaged) as error:
                # The id of an upload is its key: it belongs in no log.
                logger.warning("A target could not be fetched: %s", error or type(error).__name__)
                return Standing.UNKNOWN if known is None else Standing.THERE
            if found is Standing.GONE:
                self._let_go(target_id)
            elif found is Standing.THERE:
                self._used[target_id] = time.monotonic()
            return found

    def was_missed(self, target_id: str) -> bool:
        """Whether a target that is here now could not be loaded before; said once."""
        missed = target_id in self._missed
        self._missed.discard(target_id)
        return missed

    def keep_only(self, in_use: Collection[str]) -> None:
        """Let go of what has expired, and of what was in use a minute ago but is no longer."""
        now = time.monotonic()
        with self._lock:
            self._missed.intersection_update(in_use)
            for target_id in list(self._used):
                if target_id in in_use:
                    self._used[target_id] = now
                if now - self._used[target_id] > UNUSED_S or self._known(target_id) is None:
                    self._let_go(target_id)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._used.clear()
            self.folder.close()

    # ------------------------------------------------------------ fetching

    def _known(self, target_id: str) -> TargetRecord | None:
        """What was fetched of a target and has not expired."""
        try:
            return self.folder.store.record(target_id)
        except TargetUnknown:
            return None

    async def _ask(self, target_id: str, known: TargetRecord | None) -> Standing:
        headers = {"Authorization": f"Bearer {self._secret}"}
        if known is not None:
            headers["If-None-Match"] = tag(known)
        async with (
            ClientSession(timeout=ClientTimeout(total=FETCH_S)) as http,
            http.get(self._url / target_id, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status == 304:
                return Standing.THERE
            if answer.status == 404 and answer.content_type == "application/json":
                code = (await answer.json()).get("error", {}).get("code")
                if code == "target_unknown":  # and not a proxy that knows no such path
                    return Standing.GONE
            if answer.status != 200:
                raise TransferDamaged(f"signaling answered {answer.status} {answer.reason}")
            body = await read_whole(answer.content, MAX_BYTES)
            if body is None:
                raise TransferDamaged("it is larger than any target")
            self._take(target_id, body, answer.headers.get(DIGEST, ""))
            return Standing.THERE

    def _take(self, target_id: str, body: bytes, sent_digest: str) -> None:
        record, images, landmarks = unpack(target_id, body, sent_digest)
        self.folder.claim()
        while len(self._used) >= self._max_fetched:
            self._let_go(min(self._used, key=self._used.__getitem__))
        self.folder.store.adopt(record, images, landmarks)

    def _let_go(self, target_id: str) -> None:
        self._used.pop(target_id, None)
        self.folder.store.discard(target_id)
