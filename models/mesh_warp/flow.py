"""The mesh flow in NumPy: displacement of landmarks splatted wide and narrow, then brought nearer to exact.

Coarse splats carry the head, fine ones its features; a third, narrower splat of what these two leave lets
brows and lips arrive where they should; and points of the skull around the face, which the detector does
not see, move with it.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.geometry import similarity
from models.mesh_warp.splats import COARSE, FINE, Splats, filled

Float32 = npt.NDArray[np.float32]

#: Cells a side on which the flow is splatted before it is enlarged to the picture.
FLOW_SIZE: Final = 64
#: What the flow follows: all but irises and the inner lips, which eyes and mouth place by themselves.
CARRIED: Final = np.setdiff1d(
    np.arange(face.LANDMARK_COUNT), np.concatenate([face.LIP_INNER, face.RIGHT_IRIS, face.LEFT_IRIS])
)
#: Width of the correcting splats, as a share of the crop, and the weight of "no correction" against them.
EXACT, EXACT_STILL = 0.016, 0.3
#: How often the rest is splatted; more than twice gains little and begins to fold the picture.
CORRECTIONS: Final = 2
#: Share of the crop at its edge over which the flow goes to zero: nothing is drawn in from outside.
_EDGE: Final = 0.07
_CENTRES: Final = ((np.arange(FLOW_SIZE) + 0.5) / FLOW_SIZE).astype(np.float32)
_RISE: Final = np.clip((np.minimum(_CENTRES, 1 - _CENTRES) - _CENTRES[0]) / _EDGE, 0, 1)
WINDOW: Final = np.multiply.outer(_RISE, _RISE)[..., None] * np.ones(1, np.float32)

#: Skull points lie on rings outside the oval from cheek over forehead to cheek: how far out (times the
#: distance from the face's middle), at which depth between the oval's own (0) and the ears' (1), and what
#: share of the skull's motion is left at the ring's ends, where long hair hangs on the shoulders.
_CHEEKS_UP: Final = np.concatenate([face.FACE_OVAL[-10:], face.FACE_OVAL[:11]])
_RINGS: Final = ((1.18, 0.35, 0.8), (1.42, 0.25, 0.15))
_FROM_TOP: Final = np.abs(np.linspace(-1, 1, len(_CHEEKS_UP)))
SKULL_SHARES: Final = np.concatenate(
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
    return np.asarray(points + SKULL_SHARES * (moved - points), np.float32)[:, :2]


def face_flow(photo: Float32, shown: Float32, size: int, skull: Float32 | None = None) -> Float32:
    """The whole flow of a face: of its landmarks and of the skull around them.

    Args:
        photo, shown: ``[478, 3]``, pixels of a picture of ``size`` pixels a side; ``shown`` with the eyes as
            in the photo (:func:`models.mesh_warp.eyes.with_open_eyes`).
        size: of the picture.
        skull: what :func:`skull_points` gave for the photo, where it is at hand.

    Returns:
        ``[FLOW_SIZE, FLOW_SIZE, 2]`` in units of the crop; see :func:`mesh_flow`.
    """
    skull = skull_points(photo) if skull is None else skull
    followed = moved_with_skull(skull, photo, shown)
    places = (np.concatenate([shown[CARRIED, :2], followed]) + 0.5) / size
    sources = (np.concatenate([photo[CARRIED, :2], skull[:, :2]]) + 0.5) / size
    return mesh_flow(places.astype(np.float32), sources.astype(np.float32))


def mesh_flow(shown: Float32, photo: Float32) -> Float32:
    """Flow that shows the photo's points where they are wanted.

    Args:
        shown, photo: ``[N, 2]`` in units of the crop (0..1).

    Returns:
        ``[FLOW_SIZE, FLOW_SIZE, 2]``: at each place, where in the photo to look, relative to it, in units
        of the crop; zero in the background and at the crop's edge.
    """
    splats = Splats(shown, FLOW_SIZE)
    displacement = photo - shown
    laid = splats.laid(np.concatenate([displacement, np.ones((len(shown), 1), np.float32)], axis=1))
    flow = filled(splats.blurred(laid, COARSE), splats.blurred(laid, FINE))
    against = splats.blurred(laid[..., 2:], EXACT) + np.float32(EXACT_STILL)
    for _ in range(CORRECTIONS):
        rest = splats.laid(displacement - _at(flow, shown))
        flow = flow + splats.blurred(rest, EXACT) / against
    return np.asarray(flow * WINDOW, np.float32)


def _at(flow: Float32, points: Float32) -> Float32:
    """Flow ``[size, size, 2]`` at points ``[N, 2]`` (units of the crop), ``[N, 2]``."""
    place = points * np.float32(FLOW_SIZE) - np.float32(0.5)
    x, y = place[None, :, 0], place[None, :, 1]
    return np.asarray(cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])
