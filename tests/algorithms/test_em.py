"""The loop: monotone, bookkeeping as scikit-learn's, faults named, callbacks heard."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.algorithms import em
from gaussmix.fitting import fit as fitting
from gaussmix.passes.expectation import Expectation

TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    centres = 4.0 * rng.normal(size=(4, 3))
    return np.concatenate(
        [c + (0.5 + i / 3) * rng.normal(size=(400, 3)) for i, c in enumerate(centres)]
    )


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random", "random_from_data"])
def test_log_likelihood_never_falls(X, covariance_type, start):
    result = gm.fit(
        X, 4, covariance_type=covariance_type, start=start, seed=1, tol=1e-9, max_iter=200
    )
    bound = 64 * np.finfo(float).eps * np.abs(result.log_likelihood).max()
    assert np.diff(result.log_likelihood).min() >= -bound
    assert len(result.log_likelihood) == result.n_iter + 1


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_last_log_likelihood_belongs_to_the_returned_mixture(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, seed=0)
    assert result.log_likelihood[-1] / len(X) == pytest.approx(result.mixture.score(X), rel=1e-12)
    assert result.converged
    assert result.stop_reason == "tol"


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_component_is_closed_form(X, covariance_type):
    result = gm.fit(X, 1, covariance_type=covariance_type)
    assert (result.n_iter, result.converged, result.stop_reason) == (1, True, "closed form")
    np.testing.assert_allclose(result.mixture.means[0], X.mean(axis=0), rtol=1e-13)
    covariance = np.cov(X.T, bias=True)
    expected = {
        "full": covariance,
        "tied": covariance,
        "diag": np.diag(np.diag(covariance)),
        "spherical": np.trace(covariance) / 3 * np.eye(3),
    }[covariance_type]
    np.testing.assert_allclose(
        result.mixture.dense_covariances()[0], expected, rtol=1e-12, atol=1e-14
    )


def test_tol_zero_stops_when_nothing_changes():
    # Whole numbers in clusters far apart: every sum is exact, and so is the fixed point.
    X = np.concatenate([np.tile([-1.0, 1.0], 32), np.tile([1023.0, 1025.0], 32)])
    result = gm.fit(X, 2, tol=0.0, max_iter=1000, seed=0)
    assert result.stop_reason == "no change"
    assert result.converged


def test_max_iter_zero_returns_the_start(X):
    start = gm.fit(X, 4, seed=0).mixture
    result = gm.fit(X, 4, start=start, max_iter=0)
    assert result.mixture == start
    assert result.n_iter == 0
    assert result.log_likelihood[0] / len(X) == pytest.approx(start.score(X), rel=1e-12)


def test_not_converging_warns_with_change_tol_and_iterations(X):
    with pytest.warns(gm.ConvergenceWarning, match=r"in 2 iterations.*tol is 1e-12"):
        result = gm.fit(X, 4, tol=1e-12, max_iter=2, seed=0)
    assert not result.converged
    assert result.stop_reason == "max_iter"


def test_a_callback_sees_every_iteration_and_may_stop(X):
    seen = []

    def callback(state):
        seen.append((state.iteration, state.log_likelihood, state.mixture, state.start))
        return state.iteration == 3

    result = gm.fit(X, 4, tol=0.0, seed=0, callback=callback)
    assert result.stop_reason == "callback"
    assert [iteration for iteration, *_ in seen] == [1, 2, 3]
    np.testing.assert_array_equal([value for _, value, *_ in seen], result.log_likelihood[1:])
    assert seen[-1][2] is result.mixture


def test_an_error_in_a_callback_reaches_the_caller(X):
    def callback(state):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        gm.fit(X, 4, seed=0, callback=callback)


class Faulty(Expectation):
    """An expectation whose sums of one component turn to NaN in the third pass."""

    calls = 0

    def __call__(self, parameters, rule):
        statistics = super().__call__(parameters, rule)
        self.calls += 1
        if self.calls == 3:
            mass = statistics.mass.copy()
            mass[1] = np.nan
            object.__setattr__(statistics, "mass", mass)
        return statistics


def test_a_nan_inside_em_names_iteration_and_component(X):
    start = gm.fit(X, 4, seed=0).mixture
    expectation = Faulty(X, None, "full", 4, 1)
    floor = fitting.Floor(X.std(axis=0), 1e-6)
    with pytest.raises(gm.DegenerateFitError, match="iteration 2: the sums of component 1"):
        em.run_em(expectation, start, em.Maximiser(floor), floor, tol=0.0, max_iter=10)


def test_a_falling_log_likelihood_is_caught_and_the_better_mixture_kept(X):
    start = gm.fit(X, 4, seed=0).mixture
    floor = fitting.Floor(X.std(axis=0), 1e-6)

    def worse(statistics, mixture):
        moved = gm.Mixture(mixture.weights, mixture.means + 1.0, mixture.covariances)
        return em.Step(moved, np.zeros(4, dtype=bool), np.zeros(4, dtype=bool))

    with pytest.warns(gm.PrecisionWarning, match="fell by .* in iteration 1"):
        run = em.run_em(
            Expectation(X, None, "full", 4, 1), start, worse, floor, tol=0.0, max_iter=10
        )
    assert run.mixture is start
    assert run.stop_reason == "rounding"


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_one_iteration_from_far_away_is_not_said_to_have_converged(covariance_type):
    """Sums of squares around a mean 1.7e7 deviations away round the variance by 3 %."""
    times = 1.7e9 + 100.0 * np.random.default_rng(0).standard_normal((600, 1))
    start = gm.Mixture([1.0], [0.0], [1.0], covariance_type)
    options = {"start": start, "covariance_type": covariance_type}
    with pytest.warns(gm.ConvergenceWarning, match="1 iterations"):
        first = gm.fit(times, 1, max_iter=1, **options)
    assert (first.converged, first.stop_reason) == (False, "max_iter")
    result = gm.fit(times, 1, max_iter=2, **options)
    assert (result.converged, result.stop_reason) == (True, "closed form")
    np.testing.assert_allclose(result.mixture.covariances.ravel(), times.var(), rtol=1e-12)
