"""The watermark's pattern: a tile of band-limited noise whose phases come from a public key.

Spread-spectrum watermarking (Cox, Kilian, Leighton, Shamoon, "Secure spread spectrum watermarking for
multimedia", 1997) with a tile that is repeated over the picture, so that any part of it can be checked at any
offset (Kutter, "Watermarking resistant to translation, rotation and scaling", 1998).

The key is public on purpose: anybody may check a picture. The watermark says where a picture comes from to
those who ask; it is no protection against somebody who wants it gone.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BAND", "KEY", "TILE", "carriers", "phases", "tile"]

#: Public; another text is another watermark, which older pictures do not have.
KEY: Final = b"understudy provenance watermark 1"
#: Side of the repeated tile, pixels of the picture as it is generated.
TILE: Final = 128
#: Least and greatest frequency, periods a tile: 26 to 6.1 pixels long. Below is the picture's own shading,
#: above is what half the size and a coarse quantiser leave nothing of.
BAND: Final = (5.0, 21.0)


@lru_cache(maxsize=1)
def carriers() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns ``[K]`` of the frequencies that carry it, in a tile's ``rfft2`` ``[TILE, TILE/2+1]``.

    Each pair of conjugate frequencies is named once.
    """
    down = np.fft.fftfreq(TILE, 1 / TILE)[:, None]
    across = np.arange(TILE // 2 + 1)[None]
    radius = np.hypot(down, across)
    half = (across > 0) | (down > 0)
    rows, columns = np.nonzero((radius >= BAND[0]) & (radius <= BAND[1]) & half)
    return rows, columns


@lru_cache(maxsize=4)
def phases(key: bytes = KEY) -> npt.NDArray[np.complex64]:
    """Phase factors ``[K]`` of the carriers: uniform and independent, from SHAKE-256 of the key."""
    count = len(carriers()[0])
    drawn = np.frombuffer(hashlib.shake_256(key).digest(4 * count), "<u4")
    return np.exp(2j * np.pi * (drawn / 2.0**32)).astype(np.complex64)


@lru_cache(maxsize=4)
def tile(key: bytes = KEY) -> npt.NDArray[np.float32]:
    """The pattern ``[TILE, TILE]``: zero mean, root mean square 1, every carrier equally strong."""
    spectrum = np.zeros((TILE, TILE // 2 + 1), np.complex128)
    rows, columns = carriers()
    spectrum[rows, columns] = phases(key)
    edge = columns == 0  # whose conjugates lie in the same column
    spectrum[-rows[edge], 0] = np.conj(phases(key)[edge])
    pattern = np.fft.irfft2(spectrum, (TILE, TILE))
    return np.ascontiguousarray(pattern / pattern.std(), np.float32)
