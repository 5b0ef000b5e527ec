"""Rows that need not lie in one array: chunks, read anew in every pass, and all that a fit asks.

A fit treats its rows as an array or as a `Source`; the functions below know both. Whatever they
hand on is cut by row numbers alone, so that no result depends on where chunks end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from .. import stopping
from ..errors import InvalidInputError, InvalidTypeError
from ..inputs import validate

SCAN_ROWS = 1 << 16  # rows, or weights, looked at at once

ONE_SHOT = (
    "X is {found}, which can be read only once, but every iteration reads all rows. Pass a "
    "function that starts anew each time: lambda: make_chunks()."
)


class Source:
    """Rows in chunks that are read anew in every pass; never held all at once.

    Making one is a first pass: it checks the shape and the type of every chunk and counts rows.

    Parameters
    ----------
    chunks : callable or sequence
        Chunks (n, D), any n, arrays or data frames; or a function without arguments that returns
        an iterable of such. Each pass converts one chunk at a time.

    Attributes
    ----------
    shape : tuple
        (N, D) of all rows.
    lengths : list of int
        Rows of each chunk.

    Raises
    ------
    InvalidInputError
        If a chunk cannot be used, or has other columns than the first one; names the chunk.
    """

    def __init__(self, chunks: Callable[[], Iterable] | Sequence) -> None:
        self._chunks = chunks
        self._columns: Any = None
        self.lengths: list[int] = []
        self.shape = (0, 0)
        n_features = 0
        for number, chunk in enumerate(self._begin()):
            rows = validate.data(chunk, name=f"chunk {number} of X", min_rows=0)
            if number == 0:
                n_features = rows.shape[1]
                self._columns = validate.column_names(chunk)
            self._check_columns(number, chunk, rows, n_features)
            self.lengths.append(len(rows))
        self.shape = (sum(self.lengths), n_features)
        if not self.shape[0]:
            raise InvalidInputError(
                f"X has {len(self.lengths)} chunks and no rows. Pass at least one row."
            )

    def __len__(self) -> int:
        return self.shape[0]

    def _begin(self) -> Iterable:
        """The chunks, from the first one on."""
        if not callable(self._chunks):
            return self._chunks
        chunks = self._chunks()
        if hasattr(chunks, "__array__"):
            return (chunks,)  # an array would give its rows, one by one
        try:
            return iter(chunks)
        except TypeError:
            raise InvalidTypeError(
                f"X() returned {validate.shown(chunks)} ({type(chunks).__name__}), not an "
                "iterable of chunks. Return arrays (n, D) in a list or from a generator."
            ) from None

    def _check_columns(self, number: int, chunk: Any, rows: np.ndarray, n_features: int) -> None:
        if rows.shape[1] != n_features:
            raise InvalidInputError(
                f"chunk {number} of X has shape {rows.shape}, but chunk 0 has {n_features} "
                "columns. Pass chunks with the same columns."
            )
        names = validate.column_names(chunk)
        if names != self._columns:
            raise InvalidInputError(
                f"chunk {number} of X has the columns {validate.shown(names)}, but chunk 0 has "
                f"{validate.shown(self._columns)}. Pass the same columns in the same order."
            )

    def chunks(self) -> Iterator[np.ndarray]:
        """One pass: the rows of each chunk, float32 or float64, in order.

        Raises InvalidInputError if they are not those of the first pass, as far as their number
        tells.
        """
        number = -1
        for number, chunk in enumerate(self._begin()):
            rows = validate.data(chunk, name=f"chunk {number} of X", min_rows=0)
            known = self.lengths[number] if number < len(self.lengths) else None
            if len(rows) != known or rows.shape[1] != self.shape[1]:
                self._raise_changed(f"chunk {number} has shape {rows.shape} now")
            yield rows
        if number + 1 != len(self.lengths):
            self._raise_changed(f"only {number + 1} chunks came now")

    def _raise_changed(self, found: str) -> NoReturn:
        raise InvalidInputError(
            f"X gave {len(self)} rows in {len(self.lengths)} chunks when it was first read, but "
            f"{found}. Pass a function that returns a fresh iterable of the same chunks each time."
        )

    def pieces(self, unit: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
        """One pass: (number of the first row, rows), cut at multiples of `unit`.

        At most `most` rows each, a multiple of `unit`. Only rows between a chunk's edge and the
        next multiple are copied, so a chunk may be overwritten once the next one is asked for.
        """
        first, waiting, rest = 0, 0, []
        for rows in self.chunks():
            begin = 0
            if waiting:
                begin = min(unit - waiting, len(rows))
                rest.append(rows[:begin].copy())
                waiting += begin
                if waiting < unit:
                    continue
                yield first, np.concatenate(rest)
                first += unit
            end = len(rows) - (len(rows) - begin) % unit
            for at in range(begin, end, most):
                piece = rows[at : min(at + most, end)]
                yield first, piece
                first += len(piece)
            rest, waiting = [rows[end:].copy()], len(rows) - end
        if waiting:
            yield first, np.concatenate(rest)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows with the given numbers, in increasing order, as float64; one pass."""
        found = np.empty((len(rows), self.shape[1]))
        first = 0
        for chunk in self.chunks():
            begin, end = np.searchsorted(rows, (first, first + len(chunk)))
            found[begin:end] = chunk[rows[begin:end] - first]
            first += len(chunk)
        return found

    def raise_nonfinite(self, row: int) -> NoReturn:
        """Raise the error for NaN or infinity in a row; names its chunk and its row there."""
        for number, rows in enumerate(self.chunks()):
            if row < len(rows):
                validate.raise_nonfinite(rows, row, f"chunk {number} of X: ")
            row -= len(rows)
        self._raise_changed("it ended earlier")


Rows = np.ndarray | Source


def open_rows(X: Any, sample_weight: Any) -> tuple[Rows, np.ndarray | None]:
    """What a fit was given as its rows and their weights.

    A function or a sequence of chunks becomes a `Source`, and so does a memory-mapped file whose
    numbers have to be converted. Weights are held in memory, 8 bytes a row; they may be cut as the
    chunks are.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        If either cannot be used.
    """
    if hasattr(X, "__next__"):
        raise InvalidTypeError(ONE_SHOT.format(found=f"{type(X).__name__} {validate.shown(X)}"))
    if isinstance(X, np.memmap) and X.ndim == 2 and not _is_native(X):
        step = max(1, validate.CONVERTED_VALUES // max(X.shape[1], 1))
        rows = Source(lambda: (X[begin : begin + step] for begin in range(0, len(X), step)))
    elif _is_chunks(X):
        rows = Source(X)
    else:
        rows = validate.data(X, allow_1d=True)
        return rows, validate.sample_weight(sample_weight, len(rows))
    return rows, _chunked_weight(sample_weight, rows)


def refuse_chunks(X: Any, remedy: str) -> None:
    """Raise InvalidTypeError, with the remedy, if X is a sequence or a function of chunks."""
    if hasattr(X, "__next__") or _is_chunks(X):
        what = "a list of chunks" if isinstance(X, list) else f"chunks ({type(X).__name__})"
        raise InvalidTypeError(f"X is {what}, and one array is expected. {remedy}")


def _is_chunks(X: Any) -> bool:
    """Whether X is a function or a sequence of chunks."""
    return (callable(X) and not hasattr(X, "__array__")) or _is_sequence_of_chunks(X)


def _is_native(X: np.ndarray) -> bool:
    return X.dtype.char in "fd" and X.dtype.isnative and X.flags.aligned


def _is_sequence_of_chunks(X: Any) -> bool:
    """Whether X is a sequence of tables; a sequence of rows, or of rows of numbers, is data."""
    if isinstance(X, memoryview):  # a sequence, but one of two dimensions gives no rows
        return False
    return isinstance(X, Sequence) and len(X) > 0 and getattr(X[0], "ndim", 0) == 2


def _chunked_weight(sample_weight: Any, rows: Source) -> np.ndarray | None:
    """Weights (N,), whether given so or cut as the chunks are."""
    parts = sample_weight() if callable(sample_weight) else sample_weight
    if not callable(sample_weight) and not (
        isinstance(parts, Sequence) and len(parts) > 0 and getattr(parts[0], "ndim", 0) == 1
    ):
        return validate.sample_weight(sample_weight, len(rows))
    if not isinstance(parts, Iterable):
        raise InvalidTypeError(
            f"sample_weight() returned {validate.shown(parts)} ({type(parts).__name__}), not an "
            "iterable of chunks. Return an array of weights for each chunk of X."
        )
    arrays = [
        validate.array(f"chunk {number} of sample_weight", part, (None,))
        for number, part in enumerate(parts)
    ]
    for number, (part, length) in enumerate(zip(arrays, rows.lengths, strict=False)):
        if len(part) != length:
            raise InvalidInputError(
                f"chunk {number} of sample_weight has {len(part)} values, but chunk {number} of X "
                f"has {length} rows. Pass one weight for each row."
            )
    if len(arrays) != len(rows.lengths):
        raise InvalidInputError(
            f"sample_weight has {len(arrays)} chunks, but X has {len(rows.lengths)}. Pass one "
            "array of weights for each chunk, or one for all rows."
        )
    return validate.sample_weight(np.concatenate(arrays), len(rows))


def pieces(X: Rows, unit: int, most: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """One pass: (number of the first row, rows), at most `most` (or `unit`) rows each.

    Rows of a `Source` are cut at multiples of `unit`, and no later than after `most`, a multiple
    of it; those of an array after `most`.
    """
    most = unit if most is None else most
    if isinstance(X, Source):
        yield from X.pieces(unit, most)
    else:
        for begin in range(0, len(X), most):
            yield begin, X[begin : begin + most]


def take(X: Rows, rows: np.ndarray) -> np.ndarray:
    """Rows with the given numbers, which must not decrease; of a source, in one pass."""
    return X.take(rows) if isinstance(X, Source) else X[rows]


def weighted_rows(weight: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Numbers of the rows of positive weight that have these increasing `ranks` among them.

    Counted piece by piece: ``np.flatnonzero`` may take as much memory as the weights.
    """
    numbers, before = np.empty_like(ranks), 0
    for begin in range(0, len(weight), SCAN_ROWS):
        used = np.flatnonzero(weight[begin : begin + SCAN_ROWS])
        first, last = ranks.searchsorted((before, before + len(used)))
        numbers[first:last] = begin + used[ranks[first:last] - before]
        if last == len(ranks):
            break
        before += len(used)
    return numbers


def extremes(X: Rows, sample_weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(D,) smallest and largest value of each column over rows of positive weight."""
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for begin, rows in pieces(X, SCAN_ROWS):
        stopping.check()
        if sample_weight is not None:
            rows = rows[sample_weight[begin : begin + len(rows)] > 0.0]
        if len(rows):
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return low, high


def raise_nonfinite(X: Rows, row: int) -> NoReturn:
    """Raise the error for NaN or infinity in row `row`; see ``validate.raise_nonfinite``."""
    if isinstance(X, Source):
        X.raise_nonfinite(row)
    validate.raise_nonfinite(X, row)
