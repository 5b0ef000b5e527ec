"""``gaussmix fit``: a range of mixtures on a table, the best by BIC, a report and a picture."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import persistence
from ..errors import InvalidInputError, Recorded
from ..fitting.options import FitOptions
from ..model.mixture import Mixture
from ..selection.select import explore
from ..selection.selection import Selection, passed_over, stopped_sweep, unreached
from ..selection.selection_record import CRITERIA
from ..stopping import within
from . import report
from .tables import Table

_DEFAULT_LARGEST = 9
_PROGRESS_VALUES = 1_000_000


class Scaling(NamedTuple):
    """z = (x - shift) / scale, column by column."""

    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> Scaling:
        """Means and standard deviations of the columns; a constant column keeps scale 1."""
        shift = X.mean(axis=0, dtype=np.float64)
        scale = np.empty(X.shape[1])
        for d in range(X.shape[1]):
            deviation = X[:, d] - shift[d]
            # Squares of deviations below 1e-160 or above 1e154 leave the range of double.
            top = np.abs(deviation).max()
            scale[d] = top * np.sqrt(np.mean((deviation / top) ** 2)) if top > 0 else 1.0
        return cls(shift, scale)

    def apply(self, X: np.ndarray) -> np.ndarray:
        return (X - self.shift) / self.scale

    def undo(self, mixture: Mixture) -> Mixture:
        """The same density in the data's own units; spherical then takes the form of diag."""
        means = self.shift + self.scale * mixture.means
        kind, covariances = mixture.covariance_type, mixture.covariances
        if kind == "spherical":
            kind, covariances = "diag", covariances[:, None] * self.scale**2
        elif kind == "diag":
            covariances = covariances * self.scale**2
        else:
            covariances = covariances * (self.scale[:, None] * self.scale[None, :])
        return Mixture(mixture.weights, means, covariances, covariance_type=kind)


def run(arguments: argparse.Namespace, table: Table) -> None:
    """Fit, save, draw and report as the parsed arguments say; in this order.

    Files come before the report: a stdout that fails must not cost the fit. And the report is
    printed though a file could not be written.

    Raises
    ------
    InvalidInputError
        If an argument or the data cannot be used.
    DegenerateFitError
        If no number of components could be fitted.
    """
    counts = _counts(arguments.components, table)
    scaling = Scaling.of(table.X) if arguments.standardise else None
    Z = table.X if scaling is None else scaling.apply(table.X)
    with suppress(OSError):  # a broken stdout keeps the text and fails again, after the saving
        _print_heading(arguments, table)
    options = FitOptions(
        1,
        "full",
        arguments.starts,
        arguments.tol,
        arguments.max_iter,
        arguments.reg_covar,
        arguments.threads,
        arguments.algorithm,
    )
    with within(arguments.max_seconds):
        selection, caught = explore(
            Z,
            counts,
            arguments.covariance,
            "bic",
            options,
            seed=arguments.seed,
            progress=_can_show_progress() and Z.size * sum(counts) > _PROGRESS_VALUES,
        )
        stopped = "" if selection.stop_reason is None else stopped_sweep(selection)
    if scaling is not None:
        selection = replace(selection, table=_in_units_of_data(selection, scaling))
    mixture = selection.mixture
    if scaling is not None:
        mixture = scaling.undo(mixture)
    written = []
    try:
        if arguments.out:
            persistence.save(mixture, arguments.out, feature_names=table.names)
            written.append(f"model saved to {report.printable(arguments.out)}")
        if arguments.plot:
            written.append(_draw(arguments, table, mixture, selection))
    finally:
        if stopped:
            print(f"gaussmix: warning: {stopped}", file=sys.stderr)
        _print_notes(selection, caught, table)
        _print_candidates(selection)
        if mixture.covariance_type != selection.mixture.covariance_type:
            print("Spherical in standardised columns is diag in the data's own units: printed and")
            print("saved as diag, which counts more parameters in later BIC values.\n")
        for line in report.mixture_lines(mixture, table.names):
            print(line)
        for line in written:
            print(f"\n{line}")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Nothing, if what will be written can be: better now than after an hour of fitting."""
    if arguments.out and not arguments.out.endswith(".gmix"):
        raise InvalidInputError(f"--out {arguments.out} does not end in .gmix. Add the suffix.")
    if arguments.plot:
        from .. import plotting

        known = plotting.file_types()
        suffix = os.path.splitext(arguments.plot)[1].lower().lstrip(".")
        if suffix not in known:
            raise InvalidInputError(
                f"--plot {arguments.plot} does not end in a picture format. "
                f"Use one of: {', '.join(known)}."
            )
    for option, path in (("--out", arguments.out), ("--plot", arguments.plot)):
        folder = os.path.dirname(path) if path else ""
        if folder and not os.path.isdir(folder):
            raise InvalidInputError(f"{option} {path}: there is no directory {folder}. Create it.")


def _counts(asked: Sequence[range] | None, table: Table) -> list[int]:
    """Numbers of components to fit, upwards, each once; as many as the rows allow by default."""
    n_rows = len(table.X)
    if asked is None:
        return list(range(1, min(_DEFAULT_LARGEST, n_rows) + 1))
    largest = max(counts[-1] for counts in asked)
    if largest > n_rows:
        raise InvalidInputError(
            f"-k asks for up to {largest} components, {table.source} has only {n_rows} "
            f"row{'s' * (n_rows > 1)}. Use -k with at most {n_rows}."
        )
    return sorted({count for counts in asked for count in counts})


def _can_show_progress() -> bool:
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _in_units_of_data(selection: Selection, scaling: Scaling) -> np.ndarray:
    """The table of a selection among standardised rows, for the rows as they were.

    Densities are per unit of volume, and standardising has changed the unit.
    """
    table = selection.table.copy()
    jacobian = selection.best.statistics.weight * float(np.log(scaling.scale).sum())
    table["log_likelihood"] -= jacobian
    for name in CRITERIA:
        table[name] += 2.0 * jacobian
    return table


def _print_heading(arguments: argparse.Namespace, table: Table) -> None:
    n_rows, n_features = table.X.shape
    names = ", ".join(report.names_or_default(table.names, n_features)[:8])
    print(
        f"{report.printable(table.source)}: {n_rows} row{'s' * (n_rows > 1)}, "
        f"{n_features} column{'s' * (n_features > 1)} ({names}{', ...' * (n_features > 8)})"
    )
    print(
        f"{', '.join(arguments.covariance)} covariances, {arguments.starts} "
        f"start{'s' * (arguments.starts != 1)} for each K, seed {arguments.seed}"
        f"{_named_algorithm(arguments.algorithm)}"
        f"{', columns standardised for the fit' * arguments.standardise}\n",
        flush=True,
    )


def _named_algorithm(algorithm: list[str]) -> str:
    """What the heading says of it: nothing of plain EM."""
    return "" if algorithm == ["em"] else f", algorithm {', then '.join(algorithm)}"


def _print_notes(selection: Selection, caught: list[Recorded], table: Table) -> None:
    """Each thing there is to say once: of candidates, with what it holds for; then of the rest."""
    several = len(set(selection.table["covariance_type"].tolist())) > 1
    counts: dict[str, list[str]] = {}
    for at, (row, notes) in enumerate(zip(selection.table, selection.notes, strict=True)):
        if unreached(selection, at):
            continue  # the table of candidates shows it
        which = f"{row['covariance_type']} " * several + str(row["n_components"])
        for note in notes:
            failed = "failed: " if np.isnan(row["log_likelihood"]) else ""
            counts.setdefault(failed + note, []).append(which)
    names = report.names_or_default(table.names, table.X.shape[1])

    def as_on_the_command_line(match: re.Match) -> str:
        position = int(match[1])
        return f"column {position + 1} ({names[position]})"

    def complain(text: str) -> None:
        # The library counts columns from 0; --columns and the reader's messages from 1.
        text = re.sub(r"column (\d+) of X", as_on_the_command_line, text)
        print(f"gaussmix: warning: {report.printable(text)}", file=sys.stderr)

    for note, where in counts.items():
        complain(f"K = {', '.join(where)}: {note}")
    for message in dict.fromkeys(warning.message for warning in caught):
        complain(message)
    if message := passed_over(selection):
        complain(message)


def _print_candidates(selection: Selection) -> None:
    head = ("", "K", "log-likelihood", "BIC", "ICL", "iterations", "seconds")
    rows = [("", "covariance", *head[1:])]
    for at, row in enumerate(selection.table):
        mark = "*" if at == selection.chosen and len(selection.table) > 1 else ""
        mark = mark or "!" * bool(row["degenerate"] and not unreached(selection, at))
        which = (mark, str(row["covariance_type"]), str(row["n_components"]))
        if selection.results[at] is None:
            state = "not reached" if unreached(selection, at) else "failed"
            rows.append((*which, state, "", "", "", f"{row['seconds']:.2f}"))
            continue
        numbers = (f"{row[name]:.2f}" for name in ("log_likelihood", "bic", "icl"))
        iterations = f"{row['n_iter']}{'' if row['converged'] else '+'}"
        rows.append((*which, *numbers, iterations, f"{row['seconds']:.2f}"))
    several = len({row[1] for row in rows[1:]}) > 1
    if not several:
        rows = [(row[0], *row[2:]) for row in rows]
    lines = report.aligned(rows)
    print(f"{lines[0]}   (BIC, ICL: lower is better)")
    for line in lines[1:]:
        print(line)
    fitted = ~np.isnan(selection.table["log_likelihood"])
    if not selection.table["converged"][fitted].all():
        limits = "--max-iter and --tol" if selection.stop_reason is None else "--max-seconds"
        print(f"+ stopped at a limit; see {limits}")
    if selection.table["degenerate"][fitted].any():
        print(
            "! degenerate: a likelihood of few rows or of the floor; not chosen if others are not"
        )
    if len(selection.table) > 1:
        name = f"{selection.mixture.covariance_type}, " * several
        print(f"* lowest BIC: {name}K = {selection.mixture.n_components}")
    print()


def _draw(
    arguments: argparse.Namespace,
    table: Table,
    mixture: Mixture,
    selection: Selection,
) -> str:
    """What to report of the picture, which is saved."""
    from .. import plotting
    from ..plotting.panels import CORNER_FEATURES, View

    count = mixture.n_components
    bic = selection.table["bic"][selection.chosen]
    names = report.names_or_default(table.names, mixture.n_features)
    shown = [
        report.shortened(names[d]) for d in View(mixture, None, None).features(CORNER_FEATURES)
    ]
    title = (
        f"{report.printable(os.path.basename(table.source))}: {len(table.X)} rows, "
        f"{count} component{'s' * (count > 1)}, {selection.mixture.covariance_type} covariances, "
        f"BIC {bic:.1f}"
    )
    part = ""
    if len(shown) < len(names):
        part = f"{len(shown)} of {len(names)} columns: {', '.join(shown)}"
        title += f"\nshown: {part}"
    figure = plotting.fit_figure(
        mixture,
        table.X,
        selection=selection,
        # Between two dollars matplotlib would read a formula.
        feature_names=[name.replace("$", r"\$") for name in names],
        title=title.replace("$", r"\$"),
    )
    figure.savefig(arguments.plot, dpi=150)
    return f"picture saved to {report.printable(arguments.plot)}{' with ' * bool(part)}{part}"
