"""Re-seeding: a component that loses its rows gets half of another one, if that fits better."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.algorithms.em import Run
from gaussmix.covariance import Floor
from gaussmix.fitting import search
from gaussmix.starts.reseeding import entropy_shares, reseeded
from mixtures import TYPES

EPS = np.finfo(float).eps
FAR = np.array([[0.0, 0.0], [1e6, 1e6]])

reseeds = pytest.mark.filterwarnings("ignore:components? :gaussmix.DegenerateComponentWarning")


def clusters(*centres, n=100, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.standard_normal((n, 2)) + centre for centre in centres])


@pytest.fixture
def X():
    return clusters((0.0, 0.0), (8.0, 8.0))


def run_of(mixture, X, empty, sample_weight=None):
    """A run that has ended at `mixture`."""
    statistics = mixture.statistics(X, sample_weight)
    traces = [statistics.log_likelihood], [statistics.classification]
    return Run(mixture, statistics, *traces, 0, True, "tol", {}, empty)


def total_covariance(mixture):
    gap = mixture.means - mixture.weights @ mixture.means
    inner = np.einsum("k,kde->de", mixture.weights, mixture.dense_covariances())
    return inner + np.einsum("k,kd,ke->de", mixture.weights, gap, gap)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_emptied_component_finds_the_cluster_it_was_meant_for(X, covariance_type):
    with pytest.warns(gm.DegenerateComponentWarning, match="component 1 emptied, and re-seeded"):
        result = gm.fit(X, 2, covariance_type=covariance_type, start=FAR)
    other = gm.fit(X, 2, covariance_type=covariance_type, seed=0)
    assert result.log_likelihood[-1] == pytest.approx(other.log_likelihood[-1], rel=1e-9)
    assert [start.kind for start in result.starts] == ["means", "re-seeded"]
    assert result.starts[1].log_likelihood == result.log_likelihood[-1]
    [repair] = result.repairs
    assert (repair.kind, repair.component, repair.iteration) == ("re-seeded", 1, 0)
    trace = result.log_likelihood
    assert (np.diff(trace) >= -len(X) * EPS * np.abs(trace).max()).all()


@reseeds
def test_several_emptied_components_are_reseeded_together():
    X = clusters((0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (9.0, 9.0))
    start = np.array([[4.0, 4.0], [1e6, 0.0], [0.0, 1e6], [1e6, 1e6]])
    result = gm.fit(X, 4, start=start)
    assert {r.component for r in result.repairs if r.kind == "re-seeded"} == {1, 2, 3}
    assert result.mixture.weights.min() > 0.05
    assert result.log_likelihood[-1] > gm.fit(X, 1).log_likelihood[-1]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_both_halves_keep_weight_mean_and_covariance(X, covariance_type, weighted):
    weight = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    one = gm.fit(X, 1, covariance_type=covariance_type, sample_weight=weight).mixture
    far = np.full((1, 2), 1e6)
    covariances = one.covariances
    if covariance_type != "tied":
        covariances = np.repeat(covariances, 4, axis=0)
    mixture = gm.Mixture(
        [1.0, 0, 0, 0], np.r_[one.means, far, far, far], covariances, one.family.name
    )
    floor = Floor(X.std(axis=0), 1e-6)
    empty = [1, 2, 3]
    run = run_of(mixture, X, dict.fromkeys(empty, 1), weight)
    start, parents = reseeded(run, empty, X, weight, floor, 1)
    assert parents[0] == 0
    np.testing.assert_allclose(start.weights, 0.25, rtol=4 * EPS)
    rtol = 1e3 * EPS  # some hundred rows, some operations each
    np.testing.assert_allclose(start.weights @ start.means, one.means[0], rtol=rtol)
    before, after = total_covariance(one), total_covariance(start)
    if covariance_type == "spherical":
        before, after = np.trace(before), np.trace(after)
    elif covariance_type == "diag":
        before, after = np.diag(before), np.diag(after)  # halves know no correlation
    np.testing.assert_allclose(
        after, before, rtol=rtol, atol=rtol * np.trace(total_covariance(one))
    )


def overlapping():
    """Rows and a mixture: 0 is sharp and large, 1 and 2 overlap (2 more so), 3 has no rows."""
    X = clusters((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (20.0, 0.0), (21.0, 0.0))
    means = [[0.0, 0.0], [20.0, 0.0], [21.0, 0.0], [1e6, 1e6]]
    return X, gm.Mixture([0.6, 0.3, 0.1, 0.0], means, np.ones(4), "spherical")


def test_entropy_shares_are_those_of_the_posteriors():
    X, mixture = overlapping()
    weight = np.random.default_rng(2).uniform(size=len(X))
    r = mixture.predict_proba(X)
    expected = weight @ -(r * np.log(np.where(r > 0.0, r, 1.0)))
    shares = entropy_shares(mixture, X, weight, 1)
    np.testing.assert_allclose(shares, expected, rtol=len(X) * EPS)
    assert shares.sum() == pytest.approx(mixture.statistics(X, weight).entropy, rel=len(X) * EPS)


def test_entropy_shares_do_not_depend_on_chunks_nor_threads(monkeypatch):
    X, mixture = overlapping()
    X = np.tile(X, (20, 1))
    shares = entropy_shares(mixture, X, None, 1)
    np.testing.assert_array_equal(entropy_shares(mixture, X, None, 3), shares)
    monkeypatch.setattr("gaussmix.passes.posteriors.CHUNK_VALUES", 1000)
    np.testing.assert_allclose(entropy_shares(mixture, X, None, 1), shares, rtol=len(X) * EPS)


def test_what_is_halved_has_the_largest_share_of_the_entropy():
    X, mixture = overlapping()
    floor = Floor(X.std(axis=0), 1e-6)
    shares = entropy_shares(mixture, X, None, 1)
    parents = reseeded(run_of(mixture, X, {3: 1}), [3], X, None, floor, 1)[1]
    assert parents == [np.argmax(shares)] and parents != [np.argmax(mixture.weights)]


def test_where_every_row_is_one_components_the_largest_mass_is_halved():
    X = clusters((0.0, 0.0), (1e3, 0.0), (1e3, 0.0))
    means = [[0.0, 0.0], [1e3, 0.0], [1e6, 1e6]]
    mixture = gm.Mixture([1 / 3, 2 / 3, 0.0], means, np.ones(3), "spherical")
    floor = Floor(X.std(axis=0), 1e-6)
    assert reseeded(run_of(mixture, X, {2: 1}), [2], X, None, floor, 1)[1] == [1]


def stands_empty(result):
    return [(repair.kind, repair.component) for repair in result.repairs] == [("empty", 1)]


def test_what_does_not_fit_better_leaves_the_component_empty(X, monkeypatch):
    def same(run, components, *_):
        return run.mixture, components

    monkeypatch.setattr(search, "reseeded", same)
    with pytest.warns(gm.DegenerateComponentWarning, match="component 1 empty: no row"):
        result = gm.fit(X, 2, start=FAR)
    assert stands_empty(result) and result.mixture.weights[1] == 0.0
    assert [start.kind for start in result.starts] == ["means", "re-seeded"]


def test_a_start_that_fails_leaves_the_component_empty(X, monkeypatch):
    def fails(*_):
        raise gm.DegenerateFitError("no such half")

    monkeypatch.setattr(search, "reseeded", fails)
    with pytest.warns(gm.DegenerateComponentWarning, match="component 1 empty: no row"):
        result = gm.fit(X, 2, start=FAR)
    assert stands_empty(result)
    assert result.starts[1].error == "no such half"


@reseeds
def test_a_weight_given_as_zero_stays_zero(X):
    start = gm.Mixture([1.0, 0.0], [[4.0, 4.0], [8.0, 8.0]], np.ones(2), "spherical")
    result = gm.fit(X, 2, covariance_type="spherical", start=start)
    assert stands_empty(result) and len(result.starts) == 1
    np.testing.assert_array_equal(result.mixture.weights, [1.0, 0.0])


@reseeds
def test_an_initial_weight_of_zero_of_the_estimator_stays_zero(X):
    pytest.importorskip("sklearn")
    fitted = gm.GaussianMixture(2, weights_init=[1.0, 0.0], random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.weights_, [1.0, 0.0])
    assert len(fitted.fit_result_.starts) == 1
    fitted = gm.GaussianMixture(2, means_init=FAR, random_state=0).fit(X)
    np.testing.assert_allclose(fitted.weights_, 0.5, atol=0.05)


@reseeds
def test_fewer_distinct_rows_than_components_are_not_reseeded():
    X = np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 0.0]], 20, axis=0)
    with pytest.warns(gm.DegenerateComponentWarning, match="3 distinct rows for 4 components"):
        result = gm.fit(X, 4, covariance_type="spherical", seed=0)
    assert len(result.starts) == 1
    assert [repair.component for repair in result.repairs if repair.kind == "empty"] == [3]


@reseeds
def test_a_callback_counts_it_as_a_start_and_may_stop_it(X):
    seen = []
    gm.fit(X, 2, start=FAR, callback=lambda state: seen.append((state.start, state.iteration)))
    numbers = [start for start, _ in seen]
    assert numbers == sorted(numbers) and set(numbers) == {0, 1}
    assert seen[numbers.index(1)] == (1, 1)
    result = gm.fit(X, 2, start=FAR, callback=lambda state: state.start == 1)
    assert result.starts[1].n_iter == 1


@reseeds
def test_nothing_is_reseeded_after_a_callback_has_stopped_the_fit(X):
    result = gm.fit(X, 2, start=FAR, callback=lambda state: True)
    assert len(result.starts) == 1 and result.stop_reason == "callback"


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
@reseeds
@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_no_start_takes_more_than_max_iter(X, max_iter):
    result = gm.fit(X, 2, start=FAR, max_iter=max_iter)
    assert [start.n_iter for start in result.starts] == [max_iter] * (2 if max_iter else 1)


def test_an_interrupt_while_reseeding_is_passed_on(X):
    def interrupt(state):
        if state.start == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gm.fit(X, 2, start=FAR, callback=interrupt)


@reseeds
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_laws_hold_for_it(X, covariance_type):
    fit = {"covariance_type": covariance_type, "tol": 1e-9}
    mixture = gm.fit(X, 2, start=FAR, **fit).mixture
    assert gm.fit(X, 2, start=FAR, n_threads=3, **fit).mixture == mixture
    scaled = gm.fit(1024.0 * X, 2, start=1024.0 * FAR, **fit).mixture
    np.testing.assert_allclose(scaled.means, 1024.0 * mixture.means, rtol=1e-9)
    weight = np.full(len(X), 2.0)
    for rows, sample_weight in ((X, weight), (np.repeat(X, 2, axis=0), None)):
        twice = gm.fit(rows, 2, start=FAR, sample_weight=sample_weight, **fit).mixture
        np.testing.assert_allclose(twice.means, mixture.means, rtol=1e-9)
    order = gm.fit(X, 2, start=FAR[::-1], **fit).mixture
    found = np.sort(order.means, axis=0)
    np.testing.assert_allclose(found, np.sort(mixture.means, axis=0), rtol=1e-9)
