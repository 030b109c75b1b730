"""Draws what generators are measured on: which person, which photos, which frame to make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import TARGET_CROP
from models.landmarks.geometry import Float64, normalise
from models.training.clips import ClipShard

__all__ = ["Case", "Kind", "crops", "draw_cross_cases", "draw_self_cases"]

Kind = Literal["self", "cross"]
Far = Literal["expression", "pose"]

#: Frames around the driver's that are no photos, where a clip is long enough: they show nearly the same.
_GAP = 2
#: Of so many frames the one is made that is farthest from the first photo.
_CANDIDATES = 16


@dataclass(frozen=True)
class Case:
    """One picture to be made.

    Attributes:
        kind: ``self`` reconstructs a frame of a clip from others of it, ``cross`` drives by someone else.
        target, driver: indices of people; equal for ``self``.
        target_clip, driver_clip: which clip of each.
        photos: frames of the target's clip; K targets are the first K.
        frame: the driver's frame.
        far: what the frame is far in from the first photo (``self``) or from the driver's rest (``cross``).
    """

    kind: Kind
    target: int
    target_clip: int
    photos: tuple[int, ...]
    driver: int
    driver_clip: int
    frame: int
    far: Far


def draw_self_cases(
    people: Sequence[Sequence[ClipShard]], *, pairs: int, photos: int, seed: int
) -> list[Case]:
    """``pairs`` frames of each person, from one clip each, every other one far in pose or in expression.

    A person's cases depend on the seed and on that person alone. Clips of fewer than ``photos + 1`` frames
    are used only for people who have no longer ones, who then have fewer photos.
    """
    cases = []
    for index, person in enumerate(people):
        random = np.random.default_rng((seed, index, 0))
        clips = _long_enough(person, photos + 1)
        order = random.permutation(len(clips))
        for number in range(pairs):
            clip_index = clips[order[number % len(clips)]]
            clip = person[clip_index]
            first = int(random.integers(len(clip)))
            far: Far = "expression" if number % 2 == 0 else "pose"
            others = np.setdiff1d(np.arange(len(clip)), [first])
            candidates = random.choice(others, min(_CANDIDATES, len(others)), replace=False)
            frame = int(candidates[np.argmax(_distances(clip.landmarks, candidates, first, far))])
            rest = [int(i) for i in random.permutation(others) if i != frame]
            apart = [i for i in rest if abs(i - frame) > _GAP]
            near = [i for i in rest if abs(i - frame) <= _GAP]
            chosen = (first, *(apart + near)[: photos - 1])
            cases.append(Case("self", index, clip_index, chosen, index, clip_index, frame, far))
    return cases


def draw_cross_cases(
    people: Sequence[Sequence[ClipShard]], *, pairs: int, photos: int, seed: int
) -> list[Case]:
    """Each person as the target of ``pairs`` others, in frames far from the driver's own mean.

    The frame lies in the second half of the driver's clip: by then a call knows its driver.

    Raises:
        ValueError: there are fewer than two people.
    """
    if len(people) < 2:
        raise ValueError("cross-person reenactment needs two people or more")
    cases = []
    for index, person in enumerate(people):
        random = np.random.default_rng((seed, index, 1))
        drivers = random.permutation([i for i in range(len(people)) if i != index])
        target_clips = _long_enough(person, photos)
        for number in range(pairs):
            driver = int(drivers[number % len(drivers)])
            clips = _long_enough(people[driver], 20)
            driver_clip = int(clips[random.integers(len(clips))])
            landmarks = people[driver][driver_clip].landmarks
            far: Far = "expression" if number % 2 == 0 else "pose"
            later = np.arange(len(landmarks) // 2, len(landmarks))
            frame = int(later[np.argmax(_distances(landmarks, later, None, far))])
            target_clip = int(target_clips[random.integers(len(target_clips))])
            count = len(person[target_clip])
            chosen = tuple(int(i) for i in random.permutation(count)[:photos])
            cases.append(Case("cross", index, target_clip, chosen, driver, driver_clip, frame, far))
    return cases


def crops(clip: ClipShard, frames: Sequence[int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Frames of a clip as generators take targets: ``[K, 512, 512, 3]`` RGB, ``[K, 478, 3]`` in their pixels.

    Pixels are repeated where that comes out even: shrunk again, the pictures are what they were.
    """
    factor = TARGET_CROP / clip.size
    pictures = [clip.frame(frame) for frame in frames]
    way = cv2.INTER_NEAREST if TARGET_CROP % clip.size == 0 else cv2.INTER_CUBIC
    if clip.size > TARGET_CROP:
        way = cv2.INTER_AREA
    images = np.stack(
        [cv2.resize(picture, (TARGET_CROP, TARGET_CROP), interpolation=way) for picture in pictures]
    )
    landmarks = clip.landmarks[list(frames)] * np.float32(factor)
    landmarks[..., :2] += np.float32(0.5 * factor - 0.5)
    return images, landmarks


def _long_enough(person: Sequence[ClipShard], frames: int) -> list[int]:
    """Clips of at least so many frames; else those of the most frames this person has in a clip."""
    frames = min(frames, max(len(clip) for clip in person))
    return [index for index, clip in enumerate(person) if len(clip) >= frames]


def _distances(
    landmarks: npt.NDArray[np.float32], frames: npt.NDArray[np.intp], reference: int | None, far: Far
) -> Float64:
    """How far each frame is from the reference frame, or from the mean of all, in expression or pose."""
    if far == "expression":
        points = np.stack([normalise(face)[0] for face in landmarks])
    else:
        points = landmarks[..., :2].astype(np.float64)
    at = points.mean(0) if reference is None else points[reference]
    return np.asarray(np.abs(points[frames] - at).mean((1, 2)), np.float64)
