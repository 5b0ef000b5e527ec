"""Laws of fitting: what moves, scales, permutes or repeats the data does the same to the model."""

import warnings

import numpy as np
import pytest

import gaussmix as gm

TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(scope="module")
def X():
    """Data on a grid of 2^-10, so that shifts by powers of two are exact."""
    rng = np.random.default_rng(0)
    centres = 4.0 * rng.normal(size=(3, 3))
    X = np.concatenate([c + rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) for c in centres])
    return np.round(X * 1024) / 1024


def fitted(X, covariance_type, **options):
    start = gm.fit(X, 3, covariance_type=covariance_type, seed=0, max_iter=0, **options).mixture
    return gm.fit(
        X, 3, covariance_type=covariance_type, start=start, tol=0.0, max_iter=10, seed=0, **options
    ).mixture


pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_any_number_of_threads_gives_the_same_bits(covariance_type):
    X = np.random.default_rng(1).normal(size=(100_003, 3)) * [1.0, 2.0, 3.0]
    X[::2] += 4.0
    one = gm.fit(X, 4, covariance_type=covariance_type, seed=0, n_threads=1, max_iter=4, tol=0.0)
    for n_threads in (2, 3, 7):
        other = gm.fit(
            X, 4, covariance_type=covariance_type, seed=0, n_threads=n_threads, max_iter=4, tol=0.0
        )
        assert other.mixture == one.mixture
        np.testing.assert_array_equal(other.log_likelihood, one.log_likelihood)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_memory_order_and_strides_give_the_same_bits(X, covariance_type):
    reference = fitted(X, covariance_type)
    wide = np.empty((2 * len(X), 6))
    wide[::2, ::2] = X
    for variant in (np.asfortranarray(X), wide[::2, ::2], X[::-1].copy()[::-1]):
        assert fitted(variant, covariance_type) == reference


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_gives_the_model_of_the_same_numbers(X, covariance_type):
    # 2^-10 grid, below 2^13: every number fits in float32.
    assert fitted(X.astype(np.float32), covariance_type) == fitted(X, covariance_type)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("power", [-400, -100, -3, 5, 200, 480])
def test_scaling_by_a_power_of_two_scales_the_model(X, covariance_type, power):
    reference, scaled = fitted(X, covariance_type), fitted(X * 2.0**power, covariance_type)
    np.testing.assert_allclose(scaled.means * 2.0**-power, reference.means, rtol=1e-9)
    np.testing.assert_allclose(
        scaled.covariances * 2.0**-power * 2.0**-power, reference.covariances, rtol=1e-9
    )
    np.testing.assert_allclose(scaled.weights, reference.weights, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::gaussmix.PrecisionWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(("power", "rtol"), [(10, 1e-9), (20, 1e-9), (27, 1e-7), (33, 1e-4)])
def test_shifting_moves_the_model(X, covariance_type, power, rtol):
    reference, moved = fitted(X, covariance_type), fitted(X + 2.0**power, covariance_type)
    scale = np.sqrt(reference.dense_covariances()[:, 0, 0].max())
    gap = moved.means - 2.0**power - reference.means
    # A mean near 2^power is held to half a unit in the last place of 2^power.
    assert np.abs(gap).max() <= 2.0 ** (power - 52) + rtol * scale
    np.testing.assert_allclose(moved.covariances, reference.covariances, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_row_twice_is_a_weight_of_two(X, covariance_type):
    twice = fitted(np.repeat(X, 2, axis=0), covariance_type)
    weighted = fitted(X, covariance_type, sample_weight=np.full(len(X), 2.0))
    np.testing.assert_allclose(twice.means, weighted.means, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(twice.covariances, weighted.covariances, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_row_of_weight_zero_is_no_row(X, covariance_type):
    weight = np.ones(len(X))
    weight[::3] = 0.0
    some = fitted(X, covariance_type, sample_weight=weight)
    fewer = fitted(X[weight > 0], covariance_type)
    np.testing.assert_allclose(some.means, fewer.means, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(some.covariances, fewer.covariances, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_permuting_columns_permutes_the_model(X, covariance_type):
    order = [2, 0, 1]
    start = gm.fit(X, 3, covariance_type=covariance_type, seed=0, max_iter=0).mixture
    covariances = {
        "full": lambda c: c[:, order][:, :, order],
        "tied": lambda c: c[order][:, order],
        "diag": lambda c: c[:, order],
        "spherical": lambda c: c,
    }[covariance_type]
    permuted = gm.Mixture(
        start.weights, start.means[:, order], covariances(start.covariances), covariance_type
    )
    options = {"covariance_type": covariance_type, "tol": 0.0, "max_iter": 10}
    left = gm.fit(X, 3, start=start, **options).mixture
    right = gm.fit(X[:, order], 3, start=permuted, **options).mixture
    np.testing.assert_allclose(right.means, left.means[:, order], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(
        right.covariances, covariances(left.covariances), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("n_features", [1, 2, 3, 5, 8, 9, 17, 30])
def test_scores_depend_on_the_parameters_alone(covariance_type, n_features):
    # Compiled M-steps hand over factors and a centre of their own; the constructor makes them anew.
    scales = np.resize([1, 10, 0.1, 3, 1e4], n_features)
    X = np.random.default_rng(n_features).normal(size=(400, n_features)) * scales
    options = {"covariance_type": covariance_type, "seed": 0, "tol": 1e-2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.DegenerateComponentWarning)
        fitted = gm.fit(X, 7, **options).mixture
    again = gm.Mixture(fitted.weights, fitted.means, fitted.covariances, covariance_type)
    for made, handed in zip(again.kernel_parameters, fitted.kernel_parameters, strict=True):
        np.testing.assert_array_equal(made, handed)
    np.testing.assert_array_equal(again.log_joint(X), fitted.log_joint(X))
    np.testing.assert_array_equal(again.mahalanobis(X), fitted.mahalanobis(X))
