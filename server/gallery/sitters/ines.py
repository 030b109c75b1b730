"""Ines: a woman of thirty with long brown hair."""

from __future__ import annotations

from server.gallery.drawing import mirrored, symmetric
from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import CREW_NECK, SIZE, both


def ines(size: int = SIZE) -> Portrait:
    """A woman of thirty with long brown hair."""
    portrait = Portrait(
        Person(
            seed=3,
            hair="#4a2a18",
            iris="#5b6e4a",
            skin="#e2ab8d",
            lip="#b8605c",
            smile=0.9,
            lashes=1.1,
            background=("#8fa3a0", "#33474d"),
        ),
        size,
    )
    falling = both([(0, -1.5), (0.7, -0.9), (0.9, 0), (0.85, 1.3)])
    behind = Strands([*falling, [(0, 0), (0, 1.3)]], 1, thick=0.25, base=-0.55, edge=0.08, fringe=0.03)
    outline = [(0.0, -1.55), (0.45, -1.44), (0.82, -0.95), (0.99, -0.2), (1.03, 0.6), (0.95, 1.2), (0.6, 1.5)]
    draw_strands(portrait, symmetric(outline), behind)
    portrait.draw_neck()
    portrait.draw_cloth(CREW_NECK, "#35557a")
    draw_face(portrait)
    lock = [(0.03, -1.05), (-0.06, -1.30), (0.02, -1.53), (0.45, -1.46), (0.84, -1.0), (1.0, -0.3)]
    lock += [(1.03, 0.35), (0.97, 0.95), (0.82, 1.10), (0.77, 0.6), (0.735, 0.1), (0.69, -0.35)]
    lock += [(0.60, -0.72), (0.36, -0.96)]
    guides = [
        [(0.0, -1.45), (0.5, -1.2), (0.82, -0.6), (0.92, 0.2), (0.88, 1.0)],
        [(0.02, -1.08), (0.38, -0.95), (0.64, -0.6), (0.74, 0.0), (0.80, 0.9)],
        [(0.1, -1.5), (0.6, -1.3), (0.93, -0.7), (1.0, 0.0), (0.98, 0.9)],
    ]
    for side in (1, -1):
        placed = [mirrored(guide, side) for guide in guides]
        strands = Strands(placed, 2 + side, thick=0.16, fringe=0.02, guide_width=0.13)
        draw_strands(portrait, mirrored(lock, side), strands)
    return portrait
