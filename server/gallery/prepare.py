"""Draws and prepares the built-in targets anew: ``python -m server.gallery.prepare [id ...]``.

What it writes is shipped (``targets/<id>/``: crop, landmarks, facts), so that the service finds them ready.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save as save_tensors

from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from server.gallery.catalogue import CATALOGUE, Entry
from server.targets.store import CROP_SIZE, DEFAULT_GALLERY

_QUALITY = 90


def prepare_picture(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The crop and landmarks of a picture with one face.

    Args:
        picture: ``[H, W, 3]`` uint8 RGB.

    Returns:
        ``[512, 512, 3]`` uint8 and ``[478, 3]`` float32, pixels of the crop.

    Raises:
        ValueError: the detector does not find exactly one face, in the picture and in the crop.
    """
    with FaceDetector(static=True, max_faces=4) as detector:
        faces = detector.detect(picture)
        if len(faces) != 1:
            raise ValueError(f"the picture shows {len(faces)} faces to the detector, not one")
        crop, _, _ = face_crop(picture, faces[0], CROP_SIZE)
        again = detector.detect(crop)
        if len(again) != 1:
            raise ValueError(f"the crop shows {len(again)} faces to the detector, not one")
    return crop, again[0]


def write_target(entry: Entry, order: int, folder: Path) -> None:
    """Draw one target and write it as :class:`server.targets.TargetStore` reads it."""
    crop, _ = prepare_picture(entry.picture())
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(crop).save(folder / "photo-0.webp", quality=_QUALITY, method=6)
    # The landmarks are those of the crop as it is shipped, compression included.
    with Image.open(folder / "photo-0.webp") as shipped, FaceDetector(static=True) as detector:
        landmarks = detector.detect(np.asarray(shipped.convert("RGB")))[0]
    (folder / "landmarks.safetensors").write_bytes(save_tensors({"landmarks": landmarks[None]}))
    facts = {
        "name": entry.name,
        "credit": entry.credit,
        "licence": entry.licence,
        "photos": 1,
        "order": order,
    }
    (folder / "target.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m server.gallery.prepare", description=__doc__)
    parser.add_argument("ids", nargs="*", choices=[*(entry.id for entry in CATALOGUE), []], metavar="id")
    parser.add_argument("--to", type=Path, default=DEFAULT_GALLERY, help="folder to write to")
    options = parser.parse_args(arguments)
    for order, entry in enumerate(CATALOGUE):
        if options.ids and entry.id not in options.ids:
            continue
        started = time.perf_counter()
        write_target(entry, order, options.to / entry.id)
        size = (options.to / entry.id / "photo-0.webp").stat().st_size
        print(f"{entry.id}: {size / 1024:.0f} KiB, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
