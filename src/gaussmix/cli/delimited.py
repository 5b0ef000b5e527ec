"""Numbers out of delimited text: fast where it is clean, exact about the place where it is not.

Clean blocks of lines go through `numpy.loadtxt`. A block it cannot take goes cell by cell, which
either parses it or names the line and the column.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, NoReturn

import numpy as np

from ..errors import InvalidInputError

_BLOCK_CHARACTERS = 1 << 22
_LINE_CAP = 1 << 24
_SLOW_ROWS = 1 << 14
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-", "?", "."})
_INFINITE = frozenset({"inf", "infinity"})


class Columns(NamedTuple):
    """Which columns of a table to read: positions counted from 0, and names or None."""

    positions: list[int]
    names: tuple[str, ...] | None


class Wanted(NamedTuple):
    """Columns asked for: `columns` outright, else `if_named` where the file has names, else all."""

    columns: Sequence[str | int] | None = None
    if_named: Sequence[str] | None = None


def read(
    stream: IO[bytes], path: str, delimiter: str, wanted: Wanted
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Values (N, D) float64 of delimited text, and the names of its columns or None.

    The first line is a header if none of its cells is a number or a missing value. Lines may end
    in LF, CRLF or CR; a byte-order mark is dropped; UTF-8, and UTF-16 with a mark. Blank lines
    are skipped.

    Parameters
    ----------
    stream : binary file object
        At its start.
    path : str
        Its name, for messages.
    delimiter : str
        One character. A comma becomes a semicolon if the first line has semicolons only.
    wanted : Wanted
        The columns to read. The others may hold anything.

    Raises
    ------
    InvalidInputError
        With line, column and name of the first cell that is not a finite number, or the line
        that has more or fewer cells than the first one.
    """
    text = _DelimitedText(stream, path, delimiter, wanted)
    try:
        return text.parse()
    finally:
        text.text.detach()  # the stream is the caller's to close


def select(path: str, width: int, names: Sequence[str] | None, wanted: Wanted) -> Columns:
    """Positions (from 0) and names of the chosen columns, in the order they were asked for.

    Raises
    ------
    InvalidInputError
        If a column does not exist, is chosen twice, or has an ambiguous name.
    """
    if names is not None:
        names = [name.strip() or f"column {p + 1}" for p, name in enumerate(names)]
    columns = wanted.columns
    if columns is None and names is not None:
        columns = wanted.if_named
    chosen = range(width) if columns is None else [_find(path, width, names, c) for c in columns]
    positions = list(chosen)
    if not positions:
        raise InvalidInputError(f"{path}: no column is chosen. Choose at least one.")
    if len(set(positions)) < len(positions):
        twice = next(p for p in positions if positions.count(p) > 1)
        raise InvalidInputError(f"{path}: column {twice + 1} is chosen twice. Choose it once.")
    if names is None:
        return Columns(positions, None)
    kept = [names[p] for p in positions]
    for name in kept:
        if kept.count(name) > 1:
            same = [p + 1 for p, other in zip(positions, kept, strict=True) if other == name]
            raise InvalidInputError(
                f"{path}: columns {same[0]} and {same[1]} are both named {_short(name)}. "
                "Rename one, or choose among them by number."
            )
    return Columns(positions, tuple(kept))


def _find(path: str, width: int, names: Sequence[str] | None, column: str | int) -> int:
    wanted = str(column).strip()
    matches = [p for p, name in enumerate(names or ()) if name == wanted]
    if len(matches) == 1 and not isinstance(column, int):
        return matches[0]
    if len(matches) > 1:
        raise InvalidInputError(
            f"{path}: the name {_short(wanted)} stands at columns {matches[0] + 1} and "
            f"{matches[1] + 1}. Choose by number."
        )
    # At most six digits: int() of a long text of digits is refused by Python itself.
    if re.fullmatch("[0-9]{1,6}", wanted) and 1 <= int(wanted) <= width:
        return int(wanted) - 1
    known = f"numbers 1 to {width}"
    if names:
        shown = ", ".join(names[:12])
        known = f"{shown}{', ...' if len(names) > 12 else ''}, or {known}"
    raise InvalidInputError(f"{path} has no column {_short(wanted)}. Choose from: {known}.")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


class _DelimitedText:
    """The state of reading one file: its width, its columns, the place reached."""

    def __init__(self, stream: IO[bytes], path: str, delimiter: str, wanted: Wanted) -> None:
        self.path = path
        self.delimiter = delimiter
        self.wanted = wanted
        mark = stream.read(4)
        stream.seek(0)
        utf16 = mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # Bytes that are not text matter only in cells that are read, and are named there.
        self.text = io.TextIOWrapper(
            stream, "utf-16" if utf16 else "utf-8-sig", errors="replace", newline=None
        )
        self.blank_line = 0

    def parse(self) -> tuple[np.ndarray, tuple[str, ...] | None]:
        blocks = self._blocks()
        first_line, lines = self._first_block(blocks)
        header, n_used = self._first_record(first_line, lines)
        self.width = len(header)
        self.first_line = first_line
        cells = [cell.strip() for cell in header]
        is_header = not any(_NUMBER(c) for c in cells) and any(
            c.lower() not in _MISSING | _INFINITE for c in cells
        )
        names = cells if is_header else None
        self.columns = select(self.path, self.width, names, self.wanted)
        skipped = n_used if is_header else 0
        blocks = itertools.chain([(first_line + skipped, lines[skipped:])], blocks)
        parts = list(self._parts(blocks))
        if not parts:
            raise InvalidInputError(f"{self.path} has a header but no rows. Add at least one row.")
        X = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return X, self.columns.names

    def _blocks(self) -> Iterator[tuple[int, list[str]]]:
        """Whole lines, some megabytes at a time, with the number of the first."""
        line, rest = 1, ""
        while True:
            new = self.text.read(_BLOCK_CHARACTERS)
            if "\0" in new:
                line += (rest + new[: new.index("\0")]).count("\n")
                raise InvalidInputError(
                    f"{self.path}, line {line}: a NUL character, which no number or name has. "
                    "Files are read as UTF-8, or as UTF-16 if they begin with a byte-order mark. "
                    "Save it as one of these."
                )
            lines = (rest + new).split("\n")
            rest = lines.pop() if new else ""
            if lines and not new and lines[-1] == "":
                lines.pop()
            if lines:
                yield line, lines
            line += len(lines)
            if len(rest) > _LINE_CAP:
                raise InvalidInputError(
                    f"{self.path}, line {line}: longer than {_LINE_CAP} characters. "
                    "Is it a table with one row per line?"
                )
            if not new:
                return

    def _first_block(self, blocks: Iterator[tuple[int, list[str]]]) -> tuple[int, list[str]]:
        for line, lines in blocks:
            for position, text in enumerate(lines):
                if text.strip():
                    return line + position, lines[position:]
        raise InvalidInputError(f"{self.path} is empty. Give a table with one row per line.")

    def _first_record(self, line: int, lines: list[str]) -> tuple[list[str], int]:
        if self.delimiter == "," and "," not in lines[0] and ";" in lines[0]:
            self.delimiter = ";"
        reader = self._reader(lines)
        try:
            return next(reader), reader.line_num
        except csv.Error as error:
            self._refuse_line(line, error)

    def _reader(self, lines):
        return csv.reader(lines, delimiter=self.delimiter, strict=True)

    def _parts(self, blocks: Iterator[tuple[int, list[str]]]) -> Iterator[np.ndarray]:
        for line, lines in blocks:
            if any('"' in text for text in lines):
                # A quoted cell may reach into the next block: from here on line by line.
                rest = itertools.chain.from_iterable(more for _, more in blocks)
                yield from self._slow(line, itertools.chain(lines, rest))
                return
            part = self._fast(lines)
            if part is None:
                yield from self._slow(line, lines)
            elif len(part):
                yield part

    def _fast(self, lines: list[str]) -> np.ndarray | None:
        """Values of clean lines, or None if anything at all needs a closer look."""
        delimiter, others = self.delimiter, self.width - 1
        if (
            self.blank_line
            or not lines
            or "" in lines
            or any(t.count(delimiter) != others for t in lines)
        ):
            return None
        every = self.columns.positions == list(range(self.width))
        try:
            part = np.loadtxt(
                lines,
                delimiter=delimiter,
                usecols=None if every else self.columns.positions,
                comments=None,
                ndmin=2,
            )
        except ValueError:
            return None
        if len(part) != len(lines) or not np.isfinite(part).all():
            return None
        return part

    def _slow(self, first_line: int, lines) -> Iterator[np.ndarray]:
        reader = self._reader(lines)
        rows: list[list[float]] = []
        line = first_line
        try:
            for cells in reader:
                if not cells or (len(cells) == 1 < self.width and not cells[0].strip()):
                    self.blank_line = self.blank_line or line
                else:
                    rows.append(self._row(line, cells))
                if len(rows) == _SLOW_ROWS:
                    yield np.array(rows)
                    rows = []
                line = first_line + reader.line_num
        except csv.Error as error:
            self._refuse_line(line, error)
        if rows:
            yield np.array(rows)

    def _row(self, line: int, cells: list[str]) -> list[float]:
        if len(cells) != self.width:
            raise InvalidInputError(
                f"{self.path}, line {line}: {len(cells)} cells, but line {self.first_line} has "
                f"{self.width}. Give every line the same number of cells."
            )
        if self.blank_line and self.width == 1:
            # With one column a blank line is a missing value, unless it ends the file.
            self._refuse_cell(self.blank_line, 0, [""])
        values = []
        for position in self.columns.positions:
            text = cells[position].strip()
            value = float(text) if _NUMBER(text) else math.nan
            if not math.isfinite(value):
                self._refuse_cell(line, position, cells)
            values.append(value)
        return values

    def _refuse_cell(self, line: int, position: int, cells: list[str]) -> NoReturn:
        text = cells[position].strip()
        place = f"{self.path}, line {line}, column {position + 1}"
        if self.columns.names is not None:
            place += f" ({self.columns.names[self.columns.positions.index(position)]})"
        shown = _short(text)
        if text.lower() in _MISSING:
            what = f"missing value ({shown}). Fill it in or delete the row."
        elif _NUMBER(text) or text.lower().lstrip("+-") in _INFINITE:
            what = f"{shown} is infinite in double precision. Correct it or delete the row."
        elif re.fullmatch(r"[+-]?[0-9.]*,[0-9]+(?:[eE][+-]?[0-9]+)?", text):
            what = f"{shown} has a decimal comma. Write decimal points."
        else:
            numeric = [str(p + 1) for p, cell in enumerate(cells) if _NUMBER(cell.strip())]
            what = f"{shown} is not a number."
            if line == self.first_line and numeric:
                what += " (A header is a first line without any number.)"
            if numeric:
                what += (
                    f" Correct it, or choose the numeric columns: --columns {','.join(numeric)}."
                )
            else:
                what += " Only numbers can be read; check the delimiter of the file."
        raise InvalidInputError(f"{place}: {what}")

    def _refuse_line(self, line: int, error: csv.Error) -> NoReturn:
        raise InvalidInputError(
            f"{self.path}, line {line}: {error}. Check the quotes from there on."
        ) from error


def delimiter_of(path: str | os.PathLike) -> str | None:
    """Delimiter that the suffix of a file stands for, or None if it is not delimited text."""
    return {".csv": ",", ".tsv": "\t"}.get(os.path.splitext(os.fspath(path))[1].lower())
