"""The table of a selection, and a selection as model files hold it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..algorithms.results import FitResult
from ..criteria import NAMES
from ..errors import InvalidInputError, ModelFileError
from ..files import container, records
from ..inputs import validate

CRITERIA = tuple(NAMES)
FIELDS = [
    ("n_components", np.int64),
    *((name, np.float64) for name in CRITERIA),
    ("log_likelihood", np.float64),
    ("n_parameters", np.int64),
    ("n_iter", np.int64),
    ("converged", np.bool_),
    ("seconds", np.float64),
    ("degenerate", np.bool_),
]
_TABLE_CAP = 1 << 24  # characters: each candidate takes the room of the one with the most
_CODES = {np.int64: "i8", np.float64: "f8", np.bool_: "u1"}  # in a file


def _require_room(types: Sequence[str], notes: Sequence[Sequence[str]]) -> None:
    """Raise InvalidInputError if a small file would make a huge table."""
    longest = max(map(len, types)) + max(sum(len(note) + 2 for note in each) for each in notes)
    if longest * len(types) > _TABLE_CAP:
        raise InvalidInputError(
            f"notes: {len(types)} candidates with up to {longest} characters; a file may hold "
            f"{_TABLE_CAP} characters for all. Save the results one by one."
        )


def blank_table(types: Sequence[str], notes: Sequence[Sequence[str]]) -> np.ndarray:
    """A table with a row for each candidate, of which the texts are known and no numbers yet."""
    warnings = ["; ".join(each) for each in notes]
    fields = [
        ("covariance_type", f"U{max(1, *map(len, types))}"),
        *FIELDS,
        ("warnings", f"U{max(1, *map(len, warnings))}"),
    ]
    table = np.zeros(len(types), dtype=fields)
    table["covariance_type"], table["warnings"] = types, warnings
    return table


def record_of(selection) -> container.Record:
    """The record of a selection; its fits are files within the file."""
    table = selection.table
    files = [
        b"" if result is None else b"".join(container.buffers(result._record()))
        for result in selection.results
    ]
    report = {"covariance_types": table["covariance_type"].tolist(), "notes": selection.notes}
    _require_room(report["covariance_types"], selection.notes)
    return container.Record(
        "selection",
        {"criterion": selection.criterion, "chosen": int(selection.chosen)},
        {name: table[name].astype(_CODES[kind]) for name, kind in FIELDS}
        | {
            "report": records.text(report),
            "result_sizes": np.array([len(file) for file in files], dtype=np.int64),
            "results": np.frombuffer(b"".join(files), dtype=np.uint8),
        },
    )


def selection_of(record: container.Record, make):
    """The selection of a record, made by `make`, its class.

    Raises InvalidInputError or ModelFileError if parts do not fit together.
    """
    criterion, chosen = records.fields(record, criterion=str, chosen=int)
    validate.choice("criterion", criterion, CRITERIA)
    columns = {name: _CODES[kind] for name, kind in FIELDS}
    records.numbers(record, "report", results="u1", result_sizes="i8", **columns)
    types, notes = records.values(
        records.document_of(record, "report"), "report: ", covariance_types=list, notes=list
    )
    for position, name in enumerate(types):
        records.require_text(f"covariance_types[{position}]", name)
    if not types or len(notes) != len(types) or not all(type(each) is list for each in notes):
        raise InvalidInputError("report: notes is not a list of texts for each candidate.")
    for position, each in enumerate(notes):
        for note in each:
            records.require_text(f"notes[{position}]", note)
    _require_room(types, notes)
    table = blank_table(types, notes)
    for name, _ in FIELDS:
        column = record.arrays[name]
        if column.shape != table.shape:
            raise InvalidInputError(f"{name} has shape {column.shape}, not {table.shape}.")
        if column.dtype == np.uint8 and (column > 1).any():
            raise InvalidInputError(f"{name} holds {column.max()}, which is neither 0 nor 1.")
        table[name] = column
    table.setflags(write=False)
    results = _results(record.arrays["results"], record.arrays["result_sizes"], table)
    if not 0 <= chosen < len(results) or results[chosen] is None:
        raise InvalidInputError(f"chosen is {chosen}, which is no candidate with a result.")
    return make(table.view(), criterion, chosen, results, notes)


def _results(data: np.ndarray, sizes: np.ndarray, table: np.ndarray) -> list[FitResult | None]:
    if data.ndim != 1 or sizes.shape != table.shape or (sizes < 0).any():
        raise InvalidInputError("result_sizes are not a size for each candidate.")
    given = sizes.tolist()
    if sum(given) != len(data):
        raise InvalidInputError(f"result_sizes sum to {sum(given)}; there are {len(data)} bytes.")
    results, at = [], 0
    for number, (size, row) in enumerate(zip(given, table, strict=True)):
        if size == 0:
            results.append(None)
            continue
        name = f"results[{number}]"
        part = container.unpack(data[at : at + size].tobytes(), name)
        at += size
        if part.kind != "fit":
            raise ModelFileError(f"{name} is a {validate.shown(part.kind)}, not a fit.")
        result = FitResult._of_record(part)
        found = (result.mixture.covariance_type, result.mixture.n_components)
        if found != (row["covariance_type"], row["n_components"]):
            raise InvalidInputError(f"{name} is {found[0]}, K = {found[1]}; the table differs.")
        results.append(result)
    return results
