"""A sheet of templates x targets: what every built-in template looks like on different faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw

from models.animation.animator import Animator
from models.mesh_warp import MeshWarpGenerator
from models.templates.library import builtin_templates
from models.templates.timeline import Timeline
from server.animation.subjects import subject_of_target
from server.provenance import font_for
from server.targets.store import TargetStore

__all__ = ["SHEET_TARGETS", "draw_sheet"]

SHEET_TARGETS: Final = ("astronaut", "ines", "adaeze", "kenji", "marguerite", "leila", "anselm", "viktor")
_HEAD: Final = 22  # pixels of the line of names
#: The middle of the crop, from here on: what is around the face says nothing.
_CROPPED: Final = 0.10
_QUALITIES: Final = (88, 80, 72, 64)
_MAX_BYTES: Final = 390 * 1024


def draw_sheet(path: Path, targets: Sequence[str], side: int) -> None:
    """Write a JPEG: a row for each target, its photo first, then a column for each template at its full.

    Args:
        targets: ids of built-in targets.
        side: pixels of each face.

    Raises:
        AnimationError: ``target_unknown``.
        OSError: it cannot be written.
    """
    templates = builtin_templates()
    store = TargetStore(path.parent)
    subjects = [subject_of_target(store, target) for target in targets]  # before the first is drawn
    sheet = Image.new("RGB", (side * (len(templates) + 1), _HEAD + side * len(targets)), "white")
    draw = ImageDraw.Draw(sheet)
    generator = MeshWarpGenerator(512)
    for column, title in enumerate(["photo", *(template.name for template in templates)]):
        draw.text((column * side + side / 2, _HEAD / 2), title, "black", font_for(title, 14), anchor="mm")
    for row, subject in enumerate(subjects):
        animator = Animator(generator, subject.images, subject.landmarks)
        timelines = [Timeline([template]) for template in templates]
        pictures = animator.play([timeline.at(timeline.seconds) for timeline in timelines])
        for column, picture in enumerate([animator.still, *pictures]):
            edge = round(_CROPPED * len(picture))
            middle = np.ascontiguousarray(picture[edge : len(picture) - edge, edge : len(picture) - edge])
            small = cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA)
            sheet.paste(Image.fromarray(small), (column * side, _HEAD + row * side))
    for quality in _QUALITIES:
        sheet.save(path, "JPEG", quality=quality, optimize=True)
        if path.stat().st_size <= _MAX_BYTES:
            break
