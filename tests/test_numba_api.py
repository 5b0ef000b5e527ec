"""numba_api: called from compiled code, it gives the mixture's results to rounding."""

import math

import numpy as np
import pytest

import gaussmix as gm
import oracle

numba = pytest.importorskip("numba")
numba_api = pytest.importorskip("gaussmix.numba_api")

TYPES = ["full", "tied", "diag", "spherical"]


@numba.njit
def score_rows(arrays, X, gate, joint, densities, shares, labels, near):
    """All functions in one, so that the tests compile but once."""
    for i in range(len(X)):
        numba_api.log_joint(arrays, X[i], joint[i])
        densities[i] = numba_api.logpdf(arrays, X[i])
        numba_api.responsibilities(arrays, X[i], shares[i])
        labels[i] = numba_api.predict(arrays, X[i])
        near[i] = numba_api.nearest(arrays, X[i], gate)


def score(mixture, X, gate=2.5, n_shares=None):
    n, n_components = len(X), mixture.n_components
    joint, densities = np.empty((n, n_components)), np.empty(n)
    shares = np.empty((n, n_components if n_shares is None else n_shares))
    labels, near = np.empty(n, int), np.empty(n, int)
    score_rows(mixture.as_arrays(), X, gate, joint, densities, shares, labels, near)
    return joint, densities, shares, labels, near


def make(n_features, n_components, covariance_type):
    rng = np.random.default_rng(n_features)
    root = rng.normal(size=(n_components, n_features, n_features))
    full = root @ root.swapaxes(1, 2) + np.eye(n_features)
    covariances = oracle.of_type(full, covariance_type)
    weights = np.arange(n_components, dtype=float)  # the first is 0, unless it is the only one
    weights[0] = n_components == 1
    means = 3.0 * rng.normal(size=(n_components, n_features))
    return gm.Mixture(weights / weights.sum(), means, covariances, covariance_type)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1), (3, 5), (8, 16)])
def test_results_are_the_mixture_s_to_rounding(shape, covariance_type):
    mixture = make(*shape, covariance_type)
    X = mixture.sample(100, seed=1)[0] * 1.5
    X[0] = 1e200  # squares overflow: no component is nearer than another
    joint, densities, shares, labels, near = score(mixture, X)
    # A squared distance is a sum of D squares of sums of D terms, of size up to its own.
    rtol = 8 * shape[0] * np.finfo(float).eps
    expected = mixture.log_joint(X)
    np.testing.assert_allclose(joint, expected, rtol=rtol, atol=10 * rtol)
    atol = 8 * rtol * np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(densities, mixture.logpdf(X), rtol=rtol, atol=atol)
    np.testing.assert_allclose(shares, mixture.predict_proba(X), rtol=0, atol=atol)
    np.testing.assert_array_equal(labels, mixture.predict(X))
    np.testing.assert_array_equal(near, mixture.nearest(X))


def test_the_gate_may_be_infinite():
    mixture = make(3, 5, "full")
    X = mixture.sample(50, seed=1)[0]
    X[0] = 1e200
    np.testing.assert_array_equal(score(mixture, X, math.inf)[-1], mixture.nearest(X, math.inf))


@pytest.mark.parametrize(
    ("X", "gate", "n_shares", "message"),
    [
        (np.array([[0.0, np.nan, 0.0]]), 2.5, None, "NaN or an infinity"),
        (np.array([[0.0, 0.0, -np.inf]]), 2.5, None, "NaN or an infinity"),
        (np.zeros((1, 2)), 2.5, None, "number of features"),
        (np.zeros((1, 3)), 0.0, None, "gate"),
        (np.zeros((1, 3)), math.nan, None, "gate"),
        (np.zeros((1, 3)), 2.5, 4, "one number for each component"),
    ],
    ids=["nan", "inf", "width", "zero", "nan gate", "out"],
)
def test_bad_input_is_an_error_there_too(X, gate, n_shares, message):
    with pytest.raises(gm.InvalidInputError, match=message):
        score(make(3, 5, "full"), X, gate, n_shares)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_arrays_have_one_type_and_are_read_only(covariance_type):
    arrays = make(3, 5, covariance_type).as_arrays()
    assert numba.typeof(arrays) == numba.typeof(make(1, 1, "full").as_arrays())
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
