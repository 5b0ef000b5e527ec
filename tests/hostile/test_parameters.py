"""D: parameters and starts that cannot be used, or only just."""

import warnings

import numpy as np
import pytest

import gaussmix as gm

TYPES = ["full", "tied", "diag", "spherical"]
NAN, INF = float("nan"), float("inf")


def clusters(n_rows=200):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 2))
    X[: n_rows // 2] += 6.0
    return X


X = clusters()
MODEL = gm.Mixture([0.5, 0.5], [[6.0, 6.0], [0.0, 0.0]], np.tile(np.eye(2), (2, 1, 1)))
DIAG = gm.Mixture([0.5, 0.5], MODEL.means, np.ones((2, 2)), "diag")

# argument, value, what the message must say beside the argument's name
FIT = [
    ("reg_covar", -1e-6, ["-1e-06", ">= 0"]),
    ("reg_covar", NAN, ["nan", ">= 0"]),
    ("reg_covar", INF, ["inf", ">= 0"]),
    ("reg_covar", "small", ["'small'", ">= 0"]),
    ("tol", -1.0, ["-1.0", ">= 0"]),
    ("tol", NAN, ["nan", ">= 0"]),
    ("tol", INF, ["inf", ">= 0"]),
    ("tol", None, ["None", ">= 0"]),
    ("max_iter", -1, ["-1", ">= 0"]),
    ("max_iter", 2.0, ["2.0", "integer"]),
    ("max_iter", True, ["True", "integer"]),
    ("n_starts", 0, ["0", "from 1 to 1000000"]),
    ("n_starts", 1.5, ["1.5", "integer"]),
    ("n_starts", 10**9, ["1000000000", "from 1 to 1000000"]),
    ("n_components", 0, ["0", ">= 1"]),
    ("n_components", -3, ["-3", ">= 1"]),
    ("n_components", 2.0, ["2.0", "integer"]),
    ("n_components", True, ["True", "integer"]),
    ("n_components", NAN, ["nan", "integer"]),
    ("n_components", "2", ["'2'", "integer"]),
    ("n_components", None, ["None", "integer"]),
    ("covariance_type", "diagonal", ["'diagonal'", "'diag'"]),
    ("covariance_type", None, ["None", "'full'"]),
    ("covariance_type", ["full"], ["['full']", "'full'"]),
    ("seed", -1, ["-1", ">= 0"]),
    ("seed", 1.5, ["1.5", ">= 0"]),
    ("seed", True, ["True", ">= 0"]),
    ("n_threads", 0, ["0", ">= 1"]),
    ("n_threads", -2, ["-2", ">= 1"]),
    ("n_threads", 2.0, ["2.0", "integer"]),
    ("n_threads", False, ["False", "integer"]),
    ("progress", 1, ["1", "True or False"]),
    ("progress", np.zeros((2, 2)), ["array([[0., 0.]", "True or False"]),
    ("start", "k-mean", ["'k-mean'", "'kmeans'"]),
    ("start", None, ["start"]),
    ("start", 3, ["start"]),
    ("start", np.zeros((3, 2)), ["(3, 2)", "(2, 2)"]),
    ("start", np.zeros((2, 3)), ["(2, 3)", "(2, 2)"]),
    ("start", [[0.0, 1.0], [2.0]], ["start"]),
    ("start", [], ["start"]),
    ("start", np.array([[NAN, 0.0], [1.0, 1.0]]), ["[0, 0] is nan"]),
    ("start", np.array([[0.0, INF], [1.0, 1.0]]), ["[0, 1] is inf"]),
    ("start", np.full(200, 2), ["[0] is 2", "0 to 1"]),
    ("start", np.full(200, -1), ["[0] is -1", "0 to 1"]),
    ("start", np.zeros(200), ["float64", "integers"]),
    ("start", np.zeros(199, int), ["(199,)", "(200,)"]),
    ("start", np.full((200, 2), 0.6), ["sums to 1.2", "sum to 1"]),
    ("start", np.tile([1.5, -0.5], (200, 1)), ["[0, 1] is -0.5"]),
    ("start", np.tile([1.0, NAN], (200, 1)), ["[0, 1] is nan"]),
    ("start", DIAG, ["'diag'", "'full'"]),
    ("start", [MODEL, DIAG], ["'diag'", "'full'"]),
    ("sample_weight", np.ones(199), ["(199,)", "(200,)"]),
    ("sample_weight", np.ones((200, 1)), ["(200, 1)", "(200,)"]),
    ("sample_weight", 1.0, ["()", "(200,)"]),
    ("sample_weight", np.r_[1.0, -2.0, np.ones(198)], ["[1] is -2"]),
    ("sample_weight", np.r_[1.0, NAN, np.ones(198)], ["[1] is nan"]),
    ("sample_weight", np.r_[1.0, INF, np.ones(198)], ["[1] is inf"]),
    ("sample_weight", np.zeros(200), ["zero"]),
    ("sample_weight", np.full(200, 1e307), ["[0] = 1e+307"]),
]


@pytest.mark.parametrize("argument, value, says", FIT)
def test_d1_a_bad_argument_is_an_error_with_name_value_and_range(judge, argument, value, says):
    arguments = {"X": X, "n_components": 2, argument: value}
    judge(lambda: gm.fit(**arguments), error=gm.InvalidInputError, says=[argument, *says])


ESTIMATOR = [
    ("n_components", 0), ("n_components", 2.0), ("n_components", True), ("tol", NAN),
    ("tol", -1.0), ("reg_covar", -1.0), ("reg_covar", NAN), ("max_iter", -1), ("n_init", 0),
    ("init_params", "kmean"), ("covariance_type", "diagonal"), ("random_state", -1),
    ("n_threads", 0), ("weights_init", [0.5, 0.6]), ("weights_init", [1.5, -0.5]),
    ("weights_init", [0.5, NAN]), ("weights_init", [1.0]), ("means_init", [[0.0, 1.0]]),
    ("means_init", [[NAN, 0.0], [1.0, 1.0]]), ("precisions_init", np.zeros((2, 2, 2))),
    ("precisions_init", np.tile([[1.0, 0.5], [0.0, 1.0]], (2, 1, 1))),
    ("precisions_init", np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]])),
    ("precisions_init", np.eye(2)),
]  # fmt: skip


@pytest.mark.parametrize("argument, value", ESTIMATOR)
def test_d1_the_estimator_refuses_bad_parameters_by_name(judge, argument, value):
    pytest.importorskip("sklearn")
    estimator = gm.GaussianMixture(2).set_params(**{argument: value})
    name = {"weights_init": "weights", "means_init": "means", "precisions_init": "precision"}
    judge(lambda: estimator.fit(X), error=ValueError, says=name.get(argument, argument))
    assert not hasattr(estimator, "weights_")


def test_d5_negative_weights_are_an_error_with_index_and_value(judge):
    pytest.importorskip("sklearn")
    estimator = gm.GaussianMixture(2, weights_init=[1.5, -0.5])
    judge(lambda: estimator.fit(X), error=ValueError, says="-0.5")


@pytest.mark.parametrize(
    "precisions, says",
    [
        (np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]), ["1", "-1"]),
        (np.stack([np.zeros((2, 2)), np.eye(2)]), ["0"]),
    ],
)
def test_d9_a_bad_precision_is_an_error_with_component_and_smallest_eigenvalue(
    judge, precisions, says
):
    pytest.importorskip("sklearn")
    estimator = gm.GaussianMixture(2, precisions_init=precisions)
    judge(lambda: estimator.fit(X), error=ValueError, says=["component", "eigenvalue", *says])


MIXTURES = {
    "D5 negative weight": ([1.5, -0.5], MODEL.means, MODEL.covariances, "weights[1] is -0.5"),
    "D6 sum": ([0.5, 0.6], MODEL.means, MODEL.covariances, "sum to 1.1"),
    "D6 NaN": ([0.5, NAN], MODEL.means, MODEL.covariances, "weights[1] is nan"),
    "D6 shape": ([1.0], MODEL.means, MODEL.covariances, "weights has shape (1,)"),
    "D8 NaN": ([0.5, 0.5], [[NAN, 0], [1, 1]], MODEL.covariances, "means[0, 0] is nan"),
    "D8 shape": ([0.5, 0.5], np.zeros((2, 2, 2)), MODEL.covariances, "means has shape (2, 2, 2)"),
    "D9 asymmetric": (
        [0.5, 0.5], MODEL.means, np.stack([np.eye(2), [[1.0, 0.5], [0.0, 1.0]]]), "component 1",
    ),
    "D9 not definite": (
        [0.5, 0.5], MODEL.means, np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]), "-1",
    ),
    "D9 zero": ([0.5, 0.5], MODEL.means, np.zeros((2, 2, 2)), "component 0"),
    "D9 shape": ([0.5, 0.5], MODEL.means, np.eye(2), "covariances has shape (2, 2)"),
    "D9 infinite": ([0.5, 0.5], MODEL.means, np.full((2, 2, 2), INF), "covariances[0, 0, 0]"),
    "complex": ([0.5, 0.5], MODEL.means + 1j, MODEL.covariances, "means is complex128"),
    "text": (["a", "b"], MODEL.means, MODEL.covariances, "weights[0] is text: 'a'"),
    "empty": ([], np.empty((0, 2)), np.empty((0, 2, 2)), "means has shape (0, 2)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIXTURES)
def test_d5_d9_a_mixture_of_bad_parameters_is_a_named_error(judge, case):
    weights, means, covariances, says = MIXTURES[case]
    judge(lambda: gm.Mixture(weights, means, covariances), error=gm.InvalidInputError, says=says)


SHAPES = {"tied": (2, 2), "diag": (2, 2), "spherical": (2,)}


@pytest.mark.parametrize("covariance_type", SHAPES)
def test_d9_zero_covariances_are_an_error_for_every_type(judge, covariance_type):
    arguments = [0.5, 0.5], MODEL.means, np.zeros(SHAPES[covariance_type]), covariance_type
    judge(lambda: gm.Mixture(*arguments), error=gm.InvalidInputError, says="covariance")


METHODS = ["logpdf", "log_joint", "predict_proba", "predict", "mahalanobis", "score", "statistics"]


@pytest.mark.parametrize("value", [0, -1, 2.0, True])
@pytest.mark.parametrize("method", METHODS)
def test_d1_a_bad_n_threads_is_an_error_even_for_few_rows(judge, method, value):
    call = getattr(MODEL, method)
    judge(lambda: call(X[:3], n_threads=value), error=gm.InvalidInputError, says="n_threads")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_d3_no_iterations_give_the_start(covariance_type):
    start = gm.fit(X, 2, covariance_type=covariance_type, seed=0).mixture
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = gm.fit(X, 2, covariance_type=covariance_type, start=start, max_iter=0)
    assert result.n_iter == 0 and len(result.log_likelihood) == 1
    assert result.mixture == start


@pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
def test_d4_a_floor_above_the_data_is_told(judge, covariance_type):
    result = judge(
        lambda: gm.fit(X, 2, covariance_type=covariance_type, reg_covar=1e300, seed=0),
        warning=gm.DegenerateComponentWarning,
        says="reg_covar=1e+300 exceeds the variance of the data",
    )
    assert np.isfinite(result.mixture.covariances).all()
    assert np.isfinite(result.log_likelihood).all()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_d10_a_models_own_parameters_give_its_own_score(covariance_type):
    pytest.importorskip("sklearn")
    fitted = gm.GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    again = gm.GaussianMixture(
        2,
        covariance_type=covariance_type,
        weights_init=fitted.weights_,
        means_init=fitted.means_,
        precisions_init=fitted.precisions_,
        max_iter=1,
        tol=1e3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.fit(X)
    start = again.fit_result_.log_likelihood[0] / len(X)
    np.testing.assert_allclose(start, fitted.score(X), rtol=1e-12)


def test_d11_no_draws_are_an_empty_sample():
    points, components = MODEL.sample(0, seed=0)
    assert points.shape == (0, 2) and components.shape == (0,)
    with pytest.raises(gm.InvalidInputError, match="n is -1"):
        MODEL.sample(-1)


def test_d11_the_estimator_names_the_number(judge):
    pytest.importorskip("sklearn")
    estimator = gm.GaussianMixture(2, random_state=0).fit(X)
    judge(lambda: estimator.sample(0), error=ValueError, says="0")


def test_d13_parameters_set_after_fitting_change_no_fitted_state():
    base = pytest.importorskip("sklearn.base")
    estimator = gm.GaussianMixture(2, random_state=0).fit(X)
    before = estimator.predict_proba(X)
    estimator.set_params(covariance_type="diag", n_components=5)
    np.testing.assert_array_equal(estimator.predict_proba(X), before)
    assert not hasattr(base.clone(estimator), "weights_")
    assert base.clone(estimator).get_params() == estimator.get_params()


def test_d16_the_same_seed_gives_the_same_bits_and_a_generator_moves_on():
    assert gm.fit(X, 2, seed=3, n_starts=3).mixture == gm.fit(X, 2, seed=3, n_starts=3).mixture
    for first, second in zip(MODEL.sample(9, seed=3), MODEL.sample(9, seed=3), strict=True):
        np.testing.assert_array_equal(first, second)
    generator = np.random.default_rng(3)
    assert not np.array_equal(MODEL.sample(9, generator)[0], MODEL.sample(9, generator)[0])


def test_h4_a_mixture_too_large_to_address_is_refused_before_anything_is_allocated(judge):
    wide = np.broadcast_to(np.float64(0), (1 << 31, 1 << 20))
    says = ["n_components=1073741824", "bytes"]
    judge(lambda: gm.fit(wide, 1 << 30), error=gm.InvalidInputError, says=says)


ASSIGNED = {
    "negative": ([-0.5, 1.5], "component 0 has -0.5"),
    "sum 2": ([1.0, 1.0], "= 2.00000"),
    "NaN": ([np.nan, 1.0], r"weights_\[0\] is nan"),
    "three": ([0.5, 0.3, 0.2], "should have the shape"),
}


@pytest.mark.parametrize("case", ASSIGNED)
def test_d15_weights_that_are_none_are_an_error_when_they_are_assigned(case):
    pytest.importorskip("sklearn")
    weights, says = ASSIGNED[case]
    model = gm.GaussianMixture(2, random_state=0).fit(clusters())
    before = model.mixture_
    with pytest.raises(gm.InvalidInputError, match=says):
        model.weights_ = weights
    assert model.mixture_ is before
