"""Rows that cannot change a component's sums are left out: the sums are those with them."""

import importlib

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends

N_ROWS = 5000
EPS = np.finfo(float).eps


@pytest.fixture
def switch():
    backend = backends.active()
    if backend.name != "cython":
        pytest.skip("only the compiled kernels leave anything out")
    module = importlib.import_module(f"gaussmix.kernels._cython_{backend.level}")
    turn = module.set_leave_out_negligible
    yield turn
    turn(True)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n_features", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("distance", [1.0, 6.0, 30.0, 1e4])
def test_leaving_rows_out_is_within_rounding(switch, covariance_type, n_features, distance):
    rng = np.random.default_rng(n_features)
    means = distance * rng.standard_normal((6, n_features))
    X = means[rng.integers(0, 6, N_ROWS)] + rng.standard_normal((N_ROWS, n_features))
    weight = 10.0 ** rng.uniform(-3, 3, N_ROWS)
    one = {"full": np.eye(n_features), "diag": np.ones(n_features), "spherical": np.ones(())}
    if covariance_type == "tied":
        covariances = np.eye(n_features)
    else:
        covariances = np.stack([(1.0 + 0.1 * k) * one[covariance_type] for k in range(6)])
    mixture = gm.Mixture(np.full(6, 1 / 6), means, covariances, covariance_type)
    sparse = mixture.statistics(X, weight)
    assert switch(False) is True
    dense = mixture.statistics(X, weight)
    assert switch(True) is False
    # Sums of non-negative terms: relative to themselves. First moments: to the root of the product
    # of mass and second moment (Cauchy-Schwarz), of which the largest will do.
    rtol = N_ROWS * EPS
    np.testing.assert_allclose(sparse.mass, dense.mass, rtol=rtol)
    atol = rtol * np.abs(dense.second).max()
    np.testing.assert_allclose(sparse.second, dense.second, rtol=0, atol=atol)
    atol = rtol * np.sqrt(dense.mass.max() * np.abs(dense.second).max())
    np.testing.assert_allclose(sparse.first, dense.first, rtol=0, atol=atol)
    np.testing.assert_allclose(sparse.log_likelihood, dense.log_likelihood, rtol=rtol)
    assert abs(sparse.entropy - dense.entropy) <= rtol * weight.sum()
