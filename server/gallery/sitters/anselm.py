"""Anselm: a bearded man of forty-five."""

from __future__ import annotations

from server.gallery.drawing import symmetric
from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_beard, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import CREW_NECK, SIZE, both


def anselm(size: int = SIZE) -> Portrait:
    """A bearded man of forty-five."""
    portrait = Portrait(
        Person(
            seed=31,
            hair="#2c2724",
            iris="#4a3a2c",
            skin="#cf9a7c",
            lip="#a06058",
            jaw=1.14,
            chin=1.25,
            wide=1.02,
            brow=2.0,
            brow_thickness=1.5,
            brow_arch=0.2,
            nose_width=1.15,
            nose_length=1.12,
            hollow=1.2,
            cheekbone=1.2,
            age=0.45,
            fold=1.0,
            neck=0.52,
            lashes=0.55,
            eye_open=0.88,
            lip_fullness=0.9,
            smile=0.3,
            blush=0.7,
            shoulders=1.15,
            background=("#b8a88f", "#7e6f5b"),
        ),
        size,
    )
    portrait.draw_neck()
    portrait.draw_cloth(CREW_NECK, "#4a4a50")
    draw_face(portrait)
    outer = [(0.0, 1.24), (0.30, 1.16), (0.56, 0.85), (0.70, 0.5), (0.735, 0.2), (0.72, -0.1)]
    inner = [(0.66, 0.05), (0.58, 0.33), (0.42, 0.44), (0.24, 0.42), (0.10, 0.405), (0.0, 0.42)]
    draw_beard(portrait, symmetric([*outer, *inner]), "#2b2522", contrast=0.5, dense=0.95)
    guides = both(
        [(0.66, -0.3), (0.78, -0.7), (0.70, -1.15)],
        [(0.45, -0.85), (0.5, -1.15), (0.35, -1.5)],
    )
    guides += [[(-0.3, -0.92), (-0.2, -1.3), (0.1, -1.55)], [(0.2, -0.93), (0.3, -1.25), (0.4, -1.5)]]
    outline = [(-0.735, -0.02), (-0.80, -0.45), (-0.80, -0.9), (-0.64, -1.28), (-0.25, -1.48), (0.2, -1.52)]
    outline += [(0.60, -1.32), (0.80, -0.95), (0.80, -0.45), (0.735, -0.02), (0.70, -0.2), (0.675, -0.45)]
    outline += [(0.60, -0.75), (0.40, -0.92), (0.05, -0.90), (-0.25, -0.97), (-0.50, -0.84), (-0.61, -0.66)]
    outline += [(-0.675, -0.42), (-0.70, -0.2)]
    strands = Strands(guides, 2, reach=0.22, thick=0.13, fringe=0.03, guide_width=0.14, contrast=0.6)
    draw_strands(portrait, outline, strands)
    return portrait
