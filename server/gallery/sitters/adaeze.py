"""Adaeze: a woman with an afro and golden rings in her ears."""

from __future__ import annotations

import numpy as np

from server.gallery.drawing import smoothstep, symmetric
from server.gallery.face import draw_face
from server.gallery.hair import draw_curls
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import SIZE, WIDE_NECK


def adaeze(size: int = SIZE) -> Portrait:
    """A woman with an afro and golden rings in her ears."""
    portrait = Portrait(
        Person(
            seed=41,
            hair="#1d1512",
            iris="#3a2114",
            skin="#7d4a30",
            lip="#8c3b3f",
            lip_fullness=1.35,
            nose_width=1.28,
            nose_length=0.9,
            nose_tip=1.1,
            jaw=0.97,
            cheekbone=1.3,
            eye_width=1.08,
            eye_open=1.1,
            lashes=1.4,
            makeup=0.8,
            smile=1.0,
            mouth_width=1.05,
            blush=0.5,
            background=("#f2b632", "#e2572e"),
        ),
        size,
    )
    canvas = portrait.canvas
    whole = canvas.ellipse(0, -0.50, 1.22, 1.02)
    draw_curls(portrait, whole, size=0.055, thick=0.5, seed=5, base=-0.6)
    portrait.draw_neck()
    portrait.draw_cloth(WIDE_NECK, "#1f8a8a")
    draw_face(portrait)
    face = [(0.0, -0.98), (0.42, -0.88), (0.62, -0.66), (0.695, -0.35), (0.70, 0.2), (0.8, 0.8), (0, 1.5)]
    around = canvas.ellipse(0, -0.51, 1.20, 1.00) * (1 - canvas.shape(symmetric(face)))
    around = around * (1 - smoothstep(0.15, 0.5, canvas.y))
    around = around * np.clip(1 - portrait.ears * (canvas.y > -0.1), 0, 1)
    draw_curls(portrait, around.astype(np.float32), size=0.055, thick=0.22, seed=6)
    portrait.draw_hoops("#e8b23a")
    return portrait
