"""The only place that turns what users pass into arrays and checked values.

Every check ends in an `InvalidInputError` that names the argument, what was found and where,
what is allowed, and one remedy. Whether numbers are finite is not looked at in `data`: the
kernels find NaN and infinities while they read, and `raise_nonfinite` writes the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import InvalidInputError
from .convert import (
    FLOAT32,
    FLOAT64,
    column_names,
    column_texts,
    floats,
    is_table,
    lies_within,
    plain_array,
)
from .convert import table_array as _table_array
from .output import INT64, output, result
from .parameters import choice, counted, features, flag, integer, real, seed, shown

__all__ = [
    "CONVERTED_VALUES",
    "FLOAT64",
    "INT64",
    "array",
    "choice",
    "column_names",
    "column_texts",
    "counted",
    "data",
    "features",
    "flag",
    "integer",
    "output",
    "plain_array",
    "raise_nonfinite",
    "real",
    "result",
    "row_or_rows",
    "sample_weight",
    "seed",
    "shape_of",
    "shown",
]

LARGEST_WEIGHT_SUM = 1e100
SMALLEST_WEIGHT_SUM = 1e-290  # below it, products with responsibilities lose digits to underflow
CONVERTED_VALUES = 1 << 20  # held as float64 at once, where conversion goes piece by piece
_CHUNK_VALUES = 1 << 16
# Bits of ndarray.flags.num, NumPy's C interface: one look instead of three.
_CONTIGUOUS, _OWNS_DATA, _ALIGNED = 0x1 | 0x2, 0x4, 0x100


def data(
    X: Any,
    *,
    name: str = "X",
    n_features: int | None = None,
    min_rows: int = 1,
    allow_1d: bool = False,
    piecewise: bool = False,
) -> np.ndarray:
    """The rows of `X`, (N, D) native aligned float32 or float64, not copied where possible.

    Strides are kept as they are, read-only and memory-mapped arrays too. float16, longdouble,
    integers and booleans become float64; unaligned and byte-swapped arrays are copied.
    NaN and infinities pass: the kernels find them (see `raise_nonfinite`).

    Parameters
    ----------
    X : array-like
        Array, list of rows, or data frame. One-dimensional only if `allow_1d` or
        ``n_features == 1``: then it is one feature.
    name : str
        The argument's name, for messages.
    n_features : int, optional
        Number of columns required.
    min_rows : int
        Number of rows required.
    allow_1d : bool
        Whether one-dimensional input is taken as one feature.
    piecewise : bool
        Whether many integers may stay as they are, for the caller to convert a piece at a time:
        as float64, bytes of a memory-mapped file need eight times its size.

    Raises
    ------
    InvalidInputError
        If shape, size or a value is not acceptable.
    InvalidTypeError
        If it is sparse, complex, text, dates, or no array at all (also a `TypeError`).
    """
    # The fast path: scoring a single row must not pay for what only other input needs.
    if type(X) is np.ndarray and ((dtype := X.dtype) is FLOAT64 or dtype is FLOAT32):
        shape = X.shape
        flags = X.flags.num
        if (
            len(shape) == 2
            and flags & _ALIGNED
            and flags & _CONTIGUOUS
            and (flags & _OWNS_DATA or lies_within(X))
            and shape[0] >= min_rows
            and (shape[1] > 0 if n_features is None else shape[1] == n_features)
        ):
            return X
    if not isinstance(X, np.ndarray) and is_table(X):
        rows = _table_array(X, name)
    else:
        rows = plain_array(X, name)
        rows = _two_dimensional(rows, name, allow_1d or n_features == 1)
        if piecewise and rows.dtype.kind in "iub" and rows.size > CONVERTED_VALUES:
            _check_shape(rows, name, n_features, min_rows)
            return rows
        rows = floats(rows, name)
    _check_shape(rows, name, n_features, min_rows)
    return rows if rows.flags.aligned else rows.copy()


def row_or_rows(x: Any, n_features: int) -> tuple[np.ndarray, bool]:
    """`x` as `data` returns it, and whether it is a single row: one dimension less than rows.

    One-dimensional input of one feature is rows.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        As `data` does.
    """
    if not is_table(x):
        given = plain_array(x, "X")
        if given.ndim == (1 if n_features > 1 else 0):
            rows = floats(given.reshape(1, -1), "X")
            _check_shape(rows, "X", n_features, 1)
            return rows if rows.flags.aligned else rows.copy(), True
        x = given
    return data(x, n_features=n_features, min_rows=0), False


def _two_dimensional(rows: np.ndarray, name: str, allow_1d: bool) -> np.ndarray:
    if rows.ndim == 2:
        return rows
    code = name if name.isidentifier() else name.split()[0]  # "chunk 0 of X" is not code
    if rows.ndim == 1:
        if allow_1d:
            return rows[:, np.newaxis]
        raise InvalidInputError(
            f"{name} is one-dimensional (shape {rows.shape}), but (n_samples, n_features) is "
            f"expected. Reshape your data: {code}.reshape(-1, 1) if it is one feature, "
            f"{code}.reshape(1, -1) if it is one row."
        )
    if rows.ndim == 0:
        raise InvalidInputError(
            f"{name} is a single value, {shown(rows[()])}, but an array (n_samples, n_features) "
            f"is expected. Reshape your data: numpy.reshape({code}, (1, 1)) is one row of one "
            "feature."
        )
    raise InvalidInputError(
        f"{name} has {rows.ndim} dimensions (shape {rows.shape}), but (n_samples, n_features) is "
        f"expected. Flatten each sample: {code}.reshape(len({code}), -1)."
    )


def _check_shape(rows: np.ndarray, name: str, n_features: int | None, min_rows: int) -> None:
    n_rows, n_columns = rows.shape
    if n_columns == 0:
        raise InvalidInputError(
            f"{name} has 0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required. "
            "Pass at least one column."
        )
    if n_features is not None and n_columns != n_features:
        raise InvalidInputError(
            f"{name} has shape {rows.shape}: the mixture expects {n_features} columns, "
            f"got {n_columns}. Pass the same features in the same order as in fitting."
        )
    if n_rows < min_rows:
        raise InvalidInputError(
            f"{name} has {n_rows} rows (shape {rows.shape}) while a minimum of {min_rows} is "
            "required. Pass more rows."
        )


def raise_nonfinite(
    X: np.ndarray, row: int, name: str = "X", feature_names: Sequence[str] | None = None
) -> NoReturn:
    """Raise the error for NaN or infinity in row `row` of `X`; counts them all, in chunks.

    Parameters
    ----------
    X : (N, D) ndarray
        What `data` returned.
    row : int
        A row that holds NaN or infinity, as a kernel reported it.
    name : str
        The argument's name.
    feature_names : sequence of str, optional
        Names of the columns, when they are known.

    Raises
    ------
    InvalidInputError
        Always.
    """
    bad = np.flatnonzero(~np.isfinite(X[row]))
    if not len(bad):  # another thread wrote to it meanwhile
        raise InvalidInputError(
            f"{name}[{row}] was not finite when it was read and has changed since. "
            "Do not write to the data during the call."
        )
    column = int(bad[0])
    value = X[row, column]
    found = "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    step = max(1, _CHUNK_VALUES // X.shape[1])
    n_nan = n_inf = 0
    for i in range(0, len(X), step):
        part = X[i : i + step]
        n_nan += int(np.count_nonzero(np.isnan(part)))
        n_inf += int(np.count_nonzero(np.isinf(part)))
    if n_nan and n_inf:
        count = f"{n_nan} NaN and {n_inf} infinite values"
    else:
        total = n_nan + n_inf
        count = "the only such value" if total == 1 else f"{total} such values"
    feature = "" if feature_names is None else f", feature {shown(str(feature_names[column]))},"
    remedy = "Drop those rows or impute them."
    raise InvalidInputError(f"{name}[{row}, {column}]{feature} is {found} ({count}). {remedy}")


def array(name: str, value: Any, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """`value` as a finite, C-contiguous float64 array of the given shape.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array-like
        What the user passed.
    shape : tuple, optional
        The shape required; None in it leaves that length free.

    Raises
    ------
    InvalidInputError
        If it has another shape, or holds NaN or infinity.
    """
    given = _table_array(value, name) if is_table(value) else plain_array(value, name)
    if shape is not None and not (
        given.ndim == len(shape)
        and all(b is None or a == b for a, b in zip(given.shape, shape, strict=True))
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        wanted += "," if len(shape) == 1 else ""
        raise InvalidInputError(
            f"{name} has shape {given.shape}, but ({wanted}) is expected. Pass one of that shape."
        )
    result = np.ascontiguousarray(floats(given, name), dtype=np.float64)
    if result.ndim != given.ndim:  # ascontiguousarray makes at least one dimension
        result = result.reshape(given.shape)
    if not _all_finite(result.reshape(-1)):
        finite = np.isfinite(result)
        index = np.argwhere(~finite)[0]
        place = f"[{', '.join(map(str, index))}]" if len(index) else ""
        raise InvalidInputError(
            f"{name}{place} is {result[tuple(index)]} ({np.count_nonzero(~finite)} such values). "
            "Pass finite numbers only."
        )
    return result


def _all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite; piece by piece, without as many flags."""
    for i in range(0, len(values), _CHUNK_VALUES):
        if not np.isfinite(values[i : i + _CHUNK_VALUES]).all():
            return False
    return True


def shape_of(name: str, value: Any) -> tuple[int, ...]:
    """The shape of what the user passed, whatever it holds.

    Raises
    ------
    InvalidInputError
        If it is ragged, sparse, or no array at all.
    """
    return plain_array(value, name).shape


def sample_weight(w: Any, n_rows: int, name: str = "sample_weight") -> np.ndarray | None:
    """`w` as a contiguous float64 array (n_rows,), or None if `w` is None.

    Zeros are allowed (such a row counts as absent), as long as one weight is positive.

    Raises
    ------
    InvalidInputError
        If the shape is wrong, a weight is negative, NaN or infinite, all are zero, or
        products with their sum leave the range of float64.
    """
    if w is None:
        return None
    weights = array(name, w, (n_rows,))
    if n_rows == 0:
        return weights
    smallest = int(np.argmin(weights))
    if weights[smallest] < 0.0:
        first = int(np.argmax(weights < 0.0))
        raise InvalidInputError(
            f"{name}[{first}] is {weights[first]:g} ({np.count_nonzero(weights < 0.0)} such "
            "values), and weights cannot be negative. Use 0 to leave a row out."
        )
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if total == 0.0:
        raise InvalidInputError(
            f"every {name} is zero ({n_rows} rows), so nothing counts. Make one weight positive."
        )
    if not SMALLEST_WEIGHT_SUM <= total <= LARGEST_WEIGHT_SUM:
        limit = f"at most {LARGEST_WEIGHT_SUM:g}"
        if total < SMALLEST_WEIGHT_SUM:
            limit = f"at least {SMALLEST_WEIGHT_SUM:g}"
        largest = int(np.argmax(weights))
        raise InvalidInputError(
            f"{name} has the sum {total:.3g}, but products with it must stay within float64: "
            f"{limit}; the largest is {name}[{largest}] = {weights[largest]:g}. Divide the weights "
            "by it."
        )
    return weights
