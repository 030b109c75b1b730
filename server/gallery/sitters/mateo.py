"""Mateo: a boy with brown curls."""

from __future__ import annotations

import numpy as np

from server.gallery.drawing import Array, Canvas, symmetric
from server.gallery.face import draw_face
from server.gallery.hair import draw_curls
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import CREW_NECK, SIZE


def mateo(size: int = SIZE) -> Portrait:
    """A boy with brown curls."""
    portrait = Portrait(
        Person(
            seed=71,
            hair="#3b2213",
            iris="#3a2414",
            skin="#b87a52",
            lip="#a85a50",
            jaw=0.95,
            chin=0.95,
            nose_width=1.08,
            nose_length=0.85,
            eye_width=1.1,
            eye_open=1.15,
            brow=0.5,
            brow_thickness=1.2,
            fold=0.1,
            hollow=0.1,
            lashes=0.8,
            smile=1.2,
            neck=0.38,
            shoulders=0.9,
            background=("#5a6fc0", "#2d2f66"),
        ),
        size,
    )
    portrait.draw_neck()
    portrait.draw_cloth(CREW_NECK, "#e8533f")
    draw_face(portrait)
    draw_curls(portrait, _mop(portrait.canvas), size=0.10, thick=0.2, seed=8, contrast=0.55)
    return portrait


def _mop(canvas: Canvas) -> Array:
    """The outline of unruly curls: many discs along the hairline."""
    random = np.random.default_rng(4)
    mask = canvas.shape(symmetric([(0, -1.4), (0.6, -1.2), (0.74, -0.7), (0.5, -0.85), (0, -0.98)]))
    for turn in np.linspace(np.pi * 1.02, np.pi * 1.98, 15):
        radius = random.uniform(0.2, 0.27)
        disc = canvas.ellipse(0.70 * np.cos(turn), -0.62 + 0.68 * np.sin(turn), radius, radius)
        mask = np.maximum(mask, disc)
    front = [(-0.48, -0.80, 0.15), (-0.2, -0.88, 0.17), (0.1, -0.86, 0.16), (0.38, -0.82, 0.16)]
    for x, y, radius in [*front, (0.60, -0.68, 0.13), (-0.63, -0.64, 0.12)]:
        mask = np.maximum(mask, canvas.ellipse(x, y, radius, radius))
    return mask
