"""The compiled M-step of online EM against the formulas, on every backend that has it."""

import numpy as np
import pytest

from gaussmix import Mixture
from gaussmix.covariance import FAMILIES, Floor
from gaussmix.kernels.contract import MARK_HELD, MARK_NONE, MARK_RAISED, Plan, StepPlan
from gaussmix.statistics import from_accumulator
from gaussmix.streams import advance
from gaussmix.streams.advance import Batch, Iterate, by_formula, compiled

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
    sums = advance.gathered(mixture, Batch(X, None, len(X), 1)) / len(X)
    return sums, mixture, Floor(X.std(axis=0), 1e-6)


def compare(sums, mixture, floor, needed):
    """The compiled step, after a check that it is that of the formulas."""
    found = compiled(Iterate(mixture, sums), floor, needed)
    expected = by_formula(Iterate(mixture, sums), floor, needed)
    assert_same(found, expected, mixture)
    return found


def assert_same(found, expected, mixture):
    """That two steps from `mixture` are the same, but for rounding."""
    made, wanted = found.iterate.mixture, expected.iterate.mixture
    np.testing.assert_array_equal(found.marks, expected.marks)
    assert found.mended == expected.mended
    n_components, n_features = mixture.means.shape
    # Sums of K or D terms of the size of a covariance or a squared offset, a few roundings each.
    size = np.abs(wanted.dense_covariances()).max()
    size += n_features * np.abs(wanted.means - mixture.means).max() ** 2
    atol = 8 * (n_components + n_features + 4) * EPS * size
    few = (n_components + 4) * EPS
    np.testing.assert_allclose(made.weights, wanted.weights, rtol=few)
    reach = 1 + np.abs(mixture.means).max() + np.abs(wanted.means).max()
    np.testing.assert_allclose(made.means, wanted.means, rtol=0, atol=few * reach)
    np.testing.assert_allclose(made.covariances, wanted.covariances, rtol=0, atol=atol)
    # What is left of pairs is nobody's; all else is that of the formulas.
    layout = advance.gather_layout(mixture.family)
    ours, theirs = (
        from_accumulator(np.array(done.iterate.sums), done.iterate.mixture.means, layout, 1)
        for done in (found, expected)
    )
    for name in ("mass", "first", "second"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=0, atol=atol + few * reach
        )
    for name in ("log_likelihood", "weight"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=few)
    # Factors and coefficients fit the covariances that they come with.
    kernel = made.kernel_parameters
    again = Mixture._of(mixture.family, *(getattr(made, name) for name in PARAMETERS))
    values = np.linalg.eigvalsh(made.dense_covariances())
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
    np.testing.assert_array_equal(found.iterate.mixture.means[held], mixture.means[held])


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
    scaled = found.iterate.mixture.covariances[k] / np.outer(floor.scale, floor.scale)
    smallest = np.linalg.eigvalsh(scaled)[0]
    assert smallest == pytest.approx(floor.relative, abs=8 * n_features * EPS * values[-1])


@families
def test_what_is_not_finite_is_left_to_the_formulas(covariance_type):
    sums, mixture, floor = make(covariance_type, 3, 2)
    for place in (1, 12):  # a mass, a second moment
        for bad in (np.nan, np.inf):
            spoilt = sums.copy()
            spoilt[place] = bad
            assert compiled(Iterate(mixture, spoilt), floor, 0.0) is None


def test_what_has_no_factor_and_no_floor_is_left_to_the_formulas():
    for covariance_type in FAMILIES:
        sums, mixture, floor = make(covariance_type, 3, 2)
        sums[3 + 6 :][: len(mixture.covariances.ravel())] = -1.0
        assert compiled(Iterate(mixture, sums), floor._replace(relative=0.0), 0.0) is None


def test_a_shared_covariance_of_held_components_only_is_left_to_the_formulas():
    sums, mixture, floor = make("tied", 3, 2)
    assert compiled(Iterate(mixture, sums), floor, 2.0) is None
    assert (by_formula(Iterate(mixture, sums), floor, 2.0).marks == MARK_HELD).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [1, 300, 1000])
@families
def test_a_batch_is_mixed_into_the_sums(covariance_type, n_rows, weighted):
    sums, mixture, floor = make(covariance_type, 5, 3)
    rng = np.random.default_rng(n_rows)
    X = rng.normal(size=(n_rows, 3))
    weight = rng.uniform(0.5, 2.0, n_rows) if weighted else None
    batch = Batch(X, weight, n_rows if weight is None else weight.sum(), 2)
    found = compiled(Iterate(mixture, sums), floor, 0.0, 0.75, 0.25 / batch.weight, batch)
    mixed = 0.75 * sums + 0.25 / batch.weight * advance.gathered(mixture, batch)
    assert_same(found, by_formula(Iterate(mixture, mixed), floor, 0.0), mixture)
    alone = compiled(
        Iterate(mixture, sums), floor, 0.0, 0.75, 0.25 / batch.weight, batch._replace(n_threads=1)
    )
    np.testing.assert_array_equal(alone.iterate.sums, found.iterate.sums)
    assert alone.iterate.mixture == found.iterate.mixture


@families
def test_rows_that_are_not_finite_are_left_to_the_formulas(covariance_type):
    sums, mixture, floor = make(covariance_type, 3, 2)
    for bad in (np.nan, np.inf, 1e300):
        X = np.zeros((5, 2))
        X[3, 1] = bad
        batch = Batch(X, None, 5.0, 1)
        assert compiled(Iterate(mixture, sums), floor, 0.0, 0.5, 0.1, batch) is None


def test_a_step_checks_what_it_is_given(backend):
    sums, mixture, floor = make("full", 3, 2)
    step = StepPlan(mixture.family.step_code, 3, 2, floor.scale, floor.relative)
    state = Iterate(mixture, sums).state
    then, marks = np.empty_like(state), np.empty(3, dtype=np.int64)
    right = {
        "X": np.zeros((4, 2)),
        "sample_weight": None,
        "state": state,
        "step": step,
        "kept": 0.9,
        "share": 0.1,
        "needed": 0.0,
        "accumulators": np.empty((1, len(sums))),
        "plan": Plan(256, 256, 1),
        "then": then,
        "marks": marks,
        "n_threads": 1,
    }
    for wrong in (
        {"X": np.zeros((4, 3))},
        {"sample_weight": np.ones(3)},
        {"state": state[:-1]},
        {"then": np.empty(len(state) + 1)},
        {"step": step._replace(code=4)},
        {"accumulators": np.empty((1, len(sums) - 1))},
        {"plan": Plan(255, 255, 1)},
        {"marks": marks[:2]},
        {"marks": np.empty(3)},
    ):
        with pytest.raises(ValueError, match=r".+"):
            backend.advance(*(right | wrong).values())
    state.setflags(write=False)
    assert backend.advance(*right.values()) == 0
