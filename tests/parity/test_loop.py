"""The compiled EM loop: the same bits as one iteration after the other, and the same stops."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends
from gaussmix.algorithms import em, maximisation
from gaussmix.covariance import FAMILIES, Floor
from gaussmix.kernels import contract
from gaussmix.passes import evaluation, expectation
from gaussmix.passes.expectation import Expectation
from gaussmix.rules import HARD, SOFT

pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
families = pytest.mark.parametrize("covariance_type", list(FAMILIES))


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(3)
    blobs = rng.normal(size=(4, 3))[rng.integers(4, size=3000)] * 3.0
    return blobs + rng.normal(size=blobs.shape)


@pytest.fixture
def looped(backend):
    if backend.iterate is None:
        pytest.skip("this backend has no compiled loop")
    return backend


def without_loop(monkeypatch, backend, name="iterate"):
    """Make the live backend one whose kernel `name` is missing."""
    monkeypatch.setattr(backends, "_active", backend._replace(**{name: None}))


def equal_runs(a, b):
    assert a.objective == b.objective
    assert a.mixture == b.mixture
    assert (a.n_iter, a.converged, a.stop_reason) == (b.n_iter, b.converged, b.stop_reason)
    for name in ("mass", "first", "second", "entropy", "weight", "n_rows"):
        np.testing.assert_array_equal(
            getattr(a.statistics, name), getattr(b.statistics, name), err_msg=name
        )
    factors = (a.mixture.precision_factors, b.mixture.precision_factors)
    np.testing.assert_array_equal(*factors)


def run(X, covariance_type, n_components=4, weight=None, n_threads=1, rule=SOFT, **options):
    floor = Floor(np.array(X, dtype=float, order="C").std(axis=0), 1e-6)
    spread = floor.scale**2
    weights = np.full(n_components, 1.0 / n_components)
    means = X[:n_components].astype(float)
    if rule is HARD:
        covariance_type, layout = "diag", "spherical"
        maximise = maximisation.MeansMaximiser(floor)
    else:
        layout = FAMILIES[covariance_type].layout
        maximise = maximisation.Maximiser(floor)
    covariances = {
        "full": np.broadcast_to(np.diag(spread), (n_components, len(spread), len(spread))),
        "tied": np.diag(spread),
        "diag": np.broadcast_to(spread, (n_components, len(spread))),
        "spherical": np.full(n_components, spread.max()),
    }[covariance_type]
    start = gm.Mixture(weights, means, covariances, covariance_type)
    sums = Expectation(X, weight, layout, n_components, n_threads)
    options = {"tol": 1e-6, "max_iter": 60, **options}
    return em.run_em(sums, start, maximise, floor, rule=rule, **options)


@pytest.mark.parametrize("rule", [SOFT, HARD], ids=["soft", "hard"])
@families
def test_the_loop_gives_the_bits_of_single_iterations(
    monkeypatch, X, looped, covariance_type, rule
):
    weight = np.random.default_rng(1).random(len(X))
    at_once = run(X, covariance_type, weight=weight, rule=rule)
    single = run(X, covariance_type, weight=weight, rule=rule, callback=lambda state: False)
    equal_runs(at_once, single)
    without_loop(monkeypatch, looped)
    equal_runs(at_once, run(X, covariance_type, weight=weight, rule=rule))


@families
def test_the_loop_agrees_with_the_steps_in_numpy(monkeypatch, X, looped, covariance_type):
    at_once = run(X, covariance_type)
    monkeypatch.setattr(backends, "_active", looped._replace(iterate=None, maximise=None))
    numpy = run(X, covariance_type)
    assert at_once.n_iter == numpy.n_iter
    assert at_once.stop_reason == numpy.stop_reason == "tol"
    # Rounding of the steps, which a converging iteration does not amplify: N eps, as for sums.
    rtol = len(X) * np.finfo(float).eps
    np.testing.assert_allclose(at_once.objective, numpy.objective, rtol=rtol)
    np.testing.assert_allclose(at_once.mixture.means, numpy.mixture.means, rtol=0, atol=1e3 * rtol)


@pytest.fixture(scope="module")
def by_reference(X):
    """Runs in plain NumPy: neither a compiled pass, nor a compiled step, nor the loop."""
    with backends.use("reference"):
        soft = {covariance_type: run(X, covariance_type) for covariance_type in FAMILIES}
        return {**soft, "k-means": run(X, "diag", rule=HARD)}


@pytest.mark.parametrize("kind", [*FAMILIES, "k-means"])
def test_the_loop_of_every_backend_does_what_plain_numpy_does(X, by_reference, looped, kind):
    found = run(X, "diag", rule=HARD) if kind == "k-means" else run(X, kind)
    expected = by_reference[kind]
    assert (found.n_iter, found.stop_reason) == (expected.n_iter, expected.stop_reason)
    # As above: sums of N terms, and a converging iteration.
    rtol = len(X) * np.finfo(float).eps
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=rtol)
    np.testing.assert_allclose(found.classification, expected.classification, rtol=rtol)
    for name in ("weights", "means", "covariances"):
        ours, theirs = getattr(found.mixture, name), getattr(expected.mixture, name)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e3 * rtol)


def test_what_lies_between_means_has_the_same_bits_in_the_loop(monkeypatch, X, looped):
    """With more than four features the pooled layout leaves it to the end of a pass."""
    wide = np.hstack([X, X[::-1]])
    at_once = run(wide, "tied", max_iter=8)
    without_loop(monkeypatch, looped)
    equal_runs(at_once, run(wide, "tied", max_iter=8))


@families
def test_threads_do_not_change_a_bit(monkeypatch, X, looped, covariance_type):
    monkeypatch.setattr(expectation, "SERIAL_FLOPS", 0)
    many = np.tile(X, (3, 1))
    one = run(many, covariance_type, n_threads=1)
    for n_threads in (2, 3, 7):
        equal_runs(one, run(many, covariance_type, n_threads=n_threads))


@families
def test_steps_that_threads_share_do_not_change_a_bit(looped, covariance_type):
    X = np.random.default_rng(8).normal(size=(2500, 64))
    X[:1300] += 1.0
    one = run(X, covariance_type, 5, max_iter=4)
    for n_threads in (2, 3):
        equal_runs(one, run(X, covariance_type, 5, n_threads=n_threads, max_iter=4))


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_how_the_loop_is_cut_into_calls_does_not_matter(monkeypatch, X, looped, calls):
    expected = run(X, "full")
    flops = evaluation.row_flops(4, 3) * len(X) + 2 * 4 * 3**3
    monkeypatch.setattr(expectation, "CALL_FLOPS", calls * flops)
    equal_runs(expected, run(X, "full"))


def test_float32_and_strided_rows_go_through_the_loop(X, looped):
    wide = np.zeros((len(X), 6), dtype=np.float32)
    wide[:, ::2] = X
    exact = wide[:, ::2].astype(float)
    equal_runs(run(exact, "full"), run(wide[:, ::2], "full"))
    equal_runs(run(exact, "full"), run(np.asfortranarray(exact), "full"))


def test_a_run_with_tol_zero_stops_where_nothing_changes(looped):
    X = np.concatenate([np.tile([-1.0, 1.0], 32), np.tile([1023.0, 1025.0], 32)])[:, None]
    result = run(X[::-1], "full", 1, tol=0.0, max_iter=1000)
    assert result.stop_reason == "closed form"
    assert result.n_iter < 10


def test_an_empty_component_leaves_the_loop_and_is_recorded(looped, X):
    far = np.vstack([X, np.full((1, 3), 1e4)])[::-1]  # the first row becomes a mean
    weight = np.ones(len(far))
    weight[0] = 0.0
    result = run(far, "diag", weight=weight, max_iter=5)
    assert 0 in result.empty
    assert result.mixture.weights[0] == 0.0


def test_an_objective_that_falls_is_judged_outside_the_loop(monkeypatch, looped, X):
    """The loop hands such an iteration back without having done it."""
    start = run(X, "full", max_iter=3, tol=0.0)
    floor = Floor(X.std(axis=0), 1e-6)
    maximise = maximisation.Maximiser(floor)
    plan = maximise.plan(start.mixture)
    state = maximisation.flat_state(start.mixture, start.statistics, plan)
    parts = contract.state_parts(4, 3, plan.code)
    state[parts.size - contract.N_SCALARS] += 1e9  # as if the log-likelihood had been higher
    before = state.copy()
    sums = Expectation(X, None, "full", 4, 1)
    trace, code = sums.iterate(state, False, plan, SOFT, 0.0, np.nan, 10)
    assert (len(trace), code) == (0, contract.LOOP_HANDED_BACK)
    np.testing.assert_array_equal(state, before)


def test_a_row_that_is_not_finite_ends_the_loop(looped, X):
    start = run(X, "full", max_iter=1, tol=0.0)
    floor = Floor(X.std(axis=0), 1e-6)
    plan = maximisation.Maximiser(floor).plan(start.mixture)
    state = maximisation.flat_state(start.mixture, start.statistics, plan)
    before = state.copy()
    spoiled = X.copy()
    spoiled[7, 1] = np.nan
    trace, code = Expectation(spoiled, None, "full", 4, 1).iterate(
        state, False, plan, SOFT, 0.0, np.nan, 10
    )
    assert (len(trace), code) == (0, contract.LOOP_HANDED_BACK)
    np.testing.assert_array_equal(state, before)


def test_a_long_pass_is_not_given_to_the_loop(monkeypatch, X):
    monkeypatch.setattr(expectation, "CALL_FLOPS", 1000)
    assert Expectation(X, None, "full", 4, 1).call_iterations == 0
    assert run(X, "full", max_iter=3).n_iter == 3


def test_a_family_without_a_compiled_step_is_fitted_in_numpy(monkeypatch, X):
    expected = run(X, "diag")
    monkeypatch.setattr(type(FAMILIES["diag"]), "step_code", None)
    found = run(X, "diag")
    assert found.n_iter == expected.n_iter
    np.testing.assert_allclose(found.mixture.means, expected.mixture.means, rtol=1e-9, atol=1e-9)
