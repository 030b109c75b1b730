"""Leila: a woman with a headscarf."""

from __future__ import annotations

from server.gallery.drawing import mirrored, symmetric
from server.gallery.face import draw_face
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import SIZE


def leila(size: int = SIZE) -> Portrait:
    """A woman with a headscarf."""
    portrait = Portrait(
        Person(
            seed=61,
            hair="#201814",
            iris="#4a2d18",
            skin="#d9a07a",
            lip="#b4524f",
            lashes=1.35,
            makeup=0.6,
            brow_thickness=1.15,
            eye_width=1.1,
            eye_open=1.08,
            nose_width=0.95,
            jaw=0.95,
            chin=0.95,
            smile=0.9,
            lip_fullness=1.12,
            background=("#f6d9c4", "#f0b79a"),
        ),
        size,
    )
    canvas, colour = portrait.canvas, "#2f7f86"
    behind = [
        (0.0, -1.52),
        (0.5, -1.41),
        (0.88, -1.02),
        (1.0, -0.3),
        (0.98, 0.5),
        (1.15, 1.2),
        (1.5, 1.75),
        (1.7, 2.4),
    ]
    portrait.draw_fabric(canvas.shape(symmetric(behind)), -0.5, 0.6, colour)
    portrait.draw_neck()
    draw_face(portrait)
    opening = [
        (0.0, -0.90),
        (0.34, -0.84),
        (0.57, -0.58),
        (0.655, -0.15),
        (0.64, 0.3),
        (0.53, 0.72),
        (0.32, 0.98),
    ]
    around = 1 - canvas.shape(symmetric([*opening, (0.0, 1.07)]))
    below = portrait.relief_below(-0.2, 0.08)
    hood = [(0.0, -1.54), (0.5, -1.43), (0.86, -1.08), (0.985, -0.3), (0.95, 0.5), (1.02, 1.05), (1.38, 1.62)]
    folds = []
    for side in (1, -1):
        beside = [(0.15, -1.0), (0.55, -0.8), (0.76, -0.3), (0.74, 0.4), (0.55, 0.95), (0.1, 1.22)]
        outside = [(0.2, -1.3), (0.7, -1.0), (0.90, -0.3), (0.86, 0.5), (0.7, 1.0)]
        folds.append((mirrored(beside, side), [0.01, 0.05, 0.06, 0.06, 0.05, 0.02], 0.05))
        folds.append((mirrored(outside, side), [0.01, 0.05, 0.06, 0.05, 0.01], 0.05))
        folds.append((mirrored([(0.3, 1.15), (0.7, 1.4), (1.3, 1.7)], side), [0.02, 0.06, 0.02], 0.06))
        folds.append((mirrored([(0.1, 1.3), (0.4, 1.6), (0.8, 2.0)], side), [0.02, 0.06, 0.02], 0.06))
    portrait.draw_fabric(
        canvas.shape(symmetric([*hood, (1.75, 2.4)])) * around, below + 0.02, 0.16, colour, folds
    )
    wrap = [(-0.60, 0.70), (-0.75, 1.1), (-0.9, 1.6), (-0.5, 1.95), (0.3, 2.1), (1.0, 1.95), (1.0, 1.5)]
    wrap += [(0.75, 1.1), (0.62, 0.66), (0.42, 0.98), (0.2, 1.12), (0, 1.15), (-0.2, 1.12), (-0.44, 0.95)]
    folds = [
        ([(-0.55, 0.95), (-0.1, 1.32), (0.5, 1.5), (0.95, 1.55)], [0.02, 0.06, 0.06, 0.02], 0.07),
        ([(-0.6, 1.15), (-0.2, 1.6), (0.4, 1.8), (0.9, 1.8)], [0.02, 0.06, 0.06, 0.02], 0.07),
        ([(0.55, 0.95), (0.2, 1.3), (-0.3, 1.5)], [0.02, 0.05, 0.01], 0.05),
    ]
    portrait.draw_fabric(canvas.shape(wrap) * around, below + 0.16, 0.12, colour, folds)
    return portrait
