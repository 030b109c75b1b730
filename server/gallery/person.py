"""What makes a sitter that person: proportions, age, colours; and the curves of eyes and mouth."""

from __future__ import annotations

from dataclasses import dataclass

from server.gallery.drawing import mirrored

Curve = list[tuple[float, float]]

EYE_X = 0.302
EYE_Y = -0.125
IRIS_X, IRIS_Y, IRIS_RADIUS = 0.300, -0.134, 0.084
MOUTH_Y = 0.578


@dataclass(frozen=True)
class Person:
    """A sitter. Proportions are factors of the average; colours are ``#rrggbb``.

    Attributes:
        seed: of everything that is random about the person (hairs, freckles, skin).
        wide, jaw, chin, cheek: widths of the head, at the jaw, the chin, the cheeks.
        brow, cheekbone, hollow, fold: how far brow ridge and cheekbones stand out, how hollow the cheeks
            and how deep the folds beside the nose are.
        nose_length, nose_width, nose_tip: of the nose.
        neck: half the neck's width.
        shoulders: width of the shoulders.
        eye_open, eye_width, eye_tilt, lid: opening and width of the eyes, how much the outer corner is
            raised, how far the upper lid's crease is hidden.
        brow_thickness, brow_arch, lashes: of brows and lashes.
        lip_fullness, mouth_width, smile: of the mouth; a smile of 1 lifts its corners a little.
        age: 0 no wrinkles, 1 many.
        blush, makeup, freckles: redness of cheeks and nose, colour on the lids, number of freckles.
        skin, lip, iris, hair, brow_colour: colours; ``brow_colour`` is by default that of the hair.
        background: inner and outer colour behind the sitter.
    """

    seed: int
    wide: float = 1.0
    jaw: float = 1.0
    chin: float = 1.0
    cheek: float = 1.0
    brow: float = 1.0
    cheekbone: float = 1.0
    hollow: float = 0.6
    fold: float = 0.5
    nose_length: float = 1.0
    nose_width: float = 1.0
    nose_tip: float = 1.0
    neck: float = 0.42
    shoulders: float = 1.0
    eye_open: float = 1.0
    eye_width: float = 1.0
    eye_tilt: float = 0.0
    lid: float = 0.0
    brow_thickness: float = 1.0
    brow_arch: float = 1.0
    lashes: float = 1.0
    lip_fullness: float = 1.0
    mouth_width: float = 1.0
    smile: float = 0.5
    age: float = 0.0
    blush: float = 1.0
    makeup: float = 0.0
    freckles: int = 0
    skin: str = "#e0a98c"
    lip: str = "#b5605a"
    iris: str = "#5b3a21"
    hair: str = "#3a2618"
    brow_colour: str | None = None
    background: tuple[str, str] = ("#6f8a8f", "#2d3d44")

    def lids(self, side: int) -> tuple[Curve, Curve]:
        """The edges of upper and lower lid; ``side`` 1: the eye at the right of the picture."""
        tilt = self.eye_tilt
        upper = [(-1, 0.1 + tilt / 2), (-0.62, -0.42), (-0.1, -0.82), (0.42, -0.66), (0.8, -0.22), (1, -tilt)]
        lower = [(1, -tilt), (0.7, 0.36), (0.2, 0.55), (-0.35, 0.48), (-0.75, 0.25), (-1, 0.1 + tilt / 2)]
        upper = [(x, y * self.eye_open if y < 0 else y) for x, y in upper]

        def placed(edge: Curve, stretch: float) -> Curve:
            width, height = 0.164 * self.eye_width, 0.116 * stretch
            return mirrored([(EYE_X + x * width, EYE_Y + y * height) for x, y in edge], side)

        return placed(upper, 1.0), placed(lower, 0.9 + 0.1 * self.eye_open)

    def crease(self, side: int) -> Curve:
        """The fold above the upper lid."""
        upper, _ = self.lids(side)
        return [(x + (x - side * EYE_X) * 0.10, y - 0.050 - 0.012 * self.lid) for x, y in upper]

    def mouth(self) -> tuple[Curve, Curve, Curve]:
        """Where the lips meet, the upper lip's edge and the lower lip's (from right to left)."""
        y, width, full = MOUTH_Y, 0.262 * self.mouth_width, self.lip_fullness
        lift = 0.008 + self.smile * 0.034
        half_line = [(0.2, -0.004), (0.55, 0.004 - lift * 0.15), (1.0, -lift)]
        half_upper = [(0.26, -0.078 * full), (0.62, -0.042 * full - lift * 0.4), (1.0, -lift)]
        half_lower = [(0.25, 0.108 * full), (0.62, 0.072 * full), (1.0, -lift)]

        def across(half: Curve, middle: float) -> Curve:
            right = [(x * width, y + dy) for x, dy in half]
            return [*mirrored(right, -1)[::-1], (0.0, y + middle), *right]

        lower = across(half_lower, 0.113 * full)
        return across(half_line, 0.008), across(half_upper, -0.056 * full), lower[::-1]
