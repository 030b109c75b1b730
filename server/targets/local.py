"""Targets as a media worker's processes find them: kept on this machine, or fetched from signaling.

A worker that shares its data directory with signaling finds uploads there. One on another machine fetches
them (:mod:`server.targets.remote`) into a folder of its own, ``<data_dir>/fetched/<random>``, from which its
inference processes read; it is deleted when the worker ends, or by the next one when it could not.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from server.targets.store import PreparedTarget, TargetRecord, TargetStore, TargetUnknown

_FOLDER: Final = "fetched"
_LOCK: Final = "in-use"
_BEING_MADE_S: Final = 5.0  # a folder younger than this may be about to be locked


class LocalTargets:
    """Reads targets, from the data directory first and then from a worker's folder of fetched ones.

    Args:
        data_dir: where uploads live.
        fetched_dir: the worker's folder; None or empty: it has none.
    """

    def __init__(self, data_dir: Path | str, fetched_dir: Path | str | None = None) -> None:
        self.kept = TargetStore(data_dir)
        self._fetched = TargetStore(fetched_dir) if fetched_dir else None

    def built_ins(self) -> list[TargetRecord]:
        """The built-in targets."""
        return self.kept.built_ins()

    def load(self, target_id: str) -> PreparedTarget:
        """A target's crops and landmarks (see :meth:`TargetStore.load`).

        Raises:
            TargetUnknown: it is not on this machine.
        """
        try:
            return self.kept.load(target_id)
        except TargetUnknown:
            if self._fetched is None:
                raise
            return self._fetched.load(target_id)


class FetchedFolder:
    """A folder of this process for targets fetched from elsewhere; no other process's is ever touched.

    Args:
        data_dir: where it is made, at the first use.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._parent = Path(data_dir) / _FOLDER
        self.path = self._parent / secrets.token_hex(8)
        self.store = TargetStore(self.path)
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            OSError: it cannot be made.
        """
        if self._lock is not None:
            return
        self.path.mkdir(parents=True, mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def sweep_others(self) -> int:
        """Delete the folders of processes that were killed; their number."""
        swept = 0
        for folder in self._parent.glob("*") if self._parent.is_dir() else ():
            if folder != self.path and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def close(self) -> None:
        """Delete the folder and what is in it."""
        if self._lock is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = None
        with suppress(OSError):  # others have theirs in it
            self._parent.rmdir()


def _is_left(folder: Path) -> bool:
    """Whether the process that claimed a folder is gone: its lock went with it."""
    try:
        if time.time() - folder.stat().st_mtime < _BEING_MADE_S:
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
