"""How starts choose rows, and what k-means makes of many: samples, draws, trials."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.covariance import Floor, family
from gaussmix.passes.expectation import Expectation
from gaussmix.passes.summary import summarise
from gaussmix.starts import start
from gaussmix.starts.start import StartMaker, _pick, _spread

MANY = 25_000  # rows, of which trials see a sample


def clouds(n_rows):
    """Nine clouds on a grid, of different widths."""
    rng = np.random.default_rng(0)
    labels = rng.integers(9, size=n_rows)
    centres = np.stack([labels % 3, labels // 3], axis=1) * 6.0
    return centres + (0.3 + 0.2 * labels[:, None]) * rng.standard_normal((n_rows, 2))


def maker(X, n_components, n_threads=1):
    summary = summarise(X, None, n_threads)
    expectation = Expectation(X, None, "full", n_components, n_threads)
    return StartMaker(X, None, summary, expectation, family("full"), Floor(summary.scale, 1e-6))


@pytest.mark.parametrize(("n_rows", "count"), [(7, 7), (7, 3), (30_001, 20_000), (400_000, 20_000)])
def test_a_sample_of_rows_has_distinct_increasing_numbers(n_rows, count):
    rows = _spread(n_rows, count, np.random.default_rng(0))
    assert rows.shape == (count,)
    assert rows[0] >= 0 and rows[-1] < n_rows
    assert (np.diff(rows) > 0).all()


def test_every_row_is_as_likely_to_be_in_a_sample():
    n_rows, count, n_samples = 10, 4, 4_000  # runs of 2 and 3 rows
    rng = np.random.default_rng(0)
    found = sum(
        np.bincount(_spread(n_rows, count, rng), minlength=n_rows) for _ in range(n_samples)
    )
    share = count / n_rows
    deviation = np.sqrt(n_samples * share * (1.0 - share))  # binomial, one for each row
    assert np.abs(found - n_samples * share).max() < 5.0 * deviation


def test_a_row_without_weight_is_never_picked():
    weight = np.array([0.0, 2.0, 0.0, 1.0, 0.0])
    uniforms = np.linspace(0.0, np.nextafter(1.0, 0.0), 1_001)
    assert set(_pick(weight, uniforms).tolist()) == {1, 3}


def test_an_end_that_rounds_to_the_sum_picks_the_last_row_with_weight():
    assert _pick(np.array([5e-324, 0.0]), np.array([np.nextafter(1.0, 0.0)])) == 0


def test_many_rows_begin_at_the_best_of_several_kmeans(monkeypatch):
    X = clouds(MANY)

    def heights():
        return np.array([gm.fit(X, 9, seed=s, max_iter=0).log_likelihood[0] for s in range(4)])

    tried = heights()
    monkeypatch.setattr(start, "TRIAL_SHARE", MANY)
    assert (tried >= heights()).all()


@pytest.mark.parametrize("n_features", [2, 4, 10])
@pytest.mark.parametrize("gap", [8.0, 400.0])
def test_two_heaps_in_one_column_are_found_among_columns_of_noise(n_features, gap):
    X = np.random.default_rng(0).standard_normal((1_000, n_features))
    X[:500, 0] += gap
    for seed in range(40):
        means = gm.fit(X, 2, covariance_type="diag", seed=seed).mixture.means
        # Of 500 rows each: within five of their standard errors.
        assert np.abs(np.sort(means[:, 0]) - [0.0, gap]).max() < 5.0 / np.sqrt(500)


def test_k_means_measures_a_column_in_its_samples_range_where_that_is_narrow():
    X = np.zeros((1_000, 4))
    X[::2, 0] = 8.0  # two heaps: standard deviation 4
    X[:, 1] = np.random.default_rng(0).standard_normal(1_000)
    X[3, 2] = 1.0
    scale = maker(X, 2)._kmeans_scale(X)
    assert scale[0] == 2.0
    assert scale[1] == summarise(X, None, 1).scale[1]
    assert 0.0 < scale[2] == summarise(X, None, 1).scale[2]
    assert scale[3] > 0.0
    assert (maker(X, 2)._kmeans_scale(X[10:20]) > 0.0).all()


def test_trials_give_the_same_bits_for_any_number_of_threads():
    X = clouds(MANY)
    one, two = (maker(X, 9, n)._tried(np.random.default_rng(0)) for n in (1, 2))
    assert one == two


def test_trials_in_which_a_component_collapses_make_no_start():
    X = clouds(MANY)
    X[::2] = 50.0  # one point
    assert maker(X, 3)._tried(np.random.default_rng(0)) is None


def test_trials_are_for_many_rows():
    assert maker(clouds(6_000), 3)._tried(np.random.default_rng(0)) is None
