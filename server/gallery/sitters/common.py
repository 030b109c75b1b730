"""What sitters share: garments' outlines, curves drawn on both sides, the size they are drawn at."""

from __future__ import annotations

from server.gallery.drawing import mirrored

#: Pixels a side that portraits are drawn at.
SIZE = 1024

Outline = list[tuple[float, float]]

#: Necklines, for :meth:`server.gallery.portrait.Portrait.draw_cloth`.
CREW_NECK: Outline = [(-2, 2.4), (-2, 1.2), (-0.75, 1.37), (-0.47, 1.50), (0, 1.60)]
CREW_NECK += [(0.47, 1.50), (0.75, 1.37), (2, 1.2), (2, 2.4)]
V_NECK: Outline = [(-2, 2.4), (-2, 1.2), (-0.72, 1.36), (-0.50, 1.45), (-0.2, 1.75), (0, 1.95)]
V_NECK += [(0.2, 1.75), (0.50, 1.45), (0.72, 1.36), (2, 1.2), (2, 2.4)]
HIGH_NECK: Outline = [(-2, 2.4), (-2, 1.2), (-0.70, 1.30), (-0.46, 1.20), (-0.3, 1.28), (0, 1.34)]
HIGH_NECK += [(0.3, 1.28), (0.46, 1.20), (0.70, 1.30), (2, 1.2), (2, 2.4)]
WIDE_NECK: Outline = [(-2, 2.4), (-2, 1.2), (-1.0, 1.50), (-0.6, 1.62), (0, 1.74)]
WIDE_NECK += [(0.6, 1.62), (1.0, 1.50), (2, 1.2), (2, 2.4)]
BARE: Outline = [(-2, 2.4), (-2, 1.2), (-0.85, 1.42), (-0.55, 1.58), (0, 1.70)]
BARE += [(0.55, 1.58), (0.85, 1.42), (2, 1.2), (2, 2.4)]


def both(*curves: Outline) -> list[Outline]:
    """The curves and their mirror images."""
    return [mirrored(curve, side) for side in (1, -1) for curve in curves]
