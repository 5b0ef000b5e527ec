"""The sweep over numbers of components: each fit starts its neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, NoReturn

import numpy as np

from .. import rules, stopping
from ..algorithms.em import Run
from ..algorithms.results import FitResult, IterationState, Repair
from ..covariance import Floor
from ..errors import DegenerateFitError, FitStoppedError, InvalidInputError, Recorded, recorded
from ..fitting import fit
from ..fitting.diagnosis import check_digits
from ..fitting.frame import Frame
from ..fitting.options import FitOptions
from ..fitting.search import ONE_RUN
from ..model.mixture import Mixture
from ..passes.evaluation import row_flops
from ..passes.summary import summarise
from ..starts.neighbours import merges, splits
from ..starts.start import Start
from ..stopping import Stopped

# Splits, or merges, that short runs try for each number of components; on faithful (K up to 9) 8
# of them reach what 3 miss, and where iterations cost next to nothing so do the tries.
PROPOSALS = 8
PROPOSALS_COSTLY = 3
LITTLE_FLOPS = 1 << 26  # of one pass over the rows, about 5 ms
# Repairs of a component that has lost its rows or its volume: the likelihood is then that of a
# few rows, or bounded by `reg_covar` alone, and no criterion means what it says.
COLLAPSED = ("floor", "empty", "single row", "rank")
DEGENERATE = (*COLLAPSED, "few rows")


@dataclass(eq=False)
class Candidate:
    """One covariance type and number of components: what came of it.

    Attributes
    ----------
    covariance_type : str
    n_components : int
    result : FitResult or None
        None if every start failed.
    seconds : float
        Of all its starts.
    notes : list of str
        What is wrong with this candidate: repairs, or why it failed.
    degenerate : bool
    """

    covariance_type: str
    n_components: int
    result: FitResult | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    degenerate: bool = False

    @property
    def failed(self) -> bool:
        return self.result is None


class Data(NamedTuple):
    """Checked rows, and what their fits are measured by."""

    X: np.ndarray
    sample_weight: np.ndarray | None
    floor: Floor


class Sweep:
    """Fits of one data set with several numbers of components and covariance types.

    For each type upwards: fresh starts, and the fit before with a component split. Then
    downwards: the fit after with two components merged. What ends highest is kept, of runs
    in which nothing collapsed if there are such.

    Parameters
    ----------
    X, sample_weight
        As `validate` returns them.
    options : FitOptions
        `n_components` and `covariance_type` are the candidates' own.
    entropy : sequence of int
        Seeds each candidate's starts, together with its type and number of components.
    callback : callable, optional
        As that of a fit.
    """

    def __init__(
        self,
        X: np.ndarray,
        sample_weight: np.ndarray | None,
        options: FitOptions,
        entropy: Sequence[int],
        callback: Callable[[IterationState], object] | None = None,
    ) -> None:
        self.options, self.entropy, self.callback = options, list(entropy), callback
        self.caught: list[Recorded] = []  # what is no candidate's own
        self.stop_reason: str | None = None  # what has ended the sweep, if not its end
        summary = summarise(X, sample_weight, options.n_threads)
        self.frame = Frame.around(summary.mean, summary.scale, summary.constant)
        if self.frame is not None:  # in which no fit sees what there is to say of the offset
            with recorded() as self.caught:
                check_digits(summary)
            X = X - self.frame.origin
        floor = Floor(summary.scale, options.reg_covar)
        self.data = Data(X, sample_weight, floor)

    def run(
        self, counts: Sequence[int], covariance_type: str, done: Callable[[], object]
    ) -> list[Candidate]:
        """A candidate for each of the increasing `counts`; calls `done` after each step.

        There are ``2 len(counts) - 1`` steps. Candidates that a limit or a token leaves without
        a fit say so in their notes.
        """
        found = [Candidate(covariance_type, count) for count in counts]
        smaller = None
        for candidate in found:
            if self.stop_reason is not None:
                return found
            self._fit(candidate, "kmeans", self._proposals(candidate, "split", splits, smaller))
            smaller = candidate.result or smaller
            done()
        larger = found[-1].result
        for candidate in reversed(found[:-1]):
            proposals = self._proposals(candidate, "merge", merges, larger)
            if proposals and candidate.n_components > 1 and self.stop_reason is None:
                self._fit(candidate, None, proposals)
            larger = candidate.result or larger
            done()
        if self.frame is not None:
            for candidate in found:
                if candidate.result is not None:
                    candidate.result = self.frame.result(
                        candidate.result, self.data.X, self.data.sample_weight
                    )
        return found

    def _proposals(
        self, candidate: Candidate, kind: str, move: Callable, neighbour: FitResult | None
    ) -> list[Start]:
        """Starts for a candidate, made from the fit of its neighbour."""
        if neighbour is None or self.stop_reason is not None:
            return []
        began = time.perf_counter()
        X, count = self.data.X, candidate.n_components
        flops = len(X) * row_flops(count, X.shape[1])
        try:
            made: Iterable[Mixture] = move(
                neighbour,
                count,
                X,
                self.data.sample_weight,
                self.data.floor,
                self.options.n_threads,
                PROPOSALS_COSTLY if flops > LITTLE_FLOPS else PROPOSALS,
            )
        except Stopped as stop:
            self.stop_reason = stop.reason
            return []
        starts = [Start(kind, lambda mixture=mixture: mixture) for mixture in made]
        candidate.seconds += time.perf_counter() - began
        return starts

    def _fit(self, candidate: Candidate, start: str | None, proposals: list[Start]) -> None:
        """Fit a candidate from a kind of `start`, if any, and `proposals`; keep what is better."""
        began = time.perf_counter()
        count, name = candidate.n_components, candidate.covariance_type
        options = replace(
            self.options,
            n_components=count,
            covariance_type=name,
            n_starts=1 if start is None else self.options.n_starts,
        )
        with recorded() as caught:
            try:
                result = fit.run(
                    self.data.X,
                    options,
                    start=start,
                    sample_weight=self.data.sample_weight,
                    seed=np.random.default_rng([*self.entropy, *name.encode(), count]),
                    callback=self.callback,
                    proposals=proposals,
                    sound=_is_sound,
                )
            except DegenerateFitError as error:
                result = None
                if candidate.failed:
                    candidate.notes = [str(error)]
            except Stopped as stop:
                result, self.stop_reason = None, stop.reason
        if result is not None and result.stop_reason in stopping.REASONS:
            self.stop_reason = result.stop_reason
        if result is not None:
            self._keep_better(candidate, result)
        repairs = [] if result is None else _own_repairs(result)
        own = {*(repair.message for repair in repairs), *candidate.notes}
        self.caught += [warning for warning in caught if warning.message not in own]
        candidate.seconds += time.perf_counter() - began

    def _keep_better(self, candidate: Candidate, result: FitResult) -> None:
        before = candidate.result
        notes, degenerate = _judged(result)
        if before is None:
            candidate.result, candidate.notes, candidate.degenerate = result, notes, degenerate
            return
        kept = before
        # Not by rounding alone; see `search.highest_first`.
        margin = ONE_RUN * float(result.statistics.mass.sum())
        (sound, reached), (was_sound, high) = _worth(result), _worth(before)
        if sound > was_sound or (sound == was_sound and reached > high + margin):
            kept, candidate.notes, candidate.degenerate = result, notes, degenerate
        candidate.result = replace(kept, starts=before.starts + result.starts)


def _is_sound(run: Run) -> bool:
    """Whether a likelihood is not one that only the floor bounds: such runs come last.

    A component of one row that is not at the floor (under "tied") is an optimum like others:
    it is marked, but not hidden behind a worse one.
    """
    return not (run.empty or run.floored)


def _own_repairs(result: FitResult) -> list[Repair]:
    """What was wrong with a fit; a constant column is the data's own."""
    return [repair for repair in result.repairs if repair.kind != "constant"]


def _judged(result: FitResult) -> tuple[list[str], bool]:
    """What is wrong with a fit, and whether it has degenerated."""
    repairs = _own_repairs(result)
    notes = list(dict.fromkeys(repair.message for repair in repairs))
    return notes, any(repair.kind in DEGENERATE for repair in repairs)


def _worth(result: FitResult) -> tuple[bool, float]:
    """What the fits of a candidate compete by: that none has collapsed, then their objective."""
    hard = result.stages[-1].algorithm == rules.HARD.name
    objective = (result.classification if hard else result.log_likelihood)[-1]
    collapsed = set(COLLAPSED)
    if result.mixture.covariance_type == "tied":  # see `_is_sound`; at the floor, that is told too
        collapsed.remove("single row")
    return not any(repair.kind in collapsed for repair in result.repairs), float(objective)


def folds_of(
    X: np.ndarray,
    weight: np.ndarray | None,
    n_folds: int,
    largest: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Rows of positive weight, shuffled, in parts of nearly equal size; none for one fold.

    Raises InvalidInputError if a fit of `largest` components would have fewer rows.
    """
    rows = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
    n_left = len(rows) if n_folds == 1 else len(rows) - -(-len(rows) // n_folds)
    of = "rows" if weight is None else "rows of positive weight"
    if n_folds > len(rows):
        raise InvalidInputError(
            f"n_folds={n_folds} for {len(rows)} {of}; use at most one fold for each row."
        )
    if n_left < largest:
        without = "" if n_folds == 1 else " left outside a fold"
        raise InvalidInputError(
            f"n_components goes up to {largest}, but X has only {n_left} {of}{without}; use at "
            f"most {n_left} components or more rows."
        )
    if n_folds == 1:
        return []
    return [np.sort(part) for part in np.array_split(rng.permutation(rows), n_folds)]


def held_out(
    X: np.ndarray,
    weight: np.ndarray | None,
    folds: list[np.ndarray],
    options: FitOptions,
    entropy: list[int],
    types: list[str],
    counts: list[int],
    done: Callable[[], object],
) -> np.ndarray:
    """(candidates,) -2 log-likelihood of the rows of each fold under fits of all others.

    NaN without folds, or where a fit failed. The rows of a fold are left out by weights of 0:
    X is not copied. Raises FitStoppedError if a limit or a token ends it.
    """
    total = np.full(len(types) * len(counts), 0.0 if folds else np.nan)
    for rows in folds:
        rest = np.ones(len(X)) if weight is None else weight.copy()
        rest[rows] = 0.0
        part, part_weight = X[rows], None if weight is None else weight[rows]
        n_held = len(rows) if weight is None else float(part_weight.sum())
        # What is wrong with the data, the sweep over all of it has said.
        with recorded():
            sweep = Sweep(X, rest, options, entropy)
        fits = [c.result for name in types for c in sweep.run(counts, name, done)]
        if sweep.stop_reason is not None:
            raise_unvalidated(sweep.stop_reason)
        for at, result in enumerate(fits):
            score = np.nan if result is None else result.mixture.score(part, part_weight)
            total[at] -= 2.0 * n_held * score
    return total


def raise_unvalidated(reason: str) -> NoReturn:
    """Raise the error for a cross-validation that a limit or a token has ended."""
    raise FitStoppedError(
        f"{stopping.told(reason)} ended the cross-validation, without which criterion='cv' cannot "
        "choose. Give it more time, or use criterion='bic'."
    )
