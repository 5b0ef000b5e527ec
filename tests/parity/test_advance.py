"""The compiled M-step of online EM against the formulas, on every backend that has it."""

import numpy as np
import pytest

from gaussmix import Mixture, backends, recursion
from gaussmix.covariance import FAMILIES, Floor
from gaussmix.kernels.contract import MARK_HELD, MARK_NONE, MARK_RAISED
from gaussmix.recursion import Recursion, by_formula

EPS = np.finfo(float).eps
SHAPES = [(1, 1), (3, 2), (2, 5), (5, 13), (9, 8), (10, 16), (3, 17)]  # K, D
MARKS = (MARK_RAISED, MARK_NONE)
families = pytest.mark.parametrize("covariance_type", list(FAMILIES))


@pytest.fixture(autouse=True)
def _needs_a_kernel(backend):
    if backend.advance is None:
        pytest.skip("this backend leaves the step to NumPy")


def make(covariance_type, n_components, n_features):
    """Running sums of rows around another mixture than the best, that mixture, and a floor."""
    rng = np.random.default_rng(n_components + 10 * n_features)
    X = rng.normal(size=(60 * n_components * n_features, n_features)) @ (
        np.eye(n_features) + 0.2 * rng.normal(size=(n_features, n_features))
    )
    family = FAMILIES[covariance_type]
    dense = np.eye(n_features)
    single = {"full": dense[None], "tied": dense, "spherical": np.ones(1)}.get(covariance_type)
    single = np.ones((1, n_features)) if single is None else single
    covariances = np.broadcast_to(single, family.shape(n_components, n_features))
    weights = np.full(n_components, 1.0 / n_components)
    mixture = Mixture(weights, 0.5 * X[:n_components], covariances, covariance_type)
    sums = Recursion.of(mixture).gathered(X, None, 1) / len(X)
    return sums, mixture, Floor(X.std(axis=0), 1e-6)


def compare(sums, mixture, floor, needed):
    """The compiled step, after a check that it is that of the formulas."""
    found = recursion._compiled(sums, mixture, floor, needed)
    expected = by_formula(sums, mixture, floor, needed)
    np.testing.assert_array_equal(found.marks, expected.marks)
    assert found.mended == expected.mended
    n_components, n_features = mixture.means.shape
    # Sums of K or D terms of the size of a covariance or a squared offset, a few roundings each.
    size = np.abs(expected.mixture.dense_covariances()).max()
    size += n_features * np.abs(expected.mixture.means - mixture.means).max() ** 2
    atol = 8 * (n_components + n_features + 4) * EPS * size
    few = (n_components + 4) * EPS
    np.testing.assert_allclose(found.mixture.weights, expected.mixture.weights, rtol=few)
    reach = 1 + np.abs(mixture.means).max() + np.abs(expected.mixture.means).max()
    np.testing.assert_allclose(
        found.mixture.means, expected.mixture.means, rtol=0, atol=few * reach
    )
    np.testing.assert_allclose(
        found.mixture.covariances, expected.mixture.covariances, rtol=0, atol=atol
    )
    # What is left of pairs is nobody's; all else is that of the formulas.
    layout = recursion.gather_layout(mixture)
    ours, theirs = (
        recursion.from_accumulator(np.array(done.sums), done.mixture.means, layout, 1)
        for done in (found, expected)
    )
    for name in ("mass", "first", "second"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=0, atol=atol + few * reach
        )
    assert ours.log_likelihood == theirs.log_likelihood and ours.weight == theirs.weight
    # Factors and coefficients fit the covariances that they come with.
    kernel = found.mixture.kernel_parameters
    again = Mixture._of(mixture.family, *(getattr(found.mixture, name) for name in PARAMETERS))
    values = np.linalg.eigvalsh(found.mixture.dense_covariances())
    rtol = 8 * n_features**2 * EPS * float(values.max() / values.min())
    factors = again.kernel_parameters.factors
    np.testing.assert_allclose(kernel.factors, factors, rtol=0, atol=rtol * np.abs(factors).max())
    np.testing.assert_allclose(
        kernel.log_coefficients,
        again.kernel_parameters.log_coefficients,
        rtol=0,
        atol=n_features * rtol + 64 * n_features * EPS,
    )
    np.testing.assert_allclose(
        kernel.centre, again.kernel_parameters.centre, rtol=0, atol=few * reach
    )
    return found


PARAMETERS = ("weights", "means", "covariances")


@pytest.mark.parametrize(("n_components", "n_features"), SHAPES)
@families
def test_an_ordinary_step_is_that_of_the_formulas(covariance_type, n_components, n_features):
    sums, mixture, floor = make(covariance_type, n_components, n_features)
    assert not compare(sums, mixture, floor, 0.0).mended
    assert not compare(sums, mixture, floor._replace(relative=0.0), 0.0).mended


@families
def test_components_of_little_mass_are_held(covariance_type):
    sums, mixture, floor = make(covariance_type, 5, 2)
    least = np.sort(sums[:5])[2]
    found = compare(sums, mixture, floor, least)
    held = found.marks == MARK_HELD
    assert held.sum() == 2
    np.testing.assert_array_equal(found.mixture.means[held], mixture.means[held])


@pytest.mark.parametrize("n_features", [1, 2, 8])
@families
def test_covariances_below_the_floor_are_raised(covariance_type, n_features):
    sums, mixture, floor = make(covariance_type, 3, n_features)
    for relative in (0.5, 1.0, 1e3):
        found = compare(sums, mixture, floor._replace(relative=relative), sums[:3].min() * 1.01)
        assert set(found.marks[found.marks != MARK_HELD]) <= {MARK_NONE, MARK_RAISED}
    assert (found.marks[found.marks != MARK_HELD] == MARK_RAISED).all()


@pytest.mark.parametrize(("n_components", "k"), [(2, 0), (10, 4), (10, 9)])
@pytest.mark.parametrize("n_features", [2, 8, 16])
def test_a_collapsed_direction_is_raised_to_the_floor(n_features, n_components, k):
    sums, mixture, floor = make("full", n_components, n_features)
    begin = n_components * (1 + n_features) + k * n_features**2
    second = sums[begin:][: n_features**2].reshape(n_features, n_features)
    first = sums[n_components + k * n_features :][:n_features]
    # One eigenvalue of component k becomes about 0, in a direction across all features.
    own = second / sums[k] - np.outer(first, first) / sums[k] ** 2
    values, vectors = np.linalg.eigh(own)
    second -= sums[k] * values[0] * np.outer(vectors[:, 0], vectors[:, 0])
    found = compare(sums, mixture, floor, 0.0)
    np.testing.assert_array_equal(found.marks, np.where(np.arange(n_components) == k, *MARKS))
    scaled = found.mixture.covariances[k] / np.outer(floor.scale, floor.scale)
    smallest = np.linalg.eigvalsh(scaled)[0]
    assert smallest == pytest.approx(floor.relative, abs=8 * n_features * EPS * values[-1])


@families
def test_what_is_not_finite_is_left_to_the_formulas(covariance_type):
    sums, mixture, floor = make(covariance_type, 3, 2)
    for place in (1, 12):  # a mass, a second moment
        for bad in (np.nan, np.inf):
            spoilt = sums.copy()
            spoilt[place] = bad
            assert recursion._compiled(spoilt, mixture, floor, 0.0) is None


def test_what_has_no_factor_and_no_floor_is_left_to_the_formulas():
    for covariance_type in FAMILIES:
        sums, mixture, floor = make(covariance_type, 3, 2)
        sums[3 + 6 :][: len(mixture.covariances.ravel())] = -1.0
        assert recursion._compiled(sums, mixture, floor._replace(relative=0.0), 0.0) is None


def test_a_shared_covariance_of_held_components_only_is_left_to_the_formulas():
    sums, mixture, floor = make("tied", 3, 2)
    assert recursion._compiled(sums, mixture, floor, 2.0) is None
    assert (by_formula(sums, mixture, floor, 2.0).marks == MARK_HELD).all()


def test_a_step_checks_what_it_is_given(backend):
    sums, mixture, floor = make("full", 3, 2)
    plan = recursion.StepPlan(mixture.family.step_code, 3, 2, floor.scale, floor.relative)
    state = recursion.flat_state(mixture, None, plan, len(sums))
    state[-len(sums) :] = sums
    then, marks = np.empty_like(state), np.empty(3, dtype=np.int64)
    for wrong in (
        (state[:-1], plan, 0.0, then, marks),
        (state, plan, 0.0, np.empty(len(state) + 1), marks),
        (state, plan._replace(code=4), 0.0, then, marks),
        (state, plan, 0.0, then, marks[:2]),
        (state, plan, 0.0, then, np.empty(3)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            backend.advance(*wrong)
    assert backends.active().advance(state, plan, 0.0, then, marks) == 0
