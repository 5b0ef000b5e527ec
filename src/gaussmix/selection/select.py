"""select: how many components, and of which covariance type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from .. import criteria, rules, stopping, threads, underflow
from ..covariance import FAMILIES, family
from ..errors import DegenerateFitError, InvalidInputError, Recorded
from ..fitting.options import FitOptions, checked
from ..fitting.search import ONE_RUN
from ..inputs import validate
from ..passes import sources
from .selection import NOT_REACHED, Selection, tell
from .selection_record import CRITERIA, blank_table
from .sweep import Candidate, Sweep, folds_of, held_out, raise_unvalidated


def select(
    X,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_types: str | Sequence[str] = tuple(FAMILIES),
    criterion: str = "bic",
    *,
    algorithm="em",
    n_starts: int = 3,
    n_folds: int = 5,
    tol: float = 1e-4,
    max_iter: int = 1000,
    reg_covar: float = 1e-6,
    sample_weight=None,
    seed=None,
    n_threads: int | None = None,
    progress: bool = False,
    max_seconds: float | None = None,
    cancel=None,
) -> Selection:
    """The number of components and the covariance type of lowest `criterion`, and all others.

    Parameters
    ----------
    X : array_like (N, D); (N,) is taken as one feature
    n_components : int or iterable of int
        Numbers of components K to fit, each at most the number of rows of positive weight.
    covariance_types : str or sequence of str
        Of "full", "tied", "diag" and "spherical".
    criterion : {"bic", "aic", "aicc", "icl", "cv"}
        What chooses; the first four are always computed (see `gaussmix.criteria`). "cv" is
        -2 times the log-likelihood of rows held out in turn, the quantity that AIC estimates.
    algorithm : str, or a list of them
        As in `fit`. After "hard" the runs of one candidate compete by the classification
        log-likelihood; the criteria are those of the mixture it ends with.
    n_starts : int, at most 1,000,000
        Fresh starts for each candidate, as in `fit`; those from its neighbours come on top.
    n_folds : int, >= 2
        Parts of the rows, at random, for "cv", each held out once: `n_folds` more sweeps.
    tol, max_iter, reg_covar
        As in `fit`. The best runs go on to ``tol / 10_000``, so that criteria can be compared.
    sample_weight : array_like (N,), optional
        2 counts a row twice, 0 leaves it out; n in the criteria is the sum.
    seed : int or numpy.random.Generator, optional
        The same int gives the same bits, and a candidate's fresh starts are then the same
        whatever other types and numbers are fitted.
    n_threads : int, optional
        Any number gives the same bits.
    progress : bool
        Show a bar with the steps of the sweep (needs tqdm: the extra `cli`).
    max_seconds, cancel
        As in `fit`, for the whole sweep: the choice is then among the candidates fitted so far,
        the last of which may not have converged. Candidates that were not reached have numbers
        that are NaN in the table, and say so in its "warnings".

    Returns
    -------
    Selection

    Raises
    ------
    InvalidInputError
        If an argument is out of its range, X holds NaN or an infinity, or there are fewer rows
        (with "cv": fewer outside any fold) than components. Nothing has been computed then.
    DegenerateFitError
        If no candidate could be fitted.
    FitStoppedError
        If `max_seconds` or `cancel` ended the sweep before a candidate was fitted, or "cv" before
        the cross-validation was complete.

    Warns
    -----
    DegenerateComponentWarning
        If a candidate of lower criterion was passed over, or all candidates have degenerated.
        A candidate has degenerated if a component lost its rows or holds only one, or if a
        covariance is held up by `reg_covar` alone: its likelihood then means nothing.
        It is marked in the table, and taken only where there is no other.
    ConvergenceWarning
        If `max_iter` ended the chosen fit, or `max_seconds` or `cancel` the sweep.

    Notes
    -----
    Data of which a column is further than 1024 standard deviations from 0 are copied, less their
    offset.

    Each fit starts its neighbours: upwards in K with a component split, those of the largest
    entropy first; then downwards with two components merged, those that share most rows first
    (SMEM, Ueda et al. 2000). Short runs find the best of several such moves and of the fresh
    starts. Of the runs of one candidate the highest log-likelihood is kept, of those in which
    nothing collapsed if there are such. On faithful, K = 1..9 and four types, the sweep takes 0.54
    of the time of separate fits from 30 starts each (0.53 s against 0.98 s), ends higher for 9
    of the 36 candidates, and lower for none that has not degenerated. See
    ``benchmarks/bench_select.py``.

    References
    ----------
    Ueda, Nakano, Ghahramani & Hinton (2000), Neural Computation 12(9), 2109-2128; cross-validated
    likelihood: Smyth (2000), Statistics and Computing 10, 63-72.

    Examples
    --------
    >>> import gaussmix as gm
    >>> X = gm.datasets.load("faithful").X
    >>> selection = gm.select(X, range(1, 5), seed=0)
    >>> selection.mixture.covariance_type, selection.mixture.n_components
    ('tied', 3)
    """
    options = FitOptions(1, "full", n_starts, tol, max_iter, reg_covar, n_threads, algorithm)
    with stopping.within(max_seconds, cancel):
        selection, caught = explore(
            X,
            n_components,
            covariance_types,
            criterion,
            options,
            n_folds=n_folds,
            sample_weight=sample_weight,
            seed=seed,
            progress=progress,
        )
        tell(selection, caught)
    return selection


@underflow.ignored
def explore(
    X,
    n_components: int | Iterable[int],
    covariance_types: str | Sequence[str],
    criterion: str,
    options: FitOptions,
    *,
    n_folds: int = 5,
    sample_weight=None,
    seed=None,
    progress: bool = False,
) -> tuple[Selection, list[Recorded]]:
    """`select`, and the warnings of the data, none of which has been issued.

    Within the limits of ``stopping.within``.
    """
    sources.refuse_chunks(X, "Select on a memory-mapped file, or on a sample of the rows.")
    X = validate.data(X, allow_1d=True)
    weight = validate.sample_weight(sample_weight, len(X))
    counts = _counts(n_components)
    types = _types(covariance_types)
    validate.choice("criterion", criterion, CRITERIA)
    n_folds = validate.integer("n_folds", n_folds, 2)
    options = checked(replace(options, n_threads=threads.resolve(options.n_threads)))
    rng = validate.seed(seed)
    entropy = rng.integers(1 << 32, size=4).tolist()
    folds = folds_of(X, weight, n_folds if criterion == "cv" else 1, counts[-1], rng)
    n_steps = len(types) * (2 * len(counts) - 1) * (1 + len(folds))
    with _bar(progress, n_steps, options) as bar:
        sweep = Sweep(X, weight, options, entropy, bar.observe if bar else None)
        done = bar.step if bar else lambda: None
        found = [c for name in types for c in sweep.run(counts, name, done)]
        if folds and sweep.stop_reason is not None:
            raise_unvalidated(sweep.stop_reason)
        lost = held_out(X, weight, folds, options, entropy, types, counts, done)
    if sweep.stop_reason is not None:
        _mark_unreached(found, sweep.stop_reason)
    table = _table(found, lost, X, weight, options.n_threads)
    if all(candidate.failed for candidate in found):
        raise DegenerateFitError(f"no candidate could be fitted: {found[0].notes[0]}")
    results, notes = [c.result for c in found], [c.notes for c in found]
    margin = 2.0 * ONE_RUN * (len(X) if weight is None else float(weight.sum()))
    choice = _choice(table, criterion, margin)
    selection = Selection(table, criterion, choice, results, notes, sweep.stop_reason)
    return selection, sweep.caught


def _mark_unreached(found: list[Candidate], reason: str) -> None:
    """Say of candidates without a fit that the sweep has ended before; `Stopped` if all are."""
    if all(candidate.failed for candidate in found):
        raise stopping.Stopped(reason)
    for candidate in found:
        if candidate.failed and not candidate.notes:
            candidate.notes = [f"{NOT_REACHED}: {stopping.told(reason)} ended the sweep"]


def _counts(n_components: int | Iterable[int]) -> list[int]:
    """Numbers of components upwards, each once."""
    # An array of no dimension has what makes an iterable, and cannot be iterated over.
    single = isinstance(n_components, str) or getattr(n_components, "ndim", 1) == 0
    if single or not isinstance(n_components, Iterable):
        n_components = [n_components]
    counts = {validate.integer("n_components", count, 1) for count in n_components}
    if not counts:
        raise InvalidInputError(
            "n_components is empty; pass at least one number, e.g. range(1, 10)."
        )
    return sorted(counts)


def _types(covariance_types: str | Sequence[str]) -> list[str]:
    """Names of covariance types, each once, in the order given."""
    if not isinstance(covariance_types, Iterable) or isinstance(covariance_types, str):
        covariance_types = [covariance_types]
    types = list(dict.fromkeys(family(name).name for name in covariance_types))
    if not types:
        raise InvalidInputError(f"covariance_types is empty; pass some of {', '.join(FAMILIES)}.")
    return types


def _table(
    found: list[Candidate],
    lost: np.ndarray,
    X: np.ndarray,
    weight: np.ndarray | None,
    n_threads: int,
) -> np.ndarray:
    table = blank_table([c.covariance_type for c in found], [c.notes for c in found])
    for row, candidate, cv in zip(table, found, lost, strict=True):
        row["n_components"] = candidate.n_components
        row["seconds"] = candidate.seconds
        row["degenerate"] = candidate.degenerate or candidate.failed
        row["cv"] = cv
        if candidate.failed:
            for name in (*CRITERIA, "log_likelihood"):
                row[name] = np.nan
            continue
        result = candidate.result
        sums, n_parameters = result.statistics, result.mixture.n_parameters
        if result.stages[-1].algorithm == rules.HARD.name:
            # Hard EM's own sums know no entropy, which ICL needs.
            sums = result.mixture.statistics(X, weight, n_threads)
        fit = (sums.log_likelihood, n_parameters)
        row["log_likelihood"], row["n_parameters"] = fit
        row["aic"] = criteria.aic(*fit)
        row["aicc"] = criteria.aicc(*fit, sums.weight)
        row["bic"] = criteria.bic(*fit, sums.weight)
        row["icl"] = criteria.icl(*fit, sums.weight, sums.entropy)
        row["n_iter"], row["converged"] = result.n_iter, result.converged
    table.setflags(write=False)
    return table.view()


def _choice(table: np.ndarray, criterion: str, margin: float) -> int:
    """The row of lowest value, of those that have not degenerated if there are such.

    Values within about `margin` are equal: those of one model in two types, as in one dimension.
    """
    values = np.where(np.isnan(table[criterion]), np.inf, table[criterion])
    failed = np.isnan(table["log_likelihood"])
    # Of differences, since units add a constant to every value.
    excess = values - values.min() if np.isfinite(values.min()) else values
    # Of equals the first: the smaller number of components.
    return int(np.lexsort((np.rint(excess / margin), table["degenerate"], failed))[0])


def _bar(progress: bool, n_steps: int, options: FitOptions):
    if not validate.flag("progress", progress):
        return nullcontext()
    from ..fitting.progress import Steps

    return Steps(n_steps, options.max_iter)
