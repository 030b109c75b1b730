"""A driver's landmarks over a whole clip to motion: what is known at its end serves from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks.driver import CALIBRATION_S, DriverMotion, DriverTracker
from models.landmarks.identity import few_shot

__all__ = ["motions_of"]

#: Between looking ahead and following: longer than the tracker's filter remembers.
_PAUSE_S: Final = 5.0


def motions_of(
    landmarks: Sequence[npt.NDArray[np.floating] | None], times: Sequence[float]
) -> list[DriverMotion]:
    """Motion of one driver, frame by frame.

    In a call the neutral state settles while the first second is already shown; here that second is
    looked at beforehand. Frames without a face repeat the motion before them.

    Args:
        landmarks: ``[478, 3]`` in pixels of the clip for each frame, or None where no face was found.
        times: of the frames, seconds, rising.

    Raises:
        ValueError: no frame has a face.
    """
    seen = [(time, points) for time, points in zip(times, landmarks, strict=True) if points is not None]
    if not seen:
        raise ValueError("no frame shows a face")
    tracker = DriverTracker(few_shot=few_shot().driver)
    began = seen[0][0]
    for time, found in seen:
        tracker.update(found, time)
        if time - began > CALIBRATION_S:
            break
    ahead = time - began + _PAUSE_S
    motions: list[DriverMotion | None] = []
    latest: DriverMotion | None = None
    for time, points in zip(times, landmarks, strict=True):
        if points is not None:
            latest = tracker.update(points, time + ahead)
        motions.append(latest)
    first = next(motion for motion in motions if motion is not None)
    return [motion or first for motion in motions]
