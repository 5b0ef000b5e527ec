"""fit: starts, restarts, weights, results; values of an established program."""

import csv
from pathlib import Path

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import fitting

MCLUST_NAMES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}


@pytest.fixture(scope="module")
def faithful():
    return gm.datasets.load("faithful").X


@pytest.fixture(scope="module")
def mclust_bic():
    with (Path(__file__).parent / "reference" / "mclust_faithful.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(name, int(row["k"])): float(row[name]) for row in rows for name in row if name != "k"}


@pytest.mark.parametrize("n_components", range(1, 7))
@pytest.mark.parametrize("covariance_type", MCLUST_NAMES)
def test_fifty_starts_reach_mclust(faithful, mclust_bic, covariance_type, n_components):
    result = gm.fit(
        faithful,
        n_components,
        covariance_type=covariance_type,
        n_starts=50,
        seed=0,
        tol=1e-6,
        max_iter=1000,
    )
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
    assert sum(report.continued for report in result.starts) == 3

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
