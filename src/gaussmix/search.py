"""The search for a good optimum: starts, short runs, and which of them are continued."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import algorithms, stopping
from .algorithms import joined
from .covariance import Floor
from .diagnosis import components_named
from .em import Run, rounding_bound
from .errors import DegenerateComponentWarning, DegenerateFitError, warn
from .expectation import row_flops
from .maximisation import Maximiser
from .mixture import Mixture
from .options import FitOptions
from .reseeding import reseeded
from .results import IterationState, Repair, StartReport
from .rules import HARD, SOFT, Algorithm
from .start import KINDS, Start, StartMaker
from .stopping import Stopped
from .summary import distinct_rows
from .task import Task

SHORT_ITERATIONS = 5
CONTINUED_SHARE = 3  # one in so many short runs is continued, and more where that costs little
POLISH = 1e-4  # then runs go on at a finer tolerance: this much of tol
POLISHED_SHARE = 3  # each for at most one in so many of the iterations that all may take
LITTLE_FLOPS = 1 << 31  # 0.1 to 0.2 s of iterations
ITERATION_FLOPS = 1 << 15  # what an iteration costs without any rows, about 3 us
ONE_OPTIMUM = 1e-6  # nats per row, within which short runs count as equal
DRAWN = (*KINDS, "broad")  # kinds of starts that draw random numbers
RESEEDED = "re-seeded"  # the kind of a start made from another's run


class _CallbackError(Exception):
    """Carries a user's DegenerateFitError past what catches those of starts."""


class _Attempt(NamedTuple):
    number: int  # of the start
    run: Run
    unused: frozenset[int]  # components whose weight the user gave as 0


def _by_likelihood(shorts: list[_Attempt]) -> list[_Attempt]:
    """The highest first; runs to one optimum, which rounding alone tells apart, by their number."""
    if not shorts:
        return []
    # Of differences from the best, since units add a constant to every objective.
    best = max((short.run for short in shorts), key=lambda run: run.objective[-1])
    width = ONE_OPTIMUM * float(best.statistics.mass.sum())
    by_number = sorted(shorts, key=lambda short: short.number)
    top = best.objective[-1]
    return sorted(by_number, key=lambda short: np.rint((top - short.run.objective[-1]) / width))


class Search:
    """Runs starts, short and long, and keeps the best; a failing one takes no other down."""

    def __init__(
        self,
        maker: StartMaker,
        options: FitOptions,
        callback: Callable[[IterationState], object] | None,
        previous: float | None,
        adapt: Callable[[Mixture], Mixture] | None,
        proposals: Sequence[Start] = (),
        rank: Callable[[Run], object] | None = None,
        race: tuple[int, ...] | None = None,
        journal=None,
    ) -> None:
        self.maker = maker
        self.maximise = Maximiser(maker.floor)
        self.options = options
        self.callback = callback
        self.previous = previous
        self.adapt = adapt
        self.proposals = proposals  # more short runs
        self.rank = rank or _reached  # the highest is the best
        # Iterations after each of which the better half of the starts goes on; at last, the best.
        self.race = race
        self.journal = journal  # a `checkpoint.Journal`, if the fit keeps one
        self.stop_reason: str | None = None  # why no more runs are to be made
        self.repairs: list[Repair] = []  # "re-seeded" ones
        self.start_seconds = self.em_seconds = 0.0

    def best_of(
        self, starts: list[Start], rng: np.random.Generator
    ) -> tuple[Run, list[StartReport]]:
        """The run of highest rank (objective, if none is given), and a report of every start.

        Raises `Stopped` if there is none when the search has to end.
        """
        self.rng = rng
        try:
            return self._best_of(starts, rng)
        except _CallbackError as error:
            raise error.__cause__ from None

    def _best_of(
        self, starts: list[Start], rng: np.random.Generator
    ) -> tuple[Run, list[StartReport]]:
        max_iter = self.options.max_iter
        shorts = self._shorts(self.options.n_starts - max(len(starts), 1), rng)
        if self.options.n_components == 1:
            # Closed form, and every start agrees. A given one may be so far from the data that
            # the sums around it cancel: the second iteration is around the mean.
            given = self.adapt is not None or starts[0].kind not in KINDS
            max_iter, shorts = min(2 if given else 1, max_iter), []
        reports: list[StartReport] = []
        finished: list[_Attempt] = []
        racing = self.race is not None and len(starts) > 1
        for number, start in enumerate(starts):
            attempt, report = self._attempt(
                start,
                min(self.race[0], max_iter) if racing else max_iter,
                number,
                self.previous,
                self.options.algorithm,
            )
            reports.append(report)
            if attempt is not None:
                finished.append(attempt)
            if self.stopped:
                break
        if racing and not self.stopped:
            for limit in self.race[1:]:
                finished = self._better_half(finished, limit)
            finished = self._winner(finished, max_iter, reports)
        if shorts and not self.stopped:
            finished += self._portfolio(shorts, max_iter, reports)
        if not finished:
            if self.stop_reason in stopping.REASONS:
                raise Stopped(self.stop_reason)
            errors = "; ".join(dict.fromkeys(f"{r.kind}: {r.error}" for r in reports))
            raise DegenerateFitError(
                str(reports[0].error) if len(reports) == 1 else f"every start failed ({errors})"
            )
        if shorts:
            self._polish_best(finished, reports)
        best = max(finished, key=self._rank)
        return self._reseed(best, max_iter, reports), reports

    def _better_half(self, shorts: list[_Attempt], limit: int) -> list[_Attempt]:
        """The better half of short runs, taken on to `limit` iterations; the others fall out."""
        shorts = _by_likelihood(shorts)
        kept: list[_Attempt] = []
        for short in shorts:
            if len(kept) < (len(shorts) + 1) // 2 and not self.stopped:
                with suppress(DegenerateFitError):
                    kept.append(self._continue(short, limit))
        return kept or shorts

    def _winner(
        self, shorts: list[_Attempt], max_iter: int, reports: list[StartReport]
    ) -> list[_Attempt]:
        """The best short run alone, run to the end; the next one where that fails."""
        reports[:] = [replace(report, continued=False) for report in reports]
        for short in _by_likelihood(shorts):
            kind = reports[short.number].kind
            try:
                attempt = self._continue(short, max_iter)
            except DegenerateFitError as error:
                n_iter = short.run.n_iter
                reports[short.number] = StartReport(kind, np.nan, n_iter, False, True, str(error))
            else:
                reports[short.number] = _report(kind, attempt.run)
                return [attempt]
        return []

    def _shorts(self, n_fresh: int, rng: np.random.Generator) -> list[Start]:
        """The starts of short runs: those proposed, and `n_fresh` made here."""
        fresh = [
            Start(kind, lambda kind=kind: self.maker.make(kind, rng))
            for kind in (("k-means++", "broad")[i % 2] for i in range(max(n_fresh, 0)))
        ]
        return [*self.proposals, *fresh]

    def _rank(self, attempt: _Attempt) -> object:
        return self.rank(attempt.run)

    def _reseed(self, best: _Attempt, max_iter: int, reports: list[StartReport]) -> Run:
        """The best run, or one from it with its emptied components re-seeded, if that is better.

        A component whose weight was given as 0 stays as the user wanted it, and where there are
        fewer distinct rows than components some have to be empty.
        """
        X, weight, floor = self.maker.X, self.maker.sample_weight, self.maker.floor
        run = best.run
        components = [k for k in run.empty if k not in best.unused]
        n_components = run.mixture.n_components
        if self.stopped or not components:
            return run
        try:
            if distinct_rows(X, weight, n_components) < n_components:
                return run
        except Stopped as stop:
            self.stop_reason = stop.reason
            return run
        parents: list[int] = []

        def make() -> Mixture:
            mixture, found = reseeded(run, components, X, weight, floor, self.maker.n_threads)
            parents.extend(found)
            return mixture

        attempt, report = self._attempt(
            Start(RESEEDED, make), max_iter, len(reports), None, self.short_chain
        )
        reports.append(report)
        if attempt is None:
            return run
        gain = attempt.run.objective[-1] - run.objective[-1]
        if not gain > rounding_bound(run.mixture, run.statistics, floor):
            return run
        self.repairs = _reseeded_repairs(components, parents, attempt.run, gain)
        return attempt.run

    def _polish_best(self, finished: list[_Attempt], reports: list[StartReport]) -> None:
        """Continue runs at a finer tolerance, the best first, for no more work than was done.

        At `tol` runs that lead to different optima may differ by less than what is left to gain.
        On faithful (K = 6, full, 50 starts) three of 24 seeds ended below mclust's optimum when the
        three best were continued at tol / 1000; none of 100 does now.
        """
        finished.sort(key=self._rank, reverse=True)
        left = max(sum(report.n_iter for report in reports), self.few_iterations)
        most = left // POLISHED_SHARE
        for i, attempt in enumerate(finished):
            if attempt.run.stop_reason == "tol" and left > 0 and not self.stopped:
                finished[i] = self._polish(attempt, min(most, left))
                left -= finished[i].run.n_iter - attempt.run.n_iter
                kind = reports[attempt.number].kind
                reports[attempt.number] = _report(kind, finished[i].run)

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
    ) -> list[_Attempt]:
        """The best short runs from `starts`, run to the end; adds a report of every one.

        These are a third, or more where few iterations have been done so far.
        """
        shorts: list[_Attempt] = []
        for start in starts:
            attempt, report = self._attempt(
                start, min(SHORT_ITERATIONS, max_iter), len(reports), None, self.short_chain
            )
            reports.append(replace(report, continued=False))
            if attempt is not None:
                shorts.append(attempt)
            if self.stopped:
                return shorts
        shorts.sort(key=self._rank, reverse=True)
        finished: list[_Attempt] = []
        n_continued = -(-len(starts) // CONTINUED_SHARE)
        for short in shorts:
            spent = sum(report.n_iter for report in reports)
            if len(finished) >= n_continued and spent > self.few_iterations:
                break
            kind = reports[short.number].kind
            try:
                attempt = self._continue(short, max_iter)
            except DegenerateFitError as error:
                report = StartReport(kind, np.nan, short.run.n_iter, False, True, str(error))
            else:
                finished.append(attempt)
                report = _report(kind, attempt.run)
            reports[short.number] = report
            if self.stopped:
                break
        return finished

    def _attempt(
        self,
        start: Start,
        max_iter: int,
        number: int,
        previous: float | None,
        chain: tuple[Algorithm, ...],
    ) -> tuple[_Attempt | None, StartReport]:
        began = time.perf_counter()
        try:
            initial, unused = self._initial(start)
            made = time.perf_counter()
            self.start_seconds += made - began
            result = self._run(initial, max_iter, self.options.tol, number, 0, previous, chain)
        except DegenerateFitError as error:
            return None, StartReport(start.kind, np.nan, 0, False, True, str(error))
        except Stopped as stop:
            self.stop_reason = stop.reason
            error = f"{stopping.told(stop.reason)} ended the fit before its first iteration"
            return None, StartReport(start.kind, np.nan, 0, False, False, error)
        return _Attempt(number, result, unused), _report(start.kind, result)

    def _initial(self, start: Start) -> tuple[Mixture, frozenset[int]]:
        """The mixture to begin with, and the components whose weight the user gave as 0."""
        if self.journal is None or start.kind not in DRAWN:
            initial = made = start.make()
        else:
            initial = made = self.journal.start(start.make, self.rng)
        if self.adapt is not None and start.kind != RESEEDED:
            initial = self.adapt(made)
        unused = initial.weights == 0.0
        if start.kind != "mixture":  # made here, of rows: 0 only means that no row was near
            unused &= made.weights > 0.0
        if self.adapt is not None or start.kind == "mixture":  # else an M-step under the floor
            initial = _feasible(initial, self.maker.floor)
        return initial, frozenset(unused.nonzero()[0].tolist())

    def _continue(self, short: _Attempt, max_iter: int) -> _Attempt:
        """A short run taken on to the end, as if it had never stopped."""
        run = short.run
        if run.converged or run.n_iter >= max_iter:
            return short
        previous = run.objective[-2] if run.n_iter else None
        try:
            rest = self._run(
                run.mixture,
                max_iter - run.n_iter,
                self.options.tol,
                short.number,
                run.n_iter,
                previous,
                self.options.algorithm,
            )
        except Stopped as stop:
            self.stop_reason = stop.reason
            return short
        return short._replace(run=joined(run, rest))

    def _polish(self, best: _Attempt, max_iter: int) -> _Attempt:
        """A run continued at a finer tolerance; it stays converged."""
        run, tol = best.run, POLISH * self.options.tol
        try:
            rest = self._run(
                run.mixture, max_iter, tol, best.number, run.n_iter, run.objective[-2], (SOFT,)
            )
        except DegenerateFitError:
            return best  # what has been reached stands
        except Stopped as stop:
            self.stop_reason = stop.reason
            return best
        whole = joined(run, rest)
        if self.stop_reason != "callback":
            whole = whole._replace(stop_reason=run.stop_reason, converged=run.converged)
        return best._replace(run=whole)

    def _run(
        self,
        initial: Mixture,
        max_iter: int,
        tol: float,
        number: int,
        done: int,
        previous: float | None,
        chain: tuple[Algorithm, ...],
    ) -> Run:
        """`chain` from `initial`, which start `number` has reached in `done` iterations."""

        def observe(state: IterationState) -> bool:
            told = replace(state, iteration=state.iteration + done, start=number)
            try:
                with stopping.within():  # what the callback itself does has no limit
                    enough = bool(self.callback(told))
            except DegenerateFitError as error:
                raise _CallbackError from error  # the user's own: no start has failed
            if enough:
                self.stop_reason = "callback"
            return enough

        began = time.perf_counter()
        try:
            task = Task(
                self.maker.expectation,
                self.maximise,
                self.maker.floor,
                tol,
                max_iter,
                self.rng,
                self.journal,
            )
            observer = None if self.callback is None else observe
            result = algorithms.run(chain, task, initial, observer, previous)
        finally:
            self.em_seconds += time.perf_counter() - began
        if result.stop_reason in stopping.REASONS:
            self.stop_reason = result.stop_reason
        return result

    @property
    def stopped(self) -> bool:
        """Whether callback, limit or token have ended the search."""
        return self.stop_reason is not None


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


def _report(kind: str, run: Run) -> StartReport:
    return StartReport(kind, run.log_likelihood[-1], run.n_iter, run.converged, True)


def _reached(run: Run) -> float:
    return run.objective[-1]


def _feasible(start: Mixture, floor: Floor) -> Mixture:
    """The start with covariances not below the floor, so that no later M-step has to fall."""
    covariances, floored = start.family.raise_to(floor, start.covariances)
    if not floored.any():
        return start
    return Mixture._of(start.family, start.weights, start.means, covariances)
