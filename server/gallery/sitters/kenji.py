"""Kenji: a man of thirty with a fringe and glasses."""

from __future__ import annotations

from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import CREW_NECK, SIZE, Outline


def kenji(size: int = SIZE) -> Portrait:
    """A man of thirty with a fringe and glasses."""
    portrait = Portrait(
        Person(
            seed=51,
            hair="#15161b",
            iris="#2b1d14",
            skin="#e6b48e",
            lip="#b9736a",
            jaw=1.06,
            chin=1.1,
            wide=1.02,
            nose_width=1.08,
            nose_length=0.82,
            brow=0.5,
            brow_thickness=1.25,
            brow_arch=0.3,
            lid=0.9,
            eye_open=0.82,
            eye_tilt=0.25,
            eye_width=1.04,
            neck=0.48,
            lashes=0.5,
            smile=0.9,
            cheekbone=1.2,
            hollow=0.3,
            fold=0.3,
            lip_fullness=0.95,
            blush=0.7,
            background=("#ffd84d", "#f39a2d"),
        ),
        size,
    )
    portrait.draw_neck()
    portrait.draw_cloth(CREW_NECK, "#d9443a")
    draw_face(portrait)
    guides: list[Outline] = [
        [(0.0, -1.45), (-0.3, -1.15), (-0.55, -0.75), (-0.72, -0.4)],
        [(0.1, -1.45), (0.0, -1.1), (-0.18, -0.7)],
        [(0.1, -1.45), (0.3, -1.15), (0.5, -0.8)],
        [(0.3, -1.5), (0.65, -1.2), (0.78, -0.7), (0.76, -0.3)],
        [(-0.3, -1.5), (-0.68, -1.2), (-0.80, -0.7), (-0.77, -0.3)],
    ]
    outline = [(-0.74, -0.05), (-0.83, -0.45), (-0.83, -0.90), (-0.60, -1.25), (-0.22, -1.45), (0.18, -1.46)]
    outline += [(0.57, -1.26), (0.83, -0.92), (0.83, -0.45), (0.74, -0.05), (0.70, -0.22), (0.69, -0.50)]
    outline += [(0.62, -0.72), (0.52, -0.56), (0.42, -0.80), (0.26, -0.62), (0.14, -0.82), (-0.06, -0.55)]
    outline += [
        (-0.16, -0.78),
        (-0.34, -0.50),
        (-0.42, -0.74),
        (-0.56, -0.46),
        (-0.66, -0.60),
        (-0.70, -0.22),
    ]
    strands = Strands(guides, 2, thick=0.16, fringe=0.012, guide_width=0.13, contrast=0.75)
    draw_strands(portrait, outline, strands)
    portrait.draw_glasses("#20242c", 0.036, 0.225, 0.17, 0.55)
    return portrait
