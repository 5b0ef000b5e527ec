"""Rearranging: components cut in two and pairs made one, until they stand where the rows are."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.algorithms.em import Run
from gaussmix.covariance import FAMILIES
from gaussmix.passes.expectation import Expectation
from gaussmix.passes.summary import summarise
from gaussmix.starts import rearranging
from gaussmix.starts.neighbours import grouped
from gaussmix.starts.rearranging import reduction
from gaussmix.starts.reseeding import halved, sums_to_cut
from gaussmix.starts.start import StartMaker
from mixtures import TYPES

EPS = np.finfo(float).eps
CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [30.0, 30.0]])
types = pytest.mark.parametrize("covariance_type", TYPES)


def rows(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.standard_normal((n, 2)) + centre for centre in CENTRES])


def mixture_of(covariance_type, weights, means):
    count = len(weights)
    dense = np.repeat([[[1.0, 0.3], [0.3, 0.8]]], count, axis=0)
    covariances = {
        "full": dense,
        "tied": dense[0],
        "diag": np.einsum("kdd->kd", dense),
        "spherical": np.full(count, 0.9),
    }[covariance_type]
    return gm.Mixture(weights, means, covariances, covariance_type)


def cost(mixture, i, j):
    """What Runnalls (2007), eq. 21, says of merging two components; from determinants."""
    name = "full" if mixture.covariance_type == "tied" else mixture.covariance_type

    def log_volume(dense):
        variances = np.diag(dense)
        return {
            "full": np.linalg.slogdet(dense)[1],
            "diag": np.log(variances).sum(),
            "spherical": len(dense) * np.log(variances.mean()),
        }[name]

    (a, b), dense = mixture.weights[[i, j]], mixture.dense_covariances()
    gap = mixture.means[j] - mixture.means[i]
    both = (a * dense[i] + b * dense[j]) / (a + b) + a * b / (a + b) ** 2 * np.outer(gap, gap)
    return 0.5 * ((a + b) * log_volume(both) - a * log_volume(dense[i]) - b * log_volume(dense[j]))


@types
def test_costs_are_those_of_the_paper(covariance_type):
    rng = np.random.default_rng(1)
    mixture = mixture_of(covariance_type, [0.1, 0.2, 0.3, 0.4], rng.normal(size=(4, 2)))
    i, j = np.triu_indices(4, 1)
    expected = [cost(mixture, *pair) for pair in zip(i, j, strict=True)]
    np.testing.assert_allclose(rearranging._Moments(mixture).costs(i, j), expected, rtol=1e-12)


@types
def test_parts_of_a_cluster_are_merged_before_clusters_are(covariance_type):
    means = np.concatenate([CENTRES, CENTRES + 0.5, CENTRES[:1] - 0.5])
    mixture = mixture_of(covariance_type, np.full(9, 1 / 9), means)
    np.testing.assert_array_equal(reduction(mixture, 4), [0, 1, 2, 3, 0, 1, 2, 3, 0])
    np.testing.assert_array_equal(reduction(mixture, 9), np.arange(9))
    assert not reduction(mixture, 1).any()


@pytest.mark.parametrize("n_components", [2, 3, 5, 8])
def test_as_many_groups_are_left_as_are_wanted(n_components):
    rng = np.random.default_rng(n_components)
    mixture = mixture_of("full", np.full(20, 0.05), rng.normal(size=(20, 2)))
    groups = reduction(mixture, n_components)
    first = np.unique(groups, return_index=True)[1]
    assert len(first) == n_components and (np.diff(first) > 0).all()


@pytest.mark.parametrize("power", [-300, 300])
def test_units_do_not_choose_what_is_merged(power):
    rng = np.random.default_rng(3)
    means = rng.normal(size=(12, 2))
    mixture = mixture_of("full", np.full(12, 1 / 12), means)
    scale = 2.0**power
    scaled = gm.Mixture(mixture.weights, scale * means, scale * (scale * mixture.covariances))
    np.testing.assert_array_equal(reduction(scaled, 5), reduction(mixture, 5))


def test_pairs_held_at_once_do_not_choose_what_is_merged(monkeypatch):
    rng = np.random.default_rng(4)
    mixture = mixture_of("full", np.full(12, 1 / 12), rng.normal(size=(12, 2)))
    groups = reduction(mixture, 5)
    monkeypatch.setattr(rearranging, "PAIR_VALUES", 9)
    np.testing.assert_array_equal(reduction(mixture, 5), groups)


@types
def test_grouped_statistics_hold_what_their_parts_held(covariance_type):
    X = rows()
    mixture = mixture_of(covariance_type, [0.4, 0.3, 0.2, 0.1], CENTRES)
    statistics = mixture.statistics(X)
    groups = np.array([0, 1, 0, 0])
    found = grouped(statistics, groups).recentred(np.zeros((2, 2)))
    parts = statistics.recentred(np.zeros((4, 2)))

    def added(values):
        return np.stack([values[groups == g].sum(axis=0) for g in range(2)])

    size = 1e3 * len(X) * EPS
    np.testing.assert_allclose(found.mass, added(parts.mass), rtol=size)
    np.testing.assert_allclose(found.first, added(parts.first), rtol=size, atol=size * 1e4)
    second = parts.second if parts.layout == "pooled" else added(parts.second)
    np.testing.assert_allclose(found.second, second, rtol=size, atol=size * 1e5)


# "tied": a cut makes what all share smaller, and the next one along it shorter.
@pytest.mark.parametrize("covariance_type", [name for name in TYPES if name != "tied"])
def test_several_components_are_cut_as_one_after_the_other(covariance_type):
    X = rows()
    mixture = mixture_of(covariance_type, [0.4, 0.3, 0.2, 0.1], CENTRES)
    floor = gm.covariance.Floor(X.std(axis=0), 1e-6)
    sums = sums_to_cut(mixture, mixture.statistics(X), X, None, 1)
    together = halved(sums, [0, 1], [2, 3], floor)[0]
    single = halved(halved(sums, 0, 2, floor), 1, 3, floor)[0]
    for name in ("shift", "mass", "first", "second"):
        np.testing.assert_allclose(
            getattr(together, name), getattr(single, name), rtol=1e-12, atol=1e-12
        )


@types
def test_a_component_of_two_clusters_and_two_of_one_change_places(covariance_type):
    """EM alone stays where it is: one component over two clusters, two in the farthest one."""
    X = rows(n=500)
    trap = np.array([[4.5, 0.0], [0.0, 9.0], [29.5, 30.0], [30.5, 30.0]])
    start = mixture_of(covariance_type, [0.5, 0.2, 0.15, 0.15], trap)
    options = {"covariance_type": covariance_type, "max_iter": 300, "tol": 1e-6}
    stuck = gm.fit(X, 4, start=start, **options)
    best = gm.fit(X, 4, start=CENTRES, **options)
    assert stuck.log_likelihood[-1] < best.log_likelihood[-1] - 0.05 * len(X)
    maker = maker_of(X, covariance_type)
    found = rearranging.rearranged(run_of(stuck.mixture, X), maker)
    after = gm.fit(X, 4, start=found, **options)
    assert after.log_likelihood[-1] == pytest.approx(best.log_likelihood[-1], abs=1e-3 * len(X))


@types
def test_of_a_good_fit_nothing_is_rearranged(covariance_type):
    X = rows(n=500)
    best = gm.fit(X, 4, start=CENTRES, covariance_type=covariance_type, tol=1e-8)
    found = rearranging.rearranged(run_of(best.mixture, X), maker_of(X, covariance_type))
    np.testing.assert_allclose(found.means, best.mixture.means, atol=0.1)


def test_a_component_without_rows_is_named_an_obstacle():
    X = rows()
    mixture = mixture_of("full", [0.5, 0.5, 0.0, 0.0], CENTRES)
    maker = maker_of(X, "full")
    with pytest.raises(gm.DegenerateFitError, match="without rows"):
        rearranging.rearranged(run_of(mixture, X), maker)


@pytest.mark.parametrize(("n", "enough"), [(3, False), (30, True)])
def test_few_rows_are_not_enough(n, enough):
    assert rearranging.can_rearrange(maker_of(rows(n), "full")) is enough


def maker_of(X, covariance_type):
    family = FAMILIES[covariance_type]
    summary = summarise(X, None, 1)
    expectation = Expectation(X, None, family.layout, 4, 1)
    floor = gm.covariance.Floor(summary.scale, 1e-6)
    return StartMaker(X, None, summary, expectation, family, floor)


def run_of(mixture, X):
    statistics = mixture.statistics(X)
    traces = [statistics.log_likelihood], [statistics.classification]
    return Run(mixture, statistics, *traces, 0, True, "tol", {}, {})
