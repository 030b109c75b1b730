"""Pictures of films as people see them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

__all__ = ["open_film", "upright"]


def open_film(path: Path) -> av.container.InputContainer:
    """A file of pictures or sound, to be read from; whoever calls this closes it.

    Titles and names in it may be in any encoding, as old films have them: nobody looks at them here.

    Raises:
        av.FFmpegError: it is not there, or nothing that FFmpeg reads.
    """
    return av.open(str(path), metadata_errors="replace")


def upright(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """A decoded frame as RGB ``[H, W, 3]``, turned as its film says: phones store films as they were held."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
