"""Viktor: an old man with a white moustache and round glasses."""

from __future__ import annotations

from server.gallery.drawing import mirrored, symmetric
from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_beard, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import CREW_NECK, SIZE, both


def viktor(size: int = SIZE) -> Portrait:
    """An old man with a white moustache and round glasses."""
    portrait = Portrait(
        Person(
            seed=81,
            hair="#dcd8d2",
            brow_colour="#b9b2aa",
            iris="#55748a",
            skin="#d9a488",
            lip="#a8675f",
            age=1.2,
            fold=1.3,
            hollow=1.0,
            brow=2.0,
            brow_thickness=1.6,
            brow_arch=0.2,
            nose_length=1.2,
            nose_width=1.2,
            nose_tip=1.1,
            jaw=1.08,
            chin=1.1,
            neck=0.5,
            lid=0.5,
            eye_open=0.85,
            lashes=0.4,
            lip_fullness=0.75,
            smile=0.8,
            blush=1.2,
            background=("#e9e2cf", "#cfc6ad"),
        ),
        size,
    )
    behind = symmetric([(0.60, -0.95), (0.80, -0.7), (0.93, -0.3), (0.92, 0.1), (0.78, 0.35), (0.62, 0.1)])
    falling = both([(0.72, -0.6), (0.84, -0.2), (0.80, 0.15)])
    draw_strands(portrait, behind, Strands(falling, 1, reach=0.15, thick=0.2, base=-0.3, fringe=0.05))
    portrait.draw_neck()
    portrait.draw_cloth(CREW_NECK, "#5d5348")
    portrait.draw_collar("#efeadf")
    draw_face(portrait)
    temple = [(0.735, 0.0), (0.83, -0.3), (0.80, -0.7), (0.64, -1.0)]
    temple += [(0.55, -0.98), (0.66, -0.7), (0.69, -0.4), (0.70, -0.1)]
    for side in (1, -1):
        guide = mirrored([(0.6, -0.95), (0.75, -0.6), (0.77, -0.2), (0.73, 0.0)], side)
        strands = Strands([guide], 4 + side, reach=0.15, thick=0.07, fringe=0.03, contrast=0.4)
        draw_strands(portrait, mirrored(temple, side), strands)
    moustache = [
        (0.0, 0.425),
        (0.10, 0.41),
        (0.24, 0.46),
        (0.36, 0.58),
        (0.40, 0.70),
        (0.30, 0.66),
        (0.18, 0.56),
    ]
    outline = symmetric([*moustache, (0.0, 0.545)])
    draw_beard(portrait, outline, "#d6d1ca", thick=0.06, contrast=0.35, dense=1.0)
    portrait.draw_glasses("#6b5634", 0.024, 0.215, 0.18, 1.0)
    return portrait
