"""Pictures of films as people see them."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

__all__ = ["upright"]


def upright(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """A decoded frame as RGB ``[H, W, 3]``, turned as its film says: phones store films as they were held."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
