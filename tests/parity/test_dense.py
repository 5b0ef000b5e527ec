"""The kernels on parameters alone: factors of covariances, moments between means."""

import numpy as np
import pytest

EPS = np.finfo(float).eps


def covariances(n_components, n_features, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_components, n_features, n_features))
    return root @ root.transpose(0, 2, 1) + np.eye(n_features)


def factorise(backend, matrices):
    factors = np.full_like(matrices, np.nan)
    log_determinants = np.full(len(matrices), np.nan)
    return backend.factorise(matrices, factors, log_determinants), factors, log_determinants


@pytest.mark.parametrize("n_features", [1, 2, 3, 5, 8, 17, 40])
def test_factors_whiten_the_covariance(backend, n_features):
    matrices = covariances(4, n_features)
    failed, factors, log_determinants = factorise(backend, matrices)
    assert failed == -1
    assert (np.triu(factors, 1) == 0.0).all()
    whitened = np.einsum("kij,kjl,kml->kim", factors, matrices, factors)
    # Backward error of Cholesky and of the substitution: D eps times the condition number.
    bound = 8 * n_features * EPS * np.linalg.cond(matrices).max()
    np.testing.assert_allclose(whitened, np.tile(np.eye(n_features), (4, 1, 1)), atol=bound)
    np.testing.assert_allclose(
        log_determinants, -0.5 * np.linalg.slogdet(matrices)[1], rtol=1e-12, atol=1e-12
    )


def test_factors_scale_with_the_units(backend):
    matrices = covariances(2, 3)
    units = 2.0 ** np.array([-400, 0, 300])
    _, factors, _ = factorise(backend, matrices)
    _, scaled, _ = factorise(backend, matrices * units[:, None] * units)
    np.testing.assert_allclose(scaled * units, factors, rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0])
def test_the_first_component_without_a_factor_is_named(backend, bad):
    matrices = covariances(4, 3)
    matrices[2, 1, 1] = bad
    matrices[3, 0, 0] = bad
    assert factorise(backend, matrices)[0] == 2


def test_moments_between_means_are_added_to_the_lower_triangle(backend):
    rng = np.random.default_rng(0)
    pairs = rng.uniform(size=(5, 5))
    np.fill_diagonal(pairs, 0.0)
    pairs[1, 2] = pairs[2, 1] = 0.0
    means = 1e8 + rng.normal(size=(5, 4))
    second = rng.normal(size=(4, 4))
    gap = means[:, None] - means
    expected = second + np.tril(np.einsum("jk,jkd,jke->de", pairs, gap, gap))
    backend.fold_pairs(pairs, means, second)
    np.testing.assert_allclose(second, expected, rtol=1e-13, atol=1e-13)
