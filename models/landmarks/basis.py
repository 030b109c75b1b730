"""PCA expression bases, one for each semantic group of the face ([0121], [0131]-[0133], Eq. 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from models.landmarks.topology import SEMANTIC_GROUPS, Indices, canonical_face

Float64 = npt.NDArray[np.float64]

__all__ = ["ExpressionBasis", "semantic_partition"]


@cache
def semantic_partition() -> Mapping[str, Indices]:
    """Every landmark in exactly one semantic group, so that the groups' bases cover the whole face.

    Points of no group (cheeks, forehead, chin) join the group whose nearest point they are closest to on
    the canonical face; a point that two groups claim belongs to the smaller one.
    """
    points = canonical_face()
    owner = np.full(len(points), -1)
    names = sorted(SEMANTIC_GROUPS, key=lambda name: len(SEMANTIC_GROUPS[name]))
    for number, name in enumerate(names):
        mine = SEMANTIC_GROUPS[name]
        owner[mine[owner[mine] < 0]] = number
    named = np.flatnonzero(owner >= 0)
    # irises lie in the eyes' plane, behind the lids: the skin around belongs to the eyes, never to them
    seeds = named[owner[named] != names.index("irises")]
    for point in np.flatnonzero(owner < 0):
        owner[point] = owner[seeds[np.linalg.norm(points[seeds] - points[point], axis=1).argmin()]]
    return {name: np.flatnonzero(owner == names.index(name)) for name in SEMANTIC_GROUPS}


@dataclass(frozen=True)
class ExpressionBasis:
    """Expression bases of all groups, side by side: Eq. 5's ``b_exp``.

    Attributes:
        vectors: ``[n_exp, N * 3]`` float64, orthonormal; each is zero outside its group.
        sizes: number of vectors of each group, in the order of the groups in ``vectors``.
        explained: share of each group's expression energy that its vectors hold, on the fitted data.
    """

    vectors: Float64
    sizes: Mapping[str, int]
    explained: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        expressions: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        variance: float = 0.95,
        groups: Mapping[str, Indices] | None = None,
        maximum: int = 32,
    ) -> ExpressionBasis:
        """Fit to expressions of many people and frames.

        Args:
            expressions: ``[F, N, 3]``; their mean is zero by construction and is not removed.
            weights: of the frames, ``[F]``; equal when left out.
            variance: each group gets as many vectors as it takes to hold this share of its energy.
            groups: a partition of the N landmarks; :func:`semantic_partition` when left out.
            maximum: the most vectors a group gets.

        Raises:
            ValueError: the groups are no partition of the landmarks, or the variance is not in (0, 1].
        """
        data = np.asarray(expressions, np.float64)
        groups = groups if groups is not None else semantic_partition()
        if not 0.0 < variance <= 1.0:
            raise ValueError("variance must be in (0, 1]")
        if sorted(np.concatenate(list(groups.values())).tolist()) != list(range(data.shape[1])):
            raise ValueError("the groups must hold every landmark exactly once")
        weight = np.full(len(data), 1.0) if weights is None else np.asarray(weights, np.float64)
        weight = weight / weight.sum()
        vectors: list[Float64] = []
        sizes: dict[str, int] = {}
        explained: dict[str, float] = {}
        for name, points in groups.items():
            part = data[:, points].reshape(len(data), -1)
            energies, axes = np.linalg.eigh((part * weight[:, None]).T @ part)
            energies, axes = np.clip(energies[::-1], 0.0, None), axes[:, ::-1]
            shares = np.cumsum(energies) / max(float(energies.sum()), 1e-30)
            count = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, maximum, len(shares))
            block = np.zeros((count, *data.shape[1:]))
            block[:, points] = axes[:, :count].T.reshape(count, len(points), 3)
            vectors.append(block.reshape(count, -1))
            sizes[name], explained[name] = count, float(shares[count - 1])
        return cls(np.concatenate(vectors), sizes, explained)

    def coefficients(self, expressions: npt.ArrayLike) -> Float64:
        """PCA coefficients ``[..., n_exp]`` of expressions ``[..., N, 3]``."""
        data = np.asarray(expressions, np.float64)
        return np.asarray(data.reshape(*data.shape[:-2], -1) @ self.vectors.T)

    def expression(self, coefficients: npt.ArrayLike) -> Float64:
        """Expressions ``[..., N, 3]`` of coefficients ``[..., n_exp]`` (Eq. 5)."""
        alpha = np.asarray(coefficients, np.float64)
        return np.asarray((alpha @ self.vectors).reshape(*alpha.shape[:-1], -1, 3))
