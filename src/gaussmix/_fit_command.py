"""``gaussmix fit``: a range of mixtures on a table, the best by BIC, a report and a picture."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import NamedTuple

import numpy as np

from . import _report, criteria, persistence
from .em import FitResult
from .errors import DegenerateFitError, InvalidInputError
from .fitting import fit
from .mixture import Mixture
from .tables import Table

_DEFAULT_LARGEST = 9
_PROGRESS_VALUES = 1_000_000


class Attempt(NamedTuple):
    """One number of components: what came of it, in the units of the data."""

    n_components: int
    result: FitResult | None
    log_likelihood: float
    bic: float
    icl: float
    seconds: float
    notes: list[str]


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
    with _progress(counts) as steps:
        attempts = [_attempt(arguments, Z, count, scaling, len(counts) == 1) for count in steps]
    fitted = [attempt for attempt in attempts if attempt.result is not None]
    if not fitted:
        raise DegenerateFitError(attempts[0].notes[0])
    chosen = min(fitted, key=lambda attempt: attempt.bic)
    mixture = chosen.result.mixture
    if scaling is not None:
        mixture = scaling.undo(mixture)
    written = []
    try:
        if arguments.out:
            persistence.save(mixture, arguments.out, feature_names=table.names)
            written.append(f"model saved to {_report.printable(arguments.out)}")
        if arguments.plot:
            written.append(_draw(arguments, table, mixture, fitted, chosen))
    finally:
        _print_notes(attempts, table)
        _print_attempts(attempts, chosen)
        if mixture.covariance_type != arguments.covariance:
            print("Spherical in standardised columns is diag in the data's own units: printed and")
            print("saved as diag, which counts more parameters in later BIC values.\n")
        for line in _report.mixture_lines(mixture, table.names):
            print(line)
        for line in written:
            print(f"\n{line}")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Nothing, if what will be written can be: better now than after an hour of fitting."""
    if arguments.out and not arguments.out.endswith(".npz"):
        raise InvalidInputError(f"--out {arguments.out} does not end in .npz. Add the suffix.")
    if arguments.plot:
        from . import plotting

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


def _progress(counts: Sequence[int]) -> AbstractContextManager[Iterable[int]]:
    if len(counts) < 2 or not _can_show_progress():
        return nullcontext(counts)
    from tqdm import tqdm

    # Only once it takes longer than a second; gone when done, or when interrupted.
    return tqdm(counts, desc="fitting", unit="K", delay=1, leave=False, file=sys.stderr)


def _can_show_progress() -> bool:
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _attempt(
    arguments: argparse.Namespace,
    Z: np.ndarray,
    n_components: int,
    scaling: Scaling | None,
    single: bool,
) -> Attempt:
    long = Z.size * n_components > _PROGRESS_VALUES
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = fit(
                Z,
                n_components,
                covariance_type=arguments.covariance,
                algorithm=arguments.algorithm,
                n_starts=arguments.starts,
                tol=arguments.tol,
                max_iter=arguments.max_iter,
                reg_covar=arguments.reg_covar,
                seed=arguments.seed,
                n_threads=arguments.threads,
                progress=single and long and _can_show_progress(),
            )
        except DegenerateFitError as error:
            nothing = (float("nan"),) * 3
            return Attempt(n_components, None, *nothing, time.perf_counter() - begin, [str(error)])
    seconds = time.perf_counter() - begin
    notes = list(dict.fromkeys(str(warning.message) for warning in caught))
    sums, n_parameters = result.statistics, result.mixture.n_parameters
    if arguments.algorithm[-1] == "hard":  # whose own sums know no entropy, which ICL needs
        sums = result.mixture.statistics(Z, n_threads=arguments.threads)
    # Densities are per unit of volume, and standardising has changed the unit.
    jacobian = 0.0 if scaling is None else len(Z) * float(np.log(scaling.scale).sum())
    log_likelihood = sums.log_likelihood - jacobian
    bic = criteria.bic(log_likelihood, n_parameters, sums.weight)
    icl = criteria.icl(log_likelihood, n_parameters, sums.weight, sums.entropy)
    return Attempt(n_components, result, log_likelihood, bic, icl, seconds, notes)


def _print_heading(arguments: argparse.Namespace, table: Table) -> None:
    n_rows, n_features = table.X.shape
    names = ", ".join(_report.names_or_default(table.names, n_features)[:8])
    print(
        f"{_report.printable(table.source)}: {n_rows} row{'s' * (n_rows > 1)}, "
        f"{n_features} column{'s' * (n_features > 1)} ({names}{', ...' * (n_features > 8)})"
    )
    print(
        f"{arguments.covariance} covariances, {arguments.starts} "
        f"start{'s' * (arguments.starts != 1)} for each K, seed {arguments.seed}"
        f"{_named_algorithm(arguments.algorithm)}"
        f"{', columns standardised for the fit' * arguments.standardise}\n",
        flush=True,
    )


def _named_algorithm(algorithm: list[str]) -> str:
    """What the heading says of it: nothing of plain EM."""
    return "" if algorithm == ["em"] else f", algorithm {', then '.join(algorithm)}"


def _print_notes(attempts: list[Attempt], table: Table) -> None:
    """Each thing there is to say once, with the numbers of components that it holds for."""
    counts: dict[str, list[str]] = {}
    for attempt in attempts:
        for note in attempt.notes:
            failed = "failed: " if attempt.result is None else ""
            counts.setdefault(failed + note, []).append(str(attempt.n_components))
    names = _report.names_or_default(table.names, table.X.shape[1])

    def as_on_the_command_line(match: re.Match) -> str:
        position = int(match[1])
        return f"column {position + 1} ({names[position]})"

    for note, where in counts.items():
        # The library counts columns from 0; --columns and the reader's messages from 1.
        text = re.sub(r"column (\d+) of X", as_on_the_command_line, note)
        print(
            f"gaussmix: warning: K = {', '.join(where)}: {_report.printable(text)}",
            file=sys.stderr,
        )


def _print_attempts(attempts: list[Attempt], chosen: Attempt) -> None:
    rows = [("", "K", "log-likelihood", "BIC", "ICL", "iterations", "seconds")]
    for attempt in attempts:
        count, seconds = str(attempt.n_components), f"{attempt.seconds:.2f}"
        if attempt.result is None:
            rows.append(("", count, "failed", "", "", "", seconds))
            continue
        rows.append(
            (
                "*" if attempt is chosen and len(attempts) > 1 else "",
                count,
                f"{attempt.log_likelihood:.2f}",
                f"{attempt.bic:.2f}",
                f"{attempt.icl:.2f}",
                f"{attempt.result.n_iter}{'' if attempt.result.converged else '+'}",
                seconds,
            )
        )
    lines = _report.aligned(rows)
    print(f"{lines[0]}   (BIC, ICL: lower is better)")
    for line in lines[1:]:
        print(line)
    if any(a.result is not None and not a.result.converged for a in attempts):
        print("+ stopped at the limit of iterations; see --max-iter and --tol")
    if len(attempts) > 1:
        print(f"* lowest BIC: K = {chosen.n_components}")
    print()


def _draw(
    arguments: argparse.Namespace,
    table: Table,
    mixture: Mixture,
    fitted: list[Attempt],
    chosen: Attempt,
) -> str:
    """What to report of the picture, which is saved."""
    from . import plotting
    from ._panels import shown_features

    count = chosen.n_components
    names = _report.names_or_default(table.names, mixture.n_features)
    shown = [_report.shortened(names[d]) for d in shown_features(mixture)]
    title = (
        f"{_report.printable(os.path.basename(table.source))}: {len(table.X)} rows, "
        f"{count} component{'s' * (count > 1)}, {arguments.covariance} covariances, "
        f"BIC {chosen.bic:.1f}"
    )
    part = ""
    if len(shown) < len(names):
        part = f"{len(shown)} of {len(names)} columns: {', '.join(shown)}"
        title += f"\nshown: {part}"
    figure = plotting.plot_fit(
        mixture,
        table.X,
        n_components=[attempt.n_components for attempt in fitted],
        bic=[attempt.bic for attempt in fitted],
        # Between two dollars matplotlib would read a formula.
        feature_names=[name.replace("$", r"\$") for name in names],
        title=title.replace("$", r"\$"),
    )
    figure.savefig(arguments.plot, dpi=150)
    return f"picture saved to {_report.printable(arguments.plot)}{' with ' * bool(part)}{part}"
