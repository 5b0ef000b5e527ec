"""Marginals, conditionals and Gaussian mixture regression."""

import numpy as np
import pytest

import gaussmix as gm
import oracle
from mixtures import TYPES, random_mixture

D = 6
GIVEN, REST = [4, 1], [0, 2, 3, 5]
EPS = np.finfo(float).eps
# Some hundred roundings of terms of order 1 to 100, conditioned by matrices of condition below 100.
RTOL, ATOL = 1e-11, 1e-11


@pytest.fixture(params=TYPES)
def mixture(request):
    return random_mixture(request.param, n_components=4, n_features=D)


@pytest.fixture
def X(mixture):
    return mixture.sample(300, seed=5)[0]


def textbook(mixture, values):
    """Posteriors (K,), conditional means (K, M) and covariances (K, M, M), in long double."""
    weights, means, covariances = [], [], []
    for weight, mean, covariance in zip(
        mixture.weights, mixture.means, mixture.dense_covariances(), strict=True
    ):
        mean, covariance = mean.astype(oracle.LONG), covariance.astype(oracle.LONG)
        factor = oracle.precision_factor(covariance[np.ix_(GIVEN, GIVEN)])
        precision = factor.T @ factor
        gap = values.astype(oracle.LONG) - mean[GIVEN]
        slopes = covariance[np.ix_(REST, GIVEN)] @ precision
        means.append(mean[REST] + slopes @ gap)
        covariances.append(
            covariance[np.ix_(REST, REST)] - slopes @ covariance[np.ix_(GIVEN, REST)]
        )
        weights.append(np.log(weight) + np.log(np.diag(factor)).sum() - gap @ precision @ gap / 2)
    weights = np.exp(np.array(weights) - max(weights))
    return weights / weights.sum(), np.array(means), np.array(covariances)


def test_a_marginal_has_the_chosen_features_in_their_order(mixture):
    part = mixture.marginal([5, 0, 2])
    np.testing.assert_array_equal(part.means, mixture.means[:, [5, 0, 2]])
    np.testing.assert_array_equal(
        part.dense_covariances(), mixture.dense_covariances()[:, [5, 0, 2]][:, :, [5, 0, 2]]
    )
    np.testing.assert_array_equal(part.weights, mixture.weights)


def test_marginals_and_conditionals_keep_the_covariance_type(mixture, X):
    assert mixture.marginal([3, 1]).covariance_type == mixture.covariance_type
    assert mixture.condition([3, 1], X[0, [3, 1]]).covariance_type == mixture.covariance_type


def test_a_single_feature_may_be_a_number(mixture):
    assert mixture.marginal(2) == mixture.marginal([2])
    assert mixture.condition(2, 1.5) == mixture.condition([2], [1.5])


def test_a_marginal_of_all_features_is_the_mixture(mixture):
    assert mixture.marginal(range(D)) == mixture


def test_marginal_times_conditional_is_the_joint_density(mixture, X):
    conditionals = mixture.condition(GIVEN, X[:, GIVEN])
    conditional = [one.logpdf(x[None, REST])[0] for one, x in zip(conditionals, X, strict=True)]
    joint = mixture.marginal(GIVEN).logpdf(X[:, GIVEN]) + conditional
    np.testing.assert_allclose(joint, mixture.logpdf(X), rtol=RTOL)


def test_conditionals_are_the_textbooks(mixture, X):
    for x in X[:20]:
        found = mixture.condition(GIVEN, x[GIVEN])
        weights, means, covariances = textbook(mixture, x[GIVEN])
        np.testing.assert_allclose(found.weights, weights.astype(float), rtol=RTOL, atol=1e-300)
        np.testing.assert_allclose(found.means, means.astype(float), rtol=RTOL, atol=ATOL)
        np.testing.assert_allclose(
            found.dense_covariances(), covariances.astype(float), rtol=RTOL, atol=ATOL
        )


def test_the_batch_form_is_the_single_one_row_by_row(mixture, X):
    batch = mixture.condition(GIVEN, X[:, GIVEN])
    assert len(batch) == len(X)
    assert batch.weights.shape == (len(X), 4) and batch.means.shape == (len(X), 4, len(REST))
    for i in (0, 1, 150, -1):
        assert batch[i] == mixture.condition(GIVEN, X[i, GIVEN])
    assert sum(1 for _ in batch) == len(X)
    with pytest.raises(IndexError):
        batch[len(X)]
    with pytest.raises(TypeError, match="one row at a time"):
        batch[:2]
    for array in (batch.weights, batch.means, batch.covariances):
        assert not array.flags.writeable


def test_conditionals_survive_the_constructor(mixture, X):
    made = mixture.condition(GIVEN, X[0, GIVEN])
    again = gm.Mixture(made.weights, made.means, made.covariances, made.covariance_type)
    assert again == made


def test_regression_gives_the_moments_of_the_conditionals(mixture, X):
    found = mixture.regress(X[:, GIVEN], GIVEN)
    for row in range(0, len(X), 10):
        weights, means, covariances = textbook(mixture, X[row, GIVEN])
        mean = weights @ means
        gaps = means - mean
        covariance = np.einsum("k,kde->de", weights, covariances)
        covariance = covariance + np.einsum("k,kd,ke->de", weights, gaps, gaps)
        np.testing.assert_allclose(found.mean[row], mean.astype(float), rtol=RTOL, atol=ATOL)
        np.testing.assert_allclose(
            found.covariance[row], covariance.astype(float), rtol=RTOL, atol=ATOL
        )


def test_regression_predicts_and_knows_its_own_error(mixture):
    n_rows = 40_000
    X = mixture.sample(n_rows, seed=8)[0]
    mean, covariance = mixture.regress(X[:, GIVEN], GIVEN)
    residual = X[:, REST] - mean
    whitened = residual / np.sqrt(np.einsum("nii->ni", covariance))
    # By the law of total expectation means are 0 and squares 1; errors from the sample itself.
    for values, expected in ((whitened, 0.0), (whitened**2, 1.0)):
        error = values.std(axis=0) / np.sqrt(n_rows)
        assert (np.abs(values.mean(axis=0) - expected) < 5 * error).all()


def test_covariances_of_a_regression_are_symmetric_and_positive(mixture, X):
    covariance = mixture.regress(X[:, GIVEN], GIVEN).covariance
    np.testing.assert_array_equal(covariance, covariance.swapaxes(1, 2))
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_each_row_of_a_regression_has_the_same_bits_in_any_batch():
    mixture = random_mixture("full", n_components=7, n_features=D)
    X = mixture.sample(20_001, seed=1)[0][:, GIVEN]
    mean, covariance = mixture.regress(X, GIVEN, n_threads=1)
    for part in (slice(0, 1), slice(63, 64), slice(17, 82), slice(5, 9000), slice(20_000, None)):
        again = mixture.regress(X[part], GIVEN, n_threads=2)
        np.testing.assert_array_equal(again.mean, mean[part])
        np.testing.assert_array_equal(again.covariance, covariance[part])
    np.testing.assert_array_equal(mixture.regress(np.asfortranarray(X), GIVEN).mean, mean)


def test_covariances_can_be_left_out(mixture, X):
    mean, covariance = mixture.regress(X[:, GIVEN], GIVEN, with_covariance=False)
    assert covariance is None
    np.testing.assert_array_equal(mean, mixture.regress(X[:, GIVEN], GIVEN).mean)


def test_units_change_nothing_but_the_units(mixture, X):
    factor = 2.0**-60  # exact
    scaled = gm.Mixture(
        mixture.weights,
        factor * mixture.means,
        factor**2 * mixture.covariances,
        mixture.covariance_type,
    )
    one, other = mixture.regress(X[:, GIVEN], GIVEN), scaled.regress(factor * X[:, GIVEN], GIVEN)
    # Not bit for bit: posteriors hold the logarithm of a determinant in other units.
    np.testing.assert_allclose(other.mean / factor, one.mean, rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(other.covariance / factor**2, one.covariance, rtol=RTOL, atol=ATOL)


def test_features_in_units_far_apart_do_not_disturb_each_other():
    mixture = random_mixture("full", n_components=3, n_features=D)
    units = 2.0 ** np.array([-300, 200, 0, -100, 300, 100])
    scaled = gm.Mixture(
        mixture.weights,
        units * mixture.means,
        mixture.covariances * units[:, None] * units,
    )
    X = mixture.sample(50, seed=2)[0]
    one, other = mixture.regress(X[:, GIVEN], GIVEN), scaled.regress((units * X)[:, GIVEN], GIVEN)
    np.testing.assert_allclose(other.mean / units[REST], one.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        other.covariance / units[REST, None] / units[REST], one.covariance, rtol=1e-12, atol=1e-12
    )


def test_an_offset_moves_the_mean_and_leaves_the_covariance(mixture, X):
    offset = 2.0**27  # leaves rows and means with 2^-25 of a unit
    digits = offset * EPS
    rows, means = X + offset, mixture.means + offset
    moved = gm.Mixture(mixture.weights, means, mixture.covariances, mixture.covariance_type)
    still = gm.Mixture(
        mixture.weights, means - offset, mixture.covariances, mixture.covariance_type
    )
    one = still.regress((rows - offset)[:, GIVEN], GIVEN)
    other = moved.regress(rows[:, GIVEN], GIVEN)
    # Subtracting means and rows is exact. What is left is the rounding of the mean itself.
    np.testing.assert_allclose(other.mean - offset, one.mean, atol=8 * digits)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-6, atol=1e-6)


def test_a_component_of_weight_zero_changes_nothing():
    mixture = random_mixture("full", n_components=3, n_features=D)
    weights = np.array([0.4, 0.0, 0.6])
    with_zero = gm.Mixture(weights, mixture.means, mixture.covariances)
    without = gm.Mixture([0.4, 0.6], mixture.means[[0, 2]], mixture.covariances[[0, 2]])
    X = mixture.sample(50, seed=2)[0][:, GIVEN]
    one, other = with_zero.regress(X, GIVEN), without.regress(X, GIVEN)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-12)
    assert (with_zero.condition(GIVEN, X).weights[:, 1] == 0).all()


def test_rows_far_out_follow_the_line_of_one_component():
    mixture = random_mixture("full", n_components=3, n_features=2)
    mean, covariance = mixture.regress([1e8, -1e8], 0)
    assert np.isfinite(mean).all() and np.isfinite(covariance).all()
    found = mixture.condition(0, [[1e8]])[0]
    assert found.weights.max() == 1.0


def test_one_given_feature_may_be_flat(mixture, X):
    np.testing.assert_array_equal(
        mixture.regress(X[:, 3], 3).mean, mixture.regress(X[:, [3]], [3]).mean
    )


def test_no_rows_give_empty_results(mixture):
    mean, covariance = mixture.regress(np.empty((0, 2)), GIVEN)
    assert mean.shape == (0, 4) and covariance.shape == (0, 4, 4)
    assert len(mixture.condition(GIVEN, np.empty((0, 2)))) == 0


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ([], "features is empty"),
        ([1, 1], r"features\[1\] is 1, as features\[0\] is"),
        ([6], r"features\[0\] is 6, out of range; pass an integer from 0 to 5"),
        (-1, "features is -1, out of range"),
        ([1.0], "not an integer"),
        ([True, False], "a boolean"),
        ("a", "not an integer"),
    ],
)
def test_what_is_no_feature_is_refused(mixture, features, match):
    for call in (
        lambda: mixture.marginal(features),
        lambda: mixture.condition(features, [1.0]),
        lambda: mixture.regress([[1.0]], features),
    ):
        with pytest.raises(gm.InvalidInputError, match=match):
            call()


def test_values_that_do_not_fit_are_refused(mixture):
    with pytest.raises(gm.InvalidInputError, match="so that none remains"):
        mixture.condition(range(D), np.zeros(D))
    with pytest.raises(gm.InvalidInputError, match=r"values has shape \(3,\); 2 feature"):
        mixture.condition(GIVEN, [1.0, 2.0, 3.0])
    with pytest.raises(gm.InvalidInputError, match=r"values.reshape\(-1, 1\)"):
        mixture.condition(0, [1.0, 2.0])
    with pytest.raises(gm.InvalidInputError, match=r"X_given has shape \(1, 3\), but 2 feature"):
        mixture.regress([[1.0, 2.0, 3.0]], GIVEN)
    with pytest.raises(gm.InvalidInputError, match=r"X_given\[1, 0\] is NaN"):
        mixture.regress([[1.0, 2.0], [np.nan, 0.0]], GIVEN)
    with pytest.raises(gm.InvalidInputError, match=r"values\[0, 1\] is inf"):
        mixture.condition(GIVEN, [[1.0, np.inf]])


def test_a_covariance_too_close_to_singular_is_refused_by_its_component():
    # Its Cholesky factor exists in one order of the features only, by the luck of rounding.
    rng = np.random.default_rng(0)
    for _ in range(2000):
        root = rng.normal(size=(4, 3))
        matrix = root @ root.T
        try:
            mixture = gm.Mixture([0.5, 0.5], np.zeros((2, 4)), [np.eye(4), matrix])
            mixture.condition([3, 2], [0.0, 0.0])
        except gm.InvalidInputError as error:
            if "order" in str(error):
                assert "covariance of component 1 is too close to singular" in str(error)
                return
        except gm.DegenerateFitError as error:
            assert "component 1" in str(error)
    pytest.fail("no such matrix was found")


def test_values_whose_conditional_means_overflow_are_named():
    mixture = gm.Mixture([1.0], [[0.0, 0.0]], [[[1.0, 3.0], [3.0, 10.0]]], "full")
    with pytest.raises(gm.InvalidInputError, match=r"values\[1, 0\] is 1e\+308, too far"):
        mixture.condition(0, [[1.0], [1e308]])
    with pytest.raises(gm.InvalidInputError, match=r"X_given\[2, 0\] is 1e\+308, too far"):
        mixture.regress([1.0, 2.0, 1e308], 0)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_values_whose_distances_overflow_are_named(covariance_type):
    mixture = random_mixture(covariance_type, 3, 3, 0)
    with pytest.raises(gm.InvalidInputError, match=r"values\[0, 0\] is 1e\+200, too far"):
        mixture.condition(0, 1e200)
    with pytest.raises(gm.InvalidInputError, match=r"X_given\[1, 0\] is -1e\+200, too far"):
        mixture.regress([[0.0], [-1e200]], [1])
    assert mixture.condition(0, 1e120).n_components == 3


def test_a_row_of_conditionals_is_an_integer():
    conditionals = random_mixture("full", 3, 3, 0).condition([0], [[0.0], [1.0]])
    with pytest.raises(TypeError, match=r"conditionals\[True\]"):
        conditionals[True]
