"""The relief of a head seen from the front: height towards the viewer for each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from server.gallery.drawing import Array, Canvas, smooth_max, smoothstep
from server.gallery.person import Person

#: Height of what is not there.
NOTHING = -1.2


def head_width(y: NDArray[np.float32], person: Person) -> NDArray[np.float32]:
    """Half the head's width at heights ``y``; 0 above the skull and below the chin."""
    heights = [-1.44, -1.36, -1.2, -1.0, -0.7, -0.35, 0, 0.3, 0.55, 0.75, 0.9, 0.98, 1.02]
    jaw, chin = person.jaw, person.chin
    widths = [0, 0.27, 0.49, 0.615, 0.70, 0.725, 0.715, 0.675 * person.cheek]
    widths += [0.60 * jaw, 0.475 * jaw, 0.315 * chin, 0.18 * chin, 0]
    # Interpolating the square rounds the skull and the chin off.
    squared = (np.array(widths) * person.wide) ** 2
    inside = PchipInterpolator(heights, squared, extrapolate=False)(y.astype(np.float64))
    return np.sqrt(np.clip(np.nan_to_num(inside), 0, None)).astype(np.float32)


def head_relief(canvas: Canvas, person: Person) -> tuple[Array, NDArray[np.bool_]]:
    """The head without ears, eyes and lips: heights ``[size, size]``, and where it is."""
    width = head_width(canvas.y[:, 0], person)[:, None]
    share = np.abs(canvas.x) / np.maximum(width, 1e-4)
    inside = share < 1
    round_ = np.sqrt(np.clip(1 - np.clip(share, 0, 1) ** 2.5, 0, 1))
    z = np.where(inside, _profile(canvas) * round_, -1.0).astype(np.float32)
    z = _with_nose(canvas, person, z + _muscles(canvas, person))
    return np.where(inside, z, -1).astype(np.float32), inside


def _profile(canvas: Canvas) -> Array:
    """Height along the middle of the face, ``[size, 1]``."""
    at = [-1.45, -1.4, -1.25, -1.0, -0.7, -0.4, -0.15, 0.1, 0.35, 0.6, 0.8, 0.92, 1.0, 1.03]
    height = [0.0, 0.3, 0.55, 0.72, 0.82, 0.865, 0.83, 0.83, 0.84, 0.845, 0.85, 0.84, 0.76, 0.55]
    return np.asarray(PchipInterpolator(at, height)(canvas.y[:, :1]), np.float32)


def _muscles(canvas: Canvas, person: Person) -> Array:
    """What stands out of the egg, and what is hollow."""
    bump, bumps = canvas.bump, canvas.bumps
    relief = 0.050 * person.brow * bumps(0.27, -0.285, 0.17, 0.055, -0.10)
    relief -= 0.088 * bumps(0.30, -0.125, 0.155, 0.085)  # eye sockets
    relief -= 0.038 * bumps(0.135, -0.16, 0.06, 0.07)
    relief += 0.02 * bump(0, -0.33, 0.08, 0.06)
    relief -= 0.035 * bumps(0.60, -0.5, 0.10, 0.2)  # temples
    relief += 0.055 * person.cheekbone * bumps(0.45, 0.10, 0.15, 0.10, 0.5)
    relief += 0.02 * bumps(0.36, 0.28, 0.14, 0.14)
    relief -= 0.03 * person.hollow * bumps(0.48, 0.42, 0.12, 0.14, 0.6)
    relief += 0.060 * bump(0, 0.56, 0.24, 0.17)  # the teeth behind the lips
    relief += 0.055 * bump(0, 0.86, 0.15, 0.085)  # chin
    relief -= 0.035 * bump(0, 0.735, 0.18, 0.045)
    for side in (1, -1):
        fold = [(side * 0.175, 0.26), (side * 0.255, 0.38), (side * 0.315, 0.52), (side * 0.33, 0.60)]
        relief -= 0.035 * person.fold * canvas.stroke(fold, [0.02, 0.02], 0.028)
    return relief


def _with_nose(canvas: Canvas, person: Person, z: Array) -> Array:
    x, y = canvas.x, canvas.y
    along = np.clip((y + 0.22) / 0.455, 0, 1)
    height = 0.035 + 0.205 * person.nose_length * along**1.25
    width = (0.054 + 0.022 * along) * (0.85 + 0.15 * person.nose_width)
    ends = smoothstep(-0.40, -0.16, y) * (1 - smoothstep(0.235, 0.335, y))
    z = (z + height * ends * np.exp(-0.5 * (x / width) ** 2)).astype(np.float32)

    base, tip, wing = 0.84, 0.098 * person.nose_tip, 0.112 * person.nose_width
    z = _with_ball(canvas, z, (0, 0.205, base + 0.10 * person.nose_length), (tip, 0.105, 0.14), 0.05)
    for side in (1, -1):
        z = _with_ball(canvas, z, (side * wing, 0.25, base - 0.012), (0.072, 0.072, 0.105), 0.035)
    z = z - 0.035 * canvas.bumps(0.075 * person.nose_width, 0.315, 0.032, 0.014, 0.25)  # nostrils
    z = z - 0.030 * canvas.bump(0, 0.395, 0.022, 0.06)  # philtrum
    return z - 0.018 * canvas.bumps(0.215 * person.nose_width, 0.262, 0.02, 0.06)


def _with_ball(
    canvas: Canvas,
    z: Array,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    width: float,
) -> Array:
    """An ellipsoid joined smoothly to the relief."""
    inside = 1 - ((canvas.x - centre[0]) / radii[0]) ** 2 - ((canvas.y - centre[1]) / radii[1]) ** 2
    ball = np.where(inside > 0, centre[2] + radii[2] * np.sqrt(np.clip(inside, 0, 1)), z - 1)
    return smooth_max(z, ball.astype(np.float32), width)
