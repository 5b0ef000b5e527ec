"""Data on a grid of 2^-10, which can be shifted by up to 2^40 without rounding."""

import numpy as np

import gaussmix as gm

BITS = 10


def datasets() -> dict[str, np.ndarray]:
    """Well-known data, whole and in parts, and some of our own, rounded to the grid."""
    from sklearn.datasets import (
        load_breast_cancer,
        load_diabetes,
        load_digits,
        load_iris,
        load_wine,
    )

    rng = np.random.default_rng(0)
    wine, cancer, digits = load_wine().data, load_breast_cancer().data, load_digits().data
    found = {
        "faithful": gm.datasets.load("faithful").X,
        "iris": load_iris().data,
        "wine": wine,
        "wine, 5 columns": wine[:, [0, 1, 6, 9, 11]],
        "cancer": cancer,
        "cancer, 4 columns": cancer[:, [0, 1, 2, 7]],
        "diabetes": load_diabetes(scaled=False).data,
        "digits, 64 pixels": digits[:300],
        "digits 0-4, 8 pixels": digits[:500, [2, 10, 20, 21, 26, 36, 42, 60]],
        "digits 5-9, 3 pixels": digits[900:1300, [19, 34, 43]],
        "clusters": clusters(rng),
        "line": np.concatenate([rng.normal(-3, 1, (120, 1)), rng.normal(2, 0.5, (80, 1))]),
        "counts": rng.poisson(3.0, (300, 3)).astype(float),
        "heavy tails": np.clip(rng.standard_t(2, (400, 3)), -500.0, 500.0),
        "one-hot": np.eye(4)[rng.integers(0, 4, 200)],
    }
    return {name: on_grid(X) for name, X in found.items()}


def clusters(rng: np.random.Generator) -> np.ndarray:
    """Four round clusters in three dimensions."""
    parts = [rng.normal(size=(150, 3)) + 6 * rng.normal(size=3) for _ in range(4)]
    return np.concatenate(parts)


def on_grid(X: np.ndarray) -> np.ndarray:
    """X rounded to multiples of 2^-10; |X| < 2^13."""
    X = np.round(np.asarray(X, dtype=float) * 2.0**BITS) / 2.0**BITS
    assert np.abs(X).max() < 2.0**13
    return X
