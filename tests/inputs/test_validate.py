"""validate: what users pass becomes arrays and checked values, or a named error."""

import tracemalloc

import numpy as np
import pytest

from gaussmix.errors import InvalidInputError, InvalidTypeError
from gaussmix.inputs import validate

pandas = pytest.importorskip("pandas")


def rows(dtype=np.float64):
    return np.arange(12, dtype=dtype).reshape(6, 2)


# ---------------------------------------------------------------- data: what is taken as it is


def _read_only(X):
    X.setflags(write=False)
    return X


SAME_MEMORY = {
    "C order": rows,
    "Fortran order": lambda: np.asfortranarray(rows()),
    "float32": lambda: rows(np.float32),
    "strided": lambda: rows()[::2],
    "negative stride": lambda: rows()[::-1, ::-1],
    "one row of many": lambda: rows()[3:4],
    "broadcast": lambda: np.broadcast_to(rows()[0], (5, 2)),
    "read-only": lambda: _read_only(rows()),
    "subclass": lambda: rows().view(type("Sub", (np.ndarray,), {})),
    "matrix": lambda: rows().view(np.matrix),
    "nothing masked": lambda: np.ma.masked_array(rows()),
    "frame of one type": lambda: pandas.DataFrame(rows(), columns=["a", "b"]),
    "from a buffer": lambda: np.frombuffer(bytes(96), dtype=np.float64).reshape(6, 2),
}


@pytest.mark.parametrize("case", SAME_MEMORY)
def test_native_floats_are_not_copied(case):
    X = SAME_MEMORY[case]()
    result = validate.data(X)
    assert type(result) is np.ndarray
    assert result.dtype in (np.float32, np.float64)
    assert np.shares_memory(result, np.asarray(X))
    assert result.shape == X.shape


def test_a_memory_map_is_not_read(tmp_path):
    np.save(tmp_path / "X.npy", rows())
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    result = validate.data(X)
    assert type(result) is np.ndarray
    assert np.shares_memory(result, X)


def test_a_plain_array_comes_back_itself():
    X = rows()
    assert validate.data(X) is X


CONVERTED = {
    "float16": lambda: rows(np.float16),
    "longdouble": lambda: rows(np.longdouble),
    "int64": lambda: rows(np.int64),
    "uint8": lambda: rows(np.uint8),
    "bool": lambda: rows() > 4,
    "big-endian": lambda: rows(">f8"),
    "objects of floats": lambda: rows().astype(object),
    "objects of ints and floats": lambda: np.array([[1, 2.5], [True, np.float32(1)]], object),
    "list of rows": lambda: rows().tolist(),
    "list of arrays": lambda: list(rows()),
    "frame of two types": lambda: pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}),
    "frame of booleans and floats": lambda: pandas.DataFrame({"a": [True, False], "b": [0.5, 1]}),
    "frame of nullable integers": lambda: pandas.DataFrame(
        {"a": pandas.array([1, 2], dtype="Int64"), "b": [0.5, 1.5]}
    ),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_other_numbers_become_native_float64(case):
    X = CONVERTED[case]()
    result = validate.data(X)
    assert result.dtype == np.float64 and result.dtype.isnative
    np.testing.assert_array_equal(result, np.array(np.asarray(X).tolist(), dtype=np.float64))


def test_byte_swapped_float32_stays_float32():
    result = validate.data(rows(">f4"))
    assert result.dtype == np.float32 and result.dtype.isnative


def test_an_unaligned_array_is_copied_to_the_same_values():
    buffer = bytearray(1 + 96)
    X = np.frombuffer(buffer, dtype=np.float64, offset=1).reshape(6, 2)
    X[:] = rows()
    assert not X.flags.aligned
    result = validate.data(X)
    assert result.flags.aligned
    np.testing.assert_array_equal(result, rows())


def test_reading_dlpack_alone_is_enough():
    class Exporter:
        def __dlpack__(self, **arguments):
            return rows().__dlpack__(**arguments)

        def __dlpack_device__(self):
            return rows().__dlpack_device__()

    np.testing.assert_array_equal(validate.data(Exporter()), rows())


def test_a_lying_shape_is_not_believed():
    class Liar:
        shape, ndim, dtype = (99, 99), 2, np.dtype(np.float64)

        def __array__(self, dtype=None, copy=None):
            return rows()

    class LyingSubclass(np.ndarray):
        shape = property(lambda self: (99, 99))

    assert validate.data(Liar()).shape == (6, 2)
    assert validate.data(rows().view(LyingSubclass)).shape == (6, 2)


@pytest.mark.parametrize("given", [[1.0, 2.0], np.arange(3), pandas.Series([1.0, 2.0])])
def test_one_dimension_is_one_feature_where_one_is_expected(given):
    for allowed in ({"n_features": 1}, {"allow_1d": True}):
        result = validate.data(given, **allowed)
        assert result.shape == (len(given), 1)
        np.testing.assert_array_equal(result[:, 0], given)


def test_no_rows_are_taken_where_none_are_required():
    assert validate.data(np.empty((0, 2)), n_features=2, min_rows=0).shape == (0, 2)


# ------------------------------------------------------------------ data: what is refused


def _masked():
    return np.ma.masked_array(rows(), mask=rows() == 3)


class _Array:
    """An object whose __array__ does what it is told."""

    def __init__(self, answer):
        self.answer = answer

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _masked_fields(masked):
    return np.ma.masked_array(_records(), mask=[(0, masked), (0, 0)])


def _records():
    return np.rec.fromarrays([[1.0, 2.0], [True, False]], names="a, mask")


class _Sparse:
    nnz = 0

    def toarray(self):
        raise AssertionError("must not be made dense behind the user's back")


def _frame(column):
    return pandas.DataFrame({"a": np.arange(2.0), "b": column})


def _strided(n_rows, strides):
    return np.lib.stride_tricks.as_strided(np.zeros(4), (n_rows, 2), strides)


REFUSED = {
    "one dimension, one feature": (lambda: np.arange(3.0), ["(3,)", "X.reshape(-1, 1)"]),
    "one dimension, one row": (lambda: np.arange(3.0), ["one row", "X.reshape(1, -1)"]),
    "three dimensions": (lambda: np.zeros((2, 3, 4)), ["3 dimensions", "(2, 3, 4)"]),
    "a number": (lambda: 3.0, ["single value", "3.0"]),
    "no rows": (lambda: np.empty((0, 2)), ["0 rows", "minimum of 1"]),
    "no columns": (lambda: np.empty((3, 0)), ["0 feature(s)", "(shape=(3, 0))"]),
    "wrong columns": (lambda: np.zeros((3, 1)), ["expects 2 columns, got 1"]),
    "complex": (lambda: rows(complex), ["Complex data not supported", "complex128"]),
    "complex object": (lambda: np.array([[1, 2j]], object), ["Complex", "X[0, 1]", "2j"]),
    "sparse": (_Sparse, ["sparse", "X.toarray()"]),
    "text in a list": (lambda: [[1.0, 2.0], [3.0, "red"]], ["X[1, 1]", "'red'"]),
    "text in objects": (lambda: np.array([[1, "red"]], object), ["X[0, 1]", "'red'"]),
    "numbers in text": (lambda: [["1", "2"]], ["X[0, 0]", "'1'", "astype(float)"]),
    "text only": (lambda: "red", ["'red'", "not an array"]),
    "None": (lambda: None, ["None", "not an array"]),
    "set": (lambda: {1.0, 2.0}, ["set", "not an array"]),
    "None in a cell": (lambda: [[1.0, None]], ["X[0, 1] is None", "missing"]),
    "NA in a cell": (lambda: np.array([[1, pandas.NA]], object), ["X[0, 1] is <NA>"]),
    "dict in a cell": (lambda: [[1.0, {"a": 1}]], ["X[0, 1]", "must be a string or a real number"]),
    "huge integer": (lambda: [[1, 10**400]], ["X[0, 1]", "range of float64", "Rescale"]),
    "ragged": (lambda: [[1, 2], [3]], ["X[1] has 1 values where X[0] has 2"]),
    "ragged with a number": (lambda: [[1, 2], 3], ["X[1] is a single value"]),
    "dates": (lambda: np.zeros((2, 2), "M8[s]"), ["dates or times", "datetime64[s]"]),
    "durations": (lambda: np.zeros((2, 2), "m8[s]"), ["dates or times", "timedelta64[s]"]),
    "named fields": (
        lambda: np.zeros(3, [("a", float), ("b", float)]),
        ["named fields ('a', 'b')", "structured_to_unstructured"],
    ),
    "raw bytes": (lambda: np.zeros((2, 2), "V8"), ["V8", "not numeric"]),
    "masked": (_masked, ["X[1, 1] is masked (1 such values)", "X.filled(value)"]),
    "masked rows of a list": (lambda: list(_masked()), ["X[1, 1] is masked", "filled(value)"]),
    "masked named fields": (lambda: _masked_fields(1), ["named fields ('a', 'mask')"]),
    "none masked, named fields": (lambda: _masked_fields(0), ["named fields ('a', 'mask')"]),
    "masked rows of named fields": (lambda: [*_masked_fields(1)[None]], ["X has named fields"]),
    "masked records of a list": (lambda: list(_masked_fields(1)), ["X"]),
    "records with a column 'mask'": (_records, ["X has named fields ('a', 'mask')"]),
    "records in a tuple": (lambda: (_records(), _records()), ["X has named fields ('a', 'mask')"]),
    "__array__ returns a list": (lambda: _Array([1, 2]), ["_Array", "cannot be read as an array"]),
    "__array__ raises": (lambda: _Array(RuntimeError("boom")), ["cannot be read", "boom"]),
    "stride overflows": (lambda: _strided(4, (1 << 61, 8)), ["strides", "as_strided"]),
    "stride overflows backwards": (lambda: _strided(4, (-(1 << 61), 8)), ["strides"]),
    "strides leave the memory": (lambda: _strided(400, (16, 8)), ["strides", "outside"]),
    "strides leave it backwards": (lambda: _strided(2, (-16, 8)), ["strides", "outside"]),
    "missing integer": (
        lambda: _frame(pandas.array([1, None], dtype="Int64")),
        ["column 'b' has a missing value in row 1 (1 such"],
    ),
    "missing object": (lambda: _frame(np.array([None, 1.0], object)), ["column 'b'", "row 0"]),
    "categorical": (lambda: _frame(pandas.Categorical([1, 2])), ["column 'b' is categorical"]),
    "dates in a frame": (
        lambda: _frame(pandas.to_datetime(["2020-01-01", "2020-01-02"])),
        ["column 'b' holds dates"],
    ),
    "text in a frame": (lambda: _frame(["red", "blue"]), ["column 'b'[0] is text: 'red'"]),
    "complex in a frame": (lambda: _frame([1j, 2]), ["Complex", "column 'b'"]),
    "frame of no columns": (lambda: pandas.DataFrame(index=[1, 2]), ["0 feature(s)"]),
}
IS_TYPE_ERROR = [
    "complex", "sparse", "text in a list", "None", "dates", "dict in a cell", "named fields",
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_is_a_named_error(case):
    build, fragments = REFUSED[case]
    with pytest.raises(InvalidInputError) as caught:
        validate.data(build(), n_features=2)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("case", IS_TYPE_ERROR)
def test_the_wrong_kind_of_data_is_a_type_error_too(case):
    with pytest.raises(InvalidTypeError):
        validate.data(REFUSED[case][0](), n_features=2)


def test_a_longdouble_beyond_float64_is_a_named_error():
    if np.finfo(np.longdouble).max <= np.finfo(np.float64).max:
        pytest.skip("longdouble is float64 here")
    X = rows(np.longdouble)
    X[2, 1] = np.longdouble("1e400")
    with pytest.raises(InvalidInputError, match=r"X\[2, 1\] is 1e\+400, beyond the range"):
        validate.data(X)


def test_a_longdouble_infinity_is_left_to_the_kernels():
    X = rows(np.longdouble)
    X[2, 1] = np.inf
    assert np.isinf(validate.data(X)[2, 1])


def test_the_argument_has_the_callers_name():
    with pytest.raises(InvalidInputError, match=r"^Y is one-dimensional.*Y\.reshape"):
        validate.data(np.arange(3.0), name="Y")


def test_scipys_sparse_matrices_are_recognised():
    sparse = pytest.importorskip("scipy.sparse")
    for X in (sparse.csr_matrix(rows()), sparse.coo_array(rows())):
        with pytest.raises(TypeError, match=r"sparse.*toarray"):
            validate.data(X)


def test_columns_of_a_frame_are_known_by_name():
    assert validate.column_names(_frame([1, 2])) == ["a", "b"]
    assert validate.column_names(rows()) is None


# ----------------------------------------------------------------------- raise_nonfinite


def test_the_first_bad_cell_and_the_count_are_named():
    X = rows()
    X[3:5] = np.nan
    X[3, 0] = 1.0
    with pytest.raises(InvalidInputError) as caught:
        validate.raise_nonfinite(X, 3)
    assert str(caught.value) == ("X[3, 1] is NaN (3 such values). Drop those rows or impute them.")


@pytest.mark.parametrize("value, text", [(np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinities_are_named(value, text, dtype):
    X = rows(dtype)
    X[2, 0] = value
    with pytest.raises(InvalidInputError, match=rf"X\[2, 0\] is {text} \(the only such value\)"):
        validate.raise_nonfinite(X, 2)


def test_nan_and_infinities_are_counted_apart():
    X = rows()
    X[1], X[2, 0] = np.nan, np.inf
    with pytest.raises(InvalidInputError, match="2 NaN and 1 infinite values"):
        validate.raise_nonfinite(X, 1)


def test_the_feature_is_named_where_names_are_known():
    X = rows()
    X[1, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"X\[1, 1\], feature 'b', is NaN"):
        validate.raise_nonfinite(X, 1, feature_names=["a", "b"])


def test_a_value_that_changed_meanwhile_is_still_an_error():
    with pytest.raises(InvalidInputError, match="changed since"):
        validate.raise_nonfinite(rows(), 1)


def test_counting_needs_no_second_array_of_the_datas_size():
    X = np.zeros((500_000, 4))
    X[7, 2] = np.nan
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match="NaN"):
        validate.raise_nonfinite(X, 7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes // 20


# ---------------------------------------------------------------- weights and parameters


def test_weights_come_back_as_contiguous_float64():
    result = validate.sample_weight(np.arange(8, dtype=np.int32)[::2], 4)
    assert result.dtype == np.float64 and result.flags.c_contiguous
    np.testing.assert_array_equal(result, [0, 2, 4, 6])
    assert validate.sample_weight(None, 4) is None


WEIGHTS = {
    "negative": ([1, -2, 3], "sample_weight[1] is -2 (1 such values)"),
    "NaN": ([1, np.nan, 3], "sample_weight[1] is nan"),
    "infinite": ([1, 2, np.inf], "sample_weight[2] is inf"),
    "wrong length": ([1, 2], "shape (2,), but (3,)"),
    "column": ([[1], [2], [3]], "shape (3, 1), but (3,)"),
    "all zero": ([0, 0, 0], "every sample_weight is zero"),
    "sum overflows": ([1e308, 1e308, 1], "sample_weight[0] = 1e+308"),
    "sum underflows": ([0, 5e-324, 1e-320], "sample_weight[2] = 9.99989e-321"),
    "text": (["a", "b", "c"], "sample_weight[0] is text: 'a'"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_bad_weights_are_a_named_error(case):
    value, fragment = WEIGHTS[case]
    with pytest.raises(InvalidInputError) as caught:
        validate.sample_weight(value, 3)
    assert fragment in str(caught.value)


def test_the_shape_of_whatever_holds_one_is_known():
    assert validate.shape_of("start", [[1, 2, 3], [4, 5, 6]]) == (2, 3)
    with pytest.raises(InvalidInputError, match=r"start\[1\] has 1 values where start\[0\] has 2"):
        validate.shape_of("start", [[1, 2], [3]])


def test_parameter_arrays_are_finite_float64_of_the_shape_required():
    result = validate.array("means", [[1, 2], [3, 4]], (None, 2))
    assert result.dtype == np.float64 and result.flags.c_contiguous
    assert validate.array("covariances", 2.0).shape == ()
    with pytest.raises(InvalidInputError, match=r"means has shape \(2,\), but \(any, 2\)"):
        validate.array("means", [1, 2], (None, 2))
    with pytest.raises(InvalidInputError, match=r"means\[1\] is nan \(1 such values\)"):
        validate.array("means", [1, np.nan])
