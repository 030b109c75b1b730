"""Prepared targets on disk: built-in ones shipped with the package, uploaded ones that expire.

A target is a folder ``<id>/`` with ``target.json``, ``photo-<k>.png`` (or ``.webp``; 512x512 RGB crops,
"the preset size" of patent [0202]) and ``landmarks.safetensors`` (``[K, 478, 3]`` float32, pixels of the
crop). Uploads lie under ``<data_dir>/targets``; a folder appears there by one rename, whole or not at all.

The id of an upload is its capability: 192 random bits, never listed, and who knows it may use and
delete the target. The folders are readable by the service's own user alone.

This module needs neither mediapipe nor torch, so that any process can load targets.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.targets.folder import (
    CROP_SIZE,
    LANDMARKS,
    Consent,
    PreparedTarget,
    TargetRecord,
    TargetUnknown,
    TargetUnreadable,
    checked,
    gallery_order,
    read_crop,
    read_record,
    read_target,
    write_target,
)

logger = logging.getLogger(__name__)

__all__ = [
    "CROP_SIZE",
    "DEFAULT_GALLERY",
    "LANDMARKS",
    "Consent",
    "PreparedTarget",
    "StorageFull",
    "TargetProtected",
    "TargetRecord",
    "TargetStore",
    "TargetUnknown",
    "is_upload_id",
]

THUMBNAIL_SIZE: Final = 256

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_UPLOAD_PREFIX = "t_"
_STAGING_PREFIX = ".staging-"
_TRASH_PREFIX = ".trash-"
_STAGING_KEPT_S = 3600.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

DEFAULT_GALLERY: Final = Path(__file__).resolve().parent.parent / "gallery" / "targets"


class TargetProtected(PermissionError):
    """A built-in target cannot be deleted."""


class StorageFull(OSError):
    """There is no room for another target; nothing of it was left behind."""


def is_upload_id(target_id: str) -> bool:
    """Whether an id is of the kind that uploads have."""
    return target_id.startswith(_UPLOAD_PREFIX) and _ID.match(target_id) is not None


class TargetStore:
    """Built-in and uploaded targets; several processes may use one data directory at the same time.

    Args:
        data_dir: where uploads live, in its subfolder ``targets`` (made at the first upload).
        ttl_s: how long an upload is kept, seconds.
        max_uploads: how many uploads are kept at once; beyond that, saving raises :class:`StorageFull`.
        min_free_bytes: free space that saving leaves on the disk.
        gallery_dir: the folder of built-in targets.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        ttl_s: float = 24 * 3600.0,
        max_uploads: int = 1000,
        min_free_bytes: int = 64 * 1024 * 1024,
        gallery_dir: Path = DEFAULT_GALLERY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ttl_s = ttl_s
        self._uploads = Path(data_dir) / "targets"
        self._gallery = gallery_dir
        self._max_uploads = max_uploads
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        shipped = [path.parent for path in gallery_dir.glob("*/target.json")]
        self._built_in = {
            folder.name: read_record(folder, folder.name, built_in=True)
            for folder in sorted(shipped, key=gallery_order)
        }

    # ------------------------------------------------------------ reading

    def built_ins(self) -> list[TargetRecord]:
        """The built-in targets, in the order of the gallery."""
        return list(self._built_in.values())

    def record(self, target_id: str) -> TargetRecord:
        """What is known of a target.

        Raises:
            TargetUnknown: there is none by that id.
        """
        if not _ID.match(target_id):
            raise TargetUnknown(target_id)
        if target_id in self._built_in:
            return self._built_in[target_id]
        if not target_id.startswith(_UPLOAD_PREFIX):
            raise TargetUnknown(target_id)
        record = read_record(self._uploads / target_id, target_id, built_in=False)
        if record.expires_at is None or record.expires_at <= self._clock():
            raise TargetUnknown(target_id)
        return record

    def load(self, target_id: str) -> PreparedTarget:
        """A target's crops and landmarks (about 5 ms a photo; not for an event loop).

        Raises:
            TargetUnknown: there is none by that id.
        """
        record = self.record(target_id)
        return read_target(self._folder(record), record)

    def thumbnail(self, target_id: str) -> bytes:
        """The first crop as a 256x256 WebP (about 20 ms; not for an event loop).

        Raises:
            TargetUnknown: there is none by that id.
        """
        record = self.record(target_id)
        try:
            image = Image.fromarray(read_crop(self._folder(record), 0))
        except (OSError, ValueError) as error:
            raise TargetUnknown(target_id) from error
        small = image.resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS, reducing_gap=3.0)
        encoded = io.BytesIO()
        small.save(encoded, "WEBP", quality=88, method=4)
        return encoded.getvalue()

    # ------------------------------------------------------------ writing

    def save(
        self,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        landmarks: Sequence[NDArray[np.float32]] | NDArray[np.float32],
        *,
        name: str,
        consent: Consent,
    ) -> TargetRecord:
        """Keep a new upload (about 30 ms a photo; not for an event loop).

        Args:
            images: K crops ``[512, 512, 3]`` uint8 RGB.
            landmarks: K times ``[478, 3]`` float32, pixels of the crop.
            name: for people.
            consent: the statement that the uploader ticked.

        Raises:
            StorageFull: the disk, the quota or the number of kept uploads is used up.
            ValueError: shapes that do not fit.
        """
        crops, points = checked(images, landmarks)
        now = self._clock()
        target_id = _UPLOAD_PREFIX + secrets.token_urlsafe(24)
        record = TargetRecord(
            id=target_id,
            name=name,
            built_in=False,
            photos=len(crops),
            created_at=now,
            expires_at=now + self.ttl_s,
            consent=consent,
        )
        self._keep(record, crops, points)
        return record

    def adopt(self, record: TargetRecord, images: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> None:
        """Keep a copy of an upload that another store took, under its id and until it expires.

        Args:
            record: as the other store has it.
            images: ``[K, 512, 512, 3]`` uint8 RGB.
            landmarks: ``[K, 478, 3]`` float32, pixels of the crop.

        Raises:
            StorageFull: the disk, the quota or the number of kept uploads is used up.
            ValueError: shapes that do not fit, or an id that no upload has.
        """
        if not is_upload_id(record.id):
            raise ValueError("This is no upload's id.")
        crops, points = checked(images, landmarks)
        self._remove(self._uploads / record.id)
        self._keep(record, crops, points)

    def _keep(self, record: TargetRecord, crops: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """Write a target's folder, whole or not at all."""
        staging = self._uploads / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
        try:
            self._uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._require_room()
            staging.mkdir(mode=0o700)
            write_target(staging, record, crops, points)
            staging.rename(self._uploads / record.id)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            if error.errno in _FULL and not isinstance(error, StorageFull):
                raise StorageFull(error.errno, "The disk is full.") from error
            raise
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def delete(self, target_id: str) -> None:
        """Forget an upload now.

        Raises:
            TargetUnknown: there is none by that id.
            TargetProtected: it is built in.
        """
        if self.record(target_id).built_in:
            raise TargetProtected(target_id)
        if not self._remove(self._uploads / target_id):
            raise TargetUnknown(target_id)

    def discard(self, target_id: str) -> None:
        """Delete an upload, expired or not, if there is one by that id."""
        if is_upload_id(target_id):
            self._remove(self._uploads / target_id)

    def sweep(self) -> int:
        """Delete expired and damaged uploads and what an interrupted write or delete left; their number."""
        swept = unreadable = 0
        now = self._clock()
        for folder in self._upload_folders(hidden=True):
            if folder.name.startswith(_STAGING_PREFIX):
                # A write in progress is seconds old; only a dead process leaves one for an hour.
                with suppress(OSError):
                    if now - folder.stat().st_mtime > _STAGING_KEPT_S:
                        shutil.rmtree(folder, ignore_errors=True)
                continue
            if folder.name.startswith(_TRASH_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                self.record(folder.name)
            except TargetUnreadable:
                unreadable += 1
            except TargetUnknown:
                swept += self._remove(folder)
        if unreadable:
            logger.warning("Uploads that cannot be read at the moment, and are kept: %d", unreadable)
        return swept

    def uploads(self) -> int:
        """How many uploads are kept now."""
        return sum(1 for _ in self._upload_folders())

    # ------------------------------------------------------------ parts

    def _folder(self, record: TargetRecord) -> Path:
        return (self._gallery if record.built_in else self._uploads) / record.id

    def _upload_folders(self, *, hidden: bool = False) -> Iterator[Path]:
        try:
            entries = [entry for entry in os.scandir(self._uploads) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(_UPLOAD_PREFIX) or (
                hidden and entry.name.startswith((_STAGING_PREFIX, _TRASH_PREFIX))
            ):
                yield Path(entry.path)

    def _require_room(self) -> None:
        if self.uploads() >= self._max_uploads:
            raise StorageFull(errno.EDQUOT, f"{self._max_uploads} uploads are kept already.")
        if shutil.disk_usage(self._uploads).free < self._min_free_bytes:
            raise StorageFull(errno.ENOSPC, "The disk is nearly full.")

    def _remove(self, folder: Path) -> bool:
        # The rename takes the target away at once; a reader never meets half a folder.
        trash = self._uploads / f"{_TRASH_PREFIX}{secrets.token_hex(8)}"
        try:
            folder.rename(trash)
        except OSError:
            return False
        shutil.rmtree(trash, ignore_errors=True)
        return True
