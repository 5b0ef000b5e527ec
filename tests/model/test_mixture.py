"""Mixture as a value: construction, scoring against SciPy, sampling, criteria."""

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal

import gaussmix as gm
from mixtures import TYPES, random_mixture

K, D, N = 3, 4, 257
RTOL = 1e-12  # a few hundred roundings of well-conditioned quantities


def scipy_log_joint(mixture, X):
    columns = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(X)
        for weight, mean, covariance in zip(
            mixture.weights, mixture.means, mixture.dense_covariances(), strict=True
        )
    ]
    return np.stack(columns, axis=1)


@pytest.fixture(params=TYPES)
def mixture(request):
    return random_mixture(request.param)


@pytest.fixture
def X():
    return 3.0 * np.random.default_rng(1).normal(size=(N, D))


def test_log_joint_equals_scipy(mixture, X):
    np.testing.assert_allclose(mixture.log_joint(X), scipy_log_joint(mixture, X), rtol=RTOL)


def test_densities_follow_from_log_joint(mixture, X):
    expected = np.logaddexp.reduce(scipy_log_joint(mixture, X), axis=1)
    np.testing.assert_allclose(mixture.logpdf(X), expected, rtol=RTOL)
    np.testing.assert_allclose(mixture.pdf(X), np.exp(expected), rtol=1e-10)
    assert mixture.score(X) == pytest.approx(expected.mean(), rel=RTOL)


def test_posteriors_sum_to_one_and_labels_are_their_maximum(mixture, X):
    probabilities = mixture.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=4 * K * np.finfo(float).eps)
    np.testing.assert_array_equal(mixture.predict(X), probabilities.argmax(axis=1))


def test_mahalanobis_is_in_standard_deviations(mixture, X):
    for k, covariance in enumerate(mixture.dense_covariances()):
        gap = X - mixture.means[k]
        squared = np.einsum("nd,nd->n", gap, np.linalg.solve(covariance, gap.T).T)
        np.testing.assert_allclose(mixture.mahalanobis(X)[:, k], np.sqrt(squared), rtol=1e-10)


def test_weighted_score_counts_a_row_as_often_as_its_weight(mixture, X):
    weight = np.random.default_rng(2).integers(0, 4, size=N)
    repeated = np.repeat(X, weight, axis=0)
    assert mixture.score(X, weight) == pytest.approx(mixture.score(repeated), rel=RTOL)


def test_one_dimension_takes_scalars_and_flat_rows():
    mixture = gm.Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    assert mixture.means.shape == (2, 1)
    x = np.linspace(-3, 9, 25)
    np.testing.assert_array_equal(mixture.logpdf(x), mixture.logpdf(x[:, None]))
    for covariance_type, covariances in (("full", [1.0, 2.0]), ("diag", [1.0, 2.0])):
        same = gm.Mixture([0.4, 0.6], [0.0, 5.0], covariances, covariance_type)
        np.testing.assert_allclose(same.logpdf(x), mixture.logpdf(x), rtol=RTOL)
    assert gm.Mixture([0.4, 0.6], [0.0, 5.0], 2.0, "tied").covariances.shape == (1, 1)


def test_arrays_are_copies_and_read_only(mixture):
    source = np.array([[0.0], [5.0]])
    made = gm.Mixture([0.5, 0.5], source, [1.0, 1.0], "spherical")
    source[0] = 9.0
    assert made.means[0, 0] == 0.0
    for name in ("weights", "means", "covariances", "precision_factors"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mixture, name)[0] = 1.0
    with pytest.raises(AttributeError, match="immutable"):
        mixture.weights = np.ones(K)
    with pytest.raises(AttributeError, match="immutable"):
        del mixture.weights


def test_pickle_and_copy_keep_every_bit(mixture, X):
    for twin in (pickle.loads(pickle.dumps(mixture)), copy.deepcopy(mixture)):
        assert twin == mixture
        assert hash(twin) == hash(mixture)
        np.testing.assert_array_equal(twin.logpdf(X), mixture.logpdf(X))


def test_a_pickle_goes_through_the_constructor(mixture):
    constructor, arguments = mixture.__reduce__()
    assert constructor is gm.Mixture
    with pytest.raises(gm.InvalidInputError, match="sum to"):
        constructor(arguments[0] * 2, *arguments[1:])


def test_equality_is_of_type_and_numbers(mixture):
    other = random_mixture(mixture.covariance_type, seed=9)
    assert mixture != other
    assert mixture != "mixture"


def test_repr_shows_what_a_reader_wants(mixture):
    text = repr(mixture)
    assert "3 Gaussians in 4 dimensions" in text
    assert mixture.covariance_type in text
    assert f"{mixture.weights[0]:.4f}" in text


def test_repr_of_a_large_mixture_is_short():
    large = gm.Mixture(np.full(50, 0.02), np.zeros((50, 30)), np.ones(50), "spherical")
    assert len(repr(large).splitlines()) <= 12
    assert max(map(len, repr(large).splitlines())) < 160


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], [0.0, 1.0], [1.0, 1.0], "spherical"), r"sum to 1\.1"),
        (([1.5, -0.5], [0.0, 1.0], [1.0, 1.0], "spherical"), r"weights\[1\] is -0\.5"),
        (([0.5, 0.5, 0.0], [0.0, 1.0], [1.0, 1.0], "spherical"), r"shape \(3,\)"),
        (([0.5, 0.5], [0.0, np.nan], [1.0, 1.0], "spherical"), r"means\[1\] is nan"),
        (([0.5, 0.5], [0.0, 1.0], [1.0, 0.0], "spherical"), r"covariances\[1\] is 0"),
        (([0.5, 0.5], [0.0, 1.0], [1.0, 1.0], "round"), "covariance_type is 'round'"),
        (([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], "full"), "component 0.*-1;"),
        (([1.0], [[0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]], "tied"), "eigenvalue is -1;"),
        (([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.2, 1.0]]], "full"), "not symmetric"),
        (([1.0], [[0.0, 0.0]], [[1.0, -1.0]], "diag"), r"covariances\[0, 1\] is -1"),
        (([1.0], [[0.0, 0.0]], [[1.0, 1.0, 1.0]], "diag"), r"shape \(1, 3\).*\(1, 2\)"),
        (([], [], [], "full"), "means has shape"),
    ],
)
def test_invalid_parameters_are_named(arguments, message):
    with pytest.raises(gm.InvalidInputError, match=message):
        gm.Mixture(*arguments)


def test_a_component_of_weight_zero_takes_no_rows(X):
    weighted = random_mixture("full")
    weights = np.array([0.7, 0.0, 0.3])
    mixture = gm.Mixture(weights, weighted.means, weighted.covariances)
    probabilities = mixture.predict_proba(X)
    assert (probabilities[:, 1] == 0.0).all()
    assert np.isfinite(mixture.logpdf(X)).all()
    assert (mixture.log_joint(X)[:, 1] == -np.inf).all()


def test_sample_draws_components_by_weight_and_points_by_component():
    mixture = random_mixture("full")
    X, z = mixture.sample(40_000, seed=5)
    shares = np.bincount(z, minlength=K) / len(z)
    # five standard errors of a binomial share
    np.testing.assert_allclose(shares, mixture.weights, atol=5 * 0.5 / np.sqrt(len(z)))
    for k in range(K):
        whitened = (X[z == k] - mixture.means[k]) @ mixture.precision_factors[k].T
        for d in range(D):
            assert kstest(whitened[:, d], "norm").pvalue > 1e-4
        correlation = np.corrcoef(whitened.T) - np.eye(D)
        assert np.abs(correlation).max() < 5 / np.sqrt((z == k).sum())


def test_sample_is_shuffled_and_reproducible(mixture):
    X, z = mixture.sample(500, seed=3)
    again, z_again = mixture.sample(500, seed=3)
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(z, z_again)
    assert (np.diff(z) < 0).sum() > 10  # grouped draws would never fall
    rng = np.random.default_rng(3)
    first, _ = mixture.sample(500, rng)
    second, _ = mixture.sample(500, rng)
    np.testing.assert_array_equal(first, X)
    assert not np.array_equal(first, second)


def test_sample_of_nothing_is_empty_and_negative_is_an_error(mixture):
    X, z = mixture.sample(0)
    assert X.shape == (0, D)
    assert z.shape == (0,)
    with pytest.raises(gm.InvalidInputError, match="n is -1"):
        mixture.sample(-1)


def test_criteria_follow_their_formulas(mixture, X):
    log_joint = scipy_log_joint(mixture, X)
    total = np.logaddexp.reduce(log_joint, axis=1)
    probabilities = np.exp(log_joint - total[:, None])
    entropy = -(probabilities * np.log(probabilities)).sum()
    parameters = mixture.n_parameters
    assert mixture.aic(X) == pytest.approx(-2 * total.sum() + 2 * parameters, rel=1e-11)
    bic = -2 * total.sum() + parameters * np.log(N)
    assert mixture.bic(X) == pytest.approx(bic, rel=1e-11)
    assert mixture.icl(X) == pytest.approx(bic + 2 * entropy, rel=1e-11)


@pytest.mark.parametrize(
    ("covariance_type", "expected"),
    [
        ("full", 2 + 12 + 30),
        ("tied", 2 + 12 + 10),
        ("diag", 2 + 12 + 12),
        ("spherical", 2 + 12 + 3),
    ],
)
def test_parameters_are_counted(covariance_type, expected):
    assert random_mixture(covariance_type).n_parameters == expected


@pytest.mark.parametrize("n_features", (1, 2, 7))
@pytest.mark.parametrize("n_components", (1, 3, 9))
def test_parameter_counts_are_the_degrees_of_freedom_of_mclust(n_components, n_features):
    """Those that its nMclustParams counts for the models VII, VVI, EEE and VVV.

    For faithful, where D = 2, mclust prints df 11 for EEE with three components.
    """
    K, D = n_components, n_features
    mixing_and_means = K - 1 + K * D
    covariances = {
        "spherical": (K, np.ones(K)),
        "diag": (K * D, np.ones((K, D))),
        "tied": (D * (D + 1) // 2, np.eye(D)),
        "full": (K * D * (D + 1) // 2, np.stack([np.eye(D)] * K)),
    }
    for covariance_type, (expected, values) in covariances.items():
        mixture = gm.Mixture(np.full(K, 1 / K), np.zeros((K, D)), values, covariance_type)
        assert mixture.n_parameters == mixing_and_means + expected
        if (covariance_type, K, D) == ("tied", 3, 2):
            assert mixture.n_parameters == 11


def test_an_empty_batch_gives_empty_results(mixture):
    empty = np.empty((0, D))
    assert mixture.predict(empty).shape == (0,)
    assert mixture.predict_proba(empty).shape == (0, K)
    assert mixture.logpdf(empty).shape == (0,)


def test_thread_counts_and_batches_do_not_change_a_bit(mixture):
    X = np.random.default_rng(4).normal(size=(20_011, D))
    whole = mixture.predict_proba(X, n_threads=1)
    np.testing.assert_array_equal(mixture.predict_proba(X, n_threads=3), whole)
    np.testing.assert_array_equal(mixture.predict_proba(np.asfortranarray(X)), whole)
    np.testing.assert_array_equal(mixture.predict_proba(X[777:778]), whole[777:778])
    np.testing.assert_array_equal(
        np.concatenate([mixture.logpdf(X[:5]), mixture.logpdf(X[5:])]), mixture.logpdf(X)
    )


def test_a_row_of_weight_zero_may_have_density_zero():
    mixture = gm.Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
    assert mixture.score([[0.0, 0.0], [1e200, 0.0]], [1, 0]) == mixture.score([[0.0, 0.0]])


def test_rows_that_overflow_go_to_components_of_positive_weight():
    mixture = gm.Mixture([0.0, 1.0], [[0.0, 0.0], [5.0, 1.0]], np.ones((2, 2)), "diag")
    assert mixture.predict([[1e200, 0.0]]).tolist() == [1]
    assert mixture.predict_proba([[1e200, 0.0]]).tolist() == [[0.0, 1.0]]
    assert mixture.statistics([[1e200, 0.0]]).mass.tolist() == [0.0, 1.0]


def test_equal_mixtures_have_equal_hashes():
    mixtures = [gm.Mixture([1.0], [[zero]], [1.0], "spherical") for zero in (0.0, -0.0)]
    assert mixtures[0] == mixtures[1]
    assert hash(mixtures[0]) == hash(mixtures[1])
