"""Why a photo was refused: a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Literal, get_args

RefusalCode = Literal[
    "no_face",
    "several_faces",
    "face_too_small",
    "unreadable",  # damaged, truncated, or its decoding broke down
    "too_large",  # bytes
    "too_many_pixels",
    "unsupported_format",
    "timed_out",
]

REFUSAL_CODES: tuple[RefusalCode, ...] = get_args(RefusalCode)


class PhotoRefused(ValueError):
    """A photo that no target can be made from.

    Attributes:
        code: why.
        message: a sentence for people; says nothing of the photo that its sender does not know.
    """

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code: RefusalCode = code
        self.message = message


class PreparationFailed(RuntimeError):
    """Preparing could not be tried or broke down for no fault of the photo; trying again may help."""
