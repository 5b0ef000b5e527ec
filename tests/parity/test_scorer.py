"""A scorer gives the bits of the mixture, on every backend and instruction set."""

import numpy as np
import pytest

import gaussmix as gm
import oracle
from kernel_calls import equal_bits

METHODS = ("logpdf", "predict", "predict_proba", "nearest")
# One row at a time, a few, tiles of either width and several of them; K and D around whole vectors.
COUNTS = (1, 2, 5, 12, 21, 40)
SHAPES = [(1, 3), (2, 1), (3, 8), (5, 17), (8, 16), (9, 7), (12, 5), (33, 3)]


def make_mixture(n_features, n_components, covariance_type, dead=None):
    rng = np.random.default_rng(n_features)
    root = rng.normal(size=(n_components, n_features, n_features))
    full = root @ root.swapaxes(1, 2) + np.eye(n_features)
    covariances = oracle.of_type(full, covariance_type)
    weights = 1.0 + rng.random(n_components)
    if dead is not None:
        weights[dead] = 0.0
    means = 3.0 * rng.normal(size=(n_components, n_features))
    return gm.Mixture(weights / weights.sum(), means, covariances, covariance_type)


def make_rows(mixture, dtype=np.float64):
    X = mixture.sample(max(COUNTS), seed=1)[0] * 1.5
    X[3] = 1e30  # far out; and with float64 so far that squares overflow
    if dtype == np.float64:
        X[4], X[5] = 1e200, -1.7e308
    return X.astype(dtype)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "d{}k{}".format(*shape))
def test_the_bits_are_the_mixture_s_whatever_the_batch(backend, shape, covariance_type):
    mixture = make_mixture(*shape, covariance_type)
    scorer = mixture.scorer()
    for dtype in (np.float64, np.float32):
        X = make_rows(mixture, dtype)
        for method in METHODS:
            expected = getattr(mixture, method)(X)
            for count in COUNTS:
                found = getattr(scorer, method)(X[:count])
                assert equal_bits(found, expected[:count]), (method, count)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_row_alone_gets_the_bits_that_it_gets_among_others(backend, covariance_type):
    mixture = make_mixture(8, 16, covariance_type, dead=0)
    scorer = mixture.scorer()
    X = make_rows(mixture)
    for method in METHODS:
        expected = getattr(mixture, method)(X)
        for row, result in zip(X, expected, strict=True):
            assert equal_bits(np.asarray(getattr(scorer, method)(row)), result), method


def test_the_gate_is_the_mixture_s(backend):
    mixture = make_mixture(3, 8, "full", dead=2)
    scorer = mixture.scorer()
    X = make_rows(mixture)
    for gate in (None, 1e-9, 1, 2.5, np.float64(3.5), np.inf):
        expected = mixture.nearest(X, gate)
        assert equal_bits(scorer.nearest(X, gate), expected)
        assert [scorer.nearest(row, gate) for row in X] == expected.tolist()
