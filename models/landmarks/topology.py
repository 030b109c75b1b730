"""Which of the 478 FaceMesh landmarks is what: semantic groups, rings, lines to draw, left and right.

"Left" and "right" are the person's own, as MediaPipe names them: the right eye is on the picture's left.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

Indices = npt.NDArray[np.intp]

LANDMARK_COUNT: Final = 478


def _indices(*points: int) -> Indices:
    return np.array(points, np.intp)


# Chains run along the feature; a ring's first point is repeated at the end only where it is drawn.
FACE_OVAL: Final = _indices(
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
#: The oval's lower part, ear to ear.
JAWLINE: Final = _indices(
    454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234
)

# Each lid runs from the outer corner to the inner.
RIGHT_EYE_UPPER: Final = _indices(33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_EYE_LOWER: Final = _indices(33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_UPPER: Final = _indices(263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_EYE_LOWER: Final = _indices(263, 249, 390, 373, 374, 380, 381, 382, 362)
RIGHT_EYE_RING: Final = np.concatenate([RIGHT_EYE_UPPER, RIGHT_EYE_LOWER[-2:0:-1]])
LEFT_EYE_RING: Final = np.concatenate([LEFT_EYE_UPPER, LEFT_EYE_LOWER[-2:0:-1]])

# Centre, then four points of the rim.
RIGHT_IRIS: Final = _indices(468, 469, 470, 471, 472)
LEFT_IRIS: Final = _indices(473, 474, 475, 476, 477)

# Each edge runs from the outer end to the inner.
RIGHT_EYEBROW_UPPER: Final = _indices(70, 63, 105, 66, 107)
RIGHT_EYEBROW_LOWER: Final = _indices(46, 53, 52, 65, 55)
LEFT_EYEBROW_UPPER: Final = _indices(300, 293, 334, 296, 336)
LEFT_EYEBROW_LOWER: Final = _indices(276, 283, 282, 295, 285)

# Each lip edge runs from the right corner to the left.
LIP_OUTER_UPPER: Final = _indices(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_OUTER_LOWER: Final = _indices(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_INNER_UPPER: Final = _indices(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_INNER_LOWER: Final = _indices(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIP_OUTER: Final = np.concatenate([LIP_OUTER_UPPER, LIP_OUTER_LOWER[-2:0:-1]])
LIP_INNER: Final = np.concatenate([LIP_INNER_UPPER, LIP_INNER_LOWER[-2:0:-1]])
#: All of both lips, with the rows of points between their edges.
LIPS: Final = np.unique(
    np.concatenate(
        [
            LIP_OUTER,
            LIP_INNER,
            _indices(
                76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 408, 304, 303, 302, 11, 72, 73, 74, 184
            ),
            _indices(
                62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268, 12, 38, 41, 42, 183
            ),
        ]
    )
)

NOSE_BRIDGE: Final = _indices(168, 6, 197, 195, 5, 4, 1)
NOSE_BASE: Final = _indices(64, 98, 97, 2, 326, 327, 294)
NOSE: Final = _indices(
    168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 45, 220, 115, 48, 64, 98, 97, 326, 327, 294, 278, 344, 440, 275,
    51, 281, 3, 248, 122, 351, 196, 419, 236, 456, 198, 420, 131, 360, 49, 279, 102, 331, 129, 358,
    44, 274, 125, 354, 141, 370, 20, 250, 238, 458, 239, 459, 237, 457, 241, 461, 242, 462, 240, 460,
    99, 328, 75, 305, 60, 290, 59, 289, 166, 392, 79, 309, 218, 438, 219, 439, 235, 455, 134, 363, 174, 399,
)  # fmt: skip

#: The patent's semantic groups ([0121]), irises apart; every group but the nose and jawline moves by itself.
SEMANTIC_GROUPS: Final = MappingProxyType(
    {
        "right_eye": np.concatenate(
            [
                RIGHT_EYE_RING,
                _indices(130, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25),
                _indices(226, 113, 225, 224, 223, 222, 221, 189, 244, 233, 232, 231, 230, 229, 228, 31),
            ]
        ),
        "left_eye": np.concatenate(
            [
                LEFT_EYE_RING,
                _indices(359, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255),
                _indices(446, 342, 445, 444, 443, 442, 441, 413, 464, 453, 452, 451, 450, 449, 448, 261),
            ]
        ),
        "right_eyebrow": np.concatenate([RIGHT_EYEBROW_UPPER, RIGHT_EYEBROW_LOWER]),
        "left_eyebrow": np.concatenate([LEFT_EYEBROW_UPPER, LEFT_EYEBROW_LOWER]),
        "nose": NOSE,
        "mouth": LIPS,
        "jawline": JAWLINE,
        "irises": np.concatenate([RIGHT_IRIS, LEFT_IRIS]),
    }
)

#: Points that hardly move with expression: what a head's pose is measured on.
RIGID: Final = _indices(
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2,
    109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454, 93, 323,
    33, 133, 263, 362, 122, 351, 196, 419, 98, 327, 64, 294, 129, 358,
    116, 345, 117, 346, 111, 340, 143, 372, 34, 264, 227, 447,
)  # fmt: skip


def _closed(ring: Indices) -> Indices:
    return np.concatenate([ring, ring[:1]])


#: Lines of the landmark drawing, one list for each of its colours; neighbouring features differ in colour.
RASTER_LINES: Final = (
    (_closed(FACE_OVAL), NOSE_BRIDGE, NOSE_BASE),
    (
        _closed(RIGHT_EYE_RING), _closed(LEFT_EYE_RING), _closed(RIGHT_IRIS[1:]), _closed(LEFT_IRIS[1:]),
        RIGHT_EYEBROW_UPPER, RIGHT_EYEBROW_LOWER, LEFT_EYEBROW_UPPER, LEFT_EYEBROW_LOWER,
    ),
    (_closed(LIP_OUTER), _closed(LIP_INNER)),
)  # fmt: skip


@cache
def _canonical_file() -> dict[str, npt.NDArray[np.float32]]:
    return load_file(Path(__file__).parents[1] / "weights" / "canonical_face.safetensors")


def canonical_face() -> npt.NDArray[np.float64]:
    """The average face, float64 ``[478, 3]``: zero mean, unit scale (RMS distance), upright and frontal.

    The mean of 72 neutral frontal portraits after Procrustes alignment, made symmetric.
    """
    return _canonical_file()["canonical"].astype(np.float64)


#: The landmark on the other side of the face: an exact involution, found by detecting on pictures and
#: their mirror images and solving the assignment. ``landmarks[MIRROR]`` with x negated is the mirrored face.
MIRROR: Final[Indices] = _canonical_file()["mirror"].astype(np.intp)
