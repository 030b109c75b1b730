"""The mesh flow in NumPy: displacement of landmarks splatted wide and narrow, then brought nearer to exact.

Same splats as :mod:`models.mesh_maps` gives the network, for single pictures on one core, and with two
additions: a third, narrower splat of what the first two leave, so that brows and lips arrive where they
should; and points of the skull around the face, which the detector does not see but which move with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from models.landmarks import topology as face
from models.landmarks.geometry import similarity
from models.mesh_maps import COARSE, FILL, FINE, STILL

Float32 = npt.NDArray[np.float32]

#: Cells a side on which the flow is splatted before it is enlarged to the picture.
FLOW_SIZE: Final = 64
#: Width of the correcting splats, as a share of the crop, and the weight of "no correction" against them.
_EXACT, _EXACT_STILL = 0.016, 0.3
#: How often the rest is splatted; more than twice gains little and begins to fold the picture.
_CORRECTIONS: Final = 2
#: Share of the crop at its edge over which the flow goes to zero: nothing is drawn in from outside.
_EDGE: Final = 0.07
_CENTRES: Final = ((np.arange(FLOW_SIZE) + 0.5) / FLOW_SIZE).astype(np.float32)
_RISE: Final = np.clip((np.minimum(_CENTRES, 1 - _CENTRES) - _CENTRES[0]) / _EDGE, 0, 1)
_WINDOW: Final = np.multiply.outer(_RISE, _RISE)[..., None] * np.ones(1, np.float32)

#: Skull points lie on rings outside the oval from cheek over forehead to cheek: how far out (times the
#: distance from the face's middle), at which depth between the oval's own (0) and the ears' (1), and what
#: share of the skull's motion is left at the ring's ends, where long hair hangs on the shoulders.
_CHEEKS_UP: Final = np.concatenate([face.FACE_OVAL[-10:], face.FACE_OVAL[:11]])
_RINGS: Final = ((1.18, 0.35, 0.8), (1.42, 0.25, 0.15))
_FROM_TOP: Final = np.abs(np.linspace(-1, 1, len(_CHEEKS_UP)))
_SHARES: Final = np.concatenate(
    [1 - (1 - ends) * np.square(np.clip((_FROM_TOP - 0.3) / 0.7, 0, 1)) for _, _, ends in _RINGS]
).astype(np.float32)[:, None]


def skull_points(landmarks: Float32) -> Float32:
    """Points of hair and ears around the upper face, ``[42, 3]``, in the landmarks' unit."""
    oval = landmarks[_CHEEKS_UP]
    middle = landmarks[face.RIGID].mean(0)
    ears = float(landmarks[[127, 356, 234, 454], 2].mean())
    rings = []
    for reach, depth, _ in _RINGS:
        ring = middle + (oval - middle) * np.float32(reach)
        ring[:, 2] = oval[:, 2] + depth * (ears - oval[:, 2])
        rings.append(ring)
    return np.concatenate(rings).astype(np.float32)


def moved_with_skull(points: Float32, photo: Float32, shown: Float32) -> Float32:
    """Where skull points go as the landmarks go from ``photo`` to ``shown``, ``[42, 2]``.

    Degenerate landmarks (all in one place) leave the points where they are.
    """
    try:
        motion = similarity(photo[face.RIGID], shown[face.RIGID])
    except ValueError:
        return np.asarray(points[:, :2], np.float32)
    moved = motion.scale * points @ motion.rotation.T + motion.translation
    return np.asarray(points + _SHARES * (moved - points), np.float32)[:, :2]


def mesh_flow(shown: Float32, photo: Float32) -> Float32:
    """Flow that shows the photo's points where they are wanted.

    Args:
        shown, photo: ``[N, 2]`` in units of the crop (0..1).

    Returns:
        ``[FLOW_SIZE, FLOW_SIZE, 2]``: at each place, where in the photo to look, relative to it, in units
        of the crop; zero in the background and at the crop's edge.
    """
    # contiguous, or the matrix products are many times slower
    displacement = np.ascontiguousarray((photo - shown).T, np.float32)  # [2, N]
    places = np.ascontiguousarray(np.clip(shown, -1, 2).T, np.float32)
    squared = np.square(_CENTRES[:, None] - places[:, None, :])  # [2, size, N]
    coarse = _splat(_weights(squared, COARSE), displacement)
    flow = coarse[:2] / (coarse[2] + STILL)
    fine = _splat(_weights(squared, FINE), displacement)
    flow = (fine[:2] + FILL * flow) / (fine[2] + FILL)
    narrow = _weights(squared, _EXACT)
    for _ in range(_CORRECTIONS):
        rest = _splat(narrow, displacement - _at(flow, shown))
        flow = flow + rest[:2] / (rest[2] + _EXACT_STILL)
    return np.asarray(flow.transpose(1, 2, 0) * _WINDOW, np.float32)


def _weights(squared: Float32, width: float) -> Float32:
    """How much each point counts in each column and in each row, ``[2, size, N]``."""
    # exponents are bounded because numbers too small for float32 to hold exactly cost a hundred times more
    return np.asarray(np.exp(np.maximum(squared * np.float32(-0.5 / width**2), -40.0)), np.float32)


def _splat(weights: Float32, attributes: Float32) -> Float32:
    """Sums of the two attributes and of the weights, ``[3, size, size]``."""
    across, down = weights
    rows = np.concatenate([down * attributes[0], down * attributes[1], down])
    # torch's product keeps to torch.set_num_threads; NumPy's would wake a thread on every core to spin
    summed = torch.mm(torch.from_numpy(rows), torch.from_numpy(across).T)
    return np.asarray(summed.numpy().reshape(3, FLOW_SIZE, FLOW_SIZE))


def _at(maps: Float32, points: Float32) -> Float32:
    """Maps ``[C, size, size]`` at points (units of the crop), ``[C, N]``."""
    place = np.clip(points * FLOW_SIZE - 0.5, 0, FLOW_SIZE - 1.001)
    whole = place.astype(np.intp)
    part = (place - whole).astype(np.float32)
    x, y = whole.T
    px, py = part.T
    top = maps[:, y, x] * (1 - px) + maps[:, y, x + 1] * px
    bottom = maps[:, y + 1, x] * (1 - px) + maps[:, y + 1, x + 1] * px
    return np.asarray(top * (1 - py) + bottom * py)
