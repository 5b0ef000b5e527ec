"""From what users hold (tables, nested lists, arrays of any type) to float arrays.

Part of `validate`, and reached through it. Nothing is imported but NumPy: other libraries'
containers are known by what they offer.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from ..errors import InvalidInputError, InvalidTypeError
from .parameters import shown

FLOAT64 = np.dtype(np.float64)
FLOAT32 = np.dtype(np.float32)


def plain_array(value: Any, name: str) -> np.ndarray:
    """`value` as a base-class ndarray of whatever type it has; a view wherever possible.

    Raises
    ------
    InvalidTypeError
        If it is sparse, or nothing that NumPy takes for an array.
    InvalidInputError
        If it is ragged, or a masked array in which something is masked.
    """
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise InvalidTypeError(
            f"{name} is a sparse {type(value).__name__}, and sparse data are not supported: "
            f"means and covariances are dense. Pass {name}.toarray()."
        )
    if isinstance(value, np.ndarray):
        if (mask := _mask(value)) is not None:
            _raise_masked(mask, name)
        array = np.asarray(value)
        check_extent(array, name)
        return _without_fields(array, name)
    if isinstance(value, (list, tuple)):
        _refuse_masked_rows(value, name)
    try:
        array = np.asarray(value)
        if array.ndim == 0 and array.dtype == object and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
    except MemoryError:
        raise
    except Exception as error:  # a user's __array__ may raise anything
        _raise_ragged(value, name)
        raise InvalidTypeError(
            f"{name} ({type(value).__name__}) cannot be read as an array: {shown(error)}. "
            "Pass a NumPy array of numbers."
        ) from error
    if array.ndim == 0 and array.dtype.kind in "OUST":
        raise InvalidTypeError(
            f"{name} is {shown(value)} ({type(value).__name__}), not an array. "
            "Pass a NumPy array, a DataFrame, or a list of rows of numbers."
        )
    check_extent(array, name)
    return _without_fields(array, name)


def _without_fields(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.names is not None:
        raise InvalidTypeError(
            f"{name} has named fields {array.dtype.names}. Pass a plain two-dimensional array: "
            f"numpy.lib.recfunctions.structured_to_unstructured({name})."
        )
    return array


def check_extent(array: np.ndarray, name: str) -> None:
    """Refuse views that reach outside the memory they are made of, before anything reads them.

    `numpy.lib.stride_tricks.as_strided` makes such views without a check, and `ndarray.resize` of
    what they are views of leaves them behind. Python integers cannot overflow, unlike the address
    arithmetic of the kernels.
    """
    flags = array.flags
    if flags.owndata or array.size == 0:
        return
    start = _address(array)
    if flags.forc and lies_within(array):  # much the most frequent, and much shorter
        offset = start - _address(array.base)
        if 0 <= offset <= array.base.nbytes - array.nbytes:
            return
    reach = [
        (length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)
    ]
    low = start + sum(min(r, 0) for r in reach)
    high = start + sum(max(r, 0) for r in reach) + array.itemsize
    owner = array.base
    while owner is not None and not (isinstance(owner, np.ndarray) and owner.flags.owndata):
        # as_strided puts a DummyArray between; anything else is not NumPy's to follow.
        known = isinstance(owner, np.ndarray) or type(owner).__name__ == "DummyArray"
        owner = owner.base if known else None
    if owner is None:  # memory of another library, of unknown size
        inside = low >= 0 and high < 1 << 63
    else:
        first = _address(owner)
        inside = first <= low and high <= first + owner.nbytes
    if not inside:
        raise InvalidInputError(
            f"{name} has strides {array.strides} and shape {array.shape}, which reach outside the "
            "memory it is a view of. Check the arguments of as_strided, or copy it before that "
            "memory is resized."
        )


def _address(array: np.ndarray) -> int:
    """Where an array that is not empty begins in memory."""
    try:
        # In 0.3 us of the 1.1 that the other way takes.
        return addressof(c_char.from_buffer(array))
    except (TypeError, ValueError, BufferError):  # read-only, not in one piece, or of odd types
        return array.__array_interface__["data"][0]


def lies_within(view: np.ndarray) -> bool:
    """Whether a contiguous view is no larger than the array it is a view of, which has its own.

    For rows that are read. Addresses, which `check_extent` compares, cost as much as the scoring
    of a row; and who resizes an array against NumPy's check of references reads memory that is
    gone by any function of NumPy's too.
    """
    base = view.base
    return type(base) is np.ndarray and base.flags.owndata and base.nbytes >= view.nbytes


def _raise_masked(mask: np.ndarray, name: str) -> None:
    raise InvalidInputError(
        f"{name}{_place(np.argwhere(mask)[0])} is masked ({np.count_nonzero(mask)} such values), "
        "and missing values are not supported. Drop those rows or fill them with "
        f"{name}.filled(value)."
    )


def _refuse_masked_rows(value: Sequence[Any], name: str) -> None:
    """Raise if a row of a list has something masked, which NumPy would take for a number."""
    for i, row in enumerate(value):
        if (mask := _mask(row)) is not None:
            place = _place((i, *np.argwhere(mask)[0]))
            raise InvalidInputError(
                f"{name}{place} is masked, and missing values are not supported. Drop that row or "
                "fill it with its method filled(value)."
            )


def _mask(value: Any) -> np.ndarray | None:
    """Where a masked array is masked, if anywhere; without importing numpy.ma, or astropy.

    None for structured ones: their named fields are the error, and one may be called "mask".
    """
    if type(value) is np.ndarray or not isinstance(value, np.ndarray) or value.dtype.names:
        return None
    mask = np.asarray(getattr(value, "mask", None))
    if mask.dtype != bool or not mask.any():
        return None
    return np.broadcast_to(mask, value.shape)


def _raise_ragged(value: Any, name: str) -> None:
    """Raise if `value` is a list of rows of different lengths; otherwise do nothing."""
    if not isinstance(value, (list, tuple)) or not value or not hasattr(value[0], "__len__"):
        return
    expected = len(value[0])
    for i, row in enumerate(value):
        length = len(row) if hasattr(row, "__len__") else None
        if length != expected:
            found = "is a single value" if length is None else f"has {length} values"
            raise InvalidInputError(
                f"{name}[{i}] {found} where {name}[0] has {expected}. "
                "Pass rows of one length, or drop the incomplete ones."
            ) from None


def _place(index: Any) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def is_table(value: Any) -> bool:
    """Whether `value` is a data frame (pandas, polars, ...): columns with names and types."""
    return hasattr(value, "columns") and hasattr(value, "dtypes") and hasattr(value, "to_numpy")


def column_names(value: Any) -> list[str] | None:
    """The column names of a data frame as text; None for anything else."""
    return [str(column) for column in value.columns] if is_table(value) else None


def column_texts(value: Any) -> list[str] | None:
    """The column names of a data frame whose names are all text, as scikit-learn takes them."""
    named = is_table(value) and all(isinstance(column, str) for column in value.columns)
    return list(value.columns) if named else None


def table_array(table: Any, name: str) -> np.ndarray:
    """A data frame's values, (N, D) float32 or float64; a view where its columns lie together.

    Raises
    ------
    InvalidInputError
        Naming the first column that is categorical, dates, text, or holds missing values
        that are not NaN (NaN is left for the kernels, which look at every number anyway).
    """
    dtypes = list(table.dtypes)
    if dtypes and all(isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in dtypes):
        return floats(table.to_numpy(), name)
    columns = []
    for j, (column, dtype) in enumerate(zip(table.columns, dtypes, strict=True)):
        series = table.iloc[:, j] if hasattr(table, "iloc") else table[column]
        columns.append(_column_array(series, dtype, f"{name} column {shown(column)}"))
    if not columns:
        return np.empty((len(table), 0))
    return np.column_stack(columns)


def _column_array(series: Any, dtype: Any, label: str) -> np.ndarray:
    kind = str(dtype).lower()
    if hasattr(dtype, "categories") or kind.startswith(("category", "categorical", "enum")):
        raise InvalidTypeError(
            f"{label} is categorical. Encode it as numbers (one column per category), or drop it."
        )
    if not isinstance(dtype, np.dtype) or dtype.kind != "f":
        missing = _missing(series)
        if missing is not None and missing.any():
            raise InvalidInputError(
                f"{label} has a missing value in row {int(np.argmax(missing))} "
                f"({np.count_nonzero(missing)} such values). Drop those rows or impute them."
            )
    if kind.startswith(("datetime", "timedelta", "date", "time", "duration", "period")):
        raise InvalidTypeError(
            f"{label} holds dates or times ({dtype}). Convert them to numbers, "
            "such as seconds since a date, or drop the column."
        )
    array = plain_array(series.to_numpy(), label)
    if array.dtype == object and getattr(dtype, "kind", "") in tuple("fiub"):
        array = array.astype(np.float64)  # pandas' nullable numbers; nothing is missing by now
    return floats(array, label)


def _missing(series: Any) -> np.ndarray | None:
    for method in ("isna", "is_null"):  # pandas, polars
        if hasattr(series, method):
            return np.asarray(getattr(series, method)()).astype(bool)
    return None


def floats(array: np.ndarray, name: str) -> np.ndarray:
    """`array` as native float64 or float32 of the same shape; itself if it is that already.

    float16, longdouble, integers and booleans become float64 (integers beyond 2**53 are rounded).

    Raises
    ------
    InvalidTypeError, InvalidInputError
        If the type is not numeric or real, or a value lies outside the range of float64.
    """
    dtype = array.dtype
    if dtype == FLOAT64 or dtype == FLOAT32:
        return array
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return array.astype(FLOAT32 if dtype.itemsize == 4 else FLOAT64)
    if dtype.kind in "iub":
        return array.astype(np.float64)
    if dtype.kind == "f":
        return _from_longdouble(array, name)
    if dtype.kind == "O":
        return _from_objects(array, name)
    if dtype.kind in "UST":
        _raise_text(array, name)
    if dtype.kind == "c":
        raise InvalidTypeError(
            f"Complex data not supported: {name} is {dtype}. "
            "Pass real and imaginary parts as separate columns."
        )
    if dtype.kind in "mM":
        raise InvalidTypeError(
            f"{name} holds dates or times ({dtype}). Convert them to numbers, "
            "such as seconds since a date."
        )
    return _from_foreign(array, name)


def _from_longdouble(array: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        converted = array.astype(np.float64)
    lost = np.isinf(converted)
    if lost.any():
        lost &= np.isfinite(array)
        if lost.any():
            index = tuple(np.argwhere(lost)[0])
            raise InvalidInputError(
                f"{name}{_place(index)} is {array[index]!s}, beyond the range of float64. "
                "Rescale the data."
            )
    return converted


def _from_foreign(array: np.ndarray, name: str) -> np.ndarray:
    # Types registered by other libraries (bfloat16, ...) say themselves whether they are numbers.
    if array.dtype.type is not np.void:
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
    raise InvalidTypeError(
        f"{name} has type {array.dtype}, which is not numeric. Pass {name} as float64 or float32."
    )


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    kinds = set(map(type, array.flat))
    if all(issubclass(kind, (float, int, np.floating, np.integer, np.bool_)) for kind in kinds):
        try:
            return array.astype(np.float64)
        except OverflowError:  # a Python int beyond float64: the loop below finds it
            pass
    converted = np.empty(array.shape)
    number_in_text = None
    for position, cell in enumerate(array.flat):
        index = np.unravel_index(position, array.shape)
        if isinstance(cell, (str, bytes)):
            if not _is_number_text(cell):
                raise _bad_cell(name, index, cell, "is text")
            number_in_text = number_in_text or _bad_cell(name, index, cell, "is a number in text")
            continue
        converted[index] = _cell_value(name, index, cell)
    if number_in_text is not None:
        raise number_in_text
    return converted


def _cell_value(name: str, index: Any, cell: Any) -> float:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):  # pandas' NA and NaT
        raise InvalidInputError(
            f"{name}{_place(index)} is {cell}, a missing value. Drop those rows or impute them."
        )
    if isinstance(cell, numbers.Complex) and not isinstance(cell, numbers.Real):
        raise InvalidTypeError(
            f"Complex data not supported: {name}{_place(index)} is {shown(cell)}. "
            "Pass real and imaginary parts as separate columns."
        )
    try:
        return float(cell)
    except OverflowError:
        raise InvalidInputError(
            f"{name}{_place(index)} is {shown(cell)}, beyond the range of float64. "
            "Rescale the data."
        ) from None
    except Exception as error:
        raise InvalidTypeError(
            f"{name}{_place(index)} is {shown(cell)} ({type(cell).__name__}): "
            f"{str(error)[:200]}. Pass numbers only."
        ) from error


def _is_number_text(cell: str | bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _bad_cell(name: str, index: Any, cell: Any, found: str) -> InvalidTypeError:
    remedy = (
        "Encode it as a number, or drop the column."
        if found == "is text"
        else f"Convert {name} with {name}.astype(float)."
    )
    text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
    return InvalidTypeError(f"{name}{_place(index)} {found}: {shown(text)}. {remedy}")


def _raise_text(array: np.ndarray, name: str) -> None:
    for position, cell in enumerate(array.flat):
        if not _is_number_text(cell):
            index = np.unravel_index(position, array.shape)
            raise _bad_cell(name, index, cell, "is text")
    where = (0,) * array.ndim
    raise _bad_cell(name, where, array[where] if array.size else "", "is a number in text")
