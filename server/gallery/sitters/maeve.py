"""Maeve: a young woman with freckles and copper waves."""

from __future__ import annotations

from server.gallery.drawing import mirrored, symmetric
from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import SIZE, V_NECK, Outline, both


def maeve(size: int = SIZE) -> Portrait:
    """A young woman with freckles and copper waves."""
    portrait = Portrait(
        Person(
            seed=21,
            hair="#b4481c",
            brow_colour="#9a4a22",
            iris="#4d8a5b",
            skin="#f0c3ab",
            lip="#c8605c",
            freckles=230,
            blush=1.5,
            smile=0.8,
            jaw=0.95,
            chin=0.92,
            eye_width=1.06,
            eye_open=1.1,
            brow_thickness=0.85,
            nose_width=0.9,
            nose_tip=0.95,
            lip_fullness=1.1,
            background=("#d8e6e6", "#9fc0c6"),
        ),
        size,
    )
    waves: list[Outline] = [
        [
            (0.0, -1.45),
            (0.5, -1.2),
            (0.82, -0.7),
            (0.86, -0.2),
            (1.0, 0.2),
            (0.92, 0.6),
            (1.06, 1.0),
            (0.95, 1.6),
        ],
        [
            (0.05, -1.06),
            (0.38, -0.95),
            (0.64, -0.6),
            (0.76, -0.1),
            (0.8, 0.3),
            (0.82, 0.6),
            (0.82, 1),
            (0.9, 1.4),
        ],
        [
            (0.2, -1.5),
            (0.7, -1.25),
            (0.98, -0.7),
            (1.08, -0.1),
            (1.03, 0.25),
            (1.15, 0.6),
            (1.08, 1),
            (1.15, 1.35),
        ],
    ]
    behind = [(0, -1.5), (0.5, -1.4), (0.9, -0.9), (1.05, 0), (1.08, 0.7), (1.1, 1.3), (0.8, 1.8)]
    strands = Strands(
        [*both(*waves), [(0, 0), (0, 1.5)]], 1, thick=0.2, base=-0.6, edge=0.08, fringe=0.03, contrast=0.7
    )
    draw_strands(portrait, symmetric(behind), strands)
    portrait.draw_neck()
    portrait.draw_cloth(V_NECK, "#5a7d6a")
    draw_face(portrait)
    lock = [(0.03, -1.05), (-0.05, -1.32), (0.05, -1.56), (0.50, -1.48), (0.90, -1.0), (1.02, -0.45)]
    lock += [(1.16, -0.1), (1.08, 0.25), (1.22, 0.6), (1.12, 0.95), (1.22, 1.3), (1.0, 1.75), (0.78, 1.6)]
    lock += [
        (0.86, 1.25),
        (0.74, 0.95),
        (0.84, 0.55),
        (0.735, 0.2),
        (0.70, -0.3),
        (0.60, -0.7),
        (0.36, -0.95),
    ]
    for side in (1, -1):
        placed = [mirrored(wave, side) for wave in waves]
        strands = Strands(
            placed, 3 + side, reach=0.26, thick=0.17, fringe=0.025, guide_width=0.11, contrast=0.6
        )
        draw_strands(portrait, mirrored(lock, side), strands)
    return portrait
