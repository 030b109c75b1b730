"""Closes eyes: pulls the lids' skin over a still eyeball, with a line of lashes where they meet."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.mesh_warp.feature_frame import FeatureFrame, curve, smoothstep

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: (lid corner on the picture's left, on its right, upper lid, lower lid)
EYES = (
    (33, 133, face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER),
    (362, 263, face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER),
)
#: Skin that is pulled, above the upper and below the lower lid, in eye widths.
_UPPER_SKIN, _LOWER_SKIN = 0.34, 0.22
#: Thickness of the lash line in eye widths, and how dark it gets.
_LASH, _LASH_SHARE = 0.035, 0.75


def with_open_eyes(landmarks: Float32, photo: Float32) -> Float32:
    """Landmarks whose lids are as open as the photo's; the flow is made from these.

    Lids are a few pixels apart, less than a splat is wide: moving them by the flow would squeeze the
    eyeball instead of covering it.

    Args:
        landmarks: ``[478, >=2]`` as they should be shown, pixels.
        photo: ``[478, >=2]`` of the photo, pixels.
    """
    opened = landmarks.copy()
    for left, right, upper, lower in EYES:
        here = FeatureFrame.between(landmarks[left], landmarks[right])
        there = FeatureFrame.between(photo[left], photo[right])
        for lid in (upper, lower):
            local = there.to_local(photo[lid])
            opened[lid, 0], opened[lid, 1] = here.to_pixels(local[:, 0], local[:, 1])
    return opened


def draw_eyelids(picture: Picture, shown: Float32, opened: Float32) -> None:
    """Move the lids from where they are in the picture to where they should be, in place.

    Args:
        picture: ``[S, S, 3]``, warped with the eyes open.
        shown: landmarks ``[478, >=2]`` with the lids as they should be, pixels of the picture.
        opened: what :func:`with_open_eyes` gave for them.
    """
    for left, right, upper, lower in EYES:
        frame = FeatureFrame.between(opened[left], opened[right])
        window = frame.window((-0.1, 1.1), (-0.75, 0.65), picture.shape[0])
        if window is None:
            continue
        u, v = frame.local_grid(window)
        above, below = curve(frame.to_local(opened[upper]), u), curve(frame.to_local(opened[lower]), u)
        to_above, to_below = curve(frame.to_local(shown[upper]), u), curve(frame.to_local(shown[lower]), u)
        to_above, to_below = np.minimum(to_above, to_below), np.maximum(to_above, to_below)
        if np.abs(to_above - above).max() < 0.01 and np.abs(to_below - below).max() < 0.01:
            continue
        source = v.copy()
        top = above - _UPPER_SKIN
        upper_skin = (v > top) & (v < to_above)
        stretched = top + (v - top) * _UPPER_SKIN / np.maximum(to_above - top, 1e-3)
        source[upper_skin] = stretched[upper_skin]
        bottom = below + _LOWER_SKIN
        lower_skin = (v >= to_below) & (v < bottom)
        stretched = bottom - (bottom - v) * _LOWER_SKIN / np.maximum(bottom - to_below, 1e-3)
        source[lower_skin] = stretched[lower_skin]

        x, y = frame.to_pixels(u, source)
        pulled = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # lashes grow dark as the lid comes down over what was the white of the eye
        inside = smoothstep(u, 0.0, 0.12) * (1.0 - smoothstep(u, 0.88, 1.0))
        fall = np.clip((to_above - above) / np.maximum(below - above, 0.05), 0.0, 1.0)
        lash = _LASH_SHARE * inside * fall * np.exp(-(((v - to_above) / _LASH) ** 2))
        picture[window] = np.rint(pulled * (1.0 - lash[..., None] * 0.8)).astype(np.uint8)
