"""Training samples: a frame to be made, the photos it is made from, and what the losses need of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.landmarks.raster import draw_landmarks
from models.landmarks.registration import PhotoFace, shipped_registration
from models.landmarks.topology import MIRROR
from models.mesh_maps import mesh_maps
from models.training.clips import ClipShard, Split
from models.training.losses import face_weight, to_picture_tensor

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SampleOptions:
    """How samples are drawn.

    Attributes:
        size: pixels a side.
        photos: the most target photos; each sample has 1..photos of them, padded to ``photos``.
        far: share of samples whose driver frame is the most different of several from the reference.
        augment: mirror, turn, scale and colour every frame of the sample alike.
        face: how many times as much as another a pixel of the face counts.
        registered: the driver's landmarks are moved to where the skin lies.
    """

    size: int = 128
    photos: int = 1
    far: float = 0.7
    augment: bool = True
    face: float = 3.0
    registered: bool = False


def load_people(folder: Path, splits: Sequence[Split]) -> list[list[ClipShard]]:
    """Shards of a built dataset by person; clips stay compressed in memory.

    Raises:
        ValueError: no shard of these splits.
    """
    people: dict[str, list[ClipShard]] = defaultdict(list)
    for path in sorted((folder / "shards").glob("*.safetensors")):
        shard = ClipShard(path)
        if shard.split in splits:
            people[shard.person].append(shard)
    if not people:
        raise ValueError(f"{folder} holds no shard of the splits {', '.join(splits)}")
    return [people[name] for name in sorted(people)]


class ClipSamples(Dataset[dict[str, Tensor]]):
    """Samples by person, not by second: each person is as likely as any other, then each clip.

    Item ``i`` is a function of ``(seed, i)`` only: a run that is resumed sees what it would have seen.
    """

    def __init__(
        self, people: Sequence[Sequence[ClipShard]], options: SampleOptions, *, length: int, seed: int
    ) -> None:
        self._people = people
        self._options = options
        self._length = length
        self._seed = seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample; K = ``options.photos``, S = ``options.size``.

        ``driver`` [3, S, S] and ``photos`` [K, 3, S, S] in -1..1, ``present`` [K]; ``driver_landmarks``
        [478, 2] and ``photo_landmarks`` [K, 478, 2] in 0..1; ``driver_raster`` [3, S/2, S/2] and
        ``photo_rasters`` [K, 3, S, S] in 0..1; ``driver_maps`` [6, M, M] from driver to first photo and
        ``photo_maps`` [K, 6, M, M] from the first photo to each (``models.mesh_maps``); ``weight`` [1, S, S].
        """
        random = np.random.default_rng((self._seed, index))
        options = self._options
        person = self._people[random.integers(len(self._people))]
        clip = person[random.integers(len(person))]
        driver, references = self._choose(clip, random)
        frames = [driver, *references]
        change = _Augmentation.draw(random, options.size) if options.augment else None
        pictures, landmarks = [], []
        for frame in frames:
            picture, points = clip.frame(frame), clip.landmarks[frame] / clip.size
            if clip.size != options.size:
                picture = cv2.resize(picture, (options.size, options.size), interpolation=cv2.INTER_AREA)
            if change is not None:
                picture, points = change.apply(picture, points)
            pictures.append(np.asarray(picture, np.uint8))
            landmarks.append(points.astype(np.float32))
        if options.registered:
            landmarks[0] = shipped_registration().placed(PhotoFace.of(landmarks[1]), landmarks[0])
        return collect_sample(pictures, landmarks, options.photos, options.face)

    def _choose(self, clip: ClipShard, random: np.random.Generator) -> tuple[int, list[int]]:
        count = len(clip)
        reference = int(random.integers(count))
        candidates = random.choice(count, size=min(4, count), replace=False)
        if random.random() < self._options.far:
            points = clip.landmarks[..., :2]
            distance = np.abs(points[candidates] - points[reference]).mean((1, 2))
            driver = int(candidates[int(distance.argmax())])
        else:
            driver = int(candidates[0])
        others = [int(i) for i in random.permutation(count) if i not in (reference, driver)]
        photos = int(random.integers(1, self._options.photos + 1))
        return driver, [reference, *others[: photos - 1]]


def collect_sample(
    pictures: Sequence[Picture], landmarks: Sequence[Float32], photos: int, face: float
) -> dict[str, Tensor]:
    """A sample of the driver's frame (first) and its target photos; see :meth:`ClipSamples.__getitem__`."""
    size = pictures[0].shape[0]
    targets, points = list(pictures[1:]), list(landmarks[1:])
    present = [index < len(targets) for index in range(photos)]
    while len(targets) < photos:
        targets.append(targets[0])
        points.append(points[0])
    rasters = [_raster_tensor(points_of, size) for points_of in points]
    pixels = [_to_pixels(points_of, size) for points_of in (landmarks[0], *points)]
    return {
        "driver": to_picture_tensor(pictures[0]),
        "photos": torch.stack([to_picture_tensor(picture) for picture in targets]),
        "present": torch.tensor(present),
        "driver_landmarks": torch.from_numpy(landmarks[0][:, :2].copy()),
        "photo_landmarks": torch.from_numpy(np.stack(points)[..., :2].copy()),
        "driver_raster": _raster_tensor(landmarks[0], size // 2),
        "photo_rasters": torch.stack(rasters),
        "driver_maps": torch.from_numpy(mesh_maps(pixels[1], pixels[0], size)),
        "photo_maps": torch.from_numpy(np.stack([mesh_maps(photo, pixels[1], size) for photo in pixels[1:]])),
        "weight": torch.from_numpy(face_weight(landmarks[0] * size, size, face))[None],
    }


def _to_pixels(landmarks: Float32, size: int) -> Float32:
    """From units of the crop, whose edges are 0 and 1, to pixels, whose centres are whole numbers."""
    return np.asarray(landmarks * np.float32(size) - np.array([0.5, 0.5, 0.0], np.float32), np.float32)


def _raster_tensor(landmarks: Float32, size: int) -> Tensor:
    return torch.from_numpy(draw_landmarks(landmarks, size)).movedim(-1, 0).float() / 255.0


@dataclass(frozen=True)
class _Augmentation:
    """One change applied alike to every frame of a sample."""

    mirror: bool
    transform: Float32  # [2, 3], pixels
    gain: Float32  # [3], of each colour
    bias: float

    @classmethod
    def draw(cls, random: np.random.Generator, size: int) -> _Augmentation:
        angle, scale = random.normal(0.0, 0.10), np.exp(random.normal(0.0, 0.06))
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        middle = np.array([size / 2, size / 2])
        linear = np.array([[cos, -sin], [sin, cos]])
        shift = random.normal(0.0, 0.03, 2) * size
        transform = np.concatenate([linear, (middle + shift - linear @ middle)[:, None]], axis=1)
        gain = np.exp(random.normal(0.0, 0.12) + random.normal(0.0, 0.06, 3))
        return cls(
            bool(random.random() < 0.5), transform.astype(np.float32), gain.astype(np.float32),
            float(random.normal(0.0, 8.0)),
        )  # fmt: skip

    def apply(self, picture: Picture, landmarks: Float32) -> tuple[Picture, Float32]:
        size = picture.shape[0]
        points = landmarks.copy()
        if self.mirror:
            picture = np.ascontiguousarray(picture[:, ::-1])
            points = points[MIRROR]
            points[:, 0] = 1.0 - points[:, 0]
        moved = cv2.warpAffine(
            picture, self.transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        xy = points[:, :2] * size - 0.5
        points[:, :2] = (xy @ self.transform[:, :2].T + self.transform[:, 2] + 0.5) / size
        coloured = np.clip(moved.astype(np.float32) * self.gain + self.bias, 0, 255)
        return coloured.astype(np.uint8), points
