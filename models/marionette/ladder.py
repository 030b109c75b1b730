"""Batch sizes that graphs are captured for, and how frames are put into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["RUNGS", "Chunk", "chunks"]

#: A graph serves one batch size; others are padded up to the next of these.
RUNGS: Final = (1, 2, 4, 8, 16, 32, 64)


class Chunk(NamedTuple):
    """Frames that are generated together.

    Attributes:
        indices: of the frames, in the order in which they were asked for.
        rung: size of the batch that they are padded to.
    """

    indices: list[int]
    rung: int

    @property
    def padded(self) -> list[int]:
        """The indices with the first one repeated up to the rung."""
        return self.indices + [self.indices[0]] * (self.rung - len(self.indices))


def chunks(kinds: Sequence[int], rungs: Sequence[int] = RUNGS) -> list[Chunk]:
    """Distribute frames over batches of one kind each.

    Args:
        kinds: of each frame; only frames of one kind can share a batch.
        rungs: sizes of batches, growing.
    """
    made = []
    for kind in dict.fromkeys(kinds):
        own = [index for index, other in enumerate(kinds) if other == kind]
        for first in range(0, len(own), rungs[-1]):
            indices = own[first : first + rungs[-1]]
            made.append(Chunk(indices, next(rung for rung in rungs if rung >= len(indices))))
    return made
