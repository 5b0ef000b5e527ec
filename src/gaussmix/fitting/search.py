"""The search for a good optimum: starts, short runs, and which of them are continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .. import stopping
from ..algorithms.em import Run, rounding_bound
from ..algorithms.results import Repair, StartReport
from ..errors import DegenerateComponentWarning, DegenerateFitError, warn
from ..model.mixture import Mixture
from ..passes.evaluation import row_flops
from ..passes.summary import distinct_rows
from ..rules import HARD, SOFT, Algorithm
from ..starts.rearranging import can_rearrange, rearranged
from ..starts.reseeding import reseeded
from ..starts.start import KINDS, Start
from ..stopping import Stopped
from .attempts import REARRANGED, RESEEDED, Attempt, Attempts, CallbackError, report_of
from .diagnosis import components_named

SHORT_ITERATIONS = 5
CONTINUED_SHARE = 3  # one in so many short runs is continued, and more where that costs little
# Where components are rearranged: iterations before, and after each time until what has come of it
# is compared.
FIRST_ITERATIONS, ROUND_ITERATIONS = 5, 5
POLISHED_SHARE = 3  # polishing a run takes at most one in so many of what all may take
LITTLE_FLOPS = 1 << 31  # 0.1 to 0.2 s of iterations
ITERATION_FLOPS = 1 << 15  # what an iteration costs without any rows, about 3 us
ONE_OPTIMUM = 1e-6  # nats per row, within which short runs count as equal
# Nats per row, within which any runs do: more than rounding, far less than what tells optima apart.
ONE_RUN = 1e-11
# The same where a covariance is at the floor: its smallest eigenvalues are the floor's, 1e-6 of the
# others by default, and rounding counts by as much more. 1.4e-10 has been seen.
ONE_FLOORED_RUN = 1e-9


def highest_first(
    attempts: list[Attempt],
    width: float | None = None,
    sound: Callable[[Run], bool] = lambda run: True,
) -> list[Attempt]:
    """Sound runs first, then by the objective; those within `width` nats a row by their number.

    By default `width` is what rounding may come to, which alone tells runs to one optimum apart.
    Its components have another order in each of them, and which one comes out must not follow from
    the unit or the offset of the data.
    """
    if not attempts:
        return []
    # Of differences from the best, since units add a constant to every objective.
    best = max((attempt.run for attempt in attempts), key=lambda run: run.objective[-1])
    if width is None:
        width = ONE_FLOORED_RUN if best.floored else ONE_RUN
    nats = width * float(best.statistics.mass.sum())
    top = best.objective[-1]
    return sorted(
        attempts,
        key=lambda attempt: (
            not sound(attempt.run),
            np.rint((top - attempt.run.objective[-1]) / nats),
            attempt.number,
        ),
    )


class Search:
    """Runs starts, short and long, and keeps the best; a failing one takes no other down."""

    def __init__(
        self,
        attempts: Attempts,
        previous: float | None,
        proposals: Sequence[Start] = (),
        sound: Callable[[Run], bool] = lambda run: True,
        rounds: int = 0,
    ) -> None:
        self.attempts = attempts
        self.maker, self.options = attempts.maker, attempts.options
        self.previous = previous
        self.proposals = proposals  # more short runs
        self.sound = sound  # runs that are not come last, whatever they reach
        # Above 0 only the best of the starts is run to the end, its components rearranged so often.
        self.rounds = rounds
        self.repairs: list[Repair] = []  # "re-seeded" ones

    def best_of(self, starts: list[Start]) -> tuple[Run, list[StartReport]]:
        """The sound run of highest objective, and a report of every start.

        Raises `Stopped` if there is none when the search has to end.
        """
        try:
            return self._best_of(starts)
        except CallbackError as error:
            raise error.__cause__ from None

    def _best_of(self, starts: list[Start]) -> tuple[Run, list[StartReport]]:
        max_iter = self.options.max_iter
        shorts = self._shorts(self.options.n_starts - max(len(starts), 1))
        if self.options.n_components == 1:
            # Closed form, and every start agrees. A given one may be so far from the data that
            # the sums around it cancel: the second iteration is around the mean.
            given = self.attempts.adapt is not None or starts[0].kind not in KINDS
            max_iter, shorts = min(2 if given else 1, max_iter), []
        reports: list[StartReport] = []
        finished: list[Attempt] = []
        for number, start in enumerate(starts):
            attempt, report = self.attempts.attempt(
                start,
                min(FIRST_ITERATIONS, max_iter) if self.rounds else max_iter,
                number,
                self.previous,
                self.options.algorithm,
            )
            reports.append(report)
            if attempt is not None:
                finished.append(attempt)
            if self.attempts.stopped:
                break
        if self.rounds and not self.attempts.stopped:
            finished = self._winner(finished, max_iter, reports)
        if shorts and not self.attempts.stopped:
            finished += self._portfolio(shorts, max_iter, reports)
        if not finished:
            if self.attempts.stop_reason in stopping.REASONS:
                raise Stopped(self.attempts.stop_reason)
            errors = "; ".join(dict.fromkeys(f"{r.kind}: {r.error}" for r in reports))
            raise DegenerateFitError(
                str(reports[0].error) if len(reports) == 1 else f"every start failed ({errors})"
            )
        if shorts:
            self._polish_best(finished, reports)
        best = self._highest_first(finished)[0]
        return self._reseed(best, max_iter, reports), reports

    def _winner(
        self, shorts: list[Attempt], max_iter: int, reports: list[StartReport]
    ) -> list[Attempt]:
        """The best short run, rearranged, to the end and alone; the next one where that fails."""
        reports[:] = [replace(report, continued=False) for report in reports]
        for short in highest_first(shorts, ONE_OPTIMUM):
            best = self._rearranged(short, max_iter, reports)
            attempt = self._taken_on(best, max_iter, reports)
            if attempt is not None:
                return [attempt]
        return []

    def _rearranged(self, best: Attempt, max_iter: int, reports: list[StartReport]) -> Attempt:
        """The run, or what a short one from its components, rearranged, comes to if higher."""
        for _ in range(self.rounds if can_rearrange(self.maker) else 0):
            if self.attempts.stopped:
                break
            attempt, report = self.attempts.attempt(
                Start(REARRANGED, lambda run=best.run: rearranged(run, self.maker)),
                min(ROUND_ITERATIONS, max_iter),
                len(reports),
                None,
                self.short_chain,
            )
            reports.append(replace(report, continued=False))
            if attempt is None or not self._gains(attempt.run, best.run):
                break
            best = attempt
        return best

    def _gains(self, run: Run, before: Run) -> bool:
        """Whether the objective of `run` is higher than that `before`, by more than rounding."""
        gain = run.objective[-1] - before.objective[-1]
        return gain > rounding_bound(before.mixture, before.statistics, self.maker.floor)

    def _taken_on(
        self, short: Attempt, max_iter: int, reports: list[StartReport]
    ) -> Attempt | None:
        """A short run taken on to the end, None if it fails there; changes its report."""
        kind = reports[short.number].kind
        try:
            attempt = self.attempts.taken_on(short, max_iter)
        except DegenerateFitError as failure:
            report = StartReport(kind, np.nan, short.run.n_iter, False, True, str(failure))
            attempt = None
        else:
            report = report_of(kind, attempt.run)
        reports[short.number] = report
        return attempt

    def _shorts(self, n_fresh: int) -> list[Start]:
        """The starts of short runs: those proposed, and `n_fresh` made here."""
        fresh = [
            Start(kind, lambda kind=kind: self.maker.make(kind, self.attempts.rng))
            for kind in (("k-means++", "broad")[i % 2] for i in range(max(n_fresh, 0)))
        ]
        return [*self.proposals, *fresh]

    def _highest_first(self, attempts: list[Attempt]) -> list[Attempt]:
        return highest_first(attempts, sound=self.sound)

    def _reseed(self, best: Attempt, max_iter: int, reports: list[StartReport]) -> Run:
        """The best run, or one from it with its emptied components re-seeded, if that is better.

        A component whose weight was given as 0 stays as the user wanted it, and where there are
        fewer distinct rows than components some have to be empty.
        """
        X, weight, floor = self.maker.X, self.maker.sample_weight, self.maker.floor
        run = best.run
        components = [k for k in run.empty if k not in best.unused]
        n_components = run.mixture.n_components
        if self.attempts.stopped or not components:
            return run
        try:
            if distinct_rows(X, weight, n_components) < n_components:
                return run
        except Stopped as stop:
            self.attempts.stop_reason = stop.reason
            return run
        parents: list[int] = []

        def make() -> Mixture:
            mixture, found = reseeded(run, components, X, weight, floor, self.maker.n_threads)
            parents.extend(found)
            return mixture

        attempt, report = self.attempts.attempt(
            Start(RESEEDED, make), max_iter, len(reports), None, self.short_chain
        )
        reports.append(report)
        if attempt is None:
            return run
        if not self._gains(attempt.run, run):
            return run
        gain = attempt.run.objective[-1] - run.objective[-1]
        self.repairs = _reseeded_repairs(components, parents, attempt.run, gain)
        return attempt.run

    def _polish_best(self, finished: list[Attempt], reports: list[StartReport]) -> None:
        """Continue runs at a finer tolerance, the best first, for no more work than was done.

        At `tol` runs that lead to different optima may differ by less than what is left to gain.
        On faithful (K = 6, full, 50 starts) three of 24 seeds ended below mclust's optimum when the
        three best were continued at tol / 1000; none of 100 does now.
        """
        finished[:] = self._highest_first(finished)
        left = max(sum(report.n_iter for report in reports), self.few_iterations)
        most = left // POLISHED_SHARE
        for i, attempt in enumerate(finished):
            if attempt.run.stop_reason == "tol" and left > 0 and not self.attempts.stopped:
                finished[i] = self.attempts.polished(attempt, min(most, left))
                left -= finished[i].run.n_iter - attempt.run.n_iter
                kind = reports[attempt.number].kind
                reports[attempt.number] = report_of(kind, finished[i].run)

    @property
    def short_chain(self) -> tuple[Algorithm, ...]:
        """What raises the objective by which runs are compared: hard EM, or EM."""
        return (HARD,) if self.options.algorithm[-1] is HARD else (SOFT,)

    @property
    def few_iterations(self) -> int:
        """How many iterations cost little."""
        X = self.maker.X
        flops = ITERATION_FLOPS + len(X) * row_flops(self.options.n_components, X.shape[1])
        return LITTLE_FLOPS // flops

    def _portfolio(
        self, starts: list[Start], max_iter: int, reports: list[StartReport]
    ) -> list[Attempt]:
        """The best short runs from `starts`, run to the end; adds a report of every one.

        These are a third, or more where few iterations have been done so far.
        """
        shorts: list[Attempt] = []
        for start in starts:
            attempt, report = self.attempts.attempt(
                start, min(SHORT_ITERATIONS, max_iter), len(reports), None, self.short_chain
            )
            reports.append(replace(report, continued=False))
            if attempt is not None:
                shorts.append(attempt)
            if self.attempts.stopped:
                return shorts
        finished: list[Attempt] = []
        n_continued = -(-len(starts) // CONTINUED_SHARE)
        for short in self._highest_first(shorts):
            spent = sum(report.n_iter for report in reports)
            if len(finished) >= n_continued and spent > self.few_iterations:
                break
            attempt = self._taken_on(short, max_iter, reports)
            if attempt is not None:
                finished.append(attempt)
            if self.attempts.stopped:
                break
        return finished


def _reseeded_repairs(
    components: list[int], parents: list[int], run: Run, gain: float
) -> list[Repair]:
    """One repair for each re-seeded component that has rows now, and one warning for all."""
    kept = [(k, j) for k, j in zip(components, parents, strict=True) if k not in run.empty]
    if not kept:
        return []
    held = [k for k, _ in kept]
    halved = components_named(list(dict.fromkeys(j for _, j in kept)))
    message = (
        f"{components_named(held)} emptied, and re-seeded as half of {halved}: that raised the "
        f"log-likelihood by {gain:.6g} nats. Look at what was found there, or use another start."
    )
    warn(message, DegenerateComponentWarning)
    return [Repair(RESEEDED, k, None, 0, message) for k in held]
