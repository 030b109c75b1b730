"""A prepared upload on its way from signaling to a media worker: one body, its tag and its digest.

The body is safetensors (``images``, ``landmarks``, and ``record`` as JSON in bytes): it can be read without
running anything, and what it claims is checked. It has no word of who uploaded it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from server.targets.store import CROP_SIZE, LANDMARKS, PreparedTarget, TargetRecord

MAX_PHOTOS: Final = 8
#: The largest body: 8 crops, their landmarks, and room for names.
MAX_BYTES: Final = MAX_PHOTOS * (CROP_SIZE * CROP_SIZE * 3 + LANDMARKS * 3 * 4) + 64 * 1024
DIGEST: Final = "Repr-Digest"


class TransferDamaged(ValueError):
    """What came is not what was sent, or not a target."""


def tag(record: TargetRecord) -> str:
    """The entity tag: an upload never changes, and its id is never given out again."""
    named = f"{record.id} {record.created_at}"
    return f'"{hashlib.sha256(named.encode()).hexdigest()}"'


def digest(body: bytes) -> str:
    """Value of the ``Repr-Digest`` field (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def pack(record: TargetRecord, target: PreparedTarget) -> bytes:
    """The body for an upload (about 1 ms a photo)."""
    fields = {"name": record.name, "created_at": record.created_at, "expires_at": record.expires_at}
    return save_tensors(
        {
            "images": np.ascontiguousarray(target.images),
            "landmarks": np.ascontiguousarray(target.landmarks),
            "record": np.frombuffer(json.dumps(fields).encode(), np.uint8),
        }
    )


def unpack(
    target_id: str, body: bytes, sent_digest: str
) -> tuple[TargetRecord, NDArray[np.uint8], NDArray[np.float32]]:
    """The record, crops ``[K, 512, 512, 3]`` and landmarks ``[K, 478, 3]`` that a body carries.

    Raises:
        TransferDamaged: the digest is another, or the content does not fit.
    """
    if digest(body) != sent_digest:
        raise TransferDamaged("the digest of what came is not that of what was sent")
    try:
        tensors = load_tensors(body)
        images, landmarks = tensors["images"], tensors["landmarks"]
        fields = json.loads(tensors["record"].tobytes())
        record = TargetRecord(
            id=target_id,
            name=str(fields["name"]),
            built_in=False,
            photos=len(images),
            created_at=float(fields["created_at"]),
            expires_at=float(fields["expires_at"]),
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TransferDamaged(f"no target: {type(error).__name__}") from error
    shapes = (images.shape[1:], landmarks.shape)
    expected = ((CROP_SIZE, CROP_SIZE, 3), (record.photos, LANDMARKS, 3))
    if not 1 <= record.photos <= MAX_PHOTOS or shapes != expected or images.dtype != np.uint8:
        raise TransferDamaged(f"no target: {images.shape} {images.dtype}, {landmarks.shape}")
    if landmarks.dtype != np.float32 or not math.isfinite(record.expires_at or math.nan):
        raise TransferDamaged("no target: landmarks or expiry are of another kind")
    return record, images, landmarks
