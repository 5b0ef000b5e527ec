"""select: against mclust's table, scikit-learn's formulas, and separate fits."""

import csv
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import (
    DegenerateComponentWarning,
    DegenerateFitError,
    InvalidInputError,
    criteria,
    datasets,
)
from gaussmix.covariance import Floor
from gaussmix.starts import neighbours

MCLUST = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}
MCLUST_TOLERANCE = 0.01  # in BIC; mclust stops at a relative change of 1e-5
RTOL_SUM = 272 * np.finfo(float).eps


@pytest.fixture(scope="module")
def X():
    return datasets.load("faithful").X


@pytest.fixture(scope="module")
def selection(X):
    return gm.select(X, seed=0)


def blobs(seed=0, n=60):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(c, 1.0, (n, 2)) for c in ((0, 0), (9, 0), (0, 9))])


def test_faithful_is_tied_with_three_components(selection):
    assert (selection.mixture.covariance_type, selection.mixture.n_components) == ("tied", 3)
    assert selection.table["bic"][selection.chosen] == pytest.approx(2314.3, abs=0.05)
    assert selection.best is selection.results[selection.chosen]


def test_every_candidate_reaches_mclust(selection):
    path = Path(__file__).parents[1] / "reference" / "mclust_faithful.csv"
    with open(path, newline="") as stream:
        reference = {int(row["k"]): row for row in csv.DictReader(stream)}
    for row in selection.table:
        theirs = -float(reference[row["n_components"]][MCLUST[row["covariance_type"]]])
        assert row["bic"] <= theirs + MCLUST_TOLERANCE, (row["covariance_type"], row["bic"], theirs)
    assert len(selection.table) == 36


def test_bic_and_aic_are_those_of_scikit_learn(selection, X):
    mixture_module = pytest.importorskip("sklearn.mixture")
    for at in (0, 4, 11, 20, 30):
        row, mixture = selection.table[at], selection.results[at].mixture
        theirs = mixture_module.GaussianMixture(
            mixture.n_components, covariance_type=mixture.covariance_type
        )
        theirs.weights_, theirs.means_ = mixture.weights, mixture.means
        factors = mixture.precision_factors
        dense = mixture.covariance_type in ("full", "tied")
        theirs.precisions_cholesky_ = np.swapaxes(factors, -1, -2) if dense else factors
        theirs.covariances_ = mixture.covariances
        assert row["bic"] == pytest.approx(theirs.bic(X), rel=1e-10)
        assert row["aic"] == pytest.approx(theirs.aic(X), rel=1e-10)


def test_aicc_and_icl_follow_their_formulas(selection, X):
    row, mixture = selection.table[3], selection.results[3].mixture
    p, n = row["n_parameters"], len(X)
    assert row["aicc"] == pytest.approx(row["aic"] + 2 * p * (p + 1) / (n - p - 1), rel=1e-14)
    r = mixture.predict_proba(X)
    entropy = -np.sum(r * np.log(np.where(r > 0, r, 1.0)))
    assert row["icl"] == pytest.approx(row["bic"] + 2 * entropy, rel=1e-12)


def test_aicc_is_infinite_where_rows_are_too_few():
    assert criteria.aicc(-10.0, 5, 6) == np.inf
    assert np.isfinite(criteria.aicc(-10.0, 5, 7))


def test_the_sweep_ends_no_lower_than_separate_fits(selection, X):
    for name, at in (("full", 8), ("tied", 17), ("spherical", 35)):
        separate = gm.fit(X, 9, covariance_type=name, n_starts=5, tol=1e-4, max_iter=1000, seed=1)
        assert not separate.repairs  # else a likelihood held up by the floor may be higher
        # Both are polished to 1e-8 nats per row: of 0.01 little is left, and no optimum is so near.
        assert selection.table["log_likelihood"][at] > separate.log_likelihood[-1] - 0.01


def test_more_components_never_fit_worse(selection):
    for name in MCLUST:
        rows = selection.table[selection.table["covariance_type"] == name]
        assert (np.diff(rows["log_likelihood"][~rows["degenerate"]]) > 0).all()


def test_a_candidate_does_not_depend_on_other_types(X):
    alone = gm.select(X, range(1, 4), "diag", seed=0)
    among = gm.select(X, range(1, 4), ("tied", "diag"), seed=0)
    assert alone.table["log_likelihood"].tolist() == among.table["log_likelihood"][3:].tolist()


def test_threads_do_not_change_a_bit():
    X = np.random.default_rng(0).normal(size=(9_000, 4))  # enough for a second thread, K = 3
    found = [
        gm.select(X, [2, 3], "full", seed=3, n_threads=n, tol=0.1).table["bic"] for n in (1, 2)
    ]
    assert found[0].tolist() == found[1].tolist()


def test_pandas_takes_the_table(selection):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(selection.table)
    assert frame.loc[frame["bic"].idxmin(), "covariance_type"] == "tied"
    assert {"n_iter", "seconds", "warnings", "degenerate", "cv"} <= set(frame.columns)


def test_the_repr_marks_the_chosen_one(selection):
    text = repr(selection)
    assert text.startswith("Selection by BIC (lower is better): tied, K = 3")
    assert text.count("2314.30*") == 1


def test_cross_validation_finds_the_clusters():
    found = gm.select(blobs(), range(1, 6), "spherical", "cv", seed=0)
    assert found.mixture.n_components == 3
    assert np.isfinite(found.table["cv"]).all()


def test_held_out_likelihood_of_one_component_by_brute_force():
    X = np.arange(8.0) ** 2
    weight = np.array([1.0, 2, 1, 0, 3, 1, 1, 2])
    found = gm.select(X, 1, "full", "cv", n_folds=7, sample_weight=weight, seed=0)
    total = 0.0
    for i in np.flatnonzero(weight):
        rest = np.delete(np.arange(8), i)
        mean = np.average(X[rest], weights=weight[rest])
        variance = np.average((X[rest] - mean) ** 2, weights=weight[rest])
        density = np.log(2 * np.pi * variance) + (X[i] - mean) ** 2 / variance
        total += weight[i] * density
    assert found.table["cv"][0] == pytest.approx(total, rel=1e-12)


def test_weight_two_is_a_row_twice():
    X = blobs(n=20)
    weight = np.where(np.arange(len(X)) % 2, 2.0, 1.0)
    weighted = gm.select(X, [1, 3], "full", sample_weight=weight, seed=0)
    repeated = gm.select(np.repeat(X, weight.astype(int), axis=0), [1, 3], "full", seed=0)
    np.testing.assert_allclose(weighted.table["bic"], repeated.table["bic"], rtol=1e-7)
    assert weighted.mixture.n_components == repeated.mixture.n_components == 3


def test_rows_of_weight_zero_do_not_count():
    X = blobs(n=20)
    more = np.concatenate([X, 1e3 * np.ones((5, 2))])
    weight = np.r_[np.ones(len(X)), np.zeros(5)]
    found = gm.select(more, [1, 2, 3], "diag", sample_weight=weight, seed=0)
    assert found.mixture.n_components == 3
    assert np.abs(found.mixture.means).max() < 20


def test_one_dimension():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(-4, 1, 150), rng.normal(4, 1, 150)])
    found = gm.select(X, range(1, 4), seed=0)
    assert (found.mixture.n_components, found.mixture.n_features) == (2, 1)


def test_numbers_of_components_may_have_gaps():
    found = gm.select(blobs(), [6, 1, 3], "spherical", seed=0)
    assert found.table["n_components"].tolist() == [1, 3, 6]
    assert found.mixture.n_components == 3


def test_a_degenerate_candidate_is_passed_over_with_a_warning():
    X = [1.0, 2, 3, 4, 5, 9]
    with pytest.warns(DegenerateComponentWarning, match="but has degenerated .*is chosen"):
        found = gm.select(X, range(1, 6), "full", seed=0)
    assert found.mixture.n_components == 1
    row = found.table[-1]
    assert row["degenerate"] and row["warnings"] and row["bic"] < found.table["bic"][0]
    assert "!" in repr(found)


def test_where_all_have_degenerated_it_says_so():
    with pytest.warns(DegenerateComponentWarning, match="every candidate has degenerated"):
        found = gm.select([1.0, 2.0, 4.0, 7.0, 11.0], [4, 5], "full", seed=0)
    assert found.table["degenerate"].all()


def test_a_component_of_one_row_is_found_and_marked_under_tied_covariance():
    X = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), [[1e3, 0.0]]])
    with pytest.warns(DegenerateComponentWarning, match="has 1 row.*tied, K = 1 .* is chosen"):
        found = gm.select(X, [1, 2], "tied", seed=0)
    assert found.table["degenerate"].tolist() == [False, True]
    assert found.results[1].statistics.mass.min() == pytest.approx(1.0, abs=1e-6)


def test_a_constant_column_is_told_once_and_is_no_degeneration():
    X = np.column_stack([blobs(n=30), np.full(90, 3.0)])
    with pytest.warns(DegenerateComponentWarning, match="column 2 of X is constant") as caught:
        found = gm.select(X, range(1, 5), ("full", "diag"), seed=0)
    assert len(caught) == 1
    assert found.mixture.n_components == 3 and not found.table["degenerate"][:3].any()


def test_dependent_columns_mark_what_has_no_full_rank():
    X = blobs(n=30)
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    with pytest.warns(DegenerateComponentWarning, match="linearly dependent"):
        found = gm.select(X, range(1, 4), ("full", "diag"), seed=0)
    assert found.mixture.covariance_type == "diag"
    assert found.table["degenerate"][:3].all()


def test_without_a_floor_failures_are_rows_of_the_table():
    X = [0.0, 1.0, 5.0]
    with pytest.warns(DegenerateComponentWarning, match="K = 3 could not be fitted"):
        found = gm.select(X, [1, 3], "full", reg_covar=0.0, seed=0)
    assert found.results[1] is None and np.isnan(found.table["bic"][1])
    assert found.table["degenerate"][1] and found.mixture.n_components == 1
    assert "failed" in repr(found)
    with pytest.raises(DegenerateFitError, match="no candidate"):
        gm.select(X, [3], "full", reg_covar=0.0, seed=0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": []}, "n_components is empty"),
        ({"n_components": [2.0]}, "not an integer"),
        ({"n_components": np.array(7)}, "only 6 rows; use at most 6"),
        ({"n_components": 7}, "only 6 rows; use at most 6"),
        ({"n_components": 6, "criterion": "cv", "n_folds": 3}, "only 4 rows left outside a fold"),
        ({"covariance_types": "round"}, "round"),
        ({"covariance_types": ()}, "covariance_types is empty"),
        ({"covariance_types": None}, "covariance_type is None"),
        ({"criterion": "dic"}, "criterion is 'dic'"),
        ({"n_folds": 1}, "n_folds is 1"),
        ({"criterion": "cv", "n_folds": 7, "n_components": 1}, "n_folds=7 for 6 rows"),
        ({"n_starts": 0}, "n_starts is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_used_is_refused(options, match):
    with pytest.raises(InvalidInputError, match=match):
        gm.select([1.0, 2, 3, 4, 5, 9], **{"n_components": [1, 2], **options})


@pytest.mark.parametrize("covariance_type", MCLUST)
def test_a_split_keeps_mean_and_covariance_of_the_whole(X, covariance_type):
    result = gm.fit(X, 2, covariance_type=covariance_type, seed=0)
    made = neighbours.splits(result, 5, X, None, Floor(X.std(axis=0), 1e-6), 1, 8)
    assert len(made) == 2
    for mixture in made:
        assert mixture.n_components == 5
        np.testing.assert_allclose(mixture.weights @ mixture.means, X.mean(axis=0), rtol=1e-9)
        if covariance_type != "diag":  # it cuts along features, and forgets what correlates them
            around = mixture.means - X.mean(axis=0)
            total = np.einsum("k,kij->ij", mixture.weights, mixture.dense_covariances())
            total += np.einsum("k,ki,kj->ij", mixture.weights, around, around)
            np.testing.assert_allclose(np.trace(total), X.var(axis=0).sum(), rtol=1e-9)


@pytest.mark.parametrize("covariance_type", MCLUST)
def test_merging_all_is_the_fit_of_one(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, seed=0)
    one = gm.fit(X, 1, covariance_type=covariance_type).mixture
    (made, *_) = neighbours.merges(result, 1, X, None, Floor(X.std(axis=0), 1e-6), 1, 3)
    np.testing.assert_allclose(made.means, one.means, rtol=1e-9)
    np.testing.assert_allclose(made.covariances, one.covariances, rtol=1e-9)


def test_overlaps_are_sums_of_products_of_posteriors(X):
    mixture = gm.fit(X, 3, seed=0).mixture
    weight = np.linspace(0, 2, len(X))
    r = mixture.predict_proba(X)
    np.testing.assert_allclose(
        neighbours.overlaps(mixture, X, weight, 1), (r * weight[:, None]).T @ r, rtol=RTOL_SUM
    )


def test_selections_in_several_threads_leave_the_filters_of_warnings_alone(X):
    filters, shown = list(warnings.filters), warnings.showwarning
    both = threading.Barrier(2)

    def work(seed):
        both.wait()
        gm.select(X[:60], [1, 2], seed=seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (warnings.filters, warnings.showwarning) == (filters, shown)
