"""Tomas: a young man with swept hair, as a sculptor would see him."""

from __future__ import annotations

from server.gallery.face import draw_face
from server.gallery.hair import Strands, draw_strands
from server.gallery.person import Person
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import BARE, SIZE, Outline


def tomas(size: int = SIZE) -> Portrait:
    """A young man with swept hair, as a sculptor would see him."""
    portrait = Portrait(
        Person(
            seed=91,
            hair="#b98266",
            brow_colour="#a8745c",
            iris="#b98266",
            skin="#c8947a",
            lip="#bf8369",
            jaw=1.02,
            chin=1.05,
            nose_length=1.05,
            cheekbone=1.3,
            brow=1.3,
            smile=1.3,
            lashes=0.3,
            neck=0.46,
            blush=0,
            brow_thickness=0.9,
            eye_open=1.02,
            background=("#9fb4bd", "#4b6270"),
        ),
        size,
    )
    portrait.draw_neck()
    portrait.draw_cloth(BARE, "#b98266", lift=0.07)
    draw_face(portrait)
    guides: list[Outline] = [
        [(-0.1, -1.0), (-0.4, -1.25), (-0.55, -0.8), (-0.75, -0.4)],
        [(0.3, -0.95), (0.1, -1.3), (0.5, -1.4), (0.8, -0.8)],
        [(0, -1.5), (0.5, -1.2), (0.8, -0.5)],
    ]
    outline = [(-0.74, -0.05), (-0.84, -0.45), (-0.85, -0.95), (-0.66, -1.33), (-0.25, -1.52), (0.2, -1.54)]
    outline += [(0.62, -1.37), (0.85, -1.0), (0.83, -0.45), (0.74, -0.05), (0.70, -0.22), (0.68, -0.52)]
    outline += [(0.60, -0.74), (0.42, -0.90), (0.22, -0.80), (0.0, -0.92), (-0.25, -0.86), (-0.50, -0.78)]
    outline += [(-0.62, -0.66), (-0.69, -0.42), (-0.70, -0.2)]
    strands = Strands(guides, 2, reach=0.35, grain=7, guide_width=0.16, thick=0.18, relief=0.05, contrast=0.0)
    draw_strands(portrait, outline, strands)
    return portrait
