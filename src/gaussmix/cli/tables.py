"""Data files for the command line: rows of numbers, read and written.

Read are .csv, .tsv, .npy, .npz and .parquet; written .csv, .tsv, .txt and .npy.
"""

from __future__ import annotations

import csv
import errno
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import IO, NamedTuple, TextIO

import numpy as np

from ..errors import InvalidInputError
from ..files.regular import open_regular
from ..inputs import validate
from . import delimited
from .npy import read_header

SUFFIXES = (".csv", ".tsv", ".npy", ".npz", ".parquet")
WRITABLE = (".csv", ".tsv", ".txt", ".npy")
# A compressed array may honestly be all zeros, but beyond this it is a bomb or a mistake.
_INFLATED_CAP = 1 << 30
_INFLATED_RATIO = 100
_CHECK_ROWS = 1 << 16
# What zipfile raises where a byte is wrong; seeking to a place that is none is an OSError.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


class Table(NamedTuple):
    """Rows read from a file.

    Attributes
    ----------
    X : ndarray of shape (N, D)
        float64, or float32 if the file holds it; every value finite.
    names : tuple of str, or None
        D column names, if the file has any.
    source : str
        The file's name.
    """

    X: np.ndarray
    names: tuple[str, ...] | None
    source: str


def read(
    path: str | os.PathLike,
    *,
    columns: Sequence[str | int] | None = None,
    if_named: Sequence[str] | None = None,
    key: str | None = None,
) -> Table:
    """Rows of a data file.

    Parameters
    ----------
    path : str or path-like
        A regular file ending in .csv, .tsv, .npy, .npz or .parquet.
    columns : sequence of str or int, optional
        Columns to read, by name or by position counted from 1. A name wins over a position.
        Columns that are not read may hold anything.
    if_named : sequence of str, optional
        Columns to read if `columns` is not given and the file has names; for the features of a
        model, in whatever order and company they come.
    key : str, optional
        Which array of an .npz file, needed if it holds several.

    Returns
    -------
    Table
        Cost in memory: up to twice the rows while reading text, once otherwise.

    Raises
    ------
    InvalidInputError
        If the file is of another kind or damaged, or a cell is missing, not a number or not
        finite; the message names file, line or row, and column.
    OSError
        If the file is absent or may not be read.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        if not os.path.exists(path):  # a mistyped name matters more than its missing suffix
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        raise InvalidInputError(
            f"{path} does not end in one of {', '.join(SUFFIXES)}. Convert it or rename it."
        )
    if key is not None and suffix != ".npz":
        raise InvalidInputError(f"key={key!r} is for .npz files, {path} is not one. Leave it out.")
    wanted = delimited.Wanted(columns, if_named)
    stream, size = open_regular(path, InvalidInputError)
    with stream:
        delimiter = delimited.delimiter_of(path)
        if delimiter is not None:
            X, names = delimited.read(stream, path, delimiter, wanted)
            return Table(X, names, path)
        if suffix == ".parquet":
            X, names = _read_parquet(stream, path, wanted)
        else:
            read_array = _read_npy if suffix == ".npy" else _read_npz
            X, names = _columns_of(path, read_array(stream, path, size, key), wanted), None
    _check_finite(path, X, names)
    return Table(X, names, path)


def choose(
    X: np.ndarray, names: Sequence[str], columns: Sequence[str | int], source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Columns of a table already in memory, and their names; chosen as by `read`."""
    chosen = delimited.select(source, X.shape[1], names, delimited.Wanted(columns))
    return X[:, chosen.positions], chosen.names


def write(
    path: str | os.PathLike,
    header: Sequence[str],
    blocks: Iterable[np.ndarray],
    labels: np.ndarray | None = None,
) -> None:
    """Nothing; writes rows of numbers to a file, to the same bits when read back.

    Parameters
    ----------
    path : str or path-like
        Ends in .csv or .txt (commas), .tsv (tabs) or .npy. An existing file is replaced.
    header : sequence of str
        Names of the columns; .npy has no place for them.
    blocks : iterable of ndarray, each (n,) or (n, D)
        The rows in order. For .npy all are held in memory at once.
    labels : ndarray (N,), optional
        A last column of integers. In an .npy file it takes the type of the others.

    Raises
    ------
    InvalidInputError
        If the name ends in anything else. Nothing has been written then.
    OSError
        If the file cannot be written.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITABLE:
        raise InvalidInputError(
            f"{path} does not end in one of {', '.join(WRITABLE)}. Choose another name."
        )
    if suffix == ".npy":
        values = np.concatenate(list(blocks) or [np.empty((0, len(header) - (labels is not None)))])
        if labels is not None:
            values = np.column_stack([values, labels.astype(values.dtype)])
        with open(path, "wb") as stream:  # numpy.save itself would make x.NPY into x.NPY.npy
            np.save(stream, values)
        return
    with open(path, "w", encoding="utf-8", newline="") as stream:
        write_text(stream, header, blocks, labels, "\t" if suffix == ".tsv" else ",")


def write_text(
    stream: TextIO,
    header: Sequence[str],
    blocks: Iterable[np.ndarray],
    labels: np.ndarray | None = None,
    delimiter: str = ",",
) -> None:
    """Nothing; writes rows as `write` does, as delimited text into an open stream."""
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerow(header)
    done = 0
    for block in blocks:
        rows = block.reshape(len(block), -1).tolist()
        if labels is not None:
            for row, label in zip(rows, labels[done : done + len(rows)].tolist(), strict=True):
                row.append(label)
        done += len(rows)
        stream.writelines(delimiter.join(map(repr, row)) + "\n" for row in rows)


def _read_npy(stream: IO[bytes], path: str, size: int, key: None) -> np.ndarray:
    return _read_array(stream, path, size)


def _read_npz(stream: IO[bytes], path: str, size: int, key: str | None) -> np.ndarray:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
            if key is None and len(entries) == 1:
                (key,) = entries
            if key not in entries:
                found = ", ".join(sorted(entries)[:12]) or "none"
                asked = "several arrays" if key is None else f"no array {key!r}"
                raise InvalidInputError(f"{path} holds {asked}. Choose with --key: {found}.")
            entry = entries[key]
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("its compression is not one that NumPy writes")
            if entry.file_size > max(_INFLATED_CAP, _INFLATED_RATIO * entry.compress_size):
                raise InvalidInputError(
                    f"{path}: {key} would grow from {entry.compress_size} to {entry.file_size} "
                    "bytes. Save it uncompressed if that is right."
                )
            with archive.open(entry) as member:
                return _read_array(member, path, entry.file_size)
    except InvalidInputError:
        raise
    except _ZIP_ERRORS as error:
        raise InvalidInputError(
            f"{path} is not a readable .npz file: {error}. Save it again with numpy.savez."
        ) from error


def _read_array(stream: IO[bytes], path: str, size: int) -> np.ndarray:
    """Array in NumPy's format, allocated only once its header agrees with the bytes there are."""
    try:
        descr, fortran_order, shape = read_header(stream)
    except ValueError as error:
        raise InvalidInputError(
            f"{path} is not an array in NumPy's format: {error}. Save it with numpy.save."
        ) from error
    if not re.fullmatch(r"[<>|=][biuf]\d{1,2}", descr):
        hint = " (Python objects, which would have to be unpickled)" if "O" in descr else ""
        raise InvalidInputError(
            f"{path} holds values of type {descr}{hint}, not numbers. Save it as float64."
        )
    try:
        dtype = np.dtype(descr)
    except TypeError as error:
        raise InvalidInputError(f"{path}: {error}. Save it as float64.") from error
    n_values = math.prod(shape)
    if n_values * dtype.itemsize > size:
        raise InvalidInputError(
            f"{path} is truncated: shape {shape} of {dtype} takes {n_values * dtype.itemsize} "
            f"bytes, the file has {size}. Save it again."
        )
    values = np.empty(n_values, dtype)
    target = memoryview(values).cast("B") if n_values else memoryview(b"")
    done = 0
    while done < len(target):
        count = stream.readinto(target[done : done + (1 << 24)])
        if not count:
            raise InvalidInputError(
                f"{path} is truncated: {done} of {len(target)} bytes of values. Save it again."
            )
        done += count
    stream.read(1)  # at the end of a zip member this compares the checksum
    return values.reshape(shape, order="F" if fortran_order else "C")


def _columns_of(path: str, array: np.ndarray, wanted: delimited.Wanted) -> np.ndarray:
    if array.ndim not in (1, 2) or array.size == 0:
        raise InvalidInputError(
            f"{path} holds an array of shape {array.shape}. Rows by columns are needed, at least "
            "one of each."
        )
    X = validate.data(array, name=path, allow_1d=True)
    if wanted.columns is None:
        return X
    return X[:, delimited.select(path, X.shape[1], None, wanted).positions]


def _read_parquet(
    stream: IO[bytes], path: str, wanted: delimited.Wanted
) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInputError(
            f'{path}: reading .parquet needs pyarrow. Install it: pip install "gaussmix[cli]".'
        ) from error
    try:
        file = parquet.ParquetFile(stream, page_checksum_verification=True)
        schema = file.schema_arrow
        chosen = delimited.select(path, len(schema.names), schema.names, wanted)
        for position, name in zip(chosen.positions, chosen.names, strict=True):
            _check_parquet_type(path, pa, schema.field(position), position, name)
        X = np.empty((file.metadata.num_rows, len(chosen.names)))
        row = 0
        labels = [schema.names[p] for p in chosen.positions]
        for batch in file.iter_batches(_CHECK_ROWS, columns=labels):
            for column, position in enumerate(chosen.positions):
                values = batch.column(labels[column])
                if values.null_count:
                    first = row + int(np.flatnonzero(values.is_null().to_numpy(False))[0])
                    raise InvalidInputError(
                        f"{path}, row {first + 1}, column {position + 1} "
                        f"({chosen.names[column]}): missing value. Fill it in or delete the row."
                    )
                X[row : row + len(values), column] = values.cast(pa.float64(), safe=False)
            row += batch.num_rows
    except InvalidInputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is not a readable .parquet file: {str(error).splitlines()[0]} Write it again."
        ) from error
    if not len(X):
        raise InvalidInputError(f"{path} has no rows. Add at least one row.")
    return X, chosen.names


def _check_parquet_type(path: str, pa, field, position: int, name: str) -> None:
    kind = field.type
    test = pa.types
    if not (
        test.is_integer(kind)
        or test.is_floating(kind)
        or test.is_decimal(kind)
        or test.is_boolean(kind)
    ):
        raise InvalidInputError(
            f"{path}, column {position + 1} ({name}) holds {kind}, not numbers. "
            "Choose the numeric columns with --columns."
        )


def _check_finite(path: str, X: np.ndarray, names: tuple[str, ...] | None) -> None:
    for start in range(0, len(X), _CHECK_ROWS):
        finite = np.isfinite(X[start : start + _CHECK_ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = X[start + row, column]
            named = f" ({names[column]})" if names else ""
            raise InvalidInputError(
                f"{path}, row {start + row + 1}, column {column + 1}{named}: "
                f"{'missing value (NaN)' if np.isnan(value) else value}. "
                "Fill it in or delete the row."
            )
