"""E: what must hold in and after every EM iteration."""

import warnings

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.passes.expectation import Expectation

TYPES = ["full", "tied", "diag", "spherical"]
# Sums of N terms, each rounded; pairwise or in slots, so that the bound is generous.
RTOL_SUM = 1e-12


def clusters(n_rows=900, n_features=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features))
    X[: n_rows // 3] = 0.5 * X[: n_rows // 3] + 3.0
    return X.astype(dtype)


def quiet(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        return gm.fit(*arguments, **options)


HARD_STARTS = ["kmeans", "k-means++", "random", "random_from_data"]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", HARD_STARTS)
def test_e1_the_log_likelihood_never_falls(start, dtype, covariance_type):
    result = quiet(
        clusters(dtype=dtype), 4, covariance_type=covariance_type, start=start, seed=1,
        tol=0.0, max_iter=60,
    )  # fmt: skip
    trace = result.log_likelihood
    assert len(trace) == result.n_iter + 1
    assert (np.diff(trace) >= -1e-13 * np.abs(trace[:-1])).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_e2_the_reported_log_likelihood_is_the_models_score(covariance_type, weighted):
    X = clusters()
    weight = np.random.default_rng(5).gamma(1.0, size=len(X)) if weighted else None
    result = gm.fit(X, 3, covariance_type=covariance_type, sample_weight=weight, seed=0)
    total = len(X) if weight is None else weight.sum()
    np.testing.assert_allclose(
        result.log_likelihood[-1] / total, result.mixture.score(X, weight), rtol=RTOL_SUM
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_e2_the_estimators_lower_bound_is_its_score(covariance_type):
    pytest.importorskip("sklearn")
    X = clusters()
    estimator = gm.GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    np.testing.assert_allclose(estimator.lower_bound_, estimator.score(X), rtol=RTOL_SUM)


def test_e3_no_convergence_is_told_with_change_tolerance_and_iterations():
    with pytest.warns(gm.ConvergenceWarning, match=r"2 iterations.*changed by .*tol is 1e-09"):
        result = gm.fit(clusters(), 3, tol=1e-9, max_iter=2, seed=0)
    assert not result.converged and result.stop_reason == "max_iter" and result.n_iter == 2


def test_e3_the_estimator_uses_scikit_learns_warning():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.warns(exceptions.ConvergenceWarning, match="converge"):
        gm.GaussianMixture(3, tol=1e-9, max_iter=2, random_state=0).fit(clusters())


def _fail_at_pass(monkeypatch, error, number):
    """Make the `number`-th pass over the data raise `error`, or the loop that makes passes."""
    original, count = Expectation.__call__, iter(range(1, 1 << 30))
    iterate = Expectation.iterate

    def call(this, *arguments):
        if next(count) == number:
            raise error
        return original(this, *arguments)

    def loop(this, *arguments):
        if next(count) == number:
            raise error
        return iterate(this, *arguments[:-1], 1)

    monkeypatch.setattr(Expectation, "__call__", call)
    monkeypatch.setattr(Expectation, "iterate", loop)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), gm.DegenerateFitError("x")])
@pytest.mark.parametrize("at_pass", [1, 3, 6, 9])
def test_e4_e6_a_fit_that_ends_half_way_leaves_the_estimator_as_it_was(monkeypatch, error, at_pass):
    pytest.importorskip("sklearn")
    X = clusters()
    fresh = gm.GaussianMixture(3, random_state=0, tol=0.0, max_iter=30)
    fitted = gm.GaussianMixture(3, random_state=0).fit(X)
    fitted.set_params(tol=0.0, max_iter=30)
    model, attributes = fitted.mixture_, set(vars(fitted))
    for estimator in (fresh, fitted):
        before = dict(vars(estimator))
        with monkeypatch.context() as patch:
            _fail_at_pass(patch, error, at_pass)
            with pytest.raises(type(error)):
                estimator.fit(X + 1e8)
        assert vars(estimator).keys() == before.keys()
        assert all(vars(estimator)[key] is before[key] for key in before)
    assert fitted.mixture_ is model and set(vars(fitted)) == attributes


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("start", ["kmeans", "k-means++", "means", "labels"])
def test_e9_repeating_each_row_is_the_same_as_a_weight_of_two(covariance_type, start):
    # Not for the random starts: they draw for each row, or draw rows without putting them back.
    X = clusters(300)
    given = {
        "means": (X[:3], X[:3]),
        "labels": (np.arange(300) % 3, np.repeat(np.arange(300) % 3, 2)),
    }.get(start, (start, start))
    options = {"covariance_type": covariance_type, "seed": 0, "tol": 0.0, "max_iter": 10}
    weighted = quiet(X, 3, start=given[0], sample_weight=np.full(300, 2.0), **options)
    repeated = quiet(np.repeat(X, 2, axis=0), 3, start=given[1], **options)
    _assert_same(weighted.mixture, repeated.mixture, 1e-13)
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-13)


def _assert_same(model, expected, tolerance):
    size = np.abs(expected.dense_covariances()).max()
    np.testing.assert_allclose(model.weights, expected.weights, rtol=10 * tolerance)
    np.testing.assert_allclose(
        model.means, expected.means, rtol=10 * tolerance, atol=10 * tolerance * np.sqrt(size)
    )
    np.testing.assert_allclose(
        model.covariances, expected.covariances, rtol=10 * tolerance, atol=10 * tolerance * size
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random_from_data"])
def test_e10_a_row_of_weight_zero_is_an_absent_row(covariance_type, start):
    X = clusters(400)
    weight = np.ones(400)
    weight[::3] = 0.0
    present = X[weight > 0]
    X[::3] = 1e6  # whatever stands there
    options = {"covariance_type": covariance_type, "seed": 0, "start": start}
    with_zeros = quiet(X, 2, sample_weight=weight, **options)
    without = quiet(present, 2, **options)
    _assert_same(with_zeros.mixture, without.mixture, 1e-12)
    np.testing.assert_allclose(
        with_zeros.mixture.score(X, weight), without.mixture.score(present), rtol=RTOL_SUM
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_e10_a_row_of_weight_zero_is_still_checked(value):
    X, weight = clusters(100), np.ones(100)
    X[7, 1], weight[7] = value, 0.0
    with pytest.raises(gm.InvalidInputError, match=r"X\[7, 1\]"):
        gm.fit(X, 2, sample_weight=weight)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [2.0**-300, 2.0**300])
def test_e10_only_the_ratios_of_weights_matter_to_em(covariance_type, scale):
    X = clusters(400)
    weight = np.random.default_rng(0).integers(1, 5, 400).astype(float)
    # Labels: the other starts steady small cells by a prior worth some rows of weight 1.
    options = {"covariance_type": covariance_type, "start": np.repeat([0, 1], 200)}
    expected = gm.fit(X, 2, sample_weight=weight, **options)
    result = gm.fit(X, 2, sample_weight=weight * scale, **options)
    _assert_same(result.mixture, expected.mixture, 1e-12)
    assert result.n_iter == expected.n_iter


@pytest.mark.parametrize("covariance_type", TYPES)
def test_e10_weights_of_a_huge_range_give_a_valid_mixture(covariance_type):
    X = clusters(400)
    weight = np.logspace(-200, 0, 400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = gm.fit(X, 2, covariance_type=covariance_type, sample_weight=weight, seed=0)
    assert np.isfinite(result.mixture.covariances).all()
    np.testing.assert_allclose(
        result.mixture.weights @ result.mixture.means,
        np.average(X, axis=0, weights=weight),
        rtol=1e-10,
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_e11_one_component_is_the_closed_form(covariance_type, offset):
    X = clusters() + offset
    result = gm.fit(X, 1, covariance_type=covariance_type)
    centred = (X - offset) - (X - offset).mean(axis=0)
    covariance = centred.T @ centred / len(X)
    expected = {
        "full": covariance[None],
        "tied": covariance,
        "diag": np.diag(covariance)[None],
        "spherical": np.array([np.trace(covariance) / 3]),
    }[covariance_type]
    assert result.n_iter == 1 and result.converged
    tolerance = 1e-13 if offset == 0 else 1e-10
    np.testing.assert_allclose(result.mixture.covariances, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        result.mixture.means[0] - offset, (X - offset).mean(axis=0), atol=3e-16 * (1 + offset)
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_e12_without_a_tolerance_it_stops_when_nothing_changes_or_at_the_limit(covariance_type):
    X = clusters(300)
    X[:100] += 10.0  # apart, so that EM reaches a fixed point to the last bit
    result = quiet(X, 2, covariance_type=covariance_type, tol=0.0, max_iter=500, seed=0)
    assert result.stop_reason in ("no change", "max_iter", "rounding")
    assert np.isfinite(result.log_likelihood).all()
    limited = quiet(clusters(300), 4, covariance_type=covariance_type, tol=0.0, max_iter=7, seed=0)
    assert limited.n_iter == 7 and limited.stop_reason == "max_iter"


def test_a_callback_that_raises_ends_the_fit():
    def callback(state):
        raise RuntimeError(f"iteration {state.iteration}")

    with pytest.raises(RuntimeError, match="iteration 1"):
        gm.fit(clusters(), 2, callback=callback)


def test_a_callback_stops_the_fit_and_is_no_failure():
    result = gm.fit(clusters(), 3, seed=0, tol=0.0, callback=lambda state: state.iteration == 3)
    assert result.n_iter == 3 and result.stop_reason == "callback"
