"""Expression bases: a partition of the face, PCA in each part, Eq. 5 both ways."""

from __future__ import annotations

import numpy as np
import pytest

from models.landmarks.basis import ExpressionBasis, semantic_partition
from models.landmarks.topology import MIRROR, SEMANTIC_GROUPS

GROUPS = {"a": np.array([0, 2, 4]), "b": np.array([1, 3])}


def expressions(count: int = 60, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 4)) @ random.normal(size=(4, 15)) + 0.05 * random.normal(
        size=(count, 15)
    )


def test_every_landmark_is_in_one_group() -> None:
    partition = semantic_partition()
    assert list(partition) == list(SEMANTIC_GROUPS)
    assert sorted(np.concatenate(list(partition.values())).tolist()) == list(range(478))
    assert sorted(partition["irises"].tolist()) == list(range(468, 478))
    assert set(SEMANTIC_GROUPS["mouth"]) <= set(partition["mouth"])


def test_groups_of_the_two_sides_mirror_each_other() -> None:
    partition = semantic_partition()
    for part in ("eye", "eyebrow"):
        right, left = (
            set(partition[f"right_{part}"].tolist()),
            set(MIRROR[partition[f"left_{part}"]].tolist()),
        )
        # points on the middle line are as near to either side
        assert len(right ^ left) <= 4


def test_basis_is_pca_of_each_group_written_out() -> None:
    data = expressions().reshape(60, 5, 3)
    basis = ExpressionBasis.fit(data, variance=0.9, groups=GROUPS)
    assert sum(basis.sizes.values()) == len(basis.vectors)
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(len(basis.vectors)), atol=1e-9)
    start = 0
    for name, points in GROUPS.items():
        own = basis.vectors[start : start + basis.sizes[name]].reshape(-1, 5, 3)
        start += basis.sizes[name]
        outside = np.setdiff1d(np.arange(5), points)
        assert not own[:, outside].any()
        part = data[:, points].reshape(60, -1)
        _, singular, axes = np.linalg.svd(part, full_matrices=False)
        shares = np.cumsum(singular**2) / (singular**2).sum()
        assert shares[basis.sizes[name] - 1] >= 0.9
        assert basis.sizes[name] == 1 or shares[basis.sizes[name] - 2] < 0.9
        assert basis.explained[name] == pytest.approx(shares[basis.sizes[name] - 1])
        alignment = np.abs(own[:, points].reshape(len(own), -1) @ axes[: len(own)].T)
        np.testing.assert_allclose(alignment, np.eye(len(own)), atol=1e-6)


def test_equation_5_both_ways() -> None:
    data = expressions().reshape(60, 5, 3)
    basis = ExpressionBasis.fit(data, variance=1.0, groups=GROUPS)
    alpha = basis.coefficients(data)
    np.testing.assert_allclose(basis.expression(alpha), data, atol=1e-9)
    slow = sum(alpha[7, k] * basis.vectors[k] for k in range(len(basis.vectors)))
    np.testing.assert_allclose(basis.expression(alpha[7]).ravel(), slow, atol=1e-12)
    np.testing.assert_allclose(basis.coefficients(basis.expression(alpha[:3])), alpha[:3], atol=1e-9)


def test_weights_count_as_repetitions() -> None:
    data = expressions(20).reshape(20, 5, 3)
    weights = np.arange(1, 21)
    weighted = ExpressionBasis.fit(data, weights, variance=0.95, groups=GROUPS)
    repeated = ExpressionBasis.fit(np.repeat(data, weights, axis=0), variance=0.95, groups=GROUPS)
    assert weighted.sizes == repeated.sizes
    np.testing.assert_allclose(weighted.vectors.T @ weighted.vectors, repeated.vectors.T @ repeated.vectors)


def test_wrong_groups_and_shares_are_refused() -> None:
    data = expressions().reshape(60, 5, 3)
    with pytest.raises(ValueError, match="exactly once"):
        ExpressionBasis.fit(data, groups={"a": np.array([0, 1])})
    with pytest.raises(ValueError, match="exactly once"):
        ExpressionBasis.fit(data, groups={**GROUPS, "c": np.array([0])})
    with pytest.raises(ValueError, match="variance"):
        ExpressionBasis.fit(data, variance=0.0, groups=GROUPS)
