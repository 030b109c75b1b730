"""Why a moving picture cannot be made: a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Literal

AnimationErrorCode = Literal[
    "no_pictures",  # the driver's clip has sound only
    "driver_unreadable",
    "driver_too_long",
    "driver_too_large",
    "driver_no_face",
    "driver_several_faces",
    "target_unknown",
    "format_unknown",
    "not_whole",  # a whole photo was asked for where there is only a crop
    "cannot_write",
]


class AnimationError(ValueError):
    """A moving picture that cannot be made. Nothing of it was written.

    Attributes:
        code: why; photos and templates bring codes of their own
            (:mod:`server.targets.errors`, :mod:`models.templates.errors`).
        message: a sentence for people.
    """

    def __init__(self, code: AnimationErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: AnimationErrorCode = code
        self.message = message
