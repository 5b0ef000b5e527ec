"""Seeded data and starts for the suites; independent of gaussmix's own sampling and starts.

``GAUSSMIX_BENCH_SMALL=1`` shrinks every size, so that a run only shows that the suites work.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

import gaussmix as gm

SMALL = os.environ.get("GAUSSMIX_BENCH_SMALL", "") not in ("", "0")
COVARIANCE_TYPES = ["full", "tied", "diag", "spherical"]
SEED = 20260101


class Shape(NamedTuple):
    """N rows, D features, K components."""

    n_samples: int
    n_features: int
    n_components: int


def rows(n_samples: int) -> int:
    """`n_samples`, or some of them under GAUSSMIX_BENCH_SMALL."""
    return max(n_samples // 500, min(n_samples, 400)) if SMALL else n_samples


# From memory-bound and dominated by exponentials (D = 1) to bound by multiplications (D = 128).
SHAPES = {
    "d1k4": Shape(rows(1_000_000), 1, 4),
    "d2k8": Shape(rows(1_000_000), 2, 8),
    "d8k16": Shape(rows(400_000), 8, 16),
    "d16k32": Shape(rows(200_000), 16, 32),
    "d32k16": Shape(rows(200_000), 32, 16),
    "d64k64": Shape(rows(50_000), 64, 64),
    "d128k16": Shape(rows(50_000), 128, 16),
}
# Each combination of parameters is a process of its own; to see that a suite works, these do.
SHAPE_NAMES = ["d1k4", "d8k16", "d128k16"] if SMALL else list(SHAPES)


class Case(NamedTuple):
    """Data, the mixture they came from, and a start some way off it."""

    X: np.ndarray
    truth: gm.Mixture
    start: gm.Mixture


def make(shape: Shape, covariance_type: str = "full", dtype: type = np.float64) -> Case:
    """Rows from overlapping Gaussians, C-contiguous, and a start; the same in every run."""
    rng = np.random.default_rng(SEED)
    n_samples, n_features, n_components = shape
    weights = rng.dirichlet(np.full(n_components, 5.0))
    # Distances between means of a few standard deviations in any dimension: some rows belong to
    # one component, some to several.
    means = 4.0 / np.sqrt(n_features) * rng.standard_normal((n_components, n_features))
    mixing = rng.standard_normal((n_components, n_features, n_features)) / np.sqrt(n_features)
    factors = np.eye(n_features) + 0.5 * mixing
    labels = rng.choice(n_components, size=n_samples, p=weights)
    X = rng.standard_normal((n_samples, n_features))
    for k in range(n_components):
        members = labels == k
        X[members] = means[k] + X[members] @ factors[k].T
    covariances = _of_type(weights, factors @ factors.transpose(0, 2, 1), covariance_type)
    shifted = means + 0.2 * rng.standard_normal(means.shape)
    return Case(
        np.ascontiguousarray(X, dtype=dtype),
        gm.Mixture(weights, means, covariances, covariance_type),
        gm.Mixture(np.full(n_components, 1 / n_components), shifted, covariances, covariance_type),
    )


def _of_type(weights: np.ndarray, dense: np.ndarray, covariance_type: str) -> np.ndarray:
    """The (K, D, D) covariances `dense`, reduced to what the type can hold."""
    variances = np.diagonal(dense, axis1=1, axis2=2)
    return {
        "full": dense,
        "tied": np.tensordot(weights, dense, axes=1),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }[covariance_type]
