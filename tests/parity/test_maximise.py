"""The compiled M-steps against covariance/*.py, on every backend that has them."""

import numpy as np
import pytest

from gaussmix import Mixture
from gaussmix.algorithms.maximisation import Maximiser, MeansMaximiser, flat_state, mixture_of
from gaussmix.covariance import FAMILIES, Floor
from gaussmix.kernels import contract
from gaussmix.passes.expectation import Expectation
from gaussmix.rules import HARD, SOFT

EPS = np.finfo(float).eps
SHAPES = [(1, 1), (3, 2), (2, 5), (7, 4), (5, 13), (9, 8), (10, 16), (3, 17)]  # K, D
shapes = pytest.mark.parametrize(("n_components", "n_features"), SHAPES)
families = pytest.mark.parametrize("covariance_type", list(FAMILIES))


def make(covariance_type, n_components, n_features, rule=SOFT):
    """Statistics of data around another mixture than the best, and that mixture."""
    rng = np.random.default_rng(n_components + 10 * n_features)
    X = rng.normal(size=(60 * n_components * n_features, n_features)) @ (
        np.eye(n_features) + 0.2 * rng.normal(size=(n_features, n_features))
    )
    family = FAMILIES[covariance_type]
    weights = np.full(n_components, 1.0 / n_components)
    single = {"full": np.eye(n_features)[None], "tied": np.eye(n_features)}.get(covariance_type)
    if single is None:
        single = np.ones(family.shape(1, n_features))
    covariances = np.broadcast_to(single, family.shape(n_components, n_features))
    mixture = Mixture(weights, 0.5 * X[:n_components], covariances, covariance_type)
    expectation = Expectation(X, None, family.layout, n_components, 1)
    return expectation(mixture.kernel_parameters, rule), mixture, Floor(X.std(axis=0), 1e-6)


def compiled(backend, maximise, statistics, mixture):
    """The mixture that the compiled step makes, or None where it is not an ordinary one."""
    if backend.maximise is None:
        pytest.skip("this backend leaves M-steps to NumPy")
    plan = maximise.plan(mixture)
    state = flat_state(mixture, statistics, plan)
    then = np.empty_like(state)
    return mixture_of(then, mixture.family, plan) if backend.maximise(state, plan, then) else None


@shapes
@families
def test_a_compiled_step_is_that_of_the_formulas(
    backend, covariance_type, n_components, n_features
):
    statistics, mixture, floor = make(covariance_type, n_components, n_features)
    maximise = Maximiser(floor)
    found = compiled(backend, maximise, statistics, mixture)
    expected = maximise.by_formula(statistics, mixture).mixture
    # K additions; then a division; the means add one more rounding.
    few = (n_components + 4) * EPS
    np.testing.assert_allclose(found.weights, expected.weights, rtol=few)
    np.testing.assert_allclose(
        found.means, expected.means, rtol=0, atol=few * (1 + np.abs(statistics.shift).max())
    )
    # second / mass and offset^2, each with a few roundings, and sums of D or K of them.
    spread = np.abs(expected.dense_covariances()).max()
    offset = np.abs(expected.means - statistics.shift).max()
    atol = (n_components + n_features + 4) * EPS * (spread + n_features * offset**2)
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=0, atol=atol)
    # A factor's relative error is that of the covariance, times its condition number.
    values = np.linalg.eigvalsh(expected.dense_covariances())
    condition = float(values.max() / values.min())
    rtol = n_features**2 * condition * (atol / spread + n_features * EPS)
    np.testing.assert_allclose(
        found.precision_factors,
        expected.precision_factors,
        rtol=0,
        atol=rtol * np.abs(expected.precision_factors).max(),
    )
    np.testing.assert_allclose(
        found.kernel_parameters.log_coefficients,
        expected.kernel_parameters.log_coefficients,
        rtol=0,
        atol=n_features * rtol + 8 * n_features * EPS,
    )
    assert found.precision_factors.shape == expected.precision_factors.shape


def make_shared(covariance_type):
    """As `make`, of a size that threads share."""
    rng = np.random.default_rng(5)
    family = FAMILIES[covariance_type]
    X = rng.normal(size=(2000, 64))
    covariances = {
        "full": np.broadcast_to(np.eye(64), (5, 64, 64)),
        "tied": np.eye(64),
        "diag": np.ones((5, 64)),
        "spherical": np.ones(5),
    }[covariance_type]
    mixture = Mixture(np.full(5, 0.2), X[:5], covariances, covariance_type)
    statistics = Expectation(X, None, family.layout, 5, 1)(mixture.kernel_parameters)
    return statistics, mixture, Floor(X.std(axis=0), 1e-6)


@families
def test_a_step_has_the_same_bits_for_any_thread_count(backend, covariance_type):
    # Five of 64 features are enough work to be shared, and not by the same number each.
    statistics, mixture, floor = make_shared(covariance_type)
    if backend.maximise is None:
        pytest.skip("this backend leaves M-steps to NumPy")
    plan = Maximiser(floor).plan(mixture)
    state = flat_state(mixture, statistics, plan)
    sums = contract.state_parts(5, 64, plan.code).sums
    one, many = np.empty_like(state), np.empty_like(state)
    assert backend.maximise(state, plan, one)
    for threads in (2, 3, 5, 7):  # the last two of seven have no component
        assert backend.maximise(state, plan, many, threads)
        assert one[:sums].tobytes() == many[:sums].tobytes()
    state[sums + 4] = 0.0  # the mass of the last component
    assert not backend.maximise(state, plan, many, 2)


def test_a_covariance_that_threads_meet_below_the_floor_is_left_to_the_formulas(backend):
    statistics, mixture, floor = make_shared("full")
    second = statistics.second.copy()
    second[3, 63, 63] = 1e-12
    object.__setattr__(statistics, "second", second)
    if backend.maximise is None:
        pytest.skip("this backend leaves M-steps to NumPy")
    plan = Maximiser(floor).plan(mixture)
    state = flat_state(mixture, statistics, plan)
    for threads in (1, 2, 3):
        assert not backend.maximise(state, plan, np.empty_like(state), threads)


@shapes
def test_the_step_of_k_means_moves_the_means_only(backend, n_components, n_features):
    statistics, mixture, floor = make("diag", n_components, n_features, HARD)
    statistics = Expectation(
        np.random.default_rng(0).normal(size=(50, n_features)), None, "spherical", n_components, 1
    )(mixture.kernel_parameters, HARD)
    if not (statistics.mass > 0).all():
        pytest.skip("a cell is empty, which is not an ordinary step")
    maximise = MeansMaximiser(floor)
    found = compiled(backend, maximise, statistics, mixture)
    expected = maximise.by_formula(statistics, mixture).mixture
    np.testing.assert_array_equal(found.means, expected.means)
    np.testing.assert_array_equal(found.covariances, mixture.covariances)
    np.testing.assert_array_equal(found.weights, mixture.weights)
    given, made = mixture.kernel_parameters, found.kernel_parameters
    np.testing.assert_array_equal(made.log_coefficients, given.log_coefficients)
    np.testing.assert_array_equal(made.factors, given.factors)


@families
def test_an_empty_component_is_left_to_the_formulas(backend, covariance_type):
    statistics, mixture, floor = make(covariance_type, 3, 2)
    mass = statistics.mass.copy()
    mass[1] = 0.5 * EPS * mass.sum()
    object.__setattr__(statistics, "mass", mass)
    assert compiled(backend, Maximiser(floor), statistics, mixture) is None


@families
def test_a_covariance_below_the_floor_is_left_to_the_formulas(backend, covariance_type):
    statistics, mixture, floor = make(covariance_type, 3, 2)
    high = floor._replace(relative=1e3)
    assert compiled(backend, Maximiser(high), statistics, mixture) is None
    assert Maximiser(high).by_formula(statistics, mixture).floored.any()
    assert compiled(backend, Maximiser(floor._replace(relative=0.0)), statistics, mixture)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e9])
@families
def test_second_moments_of_no_covariance_are_left_to_the_formulas(backend, covariance_type, bad):
    statistics, mixture, floor = make(covariance_type, 3, 2)
    second = statistics.second.copy()
    second.ravel()[-1] = bad
    object.__setattr__(statistics, "second", second)
    for relative in (0.0, 1e-6):
        low = floor._replace(relative=relative)
        assert compiled(backend, Maximiser(low), statistics, mixture) is None


def test_steps_check_what_they_are_given(backend):
    statistics, mixture, floor = make("full", 3, 2)
    if backend.maximise is None:
        pytest.skip("this backend leaves M-steps to NumPy")
    plan = Maximiser(floor).plan(mixture)
    state = flat_state(mixture, statistics, plan)
    for wrong in (
        (state[:-1], plan, np.empty_like(state)),
        (state, plan, np.empty(len(state) + 1)),
        (state, plan._replace(code=9), np.empty_like(state)),
        (state, plan._replace(scale=np.ones(3)), np.empty_like(state)),
        (state, plan._replace(n_components=0), np.empty_like(state)),
        (state.astype(np.float32), plan, np.empty_like(state)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            backend.maximise(*wrong)
    assert contract.state_parts(3, 2, plan.code).size == len(state)
