"""Marguerite: a woman of seventy, her white hair in a bun."""

from __future__ import annotations

from server.gallery.drawing import symmetric
from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import HIGH_NECK, SIZE, Outline, both


def marguerite(size: int = SIZE) -> Portrait:
    """A woman of seventy, her white hair in a bun."""
    portrait = Portrait(
        Person(
            seed=11,
            hair="#cfcac6",
            brow_colour="#8d847e",
            iris="#4f6f86",
            skin="#dba78d",
            lip="#a85a58",
            age=1.0,
            fold=1.3,
            hollow=1.2,
            cheekbone=1.2,
            smile=1.6,
            lid=0.35,
            brow=0.6,
            brow_thickness=0.7,
            brow_arch=1.4,
            blush=1.3,
            wide=0.98,
            lashes=0.7,
            lip_fullness=0.85,
            eye_open=0.95,
            background=("#8a6a48", "#2f1d16"),
        ),
        size,
    )
    bun = symmetric([(0, -1.66), (0.23, -1.62), (0.36, -1.50), (0.30, -1.34)])
    around: list[Outline] = [
        [(-0.4, -1.40), (0, -1.58), (0.4, -1.48)],
        [(-0.3, -1.60), (0, -1.67), (0.3, -1.60)],
    ]
    bun_strands = Strands(around, 1, reach=0.2, thick=0.3, base=-0.2, edge=0.06, fringe=0.02)
    draw_strands(portrait, bun, bun_strands)
    portrait.draw_neck()
    portrait.draw_cloth(HIGH_NECK, "#3c2233")
    draw_face(portrait)
    swept = both(
        [(0.2, -0.98), (0.22, -1.3), (0.1, -1.58)],
        [(0.5, -0.82), (0.6, -1.1), (0.35, -1.5)],
        [(0.66, -0.5), (0.76, -0.8), (0.62, -1.25)],
        [(0.70, -0.1), (0.80, -0.5), (0.74, -1.0)],
    )
    outline = [(0.0, -1.46), (0.38, -1.41), (0.68, -1.20), (0.83, -0.85), (0.83, -0.35), (0.76, 0.02)]
    outline += [(0.70, -0.02), (0.69, -0.35), (0.62, -0.66), (0.40, -0.93), (0.12, -1.01)]
    strands = Strands(
        [*swept, [(0, -0.98), (0, -1.5)]], 2, thick=0.16, fringe=0.025, guide_width=0.12, contrast=0.35
    )
    draw_strands(portrait, symmetric(outline), strands)
    portrait.draw_pearls("#efe6da")
    return portrait
