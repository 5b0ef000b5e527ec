"""B: data that hold less than a mixture needs: equal rows, constant columns, too few rows."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends
from gaussmix.kernels.contract import SOFT

TYPES = ["full", "tied", "diag", "spherical"]
FLOOR = 1e-6


def normal(n_rows=60, n_features=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n_rows, n_features))


def clusters(n_rows=60, n_features=3, seed=0):
    X = normal(n_rows, n_features, seed)
    X[: n_rows // 2] += 8.0
    return X


def with_constant(value):
    X = clusters()
    X[:, 2] = value
    return X


def dependent():
    X = clusters()
    X[:, 2] = 2.0 * X[:, 0]
    return X


def outlier():
    X = normal(200)
    X[17] = 1e3
    return X


DATA = {
    "B1": lambda: np.full((50, 3), 1.5),
    "B2": lambda: np.repeat(np.array([[0.0, 0, 0], [1, 2, 3], [5, 5, 0]]), 20, axis=0),
    "B3": lambda: with_constant(3.0),
    "B5": lambda: with_constant(1e5 + 0.1),
    "B5 large": lambda: with_constant(1e12 + 0.1),
    "B7": dependent,
    "B10": lambda: normal(4),
    "B11": lambda: normal(1),
    "B12": lambda: normal(3, 10),
    "B13": outlier,
}
CONSTANT = "column 2 of X is constant (%s)"

# case, K, covariance types, what the DegenerateComponentWarning must say
WARNED = [
    ("B1", 2, TYPES, ["1 distinct row for 2 components: component 1 empty"]),
    ("B2", 5, TYPES, ["3 distinct rows for 5 components: components 3, 4 empty"]),
    ("B3", 2, TYPES, [CONSTANT % "3"]),
    ("B5", 2, TYPES, [CONSTANT % "100000"]),
    ("B5 large", 2, TYPES, [CONSTANT % "1e+12"]),
    ("B7", 2, ["full", "tied"], ["rank 2 of 3"]),
    ("B10", 4, TYPES, ["every component has one row"]),
    ("B11", 1, TYPES, ["one row", "the floor"]),
    ("B12", 1, ["full", "tied"], ["rank <= 2 of 10", "diag"]),
    ("B13", 2, TYPES, ["component", "has 1 row"]),
]


@pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
@pytest.mark.parametrize(
    "case, n_components, covariance_type, says",
    [pytest.param(c, k, t, says, id=f"{c}-{t}") for c, k, types, says in WARNED for t in types],
)
def test_degenerate_data_give_a_valid_mixture_and_a_named_warning(
    judge, case, n_components, covariance_type, says
):
    X = DATA[case]()
    result = judge(
        lambda: gm.fit(X, n_components, covariance_type=covariance_type, seed=0),
        warning=gm.DegenerateComponentWarning,
        says=says,
    )
    model = result.mixture
    assert np.isfinite(model.weights).all() and np.isfinite(model.covariances).all()
    np.testing.assert_allclose(model.weights.sum(), 1.0, rtol=1e-14)
    np.testing.assert_allclose(
        model.weights @ model.means, X.mean(axis=0), atol=1e-10 * (1 + np.abs(X).max())
    )
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)
    assert result.repairs
    # Mixture(...) refuses what is not positive definite.
    assert gm.Mixture(model.weights, model.means, model.covariances, covariance_type) == model


def test_b2_as_many_components_hold_rows_as_there_are_distinct_rows(judge):
    result = judge(lambda: gm.fit(DATA["B2"](), 5, seed=0), warning=gm.DegenerateComponentWarning)
    assert np.count_nonzero(result.mixture.weights > 0) == 3
    np.testing.assert_allclose(np.sort(result.mixture.weights)[2:], 1 / 3, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
@pytest.mark.parametrize("case", ["B3", "B5", "B5 large"])
def test_b3_a_constant_column_leaves_the_others_as_they_are(judge, case, covariance_type):
    X = DATA[case]()
    fit = {"covariance_type": covariance_type, "seed": 0, "start": np.repeat([0, 1], 30)}
    with_it = judge(lambda: gm.fit(X, 2, **fit), warning=gm.DegenerateComponentWarning)
    without = gm.fit(X[:, :2], 2, **fit)
    np.testing.assert_allclose(
        with_it.mixture.means[:, :2], without.mixture.means, rtol=1e-9, atol=1e-9
    )
    block = with_it.mixture.dense_covariances()
    np.testing.assert_allclose(
        block[:, :2, :2], without.mixture.dense_covariances(), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(with_it.mixture.means[:, 2], X[0, 2], rtol=1e-15)
    assert (block[:, 2, 2] > 0).all() and (block[:, 2, 2] < 1e-3 * block[:, 0, 0]).all()
    assert "constant" in {repair.kind for repair in with_it.repairs}
    assert {r.feature for r in with_it.repairs if r.kind == "constant"} == {2}


@pytest.mark.parametrize("covariance_type", TYPES)
def test_b6_a_constant_column_without_a_floor_is_a_named_error(covariance_type):
    with pytest.raises(gm.DegenerateFitError, match=r"column 2 .*constant.*reg_covar"):
        gm.fit(with_constant(3.0), 2, covariance_type=covariance_type, reg_covar=0.0, seed=0)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_b7_dependent_columns_without_a_floor_are_a_named_error(covariance_type):
    # Exactly dependent in binary: 2 x is exact.
    with pytest.raises(gm.DegenerateFitError, match=r"covariance.*singular.*reg_covar"):
        gm.fit(dependent(), 2, covariance_type=covariance_type, reg_covar=0.0, seed=0)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_b7_the_smallest_eigenvalue_is_the_floor(judge, covariance_type):
    X = dependent()
    result = judge(
        lambda: gm.fit(X, 2, covariance_type=covariance_type, seed=0),
        warning=gm.DegenerateComponentWarning,
    )
    scale = X.std(axis=0)
    for covariance in result.mixture.dense_covariances():
        values = np.linalg.eigvalsh(covariance / scale[:, None] / scale)
        np.testing.assert_allclose(values[0], FLOOR, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_b9_fewer_rows_than_components_is_a_named_error(covariance_type):
    with pytest.raises(gm.InvalidInputError, match="n_samples=2 < n_components=3"):
        gm.fit(normal(2), 3, covariance_type=covariance_type)


def test_b9_rows_of_weight_zero_do_not_count():
    with pytest.raises(gm.InvalidInputError, match="n_samples=2 of positive weight < n_components"):
        gm.fit(normal(10), 3, sample_weight=np.r_[1.0, 1.0, np.zeros(8)])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_b11_one_row_is_its_own_mean(judge, covariance_type):
    X = normal(1)
    result = judge(
        lambda: gm.fit(X, 1, covariance_type=covariance_type),
        warning=gm.DegenerateComponentWarning,
    )
    np.testing.assert_array_equal(result.mixture.means, X)
    assert result.converged


def reported(result, kind):
    return [repair.component for repair in result.repairs if repair.kind == kind]


@pytest.mark.parametrize("weight", [None, 1.0, 0.01, "random"])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_b13_the_outlier_is_named_in_the_report(judge, covariance_type, weight):
    X = outlier()
    weights = None
    if weight == "random":
        weights = np.random.default_rng(3).random(len(X))
    elif weight is not None:  # equal weights of any size, and rows that are switched off
        weights = np.where(np.arange(len(X)) < 150, weight, 0.0)
    result = judge(
        lambda: gm.fit(X, 2, covariance_type=covariance_type, sample_weight=weights, seed=0),
        warning=gm.DegenerateComponentWarning,
        says="has 1 row, X[17]",
    )
    (single,) = reported(result, "single row")
    np.testing.assert_allclose(result.mixture.means[single], 1e3, rtol=1e-6)


def test_b13_a_heavy_row_may_stand_for_many():
    X = outlier()
    weights = np.where(X[:, 0] == 1e3, 50.0, 1.0)
    assert not gm.fit(X, 2, covariance_type="tied", sample_weight=weights, seed=0).repairs


def test_b13_several_rows_of_small_weight_are_not_one():
    X = clusters(200, 2)
    weights = np.where(np.arange(200) < 100, 0.001, 1.0)
    assert not gm.fit(X, 2, covariance_type="tied", sample_weight=weights, seed=0).repairs


@pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
def test_b13_a_component_with_next_to_no_rows_is_named(judge, covariance_type):
    X = clusters(200, 2)
    covariances = {
        "full": np.stack([np.eye(2)] * 3), "tied": np.eye(2), "diag": np.ones((3, 2)),
        "spherical": np.ones(3),
    }[covariance_type]  # fmt: skip
    weights, means = [0.5, 0.498, 0.002], [[8.0, 8.0], [0.0, 0.0], [4.0, 4.0]]
    start = gm.Mixture(weights, means, covariances, covariance_type)
    result = judge(
        lambda: gm.fit(X, 3, covariance_type=covariance_type, start=start, max_iter=1, tol=0),
        warning=gm.DegenerateComponentWarning,
        says="component 2 has next to no rows (mass ",
    )
    assert reported(result, "few rows") == [2]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_b15_ties_are_broken_the_same_way_every_time(covariance_type):
    X = np.round(clusters(400, 2), 0)
    fits = [gm.fit(X, 3, covariance_type=covariance_type, seed=4) for _ in range(2)]
    assert fits[0].mixture == fits[1].mixture
    equal = gm.Mixture([0.5, 0.5], [[1.0, 0.0], [1.0, 0.0]], [1.0, 1.0], "spherical")
    np.testing.assert_array_equal(equal.predict(X), 0)


def test_b16_failing_starts_take_no_other_down():
    X = np.r_[clusters(100, 2), np.full((3, 2), 50.0)]
    good = gm.Mixture([0.5, 0.5], [[8.0, 8.0], [0.0, 0.0]], np.ones(2), "spherical")
    # Without a floor, the component on the three equal rows collapses.
    bad = gm.Mixture([0.03, 0.97], [[50.0, 50.0], [4.0, 4.0]], [1e-8, 20.0], "spherical")
    starts = [bad, good, good, bad, good, good, bad, good]
    result = gm.fit(X, 2, covariance_type="spherical", start=starts, reg_covar=0.0, max_iter=300)
    failed = [report.error is not None for report in result.starts]
    assert failed == [start is bad for start in starts] and sum(failed) == 3
    assert "component 0" in result.starts[0].error
    reached = [report.log_likelihood for report in result.starts if report.error is None]
    assert result.log_likelihood[-1] == max(reached)


def test_b16_if_every_start_fails_each_reason_is_told():
    X = np.r_[clusters(100, 2), np.full((3, 2), 50.0)]
    bad = gm.Mixture([0.03, 0.97], [[50.0, 50.0], [4.0, 4.0]], [1e-8, 20.0], "spherical")
    with pytest.raises(gm.DegenerateFitError, match=r"every start failed.*component 0"):
        gm.fit(X, 2, covariance_type="spherical", start=[bad, bad], reg_covar=0.0)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_b18_a_component_with_a_mean_far_away_is_reseeded(judge, covariance_type):
    X = clusters(200, 2)
    start = np.array([[0.0, 0.0], [1e6, 1e6]])
    result = judge(
        lambda: gm.fit(X, 2, covariance_type=covariance_type, start=start),
        warning=gm.DegenerateComponentWarning,
        says=["component 1 emptied, and re-seeded as half of component 0"],
    )
    np.testing.assert_allclose(result.mixture.weights, 0.5, atol=1e-6)
    assert [(repair.kind, repair.component) for repair in result.repairs] == [("re-seeded", 1)]


def poisoned_backend(monkeypatch, looped):
    """Make the live backend's sums NaN: in the compiled loop, or from the thirtieth pass on."""
    live, count = backends.active(), iter(range(1, 1 << 30))

    def accumulate(*arguments):
        bad_row = live.accumulate(*arguments)
        if next(count) > 30:
            arguments[6][:] = np.nan
        return bad_row

    def iterate(X, weight, state, *arguments):
        result = live.iterate(X, weight, state, *arguments)
        if len(X) == 400 and arguments[2] == SOFT:
            state[:] = np.nan
        return result

    poisoned = live._replace(iterate=iterate)
    if not looped:
        # Without a loop every pass is one that the patch can count.
        poisoned = live._replace(accumulate=accumulate, iterate=None)
    monkeypatch.setattr(backends, "_active", poisoned)


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_b20_a_nan_inside_em_ends_the_fit_with_iteration_and_component(
    monkeypatch, covariance_type, looped
):
    if looped and backends.active().iterate is None:
        pytest.skip("this backend has no compiled loop")
    poisoned_backend(monkeypatch, looped)
    with pytest.raises(gm.DegenerateFitError, match=r"iteration \d+.*(component \d|covariance)"):
        gm.fit(
            normal(400), 2, covariance_type=covariance_type, tol=0.0, max_iter=100, start="random",
            seed=0, callback=lambda state: False,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Best performing initialization:UserWarning")
def test_b20_the_estimator_stays_as_it_was(monkeypatch):
    pytest.importorskip("sklearn")
    X = normal(400)
    model = gm.GaussianMixture(2, init_params="random", tol=0.0, random_state=0)
    model.fit(X)
    before = dict(vars(model))
    poisoned_backend(monkeypatch, False)
    with pytest.raises(gm.DegenerateFitError, match="iteration"):
        model.fit(X)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_collapsed_component_is_named_with_its_column(judge, covariance_type):
    X = clusters(80, 3)
    X[:40, 1] = 8.0  # within a cluster only: the column itself varies
    result = judge(
        lambda: gm.fit(X, 2, covariance_type=covariance_type, seed=0),
        warning=gm.DegenerateComponentWarning,
        says=["collapsed to the floor", "in column 1."],
    )
    (repair,) = [repair for repair in result.repairs if repair.kind == "floor"]
    assert repair.feature == 1
    assert abs(result.mixture.means[repair.component, 1] - 8.0) < 1e-9
