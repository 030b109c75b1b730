"""Finds the watermark in pictures: how well their phases agree with the pattern's, and how likely by chance.

Only phases are compared. The pattern's are independent and uniform, whatever the picture, so that for
``S = sum w cos(picture's phase - pattern's phase)`` over the carriers, with weights from the picture alone,
``P(S / sqrt(sum w^2 / 2) >= z) <= exp(-z^2 / 2)``: the Chernoff bound with ``E exp(t cos u) = I0(t) <=
exp(t^2 / 4)``. It needs no assumption about pictures; a trial on real ones only has to confirm it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from server.provenance.pattern import KEY, TILE, carriers, phases

__all__ = ["MOST_PIXELS", "Aligned", "Found", "agreement", "log_chance", "resized", "search", "tile_spectra"]

Grey = npt.NDArray[np.uint8]
Spectra = npt.NDArray[np.complex64]

#: Detail finer and coarser than this (pixels, standard deviations) is the picture's own.
_FINE, _COARSE = 1.0, 3.0
#: Neighbourhood in which contrast is made even, and grey levels below which it is left alone.
_WINDOW: Final = 9
_FLOOR: Final = 0.4
#: What stands out of its neighbourhood by more than this (standard deviations) is an outline.
_OUTLIER: Final = 2.0
#: Power of the local power by which busy parts count less.
_MODESTY: Final = 0.15
#: Pixels of the largest picture looked at, at the scale it would have been generated at.
MOST_PIXELS: Final = 6_000_000
#: Scales of the search and the share between one and the next.
_SCALES: Final = (0.4, 4.0)
_STEP: Final = 0.02


@dataclass(frozen=True)
class Found:
    """The best agreement found.

    Attributes:
        z: in standard deviations of chance.
        log10_p: upper bound of the chance that any picture without the watermark agrees this well in one of
            the places looked at, as a power of ten (-6: one in a million).
        scale: pixels of the picture looked at for each pixel of the picture as it was generated.
        offset: (down, across) pixels, as generated, from the picture's corner to a tile's.
    """

    z: float
    log10_p: float
    scale: float = 1.0
    offset: tuple[int, int] = (0, 0)


def log_chance(z: float, looked_at: int = 1) -> float:
    """Upper bound of the chance, as a power of ten, that one of so many looks agrees by ``z``."""
    if z <= 0:
        return 0.0
    return min(0.0, (-z * z / 2 + math.log(looked_at)) / math.log(10))


def normalised(grey: Grey) -> npt.NDArray[np.float32]:
    """Detail of a grey picture ``[H, W]``, made even, and a little weaker where there is much of it.

    There the watermark is stronger, but by less than what it has to be told from.
    """
    values = grey.astype(np.float32)
    detail = cv2.GaussianBlur(values, (0, 0), _FINE) - cv2.GaussianBlur(values, (0, 0), _COARSE)
    power = cv2.blur(detail * detail, (_WINDOW, _WINDOW))
    power += _FLOOR**2
    even = np.clip(detail / np.sqrt(power), -_OUTLIER, _OUTLIER)
    return np.asarray(even * power**-_MODESTY, np.float32)


def tile_spectra(grey: Grey) -> Spectra:
    """Carriers ``[rows, columns, K]`` of each tile of a grey picture; edges are filled up."""
    detail = normalised(grey)
    rows, columns = (-(-side // TILE) for side in detail.shape)
    padded = np.zeros((rows * TILE, columns * TILE), np.float32)
    padded[: detail.shape[0], : detail.shape[1]] = detail
    tiles = padded.reshape(rows, TILE, columns, TILE).swapaxes(1, 2)
    spectra = scipy.fft.rfft2(tiles)
    down, across = carriers()
    return np.ascontiguousarray(spectra[..., down, across], np.complex64)


def weighted(spectrum: Spectra) -> Spectra:
    """A spectrum ``[..., K]`` with its magnitudes made more even: their square roots, no great ones."""
    size = np.abs(spectrum)
    usual = np.empty_like(size)  # of the same frequency: what is left of the picture's own slope
    for ring in _rings():
        usual[..., ring] = np.median(size[..., ring], axis=-1, keepdims=True)
    usual += 1e-12
    return np.asarray(
        spectrum / np.maximum(size, 1e-12) * np.sqrt(np.minimum(size / usual, 4.0)), np.complex64
    )


@lru_cache(maxsize=1)
def _rings() -> list[npt.NDArray[np.intp]]:
    """The carriers by frequency, in groups of like ones."""
    down, across = carriers()
    radius = np.hypot(np.where(down > TILE // 2, down - TILE, down), across)
    edges = np.linspace(radius.min(), radius.max() + 1e-6, 9)
    return [np.nonzero((radius >= low) & (radius < high))[0] for low, high in pairwise(edges)]


def agreement(spectrum: Spectra, key: bytes = KEY) -> float:
    """``z`` of a spectrum ``[K]`` at the offset zero."""
    even = weighted(spectrum)
    power = float(np.sum(np.abs(even) ** 2))
    if power <= 0:
        return 0.0
    return float(np.sum(even * np.conj(phases(key))).real / math.sqrt(power / 2))


class Aligned:
    """Looks where the watermark is in a picture as it was generated, or as a whole made smaller or larger.

    Pictures of one film add up: what moves averages out, the watermark does not.

    Args:
        width, height: pixels of the pictures.
    """

    def __init__(self, width: int, height: int) -> None:
        scales = {1.0, 0.5, 2.0}
        if 0.8 < width / height < 1.25:
            scales |= {height / 256, height / 512}
        self._sizes = {
            scale: size
            for scale in sorted(scales)
            if min(size := (round(width / scale), round(height / scale))) >= TILE // 2
            and size[0] * size[1] <= MOST_PIXELS
        }
        count = len(carriers()[0])
        self._sums = {scale: np.zeros(count, np.complex64) for scale in self._sizes}

    def add(self, grey: Grey) -> Found:
        """Take a picture ``[H, W]`` along; returns what it holds by itself."""
        best: list[tuple[float, float]] = []
        for scale, size in self._sizes.items():
            even = weighted(tile_spectra(resized(grey, size)).sum((0, 1)))
            self._sums[scale] += even
            best.append((agreement(even), scale))
        return self._best(best)

    def total(self) -> Found:
        """What all the pictures hold together."""
        return self._best([(agreement(spectrum), scale) for scale, spectrum in self._sums.items()])

    def _best(self, found: list[tuple[float, float]]) -> Found:
        z, scale = max(found, default=(0.0, 1.0))
        return Found(z, log_chance(z, len(found)), scale)


def search(greys: Sequence[Grey], key: bytes = KEY) -> Found:
    """Look for the watermark at any offset and scale, in the whole and in each part of two tiles a side.

    Args:
        greys: pictures ``[H, W]`` of one size; in a film a few of it.
    """
    looked_at, best = 0, Found(0.0, 0.0)
    for scale in _scales(greys[0].shape[1], greys[0].shape[0]):
        found, surfaces = _at_scale(greys, scale, key)
        looked_at += surfaces
        best = found if found.z > best.z else best
    for step in (-0.012, -0.008, -0.004, 0.004, 0.008, 0.012):  # between the steps
        if best.z > 4.5:
            found, surfaces = _at_scale(greys, best.scale * (1 + step), key)
            best = found if found.z > best.z else best
        looked_at += 16  # whether they are taken or not: the choice must not change the chance
    return Found(best.z, log_chance(best.z, looked_at * TILE * TILE), best.scale, best.offset)


def _scales(width: int, height: int) -> Iterator[float]:
    least = max(_SCALES[0], math.sqrt(width * height / MOST_PIXELS))
    most = min(_SCALES[1], min(width, height) / TILE)
    scale = least
    while scale <= most:
        yield scale
        scale *= 1 + _STEP


def _at_scale(greys: Sequence[Grey], scale: float, key: bytes) -> tuple[Found, int]:
    """Best agreement at a scale, and how many surfaces of offsets were looked at."""
    height, width = greys[0].shape
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    tiles: Spectra | None = None
    for grey in greys:
        spectra = tile_spectra(resized(grey, size))
        tiles = spectra if tiles is None else tiles + spectra
    assert tiles is not None
    parts = [tiles.sum((0, 1))[None]]
    if max(tiles.shape[:2]) > 2:
        rows = tiles[:-1] + tiles[1:] if tiles.shape[0] > 1 else tiles
        squares = rows[:, :-1] + rows[:, 1:] if tiles.shape[1] > 1 else rows
        parts.append(squares.reshape(-1, squares.shape[-1]))
    even = weighted(np.concatenate(parts))
    down, across = carriers()
    best = Found(0.0, 0.0)
    for start in range(0, len(even), 16):  # few at once: each takes a whole tile of memory
        some = even[start : start + 16]
        surface = np.zeros((len(some), TILE, TILE // 2 + 1), np.complex64)
        surface[:, down, across] = some * np.conj(phases(key))
        edge = across == 0
        surface[:, -down[edge], 0] = np.conj(surface[:, down[edge], 0])
        # irfft2 divides by TILE^2 and counts each carrier twice, once conjugated
        sums = scipy.fft.irfft2(surface, (TILE, TILE)) * (TILE * TILE / 2)
        power = np.sqrt(np.sum(np.abs(some) ** 2, axis=1) / 2) + 1e-12
        z = sums.reshape(len(some), -1) / power[:, None]
        at = int(np.argmax(z))
        if z.flat[at] > best.z:
            row, column = divmod(at % (TILE * TILE), TILE)
            best = Found(float(z.flat[at]), 0.0, scale, (row, column))
    return best, len(even)


def resized(grey: Grey, size: tuple[int, int]) -> Grey:
    """A picture at another size (width, height)."""
    if (grey.shape[1], grey.shape[0]) == size:
        return grey
    smaller = size[0] < grey.shape[1]
    return np.asarray(
        cv2.resize(grey, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8
    )
