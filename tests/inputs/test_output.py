"""`out=` of the scoring methods: results go into the caller's array, or an error names why not."""

import tracemalloc

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import gaussmix as gm

N, D, K = 100, 3, 2
METHODS = ["logpdf", "pdf", "log_joint", "predict_proba", "predict", "mahalanobis"]
MIXTURE = gm.Mixture([0.4, 0.6], [[0.0] * D, [2.0] * D], [[1.0] * D, [2.0] * D], "diag")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(N, D))


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_the_array_given_with_the_same_bits(method, X):
    call = getattr(MIXTURE, method)
    expected = call(X)
    out = np.full_like(expected, -7)
    assert call(X, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("method", METHODS)
def test_no_row_gives_the_empty_array_given(method, X):
    out = getattr(MIXTURE, method)(X[:0])
    assert getattr(MIXTURE, method)(X[:0], out=out) is out


@pytest.mark.parametrize("method", METHODS)
def test_no_array_is_allocated(method):
    # With few enough rows for one kernel call the workspace is malloc's, of which Python sees
    # nothing; the pure-Python backends have arrays of their own.
    if gm.config()["backend"] != "cython":
        pytest.skip("the fallbacks work with temporary arrays")
    X = np.random.default_rng(0).normal(size=(2_000, D))
    call = getattr(MIXTURE, method)
    out = call(X)
    tracemalloc.start()
    try:
        call(X, out=out)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call(X, out=out)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < out.nbytes / 4


def test_a_part_of_a_larger_array_is_filled_and_nothing_else(X):
    whole = np.full((N + 2, K), -7.0)
    MIXTURE.predict_proba(X, out=whole[1:-1])
    np.testing.assert_array_equal(whole[1:-1], MIXTURE.predict_proba(X))
    np.testing.assert_array_equal(whole[[0, -1]], -7.0)


def test_a_memory_map_is_filled(X, tmp_path):
    out = np.memmap(tmp_path / "posteriors", dtype=float, mode="w+", shape=(N, K))
    assert MIXTURE.predict_proba(X, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), MIXTURE.predict_proba(X))


@pytest.mark.parametrize(
    ("out", "found"),
    [
        (np.empty((N, K + 1)), r"out has shape \(100, 3\), but \(100, 2\) is expected"),
        (np.empty(N), r"out has shape \(100,\), but \(100, 2\)"),
        (np.empty((K, N)).T, "not C-contiguous"),
        (np.empty((N, 2 * K))[:, ::2], "not C-contiguous"),
        (np.broadcast_to(np.empty(K), (N, K)), "read-only"),
        (np.empty(8 * N * K + 1, np.uint8)[1:].view(float).reshape(N, K), "not aligned"),
    ],
    ids=["columns", "1-d", "fortran", "strided", "broadcast", "unaligned"],
)
def test_an_array_that_cannot_take_the_results_is_an_error_that_says_why(out, found, X):
    with pytest.raises(gm.InvalidInputError, match=found) as caught:
        MIXTURE.predict_proba(X, out=out)
    assert "numpy.empty((100, 2), dtype=numpy.float64)" in str(caught.value)


def test_nothing_is_written_beyond_the_memory_that_out_is_a_view_of(X):
    memory = np.zeros(2 * K)
    with pytest.raises(gm.InvalidInputError, match=r"^out has strides .* outside the memory"):
        MIXTURE.predict_proba(X, out=as_strided(memory[:K], (N, K), (8 * K, 8)))
    np.testing.assert_array_equal(memory, 0.0)


@pytest.mark.parametrize("first", [20, 0])
def test_nothing_is_written_where_the_memory_of_out_has_been_resized_away(first, X):
    memory = np.zeros(60)
    out = memory[first : first + 40]
    memory.resize(45 if first else 30, refcheck=False)
    with pytest.raises(gm.InvalidInputError, match=r"^out has strides .* outside the memory"):
        MIXTURE.logpdf(X[:40], out=out)
    np.testing.assert_array_equal(memory, 0.0)


def test_rows_of_which_memory_has_been_resized_away_are_not_read():
    memory = np.zeros(60 * D)
    X = memory[20 * D :].reshape(40, D)
    memory.resize(30 * D, refcheck=False)
    with pytest.raises(gm.InvalidInputError, match=r"^X has strides .* outside the memory"):
        MIXTURE.logpdf(X)


@pytest.mark.parametrize(
    "out", [[0.0] * N, 1.0, "out", np.empty(N, np.float32), np.empty(N, ">f8")]
)
def test_what_is_no_array_or_of_another_type_is_a_type_error(out, X):
    with pytest.raises(gm.InvalidTypeError, match=r"^out (is|has type)"):
        MIXTURE.logpdf(X, out=out)


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_labels_go_into_int64_alone(dtype, X):
    with pytest.raises(gm.InvalidTypeError, match="the results are int64"):
        MIXTURE.predict(X, out=np.empty(N, dtype))


def test_a_read_only_array_stays_as_it_is(X):
    out = np.zeros(N)
    out.setflags(write=False)
    with pytest.raises(gm.InvalidInputError, match="read-only"):
        MIXTURE.logpdf(X, out=out)
    assert not out.any()


def test_an_array_that_shares_memory_with_X_is_an_error():
    X = np.zeros((N, K))
    mixture = gm.Mixture([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [1.0, 1.0], "spherical")
    with pytest.raises(gm.InvalidInputError, match="out shares memory with X"):
        mixture.predict_proba(X, out=X)


def test_an_array_between_the_columns_of_X_is_no_overlap():
    # Their bounds overlap, their elements do not: features stored one after the other.
    columns = np.zeros((2 * D, N))
    columns[::2] = np.random.default_rng(0).normal(size=(D, N))
    X = columns[::2].T
    expected = MIXTURE.logpdf(X.copy())
    np.testing.assert_array_equal(MIXTURE.logpdf(X, out=columns[1]), expected)


def test_a_bad_cell_is_named_whatever_out_holds_then(X):
    X[7, 1] = np.nan
    with pytest.raises(gm.InvalidInputError, match=r"X\[7, 1\] is NaN"):
        MIXTURE.logpdf(X, out=np.empty(N))
