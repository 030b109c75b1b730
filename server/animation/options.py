"""What may be chosen of a moving picture, and within which bounds."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FORMATS", "AnimationOptions", "Format"]

Format = Literal["mp4", "webm", "gif", "webp"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


class AnimationOptions(BaseModel):
    """Choices beside target and templates or clip.

    Attributes:
        seconds: length; of a driver's clip, how much of it is followed.
        fps: pictures a second.
        intensity: lambda_exp of Eq. 7.
        play: see :class:`models.templates.timeline.Timeline`.
        size: pixels a side of the face's picture.
        whole: the face moves in its whole photo, not in the square around it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Annotated[float, Field(ge=0.2, le=60)] | None = None
    fps: Annotated[float, Field(ge=1, le=60)] | None = None
    intensity: Annotated[float, Field(ge=0.1, le=2)] = 1.0
    play: Literal["once", "return", "loop"] = "once"
    size: Literal[256, 512] = 256
    whole: bool = False
