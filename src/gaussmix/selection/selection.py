"""Selection: candidates side by side, the chosen one, and what there is to say of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..algorithms.results import FitResult
from ..criteria import NAMES
from ..errors import ConvergenceWarning, DegenerateComponentWarning, Recorded, warn
from ..files import container
from ..fitting.diagnosis import not_converged
from ..fitting.frame import check_means
from ..model.mixture import Mixture
from ..stopping import told
from .selection_record import record_of, selection_of

NOT_REACHED = "not reached"


@dataclass(frozen=True, eq=False)
class Selection:
    """Mixtures of several numbers of components and covariance types, and the chosen one.

    Attributes
    ----------
    table : ndarray, structured, read-only
        A row for each candidate; ``pandas.DataFrame(selection.table)`` takes it. Fields:
        "covariance_type"; "n_components"; "bic", "aic", "aicc", "icl" and "cv" (lower is better;
        "cv" is NaN unless asked for); "log_likelihood" (total, nats); "n_parameters"; "n_iter"
        and "converged" of the fit that was kept; "seconds" for all its starts; "degenerate";
        "warnings" (what is wrong with the candidate, "" if nothing). Numbers of a candidate
        whose every start failed are NaN, and it counts as degenerate.
    criterion : str
        The field that chose.
    chosen : int
        The row of `best`.
    results : list of FitResult or None
        In the order of the table; None where every start failed.
    notes : list of list of str
        The parts of the table's "warnings".
    stop_reason : str or None
        "max_seconds" or "cancelled", if that ended the sweep before all was done.
    """

    table: np.ndarray
    criterion: str
    chosen: int
    results: list[FitResult | None] = field(repr=False)
    notes: list[list[str]] = field(repr=False)
    stop_reason: str | None = None

    @property
    def best(self) -> FitResult:
        """The fit that was chosen."""
        return self.results[self.chosen]

    @property
    def mixture(self) -> Mixture:
        """The mixture that was chosen."""
        return self.best.mixture

    def plot(self, ax=None, **options):
        """Axes with the criterion over K, a line for each type; see `plotting.plot_selection`."""
        from ..plotting import plot_selection

        return plot_selection(self, ax=ax, **options)

    def save(self, path) -> None:
        """Write all of it to a model file, completely or not at all; `gaussmix.load` reads it.

        Errors as `Mixture.save`.
        """
        container.write(path, self._record())

    def _record(self) -> container.Record:
        return record_of(self)

    @classmethod
    def _of_record(cls, record: container.Record) -> Selection:
        return selection_of(record, cls)

    def __repr__(self) -> str:
        table, chosen = self.table, self.table[self.chosen]
        types = list(dict.fromkeys(table["covariance_type"].tolist()))
        lines = [
            f"Selection by {NAMES[self.criterion]} (lower is better): "
            f"{chosen['covariance_type']}, K = {chosen['n_components']}",
            "    K" + "".join(f"{name:>13}" for name in types),
        ]
        degenerate = [bool(d) and not unreached(self, i) for i, d in enumerate(table["degenerate"])]
        for count in sorted(set(table["n_components"].tolist())):
            line = f"{count:5d}"
            for name in types:
                (at,) = np.flatnonzero(
                    (table["covariance_type"] == name) & (table["n_components"] == count)
                )
                value = table[self.criterion][at]
                text = f"{value:.2f}" if abs(value) < 1e8 else f"{value:.6g}"
                if self.results[at] is None:
                    text = NOT_REACHED if unreached(self, at) else "failed"
                mark = "*" if at == self.chosen else "!" if degenerate[at] else " "
                line += f"{text:>12}{mark}"
            lines.append(line.rstrip())
        key = "* chosen" + ", ! degenerate: see table['warnings']" * any(degenerate)
        return "\n".join([*lines, key])


def tell(selection: Selection, caught: list[Recorded]) -> None:
    """Warn of the data, of what was passed over, and of what is wrong with what was chosen."""
    for message, category in dict.fromkeys(caught):
        warn(message, category)
    chosen = selection.results[selection.chosen]
    check_means(chosen.mixture, chosen.repairs)
    table, name = selection.table, NAMES[selection.criterion]
    without = [at for at, result in enumerate(selection.results) if result is None]
    failed = [at for at in without if not unreached(selection, at)]
    if selection.stop_reason is not None:
        warn(stopped_sweep(selection), ConvergenceWarning)
    if failed:
        row = table[failed[0]]
        more = f", and {len(failed) - 1} more likewise" if len(failed) > 1 else ""
        warn(
            f"{_named(row)} could not be fitted "
            f"({_first(row)}){more}. Use fewer components or a larger reg_covar.",
            DegenerateComponentWarning,
        )
    row = table[selection.chosen]
    what = _named(row)
    if row["degenerate"]:
        warn(
            f"every candidate has degenerated; {what} is the one of lowest {name}: {_first(row)}",
            DegenerateComponentWarning,
        )
    elif message := passed_over(selection):
        warn(message, DegenerateComponentWarning)
    elif row["warnings"]:
        warn(f"{what}: {row['warnings']}", DegenerateComponentWarning)
    if selection.stop_reason is None and (message := not_converged(selection.best)):
        warn(message, ConvergenceWarning)


def unreached(selection: Selection, at: int) -> bool:
    """Whether the sweep has ended before it came to a candidate."""
    return selection.results[at] is None and selection.notes[at][0].startswith(NOT_REACHED)


def stopped_sweep(selection: Selection) -> str:
    """What there is to say of a sweep that a limit or a token has ended."""
    count = len(selection.results)
    missed = sum(unreached(selection, at) for at in range(count))
    return (
        f"{told(selection.stop_reason)} ended the sweep: of {count} candidates {missed} "
        "were not reached, and not all has been tried for the others. Give it more time or fewer "
        "candidates."
    )


def passed_over(selection: Selection) -> str:
    """What there is to say of candidates that only degenerating kept from being chosen, or ""."""
    table, row = selection.table, selection.table[selection.chosen]
    values, name = table[selection.criterion], NAMES[selection.criterion]
    passed = np.flatnonzero((values < row[selection.criterion]) & table["degenerate"])
    if not len(passed):
        return ""
    lowest = table[passed[np.argmin(values[passed])]]
    more = f", and {len(passed) - 1} more like it" if len(passed) > 1 else ""
    return (
        f"{_named(lowest)} has the {name} {lowest[selection.criterion]:.6g}, but has degenerated "
        f"({_first(lowest)}){more}; {_named(row)} with {row[selection.criterion]:.6g} is chosen."
    )


def _named(row: np.void) -> str:
    return f"{row['covariance_type']}, K = {row['n_components']}"


def _first(row: np.void) -> str:
    """The first of a candidate's warnings."""
    return str(row["warnings"]).partition("; ")[0].rstrip(".")
