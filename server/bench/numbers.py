"""Frame numbers as a strip of black and white blocks along the upper edge of a picture.

Sixteen blocks: white, black, twelve bits of the number, two bits of its checksum. Read by sampling the
middles of the blocks, so that scaling and coding do no harm.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCKS", "MOST", "STRIP", "read_number", "write_number"]

Bytes = npt.NDArray[np.uint8]

BLOCKS: Final = 16
_BITS: Final = 12
MOST: Final = 1 << _BITS
#: Height of the strip, as a share of the picture's.
STRIP: Final = 1 / 24
_BLACK, _WHITE, _GREY = 16, 235, 128


def _blocks(number: int) -> list[int]:
    bits = [number >> place & 1 for place in reversed(range(_BITS))]
    check = sum(bits) % 4
    return [1, 0, *bits, check >> 1, check & 1]


def write_number(planes: Bytes, number: int) -> None:
    """Write a number onto a picture.

    Args:
        planes: I420, ``[H * 3 // 2, W]``, contiguous.
        number: 0 <= number < :data:`MOST`.

    Raises:
        ValueError: the number is too large.
    """
    if not 0 <= number < MOST:
        raise ValueError(f"{number} is no number of a frame")
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    rows = max(2, round(height * STRIP)) // 2 * 2
    edges = np.linspace(0, width, BLOCKS + 1).round().astype(int)
    for block, bit in enumerate(_blocks(number)):
        planes[:rows, edges[block] : edges[block + 1]] = _WHITE if bit else _BLACK
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    chroma[:, : rows // 2] = _GREY


def read_number(planes: Bytes) -> int | None:
    """The number on a picture (see :func:`write_number`); None where there is none that can be read."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    row = round(height * STRIP / 2)
    columns = ((np.arange(BLOCKS) + 0.5) * width / BLOCKS).astype(int)
    bits = [int(value > (_BLACK + _WHITE) // 2) for value in planes[row, columns]]
    number = int("".join(map(str, bits[2 : 2 + _BITS])), 2)
    return number if bits == _blocks(number) else None
