"""Fits of data far from the origin, which are done around an origin within the data."""

import warnings

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.fitting import frame
from gaussmix.fitting.frame import Frame

pytestmark = pytest.mark.filterwarnings(
    "ignore::gaussmix.ConvergenceWarning", "ignore::gaussmix.PrecisionWarning"
)
OFFSET = 2.0**36
TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(scope="module")
def X():
    """Two clusters on a grid of 2^-10, so that the offset is exact."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(90, 2)), 0.5 * rng.normal(size=(60, 2)) + 8.0])
    return np.round(X * 1024) / 1024


def test_no_frame_near_the_origin_nor_for_constant_columns():
    mean, scale = np.array([1000.0, -3.0, 1e9]), np.array([1.0, 1.0, 1e-3])
    assert Frame.around(mean, scale, np.array([False, False, True])) is None
    found = Frame.around(mean, scale, np.zeros(3, dtype=bool))
    np.testing.assert_array_equal(found.origin, [0.0, 0.0, 1e9])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_means_are_rounded_once_and_covariances_not_at_all(X, covariance_type):
    plain = gm.fit(X, 2, covariance_type=covariance_type, seed=0).mixture
    moved = gm.fit(X + OFFSET, 2, covariance_type=covariance_type, seed=0).mixture
    np.testing.assert_allclose(moved.means - OFFSET, plain.means, rtol=0, atol=2.0**-17)
    np.testing.assert_allclose(moved.covariances, plain.covariances, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moved.weights, plain.weights, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("algorithm", ["em", "hard", "stochastic"])
def test_what_is_reported_is_that_of_the_rounded_mixture(X, covariance_type, algorithm):
    Y = X + OFFSET
    result = gm.fit(Y, 2, covariance_type=covariance_type, algorithm=algorithm, seed=0)
    mixture, statistics = result.mixture, result.statistics
    np.testing.assert_allclose(result.log_likelihood[-1] / len(Y), mixture.score(Y), rtol=1e-12)
    np.testing.assert_array_equal(statistics.shift, mixture.means)
    np.testing.assert_allclose(statistics.mass.sum(), len(Y), rtol=1e-14)
    if algorithm == "em":
        expected = mixture.statistics(Y)
        np.testing.assert_allclose(statistics.mass, expected.mass, rtol=1e-12)
        np.testing.assert_allclose(statistics.first, expected.first, rtol=1e-11, atol=1e-11)
    for stage in result.stages:
        assert stage.means is None or (np.abs(stage.means - OFFSET) < 100.0).all()


@pytest.mark.parametrize("kind", ["array", "float32", "chunks", "function"])
def test_rows_may_come_in_any_form(X, monkeypatch, kind):
    Y = X + (2.0**12 if kind == "float32" else OFFSET)
    expected = gm.fit(Y, 2, seed=0)
    given = {
        "array": lambda: Y,
        "float32": lambda: Y.astype(np.float32),
        "chunks": lambda: [Y[:70], Y[70:]],
        "function": lambda: lambda: iter(np.array_split(Y, 7)),
    }[kind]()
    monkeypatch.setattr(frame, "COPIED_VALUES", 100)  # too many to copy
    found = gm.fit(given, 2, seed=0)
    assert found.mixture == expected.mixture
    np.testing.assert_array_equal(found.log_likelihood, expected.log_likelihood)


def told_of_means(call):
    """The value of a call, and the warnings of means that float64 holds to few digits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    return value, [str(w.message) for w in caught if w.category is gm.PrecisionWarning]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("power", [16, 20, 24, 32, 36, 40])
def test_posteriors_far_away_are_right_to_six_digits_or_told(X, covariance_type, power):
    offset = 2.0**power
    plain = gm.fit(X, 2, covariance_type=covariance_type, seed=0).mixture
    fit = gm.GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit
    moved, told = told_of_means(lambda: fit(X + offset))
    gap = np.abs(moved.predict_proba(X + offset) - plain.predict_proba(X)).max()
    assert gap < 1e-6 or told
    assert bool(told) == (power > 28)
    assert len(told) <= 1


def test_means_of_which_few_digits_are_left_are_named(X):
    Y = X + np.array([OFFSET, 0.0])
    _, told = told_of_means(lambda: gm.fit(Y, 2, seed=0))
    assert "is 6.87195e+10 in column 0 of X" in told[0]
    assert "which float64 holds to 7.6e-06" in told[0]
    _, told = told_of_means(lambda: gm.select(Y, [1, 2, 3], n_starts=1, seed=0))
    assert len(told) == 1 and "column 0" in told[0]
    _, told = told_of_means(lambda: gm.fit(X + np.array([2.0**26, 0.0]), 2, seed=0))
    assert told == []


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
def test_a_constant_column_far_away_loses_nothing(X):
    Y = np.column_stack([X, np.full(len(X), OFFSET + 0.1)])
    _, told = told_of_means(lambda: gm.fit(Y, 2, seed=0))
    assert told == []


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("power", [10, 20, 26, 32])
def test_clusters_far_apart_need_no_frame(covariance_type, power):
    # The column's mean is within two of its standard deviations of 0.
    rng = np.random.default_rng(0)
    near = np.round(rng.normal(size=(300, 1)) * 1024) / 1024
    far = near + 2.0**power * (np.arange(300) >= 200)[:, None]
    options = {"covariance_type": covariance_type, "reg_covar": 1e-26, "seed": 0}
    mixture, told = told_of_means(lambda: gm.fit(far, 2, **options).mixture)
    order = np.argsort(mixture.means[:, 0])
    parts = near[:200], near[200:]
    variances = np.array([part.var() for part in parts])
    if covariance_type == "tied":
        variances[:] = (2.0 * variances[0] + variances[1]) / 3.0
    found = mixture.dense_covariances()[order, 0, 0]
    np.testing.assert_allclose(found, variances, rtol=1e-12)
    expected = [part.mean() for part in parts] + np.array([0.0, 2.0**power])
    np.testing.assert_allclose(mixture.means[order, 0], expected, rtol=1e-15, atol=1e-15)
    assert bool(told) == (power > 28)


def test_starts_and_callbacks_know_the_users_coordinates_only(X):
    Y, seen = X + OFFSET, []
    means = Y[[0, 120]]
    start = gm.fit(Y, 2, start=means, max_iter=0).mixture
    np.testing.assert_array_equal(start.means, means)
    expected = gm.fit(Y, 2, start=means).mixture
    found = gm.fit(Y, 2, start=start, callback=lambda state: seen.append(state.mixture.means))
    np.testing.assert_allclose(found.mixture.covariances, expected.covariances, rtol=1e-9)
    assert all((np.abs(means - OFFSET) < 100.0).all() for means in seen) and seen
    estimator = gm.GaussianMixture(2, means_init=means, random_state=0).fit(Y)
    np.testing.assert_allclose(estimator.covariances_, expected.covariances, rtol=1e-9)


def test_a_cell_that_is_not_finite_is_named_as_given(X, monkeypatch):
    online = gm.OnlineMixture(2, start_rows=80, seed=0).update(X + OFFSET)
    bad = X[:50] + OFFSET
    bad[7, 1] = np.inf
    for limit in (1 << 20, 10):
        monkeypatch.setattr(frame, "COPIED_VALUES", limit)
        with pytest.raises(gm.InvalidInputError, match=r"X\[7, 1\] is inf"):
            online.update(bad)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_stream_goes_on_from_mixtures_and_fits_far_away(X, covariance_type):
    options = {"covariance_type": covariance_type, "seed": 0}
    for take in (lambda fit: fit.mixture, lambda fit: fit):
        streams = []
        for offset in (0.0, OFFSET):
            start = take(gm.fit(X + offset, 2, **options))
            online = gm.OnlineMixture(2, start=start, start_rows=50, **options)
            for begin in range(0, 150, 50):
                online.update(X[begin : begin + 50] + offset)
            streams.append(online)
        plain, moved = streams
        # The start's means were rounded, to 2^-17.
        np.testing.assert_allclose(
            moved.mixture.covariances, plain.mixture.covariances, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_array_equal(moved.statistics.shift, moved.mixture.means)
        np.testing.assert_allclose(moved.statistics.mass, plain.statistics.mass, rtol=1e-4)


def test_a_selection_far_away_is_the_same_and_warns_of_the_offset(X):
    options = {"covariance_types": ("full", "diag"), "seed": 0, "n_starts": 1}
    plain = gm.select(X, range(1, 3), **options)
    with pytest.warns(gm.PrecisionWarning, match=r"column 0 of X has mean"):
        moved = gm.select(X + 2.0**41, range(1, 3), **options)
    assert moved.chosen == plain.chosen
    # The data themselves are rounded, to 2^-12.
    np.testing.assert_allclose(moved.table["bic"], plain.table["bic"], rtol=1e-5)
    np.testing.assert_allclose(moved.mixture.score(X + 2.0**41), plain.mixture.score(X), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
@pytest.mark.parametrize("take", [lambda fit: fit.mixture, lambda fit: "kmeans"])
def test_a_saved_stream_far_away_goes_on_with_the_same_bits(X, tmp_path, take):
    Y, path = X + OFFSET, tmp_path / "stream.gmix"
    online = gm.OnlineMixture(2, start=take(gm.fit(Y, 2, seed=0)), start_rows=60, seed=0)
    online.update(Y[:80])
    gm.save(online, path)
    loaded = gm.load(path)
    assert loaded.mixture == online.mixture
    assert loaded.update(Y[80:]).mixture == online.update(Y[80:]).mixture
