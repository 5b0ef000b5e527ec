"""fit: starts, restarts, weights, results; values of an established program."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends
from gaussmix.fitting import attempts, search
from gaussmix.fitting import fit as fitting

MCLUST_NAMES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}
# An iteration on 272 rows takes a few us where the loop is compiled, and 0.2 ms where it is not.
MCLUST_SEEDS = range(3 if backends.active().iterate else 1)


@pytest.fixture(scope="module")
def faithful():
    return gm.datasets.load("faithful").X


@pytest.fixture(scope="module")
def mclust_bic():
    with (Path(__file__).parents[1] / "reference" / "mclust_faithful.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(name, int(row["k"])): float(row[name]) for row in rows for name in row if name != "k"}


@pytest.mark.parametrize("seed", MCLUST_SEEDS)
@pytest.mark.parametrize("n_components", range(1, 7))
@pytest.mark.parametrize("covariance_type", MCLUST_NAMES)
def test_fifty_starts_reach_mclust(faithful, mclust_bic, covariance_type, n_components, seed):
    result = gm.fit(faithful, n_components, covariance_type=covariance_type, n_starts=50, seed=seed)
    # mclust's BIC has the opposite sign; equality at K = 1 shows that parameters agree.
    bic = -result.mixture.bic(faithful)
    expected = mclust_bic[MCLUST_NAMES[covariance_type], n_components]
    assert bic >= expected - 0.01
    if n_components == 1:
        assert bic == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["kmeans", "k-means++", "random", "random_from_data"])
def test_every_named_start_finds_separate_clusters(kind):
    truth = gm.Mixture([0.3, 0.3, 0.4], [[0, 0], [20, 0], [0, 20]], np.ones(3), "spherical")
    X, _ = truth.sample(3000, seed=0)
    # Of random responsibilities and random rows one start may fail; of ten the best does not.
    result = gm.fit(X, 3, start=kind, n_starts=10, seed=0, tol=1e-8, max_iter=1000)
    assert result.mixture.score(X) >= truth.score(X)


@pytest.mark.parametrize("covariance_type", MCLUST_NAMES)
def test_components_left_in_one_place_are_reported(covariance_type):
    truth = gm.Mixture([0.3, 0.3, 0.4], [[0, 0], [6, 0], [0, 6]], np.ones(3), "spherical")
    X, _ = truth.sample(10_000, seed=0)
    with pytest.warns(gm.DegenerateComponentWarning, match="the 3 components coincide"):
        result = gm.fit(X, 3, start="random", seed=0, covariance_type=covariance_type)
    assert [repair.kind for repair in result.repairs] == ["coinciding"]
    assert result.mixture.score(X) < truth.score(X) - 0.5


@pytest.mark.parametrize("covariance_type", MCLUST_NAMES)
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_components_that_overlap_are_not_reported(distance, covariance_type):
    truth = gm.Mixture([0.5, 0.5], [[0, 0], [distance, 0]], np.ones(2), "spherical")
    X, _ = truth.sample(3000, seed=1)
    result = gm.fit(X, 2, seed=0, covariance_type=covariance_type)
    assert result.repairs == [] and result.converged


def test_centre_starts_have_covariances_of_the_data_not_the_floor():
    X, _ = gm.Mixture([0.5, 0.5], [[0, 0], [9, 9]], np.ones(2), "spherical").sample(500, seed=0)
    for kind in ("kmeans", "k-means++", "random_from_data"):
        start = gm.fit(X, 2, start=kind, seed=3, max_iter=0).mixture
        assert np.linalg.eigvalsh(start.covariances).min() > 0.05


def test_kmeans_start_equals_scikit_learn_k_means():
    from sklearn.cluster import KMeans

    X, _ = gm.Mixture([0.2, 0.3, 0.5], [[0, 0], [8, 0], [0, 8]], np.ones(3), "spherical").sample(
        2000, seed=1
    )
    scale = X.std(axis=0)
    start = gm.fit(X, 3, seed=0, max_iter=0).mixture
    means = start.means[np.argsort(start.weights)]
    theirs = KMeans(3, n_init=10, random_state=0, tol=1e-8).fit(X / scale)
    order = np.argsort(np.bincount(theirs.labels_))
    # Ours ends at a gain of 1e-4 nats per row: a row or two of 400 may be on another side.
    np.testing.assert_allclose(means, theirs.cluster_centers_[order] * scale, rtol=1e-3, atol=1e-3)


def test_means_labels_responsibilities_and_mixtures_are_starts(faithful):
    reference = gm.fit(faithful, 2, seed=0, tol=1e-10, max_iter=500)
    mixture = reference.mixture
    starts = {
        "means": mixture.means,
        "labels": mixture.predict(faithful),
        "responsibilities": mixture.predict_proba(faithful),
        "mixture": mixture,
    }
    for kind, start in starts.items():
        result = gm.fit(faithful, 2, start=start, tol=1e-10, max_iter=500)
        assert result.starts[0].kind == kind
        # Both end at a gain of 1e-10 per row, of 4 nats, and EM may have a thousand such to go.
        assert result.log_likelihood[-1] == pytest.approx(reference.log_likelihood[-1], rel=1e-7)


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
def test_responsibilities_start_is_the_m_step(faithful):
    for covariance_type in MCLUST_NAMES:
        mixture = gm.fit(faithful, 2, covariance_type=covariance_type, seed=0).mixture
        stepped = gm.fit(
            faithful, 2, covariance_type=covariance_type, start=mixture, max_iter=1
        ).mixture
        given = gm.fit(
            faithful,
            2,
            covariance_type=covariance_type,
            start=mixture.predict_proba(faithful),
            max_iter=0,
        ).mixture
        np.testing.assert_allclose(given.covariances, stepped.covariances, rtol=1e-10)
        np.testing.assert_allclose(given.means, stepped.means, rtol=1e-12)
        np.testing.assert_allclose(given.weights, stepped.weights, rtol=1e-12)


def test_a_means_start_keeps_the_means(faithful):
    means = np.array([[2.0, 54.0], [4.3, 80.0]])
    start = gm.fit(faithful, 2, start=means, max_iter=0).mixture
    np.testing.assert_array_equal(start.means, means)


def test_starts_are_reported_and_a_failing_one_takes_no_other_down(faithful, monkeypatch):
    result = gm.fit(faithful, 3, n_starts=9, seed=0)
    assert len(result.starts) == 9
    assert [report.kind for report in result.starts[:3]] == ["kmeans", "k-means++", "broad"]
    assert all(report.continued for report in result.starts)  # on 272 rows that costs little
    with monkeypatch.context() as costly:
        costly.setattr(search, "LITTLE_FLOPS", 0)
        result = gm.fit(faithful, 3, n_starts=9, seed=0)
    assert sum(report.continued for report in result.starts) == 1 + 3  # a third of 8

    original = fitting.StartMaker.make

    def failing(self, kind, rng):
        if kind == "broad":
            raise gm.DegenerateFitError("made to fail")
        return original(self, kind, rng)

    monkeypatch.setattr(fitting.StartMaker, "make", failing)
    result = gm.fit(faithful, 3, n_starts=9, seed=0)
    failed = [report for report in result.starts if report.error]
    assert len(failed) == 4
    assert all("made to fail" in report.error for report in failed)
    assert np.isfinite(result.log_likelihood[-1])


def test_all_starts_failing_is_an_error(faithful, monkeypatch):
    def failing(self, kind, rng):
        raise gm.DegenerateFitError("made to fail")

    monkeypatch.setattr(fitting.StartMaker, "make", failing)
    with pytest.raises(gm.DegenerateFitError, match="every start failed"):
        gm.fit(faithful, 3, n_starts=4, seed=0)


def test_more_starts_are_never_worse(faithful):
    for covariance_type in MCLUST_NAMES:
        one = gm.fit(faithful, 5, covariance_type=covariance_type, seed=2)
        many = gm.fit(faithful, 5, covariance_type=covariance_type, seed=2, n_starts=12)
        assert many.log_likelihood[-1] >= one.log_likelihood[-1]


def test_the_same_seed_gives_the_same_bits(faithful):
    first = gm.fit(faithful, 4, seed=7, n_starts=5)
    assert gm.fit(faithful, 4, seed=7, n_starts=5).mixture == first.mixture
    rng = np.random.default_rng(7)
    assert gm.fit(faithful, 4, seed=rng, n_starts=5).mixture == first.mixture


def test_one_dimensional_data_may_be_flat(faithful):
    flat = gm.fit(faithful[:, 0], 2, seed=0)
    assert flat.mixture == gm.fit(faithful[:, :1], 2, seed=0).mixture


def test_config_and_timings_tell_how_it_was_done(faithful):
    result = gm.fit(faithful, 2, seed=0)
    assert result.config["tol"] == 1e-3
    assert result.config["backend"] == gm.config()["backend"]
    assert set(result.timings) == {"start", "em", "total"}
    assert "converged after" in repr(result)


def test_progress_shows_iterations_on_stderr(faithful, capsys):
    gm.fit(faithful, 3, seed=0, progress=True)
    assert "log-likelihood" in capsys.readouterr().err


def test_a_callback_that_stops_ends_the_whole_search(faithful):
    seen = []

    def callback(state):
        seen.append((state.start, state.iteration))
        return len(seen) == 12

    result = gm.fit(faithful, 4, n_starts=9, seed=0, tol=1e-9, callback=callback)
    assert len(seen) == 12
    assert len(result.starts) <= 3

    seen = []
    gm.fit(faithful, 4, n_starts=9, seed=0, tol=1e-3, callback=lambda s: seen.append(s))
    # Iterations of a start are numbered through, over its short run, its long one and the polish.
    for start in {state.start for state in seen}:
        iterations = [state.iteration for state in seen if state.start == start]
        assert iterations == list(range(1, len(iterations) + 1))


def test_a_failing_polish_leaves_what_was_reached(faithful, monkeypatch):
    original = attempts.Attempts._run

    def failing(self, initial, max_iter, tol, *others):
        if tol < self.options.tol:
            raise gm.DegenerateFitError("made to fail")
        return original(self, initial, max_iter, tol, *others)

    monkeypatch.setattr(attempts.Attempts, "_run", failing)
    result = gm.fit(faithful, 3, n_starts=5, seed=0)
    best = max(report.log_likelihood for report in result.starts if report.continued)
    assert result.log_likelihood[-1] == best


def test_a_continued_short_run_is_one_uninterrupted_run(faithful, monkeypatch):
    monkeypatch.setattr(attempts.Attempts, "polished", lambda self, best, max_iter: best)
    result = gm.fit(faithful, 4, n_starts=9, seed=1, tol=1e-4, max_iter=400)
    starts = {}

    def keep_first(state):
        starts.setdefault(state.start, []).append(state)

    gm.fit(faithful, 4, n_starts=9, seed=1, tol=1e-4, max_iter=400, callback=keep_first)
    checked = 0
    for number, report in enumerate(result.starts):
        if number and report.continued and report.n_iter > search.SHORT_ITERATIONS:
            first = starts[number][0].mixture
            rest = gm.fit(faithful, 4, start=first, tol=1e-4, max_iter=400)
            assert rest.n_iter + 1 == report.n_iter
            assert rest.log_likelihood[-1] == report.log_likelihood
            checked += 1
    assert checked


def test_the_best_of_several_is_continued_at_a_finer_tolerance(faithful):
    result = gm.fit(faithful, 3, covariance_type="tied", n_starts=6, seed=0, max_iter=1000)
    gains = np.diff(result.log_likelihood) / len(faithful)
    assert gains[-1] < 1e-5  # tol alone, 1e-3, stops far above


def test_a_given_start_below_the_floor_is_raised_to_it(faithful):
    scale = faithful.std(axis=0)
    start = gm.Mixture([0.5, 0.5], faithful[:2], np.full((2, 2), 1e-12) * scale**2, "diag")
    raised = gm.fit(
        faithful, 2, start=start, covariance_type="diag", max_iter=0, reg_covar=1e-3
    ).mixture
    np.testing.assert_allclose(raised.covariances, np.tile(1e-3 * scale**2, (2, 1)), rtol=1e-12)


def test_a_spherical_floor_is_that_of_the_widest_feature():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) * [1.0, 1000.0]
    X[:20] = X[0]  # a component will collapse onto these
    labels = np.r_[np.zeros(20, int), np.ones(180, int)]
    with pytest.warns(gm.DegenerateComponentWarning, match="component 0 collapsed"):
        result = gm.fit(X, 2, covariance_type="spherical", start=labels, reg_covar=1e-4)
    assert result.mixture.covariances[0] == pytest.approx(1e-4 * X[:, 1].var(), rel=1e-12)


def test_small_cells_borrow_from_all_cells():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), [[50.0, 50.0], [51.0, 50.5], [50.2, 51.0]]])
    start = gm.fit(X, 2, start=np.array([[0.0, 0.0], [50.0, 50.0]]), max_iter=0).mixture
    cells = [np.cov(X[:300].T, bias=True), np.cov(X[300:].T, bias=True)]
    pooled = (300 * cells[0] + 3 * cells[1]) / 303
    prior = 1 + 3 / 2  # parameters of a covariance for each feature, and one row
    expected = (3 * cells[1] + prior * pooled) / (3 + prior)
    np.testing.assert_allclose(start.covariances[1], expected, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", MCLUST_NAMES)
@pytest.mark.parametrize("offset", [1e4, 1e7, 1e9])
def test_one_component_from_a_distant_start_is_exact(covariance_type, offset):
    X = np.random.default_rng(0).normal(size=(500, 2))
    expected = gm.fit(X, 1, covariance_type=covariance_type).mixture
    identity = {
        "full": np.eye(2)[None],
        "tied": np.eye(2),
        "diag": np.ones((1, 2)),
        "spherical": [1.0],
    }[covariance_type]
    start = gm.Mixture([1.0], [[offset, offset]], identity, covariance_type)
    found = gm.fit(X, 1, covariance_type=covariance_type, start=start).mixture
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found.means, expected.means, atol=1e-7)


def test_tied_covariances_are_symmetric_whatever_the_start():
    X = np.random.default_rng(0).normal(size=(500, 3))
    start = gm.Mixture([0.5, 0.5], [[1e7, 0, 3], [0, 2e6, 1]], np.eye(3), "tied")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture = gm.fit(X, 2, covariance_type="tied", start=start, max_iter=1).mixture
    np.testing.assert_array_equal(mixture.covariances, mixture.covariances.T)


def test_a_subnormal_weight_is_next_to_none(faithful):
    weight = np.ones(len(faithful))
    weight[7] = 1e-310
    for covariance_type in MCLUST_NAMES:
        tiny = gm.fit(faithful, 2, covariance_type=covariance_type, sample_weight=weight, seed=0)
        none = gm.fit(
            faithful,
            2,
            covariance_type=covariance_type,
            sample_weight=np.where(weight < 1, 0, 1),
            start=tiny.mixture,
        )
        # Fits that end at tol = 1e-3, and one goes on from the other's mixture.
        np.testing.assert_allclose(none.mixture.means, tiny.mixture.means, rtol=1e-2)
        assert np.isfinite(tiny.log_likelihood).all()


def test_where_the_likeliest_short_runs_collapse_others_are_continued():
    # Eight equal rows: without a floor the runs that find them are the likeliest, and fail.
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) + 3])
    X = np.concatenate([X, np.repeat(rng.normal(size=(1, 2)) + 12, 8, axis=0)])
    result = gm.fit(X, 3, reg_covar=0.0, seed=1, n_starts=30, max_iter=300)
    failed = [report for report in result.starts if report.error]
    assert failed
    assert all("singular" in report.error for report in failed)
    assert np.isfinite(result.log_likelihood[-1])


def test_an_answer_of_the_callback_that_is_neither_true_nor_false_is_named(faithful):
    with pytest.raises(gm.InvalidTypeError, match=r"callback returned array.*Return True to end"):
        gm.fit(faithful, 2, callback=lambda state: np.array([True, False]))
    assert gm.fit(faithful, 2, callback=lambda state: np.True_).stop_reason == "callback"


def test_an_error_of_the_callback_is_the_callers_whatever_its_kind(faithful):
    def callback(state):
        raise gm.DegenerateFitError("mine")

    with pytest.raises(gm.DegenerateFitError, match=r"^mine$"):
        gm.fit(faithful, 2, n_starts=3, seed=0, callback=callback)


def test_a_callback_must_be_callable(faithful):
    with pytest.raises(gm.InvalidInputError, match="callback is 3"):
        gm.fit(faithful, 2, callback=3)
