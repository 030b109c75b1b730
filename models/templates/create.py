"""A template from a clip: what the face in it does, taken apart from who it is (Eq. 2, 10, 11)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from models.animation.driving import motions_of
from models.landmarks import topology as face
from models.landmarks.features import mouth_width
from models.landmarks.geometry import Float64, canonical_face, yaw_pitch_roll
from models.landmarks.identity import WEIGHTS
from models.templates.regions import REGIONS, region_weights
from models.templates.template import Template

__all__ = ["template_of_clip"]

_MOST_FPS: Final = 25.0
#: A clip whose calmest moment is this near to neutral (RMS of brows and lips, normalised units) begins from
#: rest: what is left at that moment is the person, not an expression, and is taken out too.
_REST: Final = 0.05
#: A region is covered when a point of it moves by this much, or a lid closes or opens by this share.
_MOVES, _LID_MOVES = 0.04, 0.3
_CALM: Final = np.concatenate(
    [face.LIPS, *(face.SEMANTIC_GROUPS[f"{side}_eyebrow"] for side in ("right", "left"))]
)


def template_of_clip(
    name: str,
    landmarks: Sequence[npt.NDArray[np.floating] | None],
    times: Sequence[float],
    *,
    title: str | None = None,
    head: bool = True,
) -> Template:
    """Keep what one face does, and nothing of who it is.

    The person's neutral face is found by the landmark separation and taken out; the mouth's motion is
    brought to the canonical face's proportions; what is left is projected onto the PCA expression basis of
    many people (Eq. 5), which holds no more of a shape than people's expressions have in common. Regions that
    do not move are not covered: a wink leaves the mouth to whoever shows it.

    Args:
        name, title: of the template.
        landmarks: of each frame ``[478, 3]`` in pixels, or None where no face was found.
        times: of the frames, seconds, rising.
        head: whether the head's motion is kept.

    Raises:
        ValueError: no frame has a face.
        models.templates.errors.TemplateError: ``template_invalid``: fewer than two frames, or longer than a
            template can be.
    """
    motions = motions_of(landmarks, times)
    identity = motions[-1].identity
    expression = np.stack([motion.expression + motion.identity - identity for motion in motions])
    calm = np.sqrt((expression[:, _CALM] ** 2).sum(2).mean(1))
    if calm.min() < _REST:
        expression = expression - expression[int(calm.argmin())]
    expression = _in_basis(expression) * _to_canonical_mouth(identity)
    lids = np.array([[*motion.closure, *motion.widening] for motion in motions])
    gaze = np.array([motion.gaze for motion in motions])
    turns = np.array([yaw_pitch_roll(motion.rotation) for motion in motions]) * float(head)
    kept = _kept(np.asarray(times, np.float64))
    seconds = np.asarray(times, np.float64)[kept] - times[0]
    return Template(
        name=name,
        title=title or name.replace("-", " ").replace("_", " ").capitalize(),
        time=seconds.astype(np.float32),
        expression=np.clip(expression[kept], -1.5, 1.5).astype(np.float32),
        lids=np.clip(lids[kept], 0.0, 1.0).astype(np.float32),
        gaze=np.clip(gaze[kept], -1.0, 1.0).astype(np.float32),
        head=np.clip(turns[kept], -45.0, 45.0).astype(np.float32),
        cover=_cover(expression, lids),
        onset=float(min(0.3, max(seconds[-1] / 2, 0.05))),
        interpolation="linear",
        source="Made from a clip by many-shot landmark separation; expression only.",
    )


def _kept(times: Float64) -> npt.NDArray[np.intp]:
    """Indices of the frames that become keyframes."""
    kept: list[int] = []
    for index, time in enumerate(times):
        if not kept or time - times[kept[-1]] >= 0.999 / _MOST_FPS:
            kept.append(index)
    return np.array(kept)


def _cover(expression: Float64, lids: Float64) -> dict[str, float]:
    moved = np.linalg.norm(expression, axis=2).max(0)
    moves = (region_weights() * moved > 0.5 * _MOVES).any(1) & (
        np.where(region_weights() > 0.5, moved, 0.0).max(1) > _MOVES
    )
    cover = {name: float(there) for name, there in zip(REGIONS, moves, strict=True)}
    for side, name in enumerate(("right_eye", "left_eye")):
        if lids[:, [side, side + 2]].max() > _LID_MOVES:
            cover[name] = 1.0
    return cover


def _to_canonical_mouth(identity: Float64) -> Float64:
    """By how much motion is scaled at each landmark, ``[478, 1]``, so that a wide mouth's suits any."""
    ratio = mouth_width(canonical_face()) / max(mouth_width(identity), 1e-6)
    mouth = region_weights()[REGIONS.index("mouth")][:, None]
    return np.asarray(1.0 + mouth * (np.clip(ratio, 0.75, 1.33) - 1.0))


def _in_basis(expression: Float64) -> Float64:
    """Expressions ``[T, 478, 3]`` as combinations of many people's expressions."""
    basis = _basis()
    flat = expression.reshape(len(expression), -1)
    return np.asarray((flat @ basis.T @ basis).reshape(expression.shape))


@cache
def _basis() -> Float64:
    """The shipped expression basis, orthonormal, ``[n_exp, 1434]``."""
    with safe_open(str(WEIGHTS), "numpy") as file:
        return np.asarray(file.get_tensor("basis"), np.float64)
