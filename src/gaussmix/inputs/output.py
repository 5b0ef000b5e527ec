"""Arrays of the caller's that results are written into. Part of `validate`, reached through it."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from ..errors import InvalidInputError, InvalidTypeError
from .convert import check_extent
from .parameters import shown

INT64 = np.dtype(np.int64)
# Bits of ndarray.flags.num: C-contiguous, aligned, writeable; owns its data.
_WRITEABLE, _OWNS_DATA = 0x1 | 0x100 | 0x400, 0x4
_OVERLAP_WORK = 1000  # candidates NumPy may look at to tell whether strided arrays share elements


def result(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array for results, not filled.

    Raises
    ------
    InvalidInputError
        If no machine could address it; NumPy's MemoryError, which names shape and size as well,
        if this one cannot hold it.
    """
    try:
        return np.empty(shape, dtype)
    except (ValueError, OverflowError):
        n_bytes = math.prod(shape) * dtype.itemsize  # a Python int, of any size
        needed = f"{n_bytes:.3g}" if n_bytes < 1e300 else "over 1e300"
        raise InvalidInputError(
            f"a result of shape {shown(shape)} needs {needed} bytes, more than can be addressed. "
            "Ask for fewer rows at a time."
        ) from None


def output(out: Any, shape: tuple[int, ...], dtype: np.dtype, X: np.ndarray) -> np.ndarray:
    """The caller's array `out`, if results of this shape and type can be written into it.

    Parameters
    ----------
    out : ndarray
        What the user passed; a subclass, such as a memory map, will do.
    shape : tuple of int
    dtype : dtype
        Native; the only one that `out` may have.
    X : ndarray
        What `data` returned: what is written must not change what is still to be read.

    Raises
    ------
    InvalidTypeError
        If it is not an array, or of another type.
    InvalidInputError
        If it has another shape, is not C-contiguous and aligned, is read-only, reaches outside the
        memory it is a view of, or shares memory with `X`.
    """
    flags = out.flags.num if isinstance(out, np.ndarray) else 0
    fits = flags & _WRITEABLE == _WRITEABLE and out.dtype == dtype and out.shape == shape
    if not fits or (np.may_share_memory(out, X) and _share_memory(out, X)):
        _raise_unusable(out, shape, dtype)
    if not flags & _OWNS_DATA:
        check_extent(out, "out")
    return out


def _raise_unusable(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> NoReturn:
    """Raise the error that says why results of this shape and type do not go into `out`."""
    remedy = f"Pass numpy.empty({shape}, dtype=numpy.{dtype.name})."
    if not isinstance(out, np.ndarray):
        raise InvalidTypeError(f"out is {shown(out)}, not an array. {remedy}")
    if out.dtype != dtype:
        raise InvalidTypeError(
            f"out has type {out.dtype}, but the results are {dtype.name} and are not converted. "
            f"{remedy}"
        )
    if out.shape != shape:
        raise InvalidInputError(f"out has shape {out.shape}, but {shape} is expected. {remedy}")
    for found, flag in (
        ("is read-only", out.flags.writeable),
        ("is not C-contiguous", out.flags.c_contiguous),
        ("is not aligned", out.flags.aligned),
        ("shares memory with X, which would change while it is read", False),
    ):
        if not flag:
            raise InvalidInputError(f"out {found}. {remedy}")


def _share_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether an element of `a` is one of `b`; also True where that is too hard to tell."""
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True
