"""GaussianMixture: agreement with scikit-learn, attributes of a fit, starts, wrong parameters."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.mixture
from sklearn.base import is_clusterer
from sklearn.exceptions import ConvergenceWarning

from gaussmix.errors import InvalidInputError
from gaussmix.estimator.gaussian_mixture import GaussianMixture

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
RTOL_AGREEMENT = 1e-6  # what is promised against scikit-learn


def blobs(n=400, n_features=3, n_components=3, seed=0, spread=4.0):
    """Well-conditioned groups, overlapping unless `spread` is large, and their labels."""
    rng = np.random.default_rng(seed)
    z = rng.integers(n_components, size=n)
    centres = spread * rng.standard_normal((n_components, n_features))
    shapes = rng.standard_normal((n_components, n_features, n_features)) / 2 + np.eye(n_features)
    X = centres[z] + np.einsum("nij,nj->ni", shapes[z], rng.standard_normal((n, n_features)))
    return X, z


def start_of(X, covariance_type, n_components=3, seed=5):
    """The same three initial parameters for both libraries."""
    rng = np.random.default_rng(seed)
    n_features = X.shape[1]
    variance = X.var(axis=0)
    precisions = {
        "full": np.tile(np.diag(1 / variance), (n_components, 1, 1)),
        "tied": np.diag(1 / variance),
        "diag": np.tile(1 / variance, (n_components, 1)),
        "spherical": np.full(n_components, n_features / variance.sum()),
    }[covariance_type]
    return {
        "weights_init": rng.dirichlet(np.full(n_components, 20.0)),
        "means_init": X[rng.choice(len(X), n_components, replace=False)],
        "precisions_init": precisions,
    }


@pytest.fixture
def fitted():
    X, _ = blobs()
    return GaussianMixture(3, random_state=0).fit(X), X


# -- agreement with scikit-learn


@pytest.mark.parametrize("tol", [1e-3, 1e-10])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_same_start_gives_scikit_learns_parameters(covariance_type, tol):
    X, _ = blobs()
    options = {
        "covariance_type": covariance_type,
        "tol": tol,
        "max_iter": 2000,
        "reg_covar": 1e-12,
        **start_of(X, covariance_type),
    }
    ours = GaussianMixture(3, **options).fit(X)
    theirs = sklearn.mixture.GaussianMixture(3, **options).fit(X)
    assert ours.converged_ and theirs.converged_
    if tol == 1e-3:  # at 1e-10 rounding decides which iteration is the last
        assert ours.n_iter_ == theirs.n_iter_
    for name in (
        "weights_",
        "means_",
        "covariances_",
        "precisions_",
        "precisions_cholesky_",
    ):
        expected = getattr(theirs, name)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            getattr(ours, name), expected, rtol=RTOL_AGREEMENT, atol=RTOL_AGREEMENT * scale
        )
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=RTOL_AGREEMENT)
    np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=RTOL_AGREEMENT)
    np.testing.assert_allclose(ours.aic(X), theirs.aic(X), rtol=RTOL_AGREEMENT)
    np.testing.assert_allclose(
        ours.score_samples(X), theirs.score_samples(X), rtol=1e-5, atol=RTOL_AGREEMENT
    )
    assert ours._n_parameters() == theirs._n_parameters()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_means_alone_lead_to_scikit_learns_optimum(covariance_type):
    X, z = blobs(spread=10.0)
    means = np.array([X[z == k].mean(axis=0) for k in range(3)])
    options = {
        "covariance_type": covariance_type,
        "tol": 1e-12,
        "max_iter": 3000,
        "reg_covar": 1e-12,
        "means_init": means,
        "random_state": 0,
    }
    ours = GaussianMixture(3, **options).fit(X)
    theirs = sklearn.mixture.GaussianMixture(3, **options).fit(X)
    # A likelihood within tol of its top leaves the parameters the square root of that.
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=RTOL_AGREEMENT)


def test_lower_bounds_are_scikit_learns_one_iteration_later():
    X, _ = blobs()
    options = {"reg_covar": 1e-12, **start_of(X, "full")}
    ours = GaussianMixture(3, **options).fit(X)
    theirs = sklearn.mixture.GaussianMixture(3, **options).fit(X)
    np.testing.assert_allclose(ours.lower_bounds_[:-1], theirs.lower_bounds_[1:], rtol=1e-9)


def test_has_scikit_learns_parameters_and_defaults():
    theirs = sklearn.mixture.GaussianMixture().get_params()
    ours = GaussianMixture().get_params()
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) == {"algorithm", "n_threads", "max_seconds"}


def test_is_a_density_estimator_as_in_scikit_learn():
    tags = GaussianMixture().__sklearn_tags__()
    assert tags.estimator_type == "density_estimator"
    assert is_clusterer(GaussianMixture()) == is_clusterer(sklearn.mixture.GaussianMixture())


# -- attributes of a fit


@pytest.mark.parametrize("n_init", [1, 4])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_lower_bound_is_the_score_of_the_training_data(covariance_type, n_init):
    X, _ = blobs()
    model = GaussianMixture(3, covariance_type=covariance_type, n_init=n_init, random_state=0)
    model.fit(X)
    np.testing.assert_allclose(model.lower_bound_, model.score(X), rtol=1e-12)
    assert model.lower_bounds_[-1] == model.lower_bound_
    assert len(model.lower_bounds_) == model.n_iter_


def test_weighted_lower_bound_is_the_weighted_score():
    X, _ = blobs()
    weight = np.random.default_rng(1).integers(0, 4, len(X))
    model = GaussianMixture(3, random_state=0).fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.lower_bound_, model.score(X, sample_weight=weight), rtol=1e-12)


def test_weight_two_equals_the_row_twice():
    X, _ = blobs()
    init = start_of(X, "full")
    weight = np.random.default_rng(1).integers(0, 3, len(X))
    a = GaussianMixture(3, **init).fit(X, sample_weight=weight)
    b = GaussianMixture(3, **init).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-10, atol=1e-10)


def test_one_component_takes_one_iteration():
    X, _ = blobs()
    model = GaussianMixture().fit(X)
    assert model.n_iter_ == 1 and model.converged_
    np.testing.assert_allclose(model.means_[0], X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.covariances_[0], np.cov(X.T, bias=True), rtol=1e-10)


def test_max_iter_zero_keeps_the_start_and_does_not_warn():
    X, _ = blobs()
    init = start_of(X, "diag")
    model = GaussianMixture(3, covariance_type="diag", max_iter=0, **init).fit(X)
    np.testing.assert_array_equal(model.means_, init["means_init"])
    np.testing.assert_array_equal(model.weights_, init["weights_init"])
    np.testing.assert_allclose(model.covariances_, 1 / init["precisions_init"], rtol=1e-15)
    assert model.n_iter_ == 0 and model.lower_bounds_ == []
    np.testing.assert_allclose(model.lower_bound_, model.score(X), rtol=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_own_parameters_fed_back_score_the_same(covariance_type):
    X, _ = blobs()
    X = X * [1e-6, 1.0, 1e6]  # units far apart
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    again = GaussianMixture(
        3,
        covariance_type=covariance_type,
        max_iter=0,
        weights_init=model.weights_,
        means_init=model.means_,
        precisions_init=model.precisions_,
    ).fit(X)
    np.testing.assert_allclose(again.score(X), model.score(X), rtol=1e-12)


def test_precisions_invert_the_covariances(fitted):
    model, _ = fitted
    identity = np.tile(np.eye(3), (3, 1, 1))
    np.testing.assert_allclose(model.precisions_ @ model.covariances_, identity, atol=1e-10)
    factors = model.precisions_cholesky_
    np.testing.assert_array_equal(factors, np.triu(factors))
    np.testing.assert_allclose(factors @ factors.swapaxes(1, 2), model.precisions_, rtol=1e-12)


def test_effective_components_leave_out_weight_zero(fitted):
    model, _ = fitted
    assert model.n_components_effective_ == 3
    model.weights_ = [0.5, 0.5, 0.0]
    assert model.n_components_effective_ == 2


def test_not_converging_warns_in_scikit_learns_class_with_numbers():
    X, _ = blobs()
    numbers = r"did not converge.*in 2 iterations.*last changed by .*tol is 1e-09"
    with pytest.warns(ConvergenceWarning, match=numbers):
        GaussianMixture(3, tol=1e-9, max_iter=2, random_state=0).fit(X)


# -- starts


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(
    "names",
    [("weights_init",), ("means_init",), ("precisions_init",), ("means_init", "weights_init")],
)
def test_partly_given_start_keeps_what_is_given(names, covariance_type):
    X, _ = blobs()
    init = start_of(X, covariance_type)
    given = {name: init[name] for name in names}
    model = GaussianMixture(
        3, covariance_type=covariance_type, max_iter=0, random_state=0, **given
    ).fit(X)
    for name, value in given.items():
        np.testing.assert_allclose(getattr(model, name.replace("init", "")), value, rtol=1e-10)


def test_partly_given_start_is_paired_with_the_components_it_fits():
    X, z = blobs(spread=10.0)
    means = np.array([X[z == k].mean(axis=0) for k in range(3)])
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        model = GaussianMixture(3, means_init=means[order], max_iter=0, random_state=0).fit(X)
        expected = [np.cov(X[z == k].T) for k in order]
        # Enough to tell the clusters apart; the start's covariances are those of k-means' cells.
        np.testing.assert_allclose(model.covariances_, expected, rtol=0.5, atol=1.0)


def test_partly_given_starts_are_all_tried():
    X, _ = blobs()
    model = GaussianMixture(
        3, n_init=4, means_init=start_of(X, "full")["means_init"], random_state=0
    ).fit(X)
    assert len(model.fit_result_.starts) == 4
    # The best one is continued at a finer tolerance.
    best = max(start.log_likelihood for start in model.fit_result_.starts)
    assert model.fit_result_.log_likelihood[-1] >= best


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_same_integer_seed_gives_the_same_bits(init_params):
    X, _ = blobs()
    a, b = (
        GaussianMixture(3, init_params=init_params, max_iter=200, random_state=7).fit(X)
        for _ in range(2)
    )
    assert a.mixture_ == b.mixture_


def test_without_random_state_numpys_global_seed_decides():
    X, _ = blobs()
    means = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002 - what scikit-learn's users do
        means.append(GaussianMixture(3, init_params="random", max_iter=200).fit(X).means_)
    np.testing.assert_array_equal(*means)


def test_given_parameters_are_not_overwritten():
    X, _ = blobs()
    init = {name: value.tolist() for name, value in start_of(X, "full").items()}
    model = GaussianMixture(3, **init).fit(X)
    assert all(getattr(model, name) is value for name, value in init.items())


def test_float32_weights_may_sum_to_one_in_float32():
    X, _ = blobs()
    weights = np.full(3, 1 / 3, dtype=np.float32)  # whose sum is off by 3e-8
    start = start_of(X, "full") | {"weights_init": weights}
    model = GaussianMixture(3, max_iter=0, **start).fit(X)
    np.testing.assert_allclose(model.weights_, 1 / 3, rtol=1e-15)


def test_warm_start_continues_where_it_stopped():
    X, _ = blobs()
    init = start_of(X, "full")
    whole = GaussianMixture(3, **init).fit(X)
    pieces = GaussianMixture(3, max_iter=1, warm_start=True, **init)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        n_fits = 0
        while not (n_fits and pieces.converged_):
            pieces.fit(X)
            n_fits += 1
    assert n_fits == whole.n_iter_
    assert pieces.mixture_ == whole.mixture_


def test_warm_start_with_other_settings_is_refused(fitted):
    model, X = fitted
    model.set_params(warm_start=True, n_components=2)
    with pytest.raises(InvalidInputError, match=r"3 components.*n_components=2.*warm_start=False"):
        model.fit(X)


# -- wrong parameters


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_components", 0, "n_components is 0"),
        ("n_components", 2.0, r"n_components is 2\.0"),
        ("n_components", True, "n_components is True"),
        ("tol", -1.0, "tol is -1"),
        ("tol", np.nan, "tol is nan"),
        ("tol", np.inf, "tol is inf"),
        ("reg_covar", -1e-6, "reg_covar is -1e-06"),
        ("reg_covar", np.inf, "reg_covar is inf"),
        ("max_iter", -1, "max_iter is -1"),
        ("n_init", 0, "n_init is 0"),
        ("n_init", 10**9, "n_init is 1000000000.*from 1 to 1000000"),
        ("covariance_type", "round", "covariance_type is 'round'.*'full'"),
        ("init_params", "magic", "init_params is 'magic'.*'kmeans'"),
        ("random_state", -1, "random_state is -1"),
        ("warm_start", "yes", "warm_start is 'yes'"),
        ("verbose", -1, "verbose is -1"),
        ("verbose_interval", 0, "verbose_interval is 0"),
        ("n_threads", 0, "n_threads is 0"),
        ("weights_init", [0.5, -0.5, 1.0], r"max value 1\.00000, min value -0\.50000"),
        ("weights_init", [0.5, 0.5, 0.1], r"sum\(weights\) = 1\.10000"),
        ("weights_init", [0.5, np.nan, 0.5], r"weights\[1\] is nan"),
        ("weights_init", [0.5, 0.5], r"shape of \(3,\), but got \(2,\)"),
        ("means_init", np.zeros((3, 2)), r"shape of \(3, 3\), but got \(3, 2\)"),
        ("means_init", np.full((3, 3), np.nan), r"means\[0, 0\] is nan"),
        ("precisions_init", np.zeros((3, 3, 3)), "component 0 has the smallest eigenvalue 0"),
    ],
)
def test_wrong_parameter_is_named_with_its_value(name, value, message):
    X, _ = blobs()
    model = GaussianMixture(3).set_params(**{name: value})
    with pytest.raises(InvalidInputError, match=message):
        model.fit(X)
    assert "_fitted" not in vars(model)


def test_precisions_init_error_names_component_and_eigenvalue():
    X, _ = blobs()
    precisions = np.tile(np.eye(3), (3, 1, 1))
    precisions[1, 0, 1] = precisions[1, 1, 0] = 2.0
    model = GaussianMixture(3, precisions_init=precisions)
    with pytest.raises(InvalidInputError, match="component 1 has the smallest eigenvalue -1"):
        model.fit(X)
    precisions[1, 1, 0] = 0.0
    with pytest.raises(InvalidInputError, match=r"component 1 \[0, 1\] is 2 and \[1, 0\] is 0"):
        model.fit(X)


def test_fewer_rows_than_components_is_an_error():
    with pytest.raises(InvalidInputError, match="n_samples=2 < n_components=3"):
        GaussianMixture(3).fit(np.eye(2))
