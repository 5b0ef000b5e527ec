"""Mixture problems that are difficult on purpose; every input is exact in float64.

Rows come from integer arithmetic alone, so that they are the same everywhere and need no file. What
is certified of each problem stands in ``values.json``, written by ``generate.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TYPES = ("full", "tied", "diag", "spherical")


class Problem(NamedTuple):
    """Rows and a mixture; `converged` says whether EM's fixed point is certified, too."""

    name: str
    covariance_type: str
    X: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    converged: bool


def normal_rows(n_rows: int, n_features: int, seed: int) -> np.ndarray:
    """Nearly normal numbers, multiples of 2^-20: sums of twelve uniform ones, less six."""
    state, values = seed * 2 + 1, []
    for _ in range(n_rows * n_features):
        total = 0
        for _ in range(12):
            # Knuth's MMIX generator; its upper bits.
            state = (6364136223846793005 * state + 1442695040888963407) % 2**64
            total += state >> 44
        values.append((total - 6 * 2**20) / 2**20)
    return np.array(values).reshape(n_rows, n_features)


def two_clusters(n_rows: int, n_features: int, seed: int, gap: float) -> np.ndarray:
    X = normal_rows(n_rows, n_features, seed)
    X[::2] += gap
    return X


def covariances_of(covariance_type: str, n_features: int, correlation: float = 0.25) -> np.ndarray:
    """Of two components, the second twice as wide; features grow from 1 to 2 in variance."""
    variances = 1.0 + np.arange(n_features) / max(n_features - 1, 1)
    deviations = np.sqrt(variances)
    dense = np.full((n_features, n_features), correlation) * np.outer(deviations, deviations)
    np.fill_diagonal(dense, variances)
    dense = 0.5 * (dense + dense.T)
    return {
        "full": np.stack([dense, 2.0 * dense]),
        "tied": dense,
        "diag": np.stack([variances, 2.0 * variances]),
        "spherical": np.array([1.0, 2.0]),
    }[covariance_type]


def near_singular(covariance_type: str) -> np.ndarray:
    """Condition 2^33 and more: features nearly dependent, or of variances far apart."""
    tiny = 2.0**-33
    dense = np.array([[1.0, 1.0 - tiny], [1.0 - tiny, 1.0]])
    return {
        "full": np.stack([dense, 0.5 * dense]),
        "tied": dense,
        "diag": np.array([[1.0, tiny], [tiny, 1.0]]),
        "spherical": np.array([1.0, tiny]),
    }[covariance_type]


def problems() -> list[Problem]:
    """All of them: for each covariance type the same seven."""
    return [problem for name in TYPES for problem in _of_type(name)]


def _of_type(kind: str) -> list[Problem]:
    plain, half = covariances_of(kind, 2), np.array([0.5, 0.5])
    means = np.array([[4.0, 4.0], [0.0, 0.0]])
    X = two_clusters(24, 2, 1, 4.0)
    offset = 2.0**27
    tails = X.copy()
    tails[::6] *= 2.0 ** np.arange(6, 26, 5)[:, None]
    flat = X.copy()
    if kind == "spherical":
        flat[1::2] *= 2.0**-16  # one component is far narrower than the other
    else:
        flat[:, 1] = flat[:, 0] + flat[:, 1] * 2.0**-12
    scale = 2.0**-400
    wide = two_clusters(160, 50, 2, 1.0)
    wide_means = np.stack([np.full(50, 1.0), np.zeros(50)])
    light = np.array([2.0**-27, 1.0 - 2.0**-27])
    return [
        Problem("overlap", kind, two_clusters(24, 2, 3, 3.0), half, 0.75 * means, plain, True),
        Problem("offset 2^27", kind, X + offset, half, means + offset, plain, True),
        Problem("near-singular", kind, flat, half, means, near_singular(kind), False),
        Problem("far tails", kind, tails, half, means, plain, False),
        Problem("weight 1e-8", kind, X, light, means, plain, False),
        Problem("scale 2^-400", kind, X * scale, half, means * scale, plain * scale**2, True),
        Problem("D = 50", kind, wide, half, wide_means, covariances_of(kind, 50), False),
    ]


# NIST Statistical Reference Datasets, univariate summary statistics, "average difficulty" and
# "higher": https://www.itl.nist.gov/div898/strd/univ/homepage.html. (first row, the two that
# alternate, certified mean, certified standard deviation with n - 1)
NIST = {
    "NumAcc1": ([10000001.0, 10000003.0, 10000002.0], 10000002.0, 1.0),
    "NumAcc2": ([1.2, *[1.1, 1.3] * 500], 1.2, 0.1),
    "NumAcc3": ([1000000.2, *[1000000.1, 1000000.3] * 500], 1000000.2, 0.1),
    "NumAcc4": ([10000000.2, *[10000000.1, 10000000.3] * 500], 10000000.2, 0.1),
}
