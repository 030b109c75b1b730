"""Photos and kept targets to what is animated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.generator import Picture
from server.animation.errors import AnimationError
from server.animation.render import Subject
from server.targets.decode import PhotoLimits, decode_photo, too_large
from server.targets.errors import PhotoRefused
from server.targets.faces import PhotoPreparer, PreparedPhoto
from server.targets.store import TargetStore, TargetUnknown

__all__ = ["subject_of_photos", "subject_of_target"]


def subject_of_photos(contents: Sequence[Path], limits: PhotoLimits | None = None) -> Subject:
    """From files of photos of one person.

    Raises:
        PhotoRefused: one of them cannot be used; the sentence begins with its name where there are several.
        AnimationError: ``target_unknown``: there is no such file.
    """
    limits = limits or PhotoLimits()
    prepared: list[PreparedPhoto] = []
    pictures: list[Picture] = []
    with PhotoPreparer(limits) as preparer:
        for path in contents:
            try:
                if path.stat().st_size > limits.max_bytes:
                    raise too_large(limits)
                pictures.append(decode_photo(path.read_bytes(), limits))
                prepared.append(preparer.prepare_picture(pictures[-1]))
            except PhotoRefused as refusal:
                raise PhotoRefused(refusal.code, f"{path.name}: {refusal.message}") from refusal
            except OSError as error:
                raise AnimationError(
                    "target_unknown", f"{path}: {error.strerror or 'cannot be read'}."
                ) from error
    return Subject(
        np.stack([one.crop for one in prepared]),
        np.stack([one.landmarks for one in prepared]),
        pictures,
        [one.transform for one in prepared],
    )


def subject_of_target(store: TargetStore, target_id: str) -> Subject:
    """From a target that is kept: built in, or an upload whose id is its capability.

    Raises:
        AnimationError: ``target_unknown``.
    """
    try:
        target = store.load(target_id)
    except TargetUnknown:
        raise AnimationError("target_unknown", "There is no such target, or it has been deleted.") from None
    return Subject(target.images, target.landmarks)
