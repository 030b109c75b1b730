"""A built dataset of two people made of one public-domain portrait, moved, turned and mirrored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import skimage.data

from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from models.landmarks.topology import MIRROR
from models.training.clips import Clip, ClipOptions, Split, _jpeg, _write

FRAMES = 12


def make_footage(folder: Path, splits: tuple[Split, ...] = ("dev",)) -> Path:
    """A clip of each of two people for every split; the head shifts and tilts, landmarks with it."""
    (folder / "shards").mkdir(parents=True)
    portrait = skimage.data.astronaut()
    with FaceDetector(static=True) as detector:
        crop, face, _ = face_crop(portrait, detector.detect(portrait)[0], 256)
    mirrored = face[MIRROR].copy()
    mirrored[:, 0] = 255 - mirrored[:, 0]
    for split in splits:
        for name, picture, points in (("ann", crop, face), ("bob", crop[:, ::-1], mirrored)):
            frames, landmarks = [], []
            for index in range(FRAMES):
                turn = cv2.getRotationMatrix2D((128, 128), 6.0 * np.sin(index), 1.0)
                turn[:, 2] += [10 * np.cos(index), 5 * np.sin(2 * index)]
                frames.append(
                    cv2.warpAffine(
                        np.ascontiguousarray(picture), turn, (256, 256), borderMode=cv2.BORDER_REPLICATE
                    )
                )
                moved = points.copy()
                moved[:, :2] = points[:, :2] @ turn[:, :2].T + turn[:, 2]
                landmarks.append(moved)
            clip = Clip(Path(f"{name}.mp4"), f"{split}_{name}", f"{split}_{name}", split)
            _write(
                folder / "shards" / f"{clip.name}.safetensors", [_jpeg(frame) for frame in frames],
                np.stack(landmarks).astype(np.float32), clip, ClipOptions(),
            )  # fmt: skip
    return folder
