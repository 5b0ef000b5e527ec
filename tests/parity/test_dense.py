"""The kernels that read no rows: factors of covariances, the sum of the accumulators."""

import numpy as np
import pytest

from gaussmix.kernels import contract

EPS = np.finfo(float).eps


def covariances(n_components, n_features, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_components, n_features, n_features))
    return root @ root.transpose(0, 2, 1) + np.eye(n_features)


def factorise(backend, matrices):
    factors = np.full_like(matrices, np.nan)
    log_determinants = np.full(len(matrices), np.nan)
    return backend.factorise(matrices, factors, log_determinants), factors, log_determinants


@pytest.mark.parametrize("n_features", [1, 2, 3, 5, 8, 17, 31, 40, 70])
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


def combined(backend, accumulators, means, layout, threads=1):
    total = np.empty(accumulators.shape[1])
    backend.combine(accumulators, means, layout, total, threads)
    return total


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 13, 64])
@pytest.mark.parametrize("layout", ["spherical", "diag", "full"])
def test_the_accumulators_are_added_in_one_tree(backend, layout, count, threads):
    code = contract.LAYOUTS[layout]
    means = np.zeros((5, 17))
    size = contract.offsets(5, 17, code).size
    accumulators = np.random.default_rng(count).normal(size=(count, size))
    found = combined(backend, accumulators, means, code, threads)
    np.testing.assert_array_equal(found, contract.combine(accumulators, means, code))


# Up to 64 pairs are multiplied at once: one, an odd number, just as many, and many times as many.
@pytest.mark.parametrize("shape", [(2, 1), (5, 4), (12, 9), (30, 17), (70, 2)])
@pytest.mark.parametrize("apart", [0.0, 0.7])  # so many of the pairs share no row
def test_moments_between_means_are_added_to_the_pooled_ones(backend, shape, apart):
    n_components, n_features = shape
    rng = np.random.default_rng(0)
    means = 1e8 + rng.normal(size=shape)
    part = contract.offsets(*shape, contract.LAYOUT_POOLED)
    accumulators = rng.uniform(size=(3, part.size))
    accumulators[:, part.pairs : part.scalars] *= rng.uniform(size=n_components**2) >= apart
    sums = accumulators.sum(axis=0)
    pairs = sums[part.pairs : part.scalars].reshape(n_components, n_components)
    second = sums[part.second : part.pairs].reshape(n_features, n_features)
    gap = means[:, None] - means
    expected = np.tril(second) + np.tril(second, -1).T
    expected += np.einsum("jk,jkd,jke->de", pairs, gap, gap)
    total = combined(backend, accumulators, means, contract.LAYOUT_POOLED)
    found = total[part.second : part.pairs].reshape(n_features, n_features)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * pairs.sum())
    np.testing.assert_allclose(total[: part.second], sums[: part.second], rtol=1e-15)


def test_components_that_share_no_row_add_nothing_between_them(backend):
    means = np.array([[0.0], [1e300], [-1e300]])  # whose gap overflows
    accumulators = np.ones((2, contract.offsets(3, 1, contract.LAYOUT_POOLED).size))
    part = contract.offsets(3, 1, contract.LAYOUT_POOLED)
    accumulators[:, part.pairs : part.scalars] = 0.0
    total = combined(backend, accumulators, means, contract.LAYOUT_POOLED)
    np.testing.assert_array_equal(total[: part.pairs], 2.0)


def test_a_combined_sum_has_to_fit(backend):
    means, code = np.zeros((3, 2)), contract.LAYOUT_FULL
    size = contract.offsets(3, 2, code).size
    for shape, length in (((4, size - 1), size), ((4, size), size + 1), ((0, size), size)):
        with pytest.raises(ValueError, match=r"accumulators|total"):
            backend.combine(np.zeros(shape), means, code, np.empty(length), 1)
