"""A portrait in the making: layers of relief and colour laid over each other, neck, shoulders and clothes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from server.gallery.anatomy import NOTHING
from server.gallery.drawing import Array, Canvas, Points, blend, linear, mirrored, smoothstep
from server.gallery.person import Person


class Part(IntEnum):
    """What a pixel shows."""

    NONE = 0
    HEAD = 1
    NECK = 2
    CLOTH = 3
    HAIR = 4
    BROW = 5
    EYE = 6
    GLASSES = 8
    JEWEL = 9


class Portrait:
    """Layers of one sitter. All arrays are ``[size, size]`` unless said otherwise.

    Args:
        person: the sitter.
        size: pixels a side.

    Attributes:
        canvas: coordinates and shapes.
        z: relief, design units towards the viewer.
        colour: ``[size, size, 3]`` of the material, linear light.
        part: :class:`Part` of each pixel.
        shine, gloss: strength and exponent of the highlight.
        flow: ``[size, size, 2]`` direction of strands.
        cover: coverage of the sitter against the background.
        head, neck: where they are (neck: with shoulders).
        eyes, irises, lips, upper_lip, lower_lip, brows, lashes, mouth_line, glints: coverage of features.
        shade, sheen, lit: what the light adds (:func:`server.gallery.lighting.light`): brightness, highlight,
            and the lit colour ``[size, size, 3]``, linear.
    """

    def __init__(self, person: Person, size: int) -> None:
        self.person = person
        self.canvas = Canvas(size)
        self.random = np.random.default_rng(person.seed)
        self.z: Array = np.full((size, size), NOTHING, np.float32)
        self.colour: Array = np.zeros((size, size, 3), np.float32)
        self.part: NDArray[np.uint8] = np.zeros((size, size), np.uint8)
        self.shine, self.gloss = self._empty(), self._empty() + 20
        self.flow: Array = np.zeros((size, size, 2), np.float32)
        self.flow[..., 1] = 1
        self.cover, self.neck = self._empty(), self._empty()
        self.neck_z = self.z.copy()
        self.head: NDArray[np.bool_] = np.zeros((size, size), np.bool_)
        self.eyes, self.irises, self.glints, self.lashes = (self._empty() for _ in range(4))
        self.lips, self.upper_lip, self.lower_lip, self.mouth_line = (self._empty() for _ in range(4))
        self.ears, self.brows = self._empty(), self._empty()
        self.shade, self.sheen = self._empty(), self._empty()
        self.lit: Array = np.zeros((size, size, 3), np.float32)

    def _empty(self) -> Array:
        return np.zeros((self.canvas.size, self.canvas.size), np.float32)

    # ------------------------------------------------------------ layers

    def put(
        self, mask: Array, z: Array, colour: Array, part: Part, shine: float = 0.1, gloss: float = 20.0
    ) -> None:
        """Lay a material over what is there.

        Args:
            mask: its coverage.
            z: its relief.
            colour: linear light, ``[3]`` or ``[size, size, 3]``.
            part: what it is.
            shine, gloss: its highlight.
        """
        solid = mask > 0.5
        self.colour = blend(self.colour, colour, mask)
        self.z = np.where(solid, z, self.z).astype(np.float32)
        self.part[solid] = part
        self.shine = self.shine * (1 - mask) + shine * mask
        self.gloss = self.gloss * (1 - mask) + gloss * mask
        self.cover = np.maximum(self.cover, mask)

    def paint(self, mask: Array, colour: Array, strength: float = 1.0) -> None:
        """Colour what is there without changing its relief."""
        self.colour = blend(self.colour, colour, mask * strength)

    def relief_below(self, otherwise: float, softness: float) -> Array:
        """The relief as it is, softened, ``otherwise`` where there is nothing: for what lies on top."""
        filled = np.where(self.part > 0, self.z, otherwise).astype(np.float32)
        return self.canvas.blur(filled, softness)

    # ------------------------------------------------------------ neck, shoulders, clothes

    def draw_neck(self) -> None:
        """Neck, throat, collar bones and shoulders."""
        canvas, person = self.canvas, self.person
        x, y, n, s = canvas.x, canvas.y, person.neck, person.shoulders
        side = [(n * 0.93, 0.30), (n * 0.96, 0.9), (n * 1.02, 1.12), (n * 1.35, 1.30), (n * 2.2, 1.47)]
        outline = mirrored(side, -1) + [(-1.28 * s, 1.62), (-1.55 * s, 1.78), (-1.72 * s, 2.3)]
        outline += [(1.72 * s, 2.3), (1.55 * s, 1.78), (1.28 * s, 1.62), *side[::-1]]
        mask = canvas.shape(outline)
        across = np.clip(np.abs(x) / n, 0, 1)
        throat = -0.12 + 0.50 * np.sqrt(np.clip(1 - across**2.2, 0, 1)) - 0.10 * smoothstep(0.8, 1.3, y)
        chest = canvas.blur((0.62 * (1 - np.exp(-canvas.inside(mask) / 0.30))).astype(np.float32), 0.07)
        chest = chest - 0.30 + 0.10 * smoothstep(1.3, 2.0, y)
        lower = smoothstep(1.05, 1.62, y + 0.10 * np.abs(x))
        joined = np.maximum(throat, -0.3) * (1 - lower) + chest * lower
        z = canvas.blur(joined.astype(np.float32), 0.03)
        for at in (1, -1):
            muscle = mirrored([(0.34, 0.85), (0.22, 1.15), (0.07, 1.36)], at)
            z = z + 0.035 * canvas.stroke(muscle, [0.05, 0.06, 0.05], 0.03)
            bone = mirrored([(0.10, 1.40), (0.45, 1.36), (0.95, 1.42)], at)
            z = z + 0.03 * canvas.stroke(bone, [0.04, 0.05, 0.04], 0.03)
        z = z - 0.03 * canvas.bump(0, 1.40, 0.05, 0.05)
        self.put(mask, z, linear(person.skin), Part.NECK, 0.18, 18)
        self.neck, self.neck_z = mask, z

    def draw_cloth(self, outline: Points, colour: str, lift: float = 0.05) -> None:
        """A garment on the shoulders.

        Args:
            outline: its curve; what is outside the body is cut off.
            colour: ``#rrggbb``.
            lift: thickness, design units.
        """
        canvas = self.canvas
        mask = canvas.shape(outline) * self.neck
        thick = (lift * (1 - np.exp(-canvas.inside(mask) / 0.02))).astype(np.float32)
        self.put(mask, self.neck_z + canvas.blur(thick, 0.006), linear(colour), Part.CLOTH, 0.05, 12)

    def draw_collar(self, colour: str) -> None:
        """The two leaves of a shirt's collar."""
        for side in (1, -1):
            leaf = [(0.02, 1.62), (0.30, 1.42), (0.50, 1.22), (0.58, 1.30), (0.56, 1.50), (0.34, 1.78)]
            mask = self.canvas.shape(mirrored(leaf, side))
            z = self.canvas.blur(np.maximum(self.z, self.neck_z) + 0.10, 0.02)
            self.put(mask, z, linear(colour), Part.CLOTH, 0.05, 12)

    def draw_fabric(
        self,
        mask: Array,
        below: Array | float,
        thick: float,
        colour: str,
        folds: Sequence[tuple[Points, Sequence[float], float]] = (),
    ) -> None:
        """Loose fabric, such as a scarf.

        Args:
            mask: its coverage.
            below: relief of what it lies on.
            thick: how far it stands out in its middle.
            colour: ``#rrggbb``.
            folds: curve, widths and height of each.
        """
        z = below + thick * (1 - np.exp(-self.canvas.inside(mask) / 0.25))
        for line, widths, height in folds:
            z = z + height * self.canvas.stroke(line, widths, 0.02)
        self.put(mask, np.asarray(z, np.float32), linear(colour), Part.CLOTH, 0.05, 12)

    # ------------------------------------------------------------ things worn

    def draw_glasses(
        self, colour: str, rim: float, radius_x: float, radius_y: float, roundness: float
    ) -> None:
        """Glasses.

        Args:
            colour: of the frame, ``#rrggbb``.
            rim: width of the frame.
            radius_x, radius_y: of a lens.
            roundness: 1 for ellipses, less for squarer lenses.
        """
        canvas, y = self.canvas, -0.115
        turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        cos, sin = np.cos(turn), np.sin(turn)
        power = 2 / (2 + 3.2 * (1 - roundness))
        frame = np.zeros_like(self.z)
        for side in (1, -1):

            def lens(offset: float, side: int = side) -> Array:
                across = side * 0.305 + np.sign(cos) * np.abs(cos) ** power * (radius_x + offset)
                down = y + np.sign(sin) * np.abs(sin) ** power * (radius_y + offset)
                return canvas.polygon(np.stack([across, down], axis=1))

            inner = lens(-rim / 2)
            frame = np.maximum(frame, np.clip(lens(rim / 2) - inner, 0, 1))
            self.paint(inner, np.array([0.8, 0.9, 1.0], np.float32), 0.06)
            bow = mirrored([(0.305 + radius_x, y - 0.03), (0.66, y - 0.055), (0.75, y - 0.05)], side)
            frame = np.maximum(frame, canvas.stroke(bow, [rim * 0.9, rim * 0.8, rim * 0.8]))
        start = 0.305 - radius_x + 0.01
        bridge = [(-start, y - 0.03), (0.0, y - 0.065), (start, y - 0.03)]
        frame = np.maximum(frame, canvas.stroke(bridge, [rim * 0.9, rim * 0.85, rim * 0.9]))
        z = np.maximum(self.z, canvas.blur(self.z, 0.03)) + 0.07
        z = z + 0.5 * np.minimum(canvas.inside(frame), 0.02)
        self.put(frame, z, linear(colour), Part.GLASSES, 0.5, 40)

    def draw_pearls(self, colour: str) -> None:
        """A pearl on each ear."""
        for side in (1, -1):
            mask = self.canvas.ellipse(side * 0.70, 0.36, 0.045, 0.045)
            depth = np.clip(0.045**2 - (0.045 - self.canvas.inside(mask)) ** 2, 0, 1)
            self.put(mask, 0.05 + np.sqrt(depth), linear(colour), Part.JEWEL, 0.9, 60)

    def draw_hoops(self, colour: str) -> None:
        """A ring on each ear."""
        for side in (1, -1):
            outer = self.canvas.ellipse(side * 0.74, 0.48, 0.13, 0.15)
            ring = np.clip(outer - self.canvas.ellipse(side * 0.74, 0.48, 0.105, 0.125), 0, 1)
            self.put(ring, np.maximum(self.z, 0.1) + 0.05, linear(colour), Part.JEWEL, 0.9, 30)
