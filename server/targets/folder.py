"""A target's folder: what is known of it, its crops and its landmarks, checked, written and read.

See :mod:`server.targets.store`, which keeps such folders.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

CROP_SIZE: Final = 512
LANDMARKS: Final = 478

_RECORD: Final = "target.json"
_LANDMARKS: Final = "landmarks.safetensors"


class TargetUnknown(LookupError):
    """No such target, or no longer: the id is malformed, was never given out, deleted or has expired."""


class TargetUnreadable(TargetUnknown):
    """It cannot be read at the moment (too many open files, a disk in trouble), so it may well be there."""


@dataclass(frozen=True)
class Consent:
    """The statement that an uploader ticked.

    Attributes:
        statement: its words, as they were shown.
        given_at: when, in seconds since the epoch.
    """

    statement: str
    given_at: float


@dataclass(frozen=True)
class TargetRecord:
    """What is known of a target beside its pictures.

    Attributes:
        id: fixed and readable for a built-in target, an unguessable capability for an upload.
        name: for people.
        built_in: shipped with the package; never expires, cannot be deleted.
        photos: number of crops, 1 to 8.
        credit, licence: of the picture, shown beside built-in targets.
        created_at, expires_at: seconds since the epoch; None for built-in targets.
        consent: the uploader's statement; None for built-in targets.
    """

    id: str
    name: str
    built_in: bool
    photos: int
    credit: str = ""
    licence: str = ""
    created_at: float | None = None
    expires_at: float | None = None
    consent: Consent | None = None


@dataclass(frozen=True)
class PreparedTarget:
    """A target as a generator takes it.

    Attributes:
        id, name: as in :class:`TargetRecord`.
        images: ``[K, 512, 512, 3]`` uint8 RGB crops of one person.
        landmarks: ``[K, 478, 3]`` float32, pixels of the crop.
    """

    id: str
    name: str
    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def checked(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    landmarks: Sequence[NDArray[np.float32]] | NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A target's crops and landmarks as arrays.

    Raises:
        ValueError: shapes that do not fit.
    """
    crops = np.asarray(images)
    points = np.ascontiguousarray(landmarks, dtype=np.float32)
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3):
        raise ValueError(f"Crops must be [K, {CROP_SIZE}, {CROP_SIZE}, 3] uint8, not {crops.shape}.")
    if points.shape != (len(crops), LANDMARKS, 3) or not np.isfinite(points).all():
        raise ValueError(f"Landmarks must be finite, [{len(crops)}, {LANDMARKS}, 3], not {points.shape}.")
    if len(crops) == 0:
        raise ValueError("A target needs at least one photo.")
    return crops, points


def write_target(
    folder: Path, record: TargetRecord, crops: NDArray[np.uint8], points: NDArray[np.float32]
) -> None:
    """Write what belongs into a target's folder, which is there and empty.

    Raises:
        OSError: something could not be written; part of it may lie there.
    """
    for k, crop in enumerate(crops):
        _write(folder / f"photo-{k}.png", _png(crop))
    _write(folder / _LANDMARKS, save_tensors({"landmarks": points}))
    _write(folder / _RECORD, _record_json(record))


def read_target(folder: Path, record: TargetRecord) -> PreparedTarget:
    """A target's crops and landmarks.

    Raises:
        TargetUnknown: they are gone, or are not what they should be.
        TargetUnreadable: they cannot be read at the moment.
    """
    try:
        images = np.stack([read_crop(folder, k) for k in range(record.photos)])
        landmarks = load_tensors((folder / _LANDMARKS).read_bytes())["landmarks"]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        # What is said of a damaged picture has no number; only the system's own errors have one.
        number = error.errno if isinstance(error, OSError) else None
        if number not in (None, errno.ENOENT, errno.ENOTDIR):
            raise TargetUnreadable(record.id) from error
        # Deleted between the two reads, or damaged: either way there is no such target to use.
        raise TargetUnknown(record.id) from error
    if landmarks.shape != (record.photos, LANDMARKS, 3):
        raise TargetUnknown(record.id)
    return PreparedTarget(record.id, record.name, images, landmarks.astype(np.float32, copy=False))


def read_crop(folder: Path, k: int) -> NDArray[np.uint8]:
    """The k-th crop.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no crop.
    """
    path = folder / f"photo-{k}.png"
    if not path.exists():
        path = path.with_suffix(".webp")
    with Image.open(path, formats=("PNG", "WEBP")) as image:
        crop = np.asarray(image.convert("RGB"))
    if crop.shape != (CROP_SIZE, CROP_SIZE, 3):
        raise ValueError(f"{path.name} is {crop.shape}")
    return crop


def read_record(folder: Path, target_id: str, *, built_in: bool) -> TargetRecord:
    """What is known of a target.

    Raises:
        TargetUnknown: there is none in the folder, or it is damaged.
        TargetUnreadable: whether there is one cannot be said at the moment.
    """
    try:
        content = (folder / _RECORD).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TargetUnknown(target_id) from error
    except OSError as error:
        raise TargetUnreadable(target_id) from error
    try:
        fields = json.loads(content)
        consent = fields.get("consent")
        return TargetRecord(
            id=target_id,
            name=str(fields["name"]),
            built_in=built_in,
            photos=int(fields["photos"]),
            credit=str(fields.get("credit", "")),
            licence=str(fields.get("licence", "")),
            created_at=fields.get("created_at"),
            expires_at=fields.get("expires_at"),
            consent=Consent(**consent) if consent else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the last: it is no JSON object
        raise TargetUnknown(target_id) from error


def gallery_order(folder: Path) -> tuple[float, str]:
    """Where a built-in target stands in the gallery, for sorting."""
    return float(json.loads((folder / _RECORD).read_bytes()).get("order", 1000)), folder.name


def _png(crop: NDArray[np.uint8]) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(crop).save(encoded, "PNG", compress_level=3)
    return encoded.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file that only the service's user may read, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _record_json(record: TargetRecord) -> bytes:
    fields = {key: value for key, value in asdict(record).items() if key not in ("id", "built_in")}
    return json.dumps(fields, indent=2).encode()
