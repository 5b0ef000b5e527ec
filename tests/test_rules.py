"""Algorithms: what each of them raises, where it ends, and what can be asked of it."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

import gaussmix as gm
from gaussmix import em, maximisation
from gaussmix.covariance import Floor
from gaussmix.expectation import Expectation
from gaussmix.rules import HARD

TYPES = ("full", "tied", "diag", "spherical")
EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(3)
    centres = 2.0 * rng.normal(size=(4, 3))
    return (centres[:, None] + rng.normal(size=(4, 250, 3))).reshape(-1, 3)


@pytest.fixture(scope="module")
def start(X):
    """Overlapping components, so that soft and hard assignment differ."""
    return gm.fit(X, 4, max_iter=0, seed=0).mixture


def classification(mixture, X):
    """sum_n max_k log(w_k N(x_n; k)), by SciPy."""
    from scipy.stats import multivariate_normal

    joint = [
        np.log(w) + multivariate_normal(m, c).logpdf(X)
        for w, m, c in zip(mixture.weights, mixture.means, mixture.dense_covariances(), strict=True)
    ]
    return np.max(joint, axis=0).sum()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_hard_em_raises_the_classification_log_likelihood(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm="hard", seed=1)
    bound = 64 * EPS * np.abs(result.classification).max()
    assert np.diff(result.classification).min() >= -bound
    assert len(result.classification) == len(result.log_likelihood) == result.n_iter + 1
    assert result.classification[-1] == pytest.approx(classification(result.mixture, X), rel=1e-12)
    mean = result.mixture.score(X) * len(X)
    assert result.log_likelihood[-1] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_hard_em_ends_where_no_label_changes(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm="hard", seed=0)
    assert result.stop_reason == "same labels"
    assert result.converged
    labels = result.mixture.predict(X)
    counts = np.bincount(labels, minlength=4)
    np.testing.assert_array_equal(result.statistics.mass, counts)
    np.testing.assert_allclose(result.mixture.weights, counts / len(X), rtol=4 * EPS)
    for k in range(4):
        mean = X[labels == k].mean(axis=0)
        np.testing.assert_allclose(result.mixture.means[k], mean, rtol=0, atol=1e3 * EPS)


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
def test_hard_em_goes_on_while_labels_change(X, start):
    """One iteration less than it takes to converge has other labels than the one before it."""
    whole = gm.fit(X, 4, start=start, algorithm="hard")
    assert whole.n_iter > 3
    steps = [
        gm.fit(X, 4, start=start, algorithm="hard", max_iter=n).mixture.predict(X)
        for n in (whole.n_iter - 2, whole.n_iter - 1, whole.n_iter)
    ]
    assert not np.array_equal(steps[0], steps[1])
    np.testing.assert_array_equal(steps[1], steps[2])


@pytest.mark.filterwarnings("error::gaussmix.ConvergenceWarning")
def test_tol_does_not_end_hard_em(X, start):
    loose = gm.fit(X, 4, start=start, algorithm="hard", tol=1e6)
    assert loose.mixture == gm.fit(X, 4, start=start, algorithm="hard", tol=0.0).mixture


def test_too_few_iterations_of_hard_em_are_warned_of(X, start):
    with pytest.warns(gm.ConvergenceWarning, match="labels still changed after 2 iterations"):
        gm.fit(X, 4, start=start, algorithm="hard", max_iter=2)


def test_hard_em_with_one_variance_and_equal_weights_is_kmeans(X):
    """The rule with k-means' M-step, against scikit-learn's from the same centres."""
    centres = X[:6].copy()
    floor = Floor(np.ones(3), 1e-6)
    mixture = gm.Mixture(np.full(6, 1 / 6), centres, np.ones((6, 3)), "diag")
    run = em.run_em(
        Expectation(X, None, "spherical", 6, 1),
        mixture,
        maximisation.MeansMaximiser(floor),
        floor,
        tol=0.0,
        max_iter=300,
        rule=HARD,
    )
    expected = KMeans(6, init=centres, n_init=1, tol=0.0, max_iter=300, algorithm="lloyd").fit(X)
    assert run.stop_reason == "same labels"
    np.testing.assert_array_equal(run.mixture.predict(X), expected.labels_)
    np.testing.assert_allclose(run.mixture.means, expected.cluster_centers_, rtol=1e-12)
    inertia = 2 * np.log(6) + 3 * np.log(2 * np.pi)  # of a row: -2 log of weight and constant
    inertia = -2 * run.classification[-1] - len(X) * inertia
    assert inertia == pytest.approx(expected.inertia_, rel=1e-12)


def test_starts_of_hard_em_are_compared_by_their_own_objective(X):
    one = gm.fit(X, 6, algorithm="hard", seed=0)
    many = gm.fit(X, 6, algorithm="hard", n_starts=8, seed=0)
    assert many.classification[-1] >= one.classification[-1]
    assert [stage.algorithm for stage in many.stages] == ["hard"]


def test_hard_em_of_weights_is_that_of_repeated_rows(X, start):
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = gm.fit(X, 4, start=start, algorithm="hard", sample_weight=weight)
    repeated = gm.fit(np.repeat(X, weight, axis=0), 4, start=start, algorithm="hard")
    assert weighted.n_iter == repeated.n_iter
    np.testing.assert_allclose(weighted.mixture.means, repeated.mixture.means, atol=1e-12)


def test_one_component_is_a_closed_form_of_hard_em_too(X):
    result = gm.fit(X, 1, algorithm="hard")
    assert result.stop_reason == "closed form"
    np.testing.assert_allclose(result.mixture.covariances[0], np.cov(X.T, bias=True), atol=1e-12)


def test_a_component_that_hard_em_empties_is_reported(X):
    far = gm.Mixture([0.5, 0.5], [[0.0] * 3, [1e3] * 3], np.ones(2), "spherical")
    with pytest.warns(gm.DegenerateComponentWarning):
        result = gm.fit(np.zeros((9, 3)) + X[:1], 2, covariance_type="spherical", start=far,
                        algorithm="hard")  # fmt: skip
    assert "empty" in {repair.kind for repair in result.repairs}


def test_a_list_runs_one_algorithm_after_the_other(X, start):
    both = gm.fit(X, 4, start=start, algorithm=["hard", "em"])
    hard = gm.fit(X, 4, start=start, algorithm="hard")
    soft = gm.fit(X, 4, start=hard.mixture)
    assert both.mixture == soft.mixture
    assert [(s.algorithm, s.begin, s.end) for s in both.stages] == [
        ("hard", 0, hard.n_iter),
        ("em", hard.n_iter, hard.n_iter + soft.n_iter),
    ]
    assert both.stop_reason == "tol"
    trace = np.concatenate([hard.log_likelihood, soft.log_likelihood[1:]])
    np.testing.assert_array_equal(both.log_likelihood, trace)


def test_a_callback_counts_the_iterations_of_all_algorithms(X, start):
    seen = []
    result = gm.fit(
        X, 4, start=start, algorithm=["hard", "em"], callback=lambda s: seen.append(s.iteration)
    )
    assert seen == list(range(1, result.n_iter + 1))


def test_a_callback_that_stops_ends_the_whole_chain(X, start):
    result = gm.fit(X, 4, start=start, algorithm=["hard", "em"], callback=lambda state: True)
    assert result.n_iter == 1
    assert result.stop_reason == "callback"


@pytest.mark.parametrize(
    "algorithm", ["soft", "", [], ["em", 3], 1, None, "EM", [["em"]], {"em": 1}, np.array(["em"])]
)
def test_an_unknown_algorithm_is_an_error(X, algorithm):
    with pytest.raises(gm.InvalidInputError, match=r"algorithm is .*'em'"):
        gm.fit(X, 2, algorithm=algorithm)


def test_rules_are_given_as_objects_too(X, start):
    named = gm.fit(X, 4, start=start, algorithm="hard")
    given = gm.fit(X, 4, start=start, algorithm=[gm.rules.Hard()])
    assert named.mixture == given.mixture
    assert given.config["algorithm"] == ["Hard()"]


def test_any_number_of_threads_gives_the_bits_of_hard_em(X, monkeypatch):
    from gaussmix import expectation

    monkeypatch.setattr(expectation, "SERIAL_FLOPS", 0)
    many = np.tile(X, (5, 1))
    one, two, seven = (
        gm.fit(many, 5, algorithm="hard", seed=0, n_threads=n).mixture for n in (1, 2, 7)
    )
    assert one == two == seven


def test_the_estimator_hands_the_algorithm_on(X):
    model = gm.GaussianMixture(4, algorithm="hard", random_state=0).fit(X)
    assert model.fit_result_.stop_reason == "same labels"
    assert model.get_params()["algorithm"] == "hard"
    np.testing.assert_array_equal(np.bincount(model.predict(X)) / len(X), model.weights_)
