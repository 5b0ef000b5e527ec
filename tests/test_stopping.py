import itertools
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import gaussmix as gm
from cancelling import ALGORITHMS, After, rows
from gaussmix import stopping
from gaussmix.fitting import diagnosis

pytestmark = pytest.mark.filterwarnings("ignore:cancel ended")


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock by which a second goes by whenever it is looked at."""
    monkeypatch.setattr(stopping, "time", SimpleNamespace(perf_counter=itertools.count().__next__))


def stops(fit, n=None):
    """Results of fits cancelled at every check, or at `n` of them; the last is not cancelled."""
    never = After(1_000_000)
    whole = fit(never)
    n_checks = never.asked - never.count
    for count in range(0, n_checks, 1 if n is None else max(1, n_checks // n)):
        try:
            result = fit(After(count))
        except gm.FitStoppedError as error:
            assert "cancel ended the fit before there was a mixture" in str(error)
        else:
            yield result
    yield whole


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_fit_cancelled_anywhere_returns_a_mixture_with_its_own_log_likelihood(
    short_calls, algorithm
):
    X = rows(1500)

    def fit(cancel):
        return gm.fit(
            X, 3, algorithm=algorithm, start="k-means++", max_iter=6, seed=0, cancel=cancel
        )

    for result in stops(fit, 12):
        assert len(result.log_likelihood) == result.n_iter + 1
        total = result.mixture.logpdf(X).sum()
        np.testing.assert_allclose(result.log_likelihood[-1], total, rtol=1e-12)
        np.testing.assert_array_equal(result.statistics.shift, result.mixture.means)
        assert result.statistics.weight == len(X)


def test_what_a_cancelled_em_fit_has_done_are_the_first_iterations_of_the_whole(short_calls):
    X = rows()
    with pytest.warns(gm.ConvergenceWarning, match="did not converge in 12 iterations"):
        whole = gm.fit(X, 3, tol=0.0, max_iter=12, seed=1, cancel=After(10_000))

    def fit(cancel):
        return gm.fit(X, 3, tol=0.0, max_iter=12, seed=1, cancel=cancel)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        results = list(stops(fit))
    assert {result.n_iter for result in results} == set(range(13))
    for result in results:
        np.testing.assert_array_equal(
            result.log_likelihood, whole.log_likelihood[: result.n_iter + 1]
        )


def test_with_several_starts_the_best_so_far_comes_back(short_calls):
    X = rows(300)

    def fit(cancel):
        return gm.fit(X, 3, n_starts=4, seed=0, cancel=cancel)

    results = list(stops(fit, 12))
    assert any(len(result.starts) > 2 and result.stop_reason == "cancelled" for result in results)
    for result in results:
        reached = [start.log_likelihood for start in result.starts if start.error is None]
        assert result.log_likelihood[-1] == max(reached)


def test_a_cancelled_fit_warns_with_what_it_had_reached(short_calls):
    with pytest.warns(gm.ConvergenceWarning, match=r"cancel ended the fit after \d+ iterations"):
        gm.fit(rows(), 3, start="random_from_data", tol=0.0, cancel=After(60), seed=0)


def test_a_search_that_is_cut_short_after_a_run_has_converged_stays_converged(short_calls):
    X = rows(300)
    results = list(stops(lambda cancel: gm.fit(X, 3, n_starts=3, seed=0, cancel=cancel), 20))
    cut = [result for result in results if result.converged and result.stop_reason == "cancelled"]
    assert cut and all(result.n_iter for result in cut)


def test_a_search_that_is_cut_short_warns():
    token = After(1_000_000)
    gm.fit(rows(300), 3, n_starts=30, seed=0, cancel=token)
    late = (token.asked - token.count) * 3 // 4
    with pytest.warns(gm.ConvergenceWarning, match="cancel ended the search for a better optimum"):
        gm.fit(rows(300), 3, n_starts=30, seed=0, cancel=After(late))


def test_max_seconds_ends_a_fit_and_says_so(slow_clock, short_calls):
    with pytest.warns(gm.ConvergenceWarning, match=r"max_seconds=100 ended the fit after"):
        result = gm.fit(rows(200), 3, tol=0.0, max_iter=10**7, max_seconds=100, seed=0)
    assert result.stop_reason == "max_seconds" and not result.converged
    assert result.config["max_seconds"] == 100


def test_a_fit_without_time_for_one_iteration_is_an_error_that_says_so():
    with pytest.raises(gm.FitStoppedError, match=r"max_seconds=1e-09 ended the fit before"):
        gm.fit(rows(), 3, max_seconds=1e-9)


def test_an_event_that_another_thread_sets_ends_a_fit():
    event, begun = threading.Event(), threading.Event()

    def other():
        begun.wait()
        event.set()

    threading.Thread(target=other).start()
    result = gm.fit(
        rows(), 3, tol=0.0, max_iter=10**7, cancel=event, seed=0, callback=lambda _: begun.set()
    )
    assert result.stop_reason == "cancelled"


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", True])
def test_max_seconds_has_to_be_a_positive_number(value):
    with pytest.raises(gm.InvalidInputError, match="max_seconds is"):
        gm.fit(rows(), 3, max_seconds=value)


def test_a_token_has_to_have_the_method_is_set():
    with pytest.raises(gm.InvalidInputError, match=r"cancel is 3; pass a threading\.Event"):
        gm.fit(rows(), 3, cancel=3)


def test_an_error_of_the_token_comes_through():
    class Broken:
        def is_set(self):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        gm.fit(rows(), 3, cancel=Broken())


def test_a_callback_may_fit_and_score_beyond_the_limits_of_its_fit():
    event, told = threading.Event(), []

    def callback(state):
        event.set()
        inner = gm.fit(rows(20_000), 2, max_iter=3, tol=0.0, seed=0)
        told.append(inner.stop_reason)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        result = gm.fit(rows(), 3, cancel=event, callback=callback, seed=0)
    assert told == ["max_iter"] and (result.stop_reason, result.n_iter) == ("cancelled", 1)


def test_a_fit_in_another_thread_has_limits_of_its_own():
    def other():
        results.append(gm.fit(rows(), 3, seed=0).stop_reason)

    results = []
    with stopping.within(1e-9):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert results == ["tol"]


def test_limits_of_an_outer_call_are_back_after_an_inner_one():
    with stopping.within(5.0):
        with stopping.within(7.0):
            assert stopping.max_seconds() == 7.0
        assert stopping.max_seconds() == 5.0
    assert stopping.max_seconds() is None


def test_a_fit_far_from_the_origin_can_be_cancelled_anywhere(short_calls):
    X = rows(1500) + 1e8

    def fit(cancel):
        return gm.fit(X, 3, start="k-means++", max_iter=6, seed=0, cancel=cancel)

    for result in stops(fit, 12):
        np.testing.assert_array_equal(result.statistics.shift, result.mixture.means)
        # Means are rounded to 1e-8, which is 1e-8 standard deviations.
        assert abs(result.log_likelihood[-1] - result.mixture.logpdf(X).sum()) < 1e-7 * len(X)


def test_repairs_of_a_cancelled_fit_need_no_pass_over_the_rows(short_calls):
    X = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 200, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = {
            repair.kind
            for result in stops(lambda cancel: gm.fit(X, 5, seed=0, cancel=cancel))
            if result.stop_reason == "cancelled"
            for repair in result.repairs
        }
    assert kinds  # each cancelled fit ended, and those that had collapsed said so


def test_of_a_cancelled_fit_the_narrow_columns_of_a_few_components_are_told(short_calls):
    X = np.repeat(np.random.default_rng(0).normal(size=(9, 2)), 50, axis=0)
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for result in stops(lambda cancel: gm.fit(X, 9, start=X[::50], cancel=cancel)):
            floored = [repair for repair in result.repairs if repair.kind == "floor"]
            told.append([repair.feature is not None for repair in floored])
    few = [True] * diagnosis.NAMED + [False] * (9 - diagnosis.NAMED)
    assert few in told  # cancelled before its report, at the latest
    assert all(known in ([], few) for known in told[:-1])
    assert told[-1] == [True] * 9


# -- select, the estimator


def test_select_chooses_among_what_has_been_fitted():
    X = rows(500)
    cancel = After(60)
    with pytest.warns(gm.ConvergenceWarning, match=r"cancel ended the sweep: of 8 candidates \d"):
        selection = gm.select(X, range(1, 5), ["full", "diag"], cancel=cancel, seed=0)
    missed = [at for at, result in enumerate(selection.results) if result is None]
    assert missed and selection.stop_reason == "cancelled" and selection.chosen not in missed
    for at in missed:
        assert "not reached: cancel ended the sweep" in selection.table["warnings"][at]
        assert np.isnan(selection.table["bic"][at])
    assert "not reached" in repr(selection)


def test_select_cancelled_anywhere_chooses_or_says_that_it_cannot():
    X = rows(300)
    for count in (0, 3, 10, 30, 100, 200):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                selection = gm.select(X, range(1, 4), "full", cancel=After(count), seed=0)
        except gm.FitStoppedError:
            continue
        assert selection.mixture is not None


def test_a_cross_validation_that_is_cut_short_chooses_nothing():
    X = rows(300)
    with pytest.raises(gm.FitStoppedError, match="ended the cross-validation"):
        gm.select(X, range(1, 3), "full", "cv", cancel=After(100), seed=0)


def test_the_estimator_takes_max_seconds(slow_clock, short_calls):
    X = rows(300)
    model = gm.GaussianMixture(3, tol=0.0, max_iter=10**7, max_seconds=100, random_state=0)
    with pytest.warns(UserWarning, match=r"max_seconds=100 ended the fit"):
        model.fit(X)
    assert model.fit_result_.stop_reason == "max_seconds" and not model.converged_
    before = model.mixture_
    model.max_seconds = 1e-9
    with pytest.raises(gm.FitStoppedError):
        model.fit(X)
    assert model.mixture_ is before


def test_the_command_takes_max_seconds(tmp_path, capsys, slow_clock):
    from gaussmix.cli.commands import main

    path = tmp_path / "x.csv"
    np.savetxt(path, rows(300), delimiter=",")
    assert main(["fit", str(path), "-k", "1:9", "--max-seconds", "300"]) == 0
    told = capsys.readouterr()
    assert "not reached" in told.out and "max_seconds=300 ended the sweep" in told.err
    assert main(["fit", str(path), "-k", "2", "--max-seconds", "1e-9"]) == 2
    assert "before there was a mixture" in capsys.readouterr().err
