"""What is particular to the Numba backend: its exp and log, its threads, its cache."""

import threading

import numpy as np
import pytest

from gaussmix.kernels import contract, reference
from kernel_calls import accumulate, evaluate, make_parameters

pytest.importorskip("numba")

from numba import njit

from gaussmix.kernels import numba_compile, numba_kernels, numba_moments, numba_tiles

LONG = np.longdouble
EPS = np.finfo(np.float64).eps
# Half an ulp each for the result and its largest correction term; an ulp is at most eps.
RTOL_ELEMENTARY = 1.25 * EPS


exp_below_zero = njit(lambda t: numba_tiles.exp_below_zero(t))
log_above_one = njit(lambda s: numba_tiles.log_above_one(s))


def make_call(n_rows=5000):
    """(X, parameters) of a mixture with D = 8, K = 3: several threads' worth of rows."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, 8)), make_parameters(rng, contract.FACTOR_FULL, 3, 8)


def logpdf(X, parameters, n_threads):
    return evaluate(numba_kernels, X, parameters, contract.WANT_LOGPDF, n_threads)


def sums(X, parameters, n_threads):
    return accumulate(numba_kernels, X, parameters, contract.LAYOUT_FULL, threads=n_threads)


def test_exp_is_within_an_ulp():
    t = -np.random.default_rng(1).uniform(0, 708, 20000)
    found = np.array([exp_below_zero(value) for value in t])
    exact = np.exp(t.astype(LONG))
    assert np.abs(found / exact - 1).max() <= RTOL_ELEMENTARY


def test_exp_at_its_ends():
    assert exp_below_zero(0.0) == 1.0
    assert exp_below_zero(-1e4) == 0.0
    assert exp_below_zero(-np.inf) == 0.0
    assert exp_below_zero(np.nan) == 0.0


def test_log_is_within_an_ulp():
    rng = np.random.default_rng(2)
    s = np.concatenate([1 + rng.random(10000) * 1e-3, rng.uniform(1, 3, 10000), [1e6]])
    found = np.array([log_above_one(value) for value in s])
    assert np.abs(found / np.log(s.astype(LONG)) - 1).max() <= RTOL_ELEMENTARY
    assert log_above_one(1.0) == 0.0


def test_packed_rows_sum_to_what_all_rows_sum_to():
    rng = np.random.default_rng(3)
    n_features, n_components = numba_moments.MANY + 3, 6
    parameters = make_parameters(rng, contract.FACTOR_FULL, n_components, n_features)
    parameters = parameters._replace(means=3 * parameters.means)
    # The first component has most rows of a block, which are taken as they lie; the others few.
    labels = rng.choice(n_components, 2000, p=[0.8, 0.1, 0.05, 0.03, 0.015, 0.005])
    X = parameters.means[labels] + rng.normal(size=(2000, n_features))
    layout = contract.LAYOUT_FULL
    found = accumulate(numba_kernels, X, parameters, layout)
    expected = accumulate(reference, X, parameters, layout)
    # Each sum has at most as many roundings as rows, relative to the sum of its terms' sizes, which
    # the moments of |x - mean| bound.
    mass, second = expected[:n_components].max(), np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=len(X) * EPS * max(mass, second))


def test_one_thread_starts_no_thread(monkeypatch):
    X, parameters = make_call()

    def start(self):
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", start)
    logpdf(X, parameters, 1)
    sums(X, parameters, 1)


def test_refused_threads_leave_the_work_to_the_caller(monkeypatch):
    X, parameters = make_call()
    expected = logpdf(X, parameters, 1), sums(X, parameters, 1)

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert np.array_equal(logpdf(X, parameters, 3), expected[0])
    assert np.array_equal(sums(X, parameters, 3), expected[1])


def test_two_python_threads_may_call_at_once():
    X, parameters = make_call()
    expected = sums(X, parameters, 1)
    found = [None] * 4

    def work(i):
        found[i] = sums(X, parameters, 2)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(len(found))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(np.array_equal(expected, each) for each in found)


def test_an_unusable_cache_only_costs_a_compilation(monkeypatch):
    def without_cache(*args, cache=False, **options):
        if cache:
            raise OSError(30, "Read-only file system")
        return njit(*args, **options)

    monkeypatch.setattr(numba_compile, "njit", without_cache)
    compiled = numba_compile._compile(lambda x: 2.0 * x, "float64(float64)")
    assert compiled(21.0) == 42.0


def test_a_deleted_current_directory_does_not_stop_compilation(monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    compiled = numba_compile._compile(lambda x, i: (x, 2 * x)[i], "float64(float64, int64)")
    assert compiled(21.0, 1) == 42.0


def test_the_cache_notices_changes_of_the_stages(monkeypatch, tmp_path):
    before = numba_compile._source_stamp()
    changed = tmp_path / "numba_tiles.py"
    changed.write_text("# other source\n")
    monkeypatch.setattr(numba_compile.numba_tiles, "__file__", str(changed))
    assert numba_compile._source_stamp() != before
