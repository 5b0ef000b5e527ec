"""C: forms and types of arrays, through every door that takes data."""

import mmap
import sys
import threading

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.inputs import validate
from gaussmix.passes import evaluation

pandas = pytest.importorskip("pandas")
TYPES = ["full", "tied", "diag", "spherical"]


def clusters(n_rows=300, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, 2))
    X[: n_rows // 2] += 6.0
    return X.astype(dtype)


MODEL = gm.Mixture([0.5, 0.5], [[6.0, 6.0], [0.0, 0.0]], np.tile(np.eye(2), (2, 1, 1)))
START = MODEL.means


def fit(X, **options):
    return gm.fit(X, 2, start=START, **options)


def _estimator():
    pytest.importorskip("sklearn")
    return gm.GaussianMixture(2, means_init=START, random_state=0)


def _predicting(method):
    return lambda X: getattr(_estimator().fit(clusters()), method)(X)


DOORS = {
    "fit": fit,
    "logpdf": MODEL.logpdf,
    "pdf": MODEL.pdf,
    "log_joint": MODEL.log_joint,
    "predict": MODEL.predict,
    "predict_proba": MODEL.predict_proba,
    "mahalanobis": MODEL.mahalanobis,
    "score": MODEL.score,
    "statistics": MODEL.statistics,
    "bic": MODEL.bic,
    "estimator.fit": lambda X: _estimator().fit(X),
    "estimator.predict": _predicting("predict"),
    "estimator.score_samples": _predicting("score_samples"),
}
FITTING = ["fit", "estimator.fit"]
SCORING = [name for name in DOORS if name not in FITTING]


class _Sparse:
    shape, nnz, ndim, format = (3, 2), 0, 2, "csr"

    def toarray(self):
        raise AssertionError("must not be made dense behind the user's back")


class _Liar:
    def __array__(self, dtype=None, copy=None):
        return [1.0, 2.0]


def _with(value, row=3, column=1, count=1, dtype=np.float64):
    X = clusters(dtype=dtype)
    X[row : row + count, column] = value
    return X


def _frame(column):
    return pandas.DataFrame({"a": np.arange(len(column), dtype=float), "b": column})


# id: (data, what the message must say; {n} stands for nothing). Every door refuses them.
REFUSED = {
    "C1": (lambda: _with(np.nan, count=7), ["X[3, 1]", "NaN", "7 such values"]),
    "C1 float32": (lambda: _with(np.nan, dtype=np.float32), ["X[3, 1]", "NaN"]),
    "C1 last row": (lambda: _with(np.nan, row=299, column=0), ["X[299, 0]", "NaN"]),
    "C1 integer NaN": (lambda: _with(np.nan).astype(object), ["X[3, 1]", "NaN"]),
    "C2": (lambda: _with(np.inf), ["X[3, 1]", "inf"]),
    "C2 negative": (lambda: _with(-np.inf), ["X[3, 1]", "-inf"]),
    "C2 float16": (lambda: _with(np.inf, dtype=np.float16), ["X[3, 1]", "inf"]),
    "C4": (lambda: np.zeros((2, 3, 4)), ["(2, 3, 4)"]),
    "C7": (lambda: np.empty((5, 0)), ["0 feature"]),
    "C19": (lambda: clusters().astype(complex), ["omplex"]),
    "C21 object": (lambda: np.array([[1.0, 2.0], [3.0, "red"]], object), ["red"]),
    "C21 text": (lambda: np.array([["a", "b"], ["c", "d"]]), ["'a'"]),
    "C24": (_Sparse, ["parse", "toarray"]),
    "C25 NA": (
        lambda: _frame(pandas.array([1, None, 3], dtype="Int64")), ["column 'b'", "missing"],
    ),
    "C25 Categorical": (lambda: _frame(pandas.Categorical(["x", "y", "x"])), ["column 'b'"]),
    "C26 lying __array__": (_Liar, ["_Liar"]),
    "C26 text": (lambda: "data.csv", ["data.csv"]),
    "C26 None": (lambda: None, ["None"]),
    "C27": (
        lambda: np.lib.stride_tricks.as_strided(np.zeros(4), (50, 2), (1 << 60, 8)), ["stride"],
    ),
    "dates": (lambda: np.zeros((5, 2), "M8[s]"), ["date"]),
    "fields": (lambda: np.zeros(5, [("a", float), ("b", float)]), ["'a', 'b'"]),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_are_a_named_error_at_every_door(judge, case, door):
    build, says = REFUSED[case]
    judge(lambda: DOORS[door](build()), error=(ValueError, TypeError), says=says)


@pytest.mark.parametrize("door", [name for name in DOORS if name != "fit"])
def test_c3_one_dimension_is_an_error_with_both_remedies(judge, door):
    says = ["Reshape your data", "reshape(-1, 1)", "reshape(1, -1)"]
    judge(lambda: DOORS[door](np.arange(4.0)), error=ValueError, says=says)


@pytest.mark.parametrize("door", FITTING)
def test_c5_no_rows_cannot_be_fitted(judge, door):
    judge(lambda: DOORS[door](np.empty((0, 2))), error=ValueError, says="0")


NO_ROWS = {
    "logpdf": (0,), "pdf": (0,), "predict": (0,),
    "log_joint": (0, 2), "predict_proba": (0, 2), "mahalanobis": (0, 2),
}  # fmt: skip


@pytest.mark.parametrize("method", NO_ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_c6_no_rows_give_an_empty_result(method, dtype):
    result = getattr(MODEL, method)(np.empty((0, 2), dtype))
    assert result.shape == NO_ROWS[method]
    assert result.dtype == (np.int64 if method == "predict" else np.float64)


@pytest.mark.parametrize("door", [name for name in SCORING if not name.startswith("estimator")])
def test_c8_the_wrong_number_of_columns_is_an_error_with_both_numbers(judge, door):
    X = np.zeros((5, 1))
    judge(lambda: DOORS[door](X), error=gm.InvalidInputError, says="expects 2 columns, got 1")


def test_c8_the_estimator_uses_scikit_learns_words(judge):
    says = "X has 1 features, but GaussianMixture is expecting 2 features"
    judge(lambda: DOORS["estimator.predict"](np.zeros((5, 1))), error=ValueError, says=says)


def test_c9_c10_unfitted_and_failed_first_fits_are_not_fitted():
    exceptions = pytest.importorskip("sklearn.exceptions")
    estimator = _estimator()
    with pytest.raises(exceptions.NotFittedError):
        estimator.predict(clusters())
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(_with(np.nan))
    with pytest.raises(exceptions.NotFittedError):
        estimator.predict(clusters())


def test_c25_names_of_columns_are_checked_when_predicting():
    pytest.importorskip("sklearn")
    X = pandas.DataFrame(clusters(), columns=["a", "b"])
    estimator = _estimator().fit(X)
    np.testing.assert_array_equal(estimator.predict(X), MODEL.predict(clusters()))
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(X[["b", "a"]])


# ------------------------------------------------------------------ the same bits


def _unaligned(X):
    buffer = bytearray(X.nbytes + 1)
    result = np.frombuffer(buffer, dtype=X.dtype, offset=1).reshape(X.shape)
    result[...] = X
    assert not result.flags.aligned
    return result


def _strided(X):
    wide = np.full((3 * len(X), 2 * X.shape[1] + 1), np.nan, X.dtype)
    wide[::3, 1::2] = X
    return wide[::3, 1::2]


def _negative(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def _read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def _odd_row_stride(X):
    """Rows of 12 or 20 bytes more than a multiple of the item: legal, and seldom seen."""
    record = np.zeros(len(X), [("row", X.dtype, (X.shape[1],)), ("more", X.dtype)])
    record["row"] = X
    return record["row"]


SAME_BITS = {
    "C12 Fortran order": np.asfortranarray,
    "C13 strided": _strided,
    "C13 negative": _negative,
    "C13 fields": _odd_row_stride,
    "C14 read-only": _read_only,
    "C15 unaligned": _unaligned,
    "C16 big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "C26 matrix": lambda X: X.view(np.matrix),
    "C26 masked, nothing masked": lambda X: np.ma.masked_array(X),
}


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", SAME_BITS)
def test_the_form_of_the_array_changes_no_bit(case, dtype, covariance_type):
    X = clusters(1500, dtype=dtype)
    given = SAME_BITS[case](X)
    expected = fit(X, covariance_type=covariance_type)
    result = fit(given, covariance_type=covariance_type)
    assert result.mixture == expected.mixture
    np.testing.assert_array_equal(result.log_likelihood, expected.log_likelihood)
    model = expected.mixture
    np.testing.assert_array_equal(model.log_joint(given), model.log_joint(X))


def test_c11_a_single_row_has_the_bits_it_has_in_a_batch():
    X = clusters(501)
    for method in ("logpdf", "log_joint", "predict_proba", "predict", "mahalanobis"):
        whole = getattr(MODEL, method)(X)
        for i in (0, 1, 63, 64, 250, 500):
            np.testing.assert_array_equal(getattr(MODEL, method)(X[i : i + 1])[0], whole[i])


def test_c13_a_row_repeated_by_stride_zero_is_that_row():
    row = clusters()[:1]
    np.testing.assert_array_equal(
        MODEL.logpdf(np.broadcast_to(row, (1000, 2))), np.repeat(MODEL.logpdf(row), 1000)
    )


def test_c14_a_read_only_memory_map_works(tmp_path):
    np.save(tmp_path / "X.npy", clusters())
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert fit(X).mixture == fit(clusters()).mixture
    np.testing.assert_array_equal(MODEL.predict(X), MODEL.predict(clusters()))


CONVERTED = {
    "C17 float16": (lambda: clusters(dtype=np.float16)),
    "C17 longdouble": (lambda: clusters(dtype=np.longdouble)),
    "C17 int32": (lambda: np.round(10 * clusters()).astype(np.int32)),
    "C17 uint8": (lambda: np.round(10 * np.abs(clusters())).astype(np.uint8)),
    "C20": (lambda: clusters().astype(object)),
    "list": (lambda: clusters().tolist()),
    "frame": (lambda: pandas.DataFrame(clusters())),
    "memoryview": (lambda: memoryview(clusters())),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_other_numbers_are_fitted_as_float64(case):
    given = CONVERTED[case]()
    X = np.array(given, dtype=np.float64)
    assert fit(given).mixture == fit(X).mixture
    np.testing.assert_array_equal(MODEL.logpdf(given), MODEL.logpdf(X))


def test_c17_booleans_are_fitted_as_zero_and_one():
    X = np.random.default_rng(0).random((200, 2)) < 0.4
    assert gm.fit(X, 1).mixture == gm.fit(X.astype(float), 1).mixture


def test_c17_integers_that_float64_makes_equal_are_told_apart_from_a_constant_column():
    ids = np.column_stack([(1 << 60) + np.arange(50), np.arange(50)])
    with pytest.warns(gm.DegenerateComponentWarning, match=r"column 0 .* integers beyond 90071992"):
        gm.fit(ids, 1)
    with pytest.warns(gm.DegenerateComponentWarning, match=r"column 0 of X is constant \(7\); "):
        gm.fit(np.column_stack([np.full(50, 7), np.arange(50)]), 1)


def test_fitting_changes_neither_data_nor_weights_nor_start():
    given = [clusters(), np.ones(300), START.copy()]
    copies = [array.copy() for array in given]
    result = gm.fit(given[0], 2, sample_weight=given[1], start=given[2])
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert array.flags.writeable
    assert not np.shares_memory(result.mixture.means, given[2])


@pytest.mark.filterwarnings("ignore")
def test_c28_data_changed_by_another_thread_do_no_harm():
    X = clusters(20_000)
    stop = threading.Event()

    def scribble():
        rng = np.random.default_rng(1)
        while not stop.is_set():
            X[rng.integers(len(X), size=100)] = rng.standard_normal((100, 2))

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(5):
            result = fit(X, max_iter=20, tol=0.0)
            assert np.isfinite(result.mixture.covariances).all()
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_c31_more_than_two_to_the_31_values_by_stride_zero():
    # 2^21 rows of 1025 columns: indices and strides beyond 32 bits, in 8 kB of memory.
    row = np.random.default_rng(0).standard_normal(1025)
    X = np.broadcast_to(row, (1 << 21, 1025))
    model = gm.Mixture([1.0], np.zeros((1, 1025)), [1.0], "spherical")
    tail = X[-3:]
    assert X.size > 1 << 31
    np.testing.assert_array_equal(model.logpdf(X)[-3:], model.logpdf(tail))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs memory without backing")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_c31_rows_further_apart_than_32_bits_count(dtype):
    stride = 5 << 31
    unbacked = 0x4000  # MAP_NORESERVE, which mmap names from Python 3.13 on
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | unbacked
    with mmap.mmap(-1, 2 * stride + 4096, flags=flags) as memory:
        X = np.ndarray((3, 2), dtype, buffer=memory, strides=(stride, np.dtype(dtype).itemsize))
        X[...] = clusters(3, dtype=dtype)
        for given in (X, X[::-1], X[:, ::-1]):
            np.testing.assert_array_equal(MODEL.log_joint(given), MODEL.log_joint(given.copy()))
        result = gm.fit(X, 1, covariance_type="spherical").mixture
        assert result == gm.fit(X.copy(), 1, covariance_type="spherical").mixture
        del X, given


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool])
def test_c17_many_integers_are_converted_piece_by_piece(monkeypatch, dtype):
    X = np.random.default_rng(0).integers(0, 4, (3000, 2)).astype(dtype)
    monkeypatch.setattr(validate, "CONVERTED_VALUES", 1000)
    monkeypatch.setattr(evaluation, "SERIAL_FLOPS", 1000)
    largest, floats = [], validate.floats
    monkeypatch.setattr(
        validate, "floats", lambda array, name: largest.append(array.size) or floats(array, name)
    )
    for method in ("logpdf", "predict", "predict_proba", "log_joint", "mahalanobis"):
        call = getattr(MODEL, method)
        np.testing.assert_array_equal(call(X), call(X.astype(float)))
    assert max(largest) == 1000
    monkeypatch.setattr(evaluation, "SCORE_ROWS", 500)
    assert MODEL.score(X) == MODEL.score(X.astype(float))
