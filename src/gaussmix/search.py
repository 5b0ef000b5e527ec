"""The search for a good optimum: starts, short runs, and which of them are continued."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .covariance import Floor
from .em import IterationState, Run, StartReport, maximiser, run_em
from .errors import DegenerateFitError
from .mixture import Mixture
from .start import StartMaker

SHORT_ITERATIONS = 5
CONTINUED_SHARE = 4  # one in so many short runs is continued
POLISH = 1e-3  # the best of several runs is continued with this much of tol


@dataclass(frozen=True)
class FitOptions:
    """The checked arguments of a fit."""

    n_components: int
    covariance_type: str = "full"
    n_starts: int = 1
    tol: float = 1e-3
    max_iter: int = 100
    reg_covar: float = 1e-6
    n_threads: int | None = None


class Start(NamedTuple):
    """A way to make an initial mixture, and what to call it in a report."""

    kind: str
    make: Callable[[], Mixture]


class Search:
    """Runs starts, short and long, and keeps the best; a failing one takes no other down."""

    def __init__(
        self,
        maker: StartMaker,
        options: FitOptions,
        callback: Callable[[IterationState], object] | None,
        previous: float | None,
        adapt: Callable[[Mixture], Mixture] | None,
    ) -> None:
        self.maker = maker
        self.maximise = maximiser(maker.floor)
        self.options = options
        self.callback = callback
        self.previous = previous
        self.adapt = adapt
        self.start_seconds = self.em_seconds = 0.0

    def best_of(
        self, starts: list[Start], rng: np.random.Generator
    ) -> tuple[Run, list[StartReport]]:
        """The run of highest log-likelihood, and a report of every start."""
        max_iter = self.options.max_iter
        n_short = self.options.n_starts - len(starts)
        if self.options.n_components == 1:  # closed form: one iteration, and every start agrees
            max_iter, n_short = min(1, max_iter), 0
        reports: list[StartReport] = []
        finished: list[Run] = []
        for number, start in enumerate(starts):
            attempt, report = self._attempt(start, max_iter, number, self.previous)
            reports.append(report)
            if attempt is not None:
                finished.append(attempt)
        if n_short > 0:
            finished += self._portfolio(n_short, max_iter, reports, rng)
        if not finished:
            errors = "; ".join(f"{report.kind}: {report.error}" for report in reports)
            raise DegenerateFitError(
                str(reports[0].error) if len(reports) == 1 else f"every start failed ({errors})"
            )
        best = max(finished, key=_reached)
        if n_short > 0 and best.stop_reason == "tol":
            best = self._polish(best, max_iter)
        return best, reports

    def _portfolio(
        self, n_short: int, max_iter: int, reports: list[StartReport], rng: np.random.Generator
    ) -> list[Run]:
        """The best of `n_short` short runs, run to the end; adds a report of every one."""
        shorts: list[tuple[int, Run]] = []
        for i in range(n_short):
            kind = ("k-means++", "broad")[i % 2]
            start = Start(kind, lambda kind=kind: self.maker.make(kind, rng))
            number = len(reports)
            attempt, report = self._attempt(start, min(SHORT_ITERATIONS, max_iter), number, None)
            reports.append(replace(report, continued=False))
            if attempt is not None:
                shorts.append((number, attempt))
        shorts.sort(key=lambda short: _reached(short[1]), reverse=True)
        finished: list[Run] = []
        for number, short in shorts[: -(-n_short // CONTINUED_SHARE)]:
            attempt, report = self._continue(short, max_iter, number, reports[number].kind)
            reports[number] = report
            if attempt is not None:
                finished.append(attempt)
        return finished

    def _polish(self, best: Run, max_iter: int) -> Run:
        """The best run, continued at a finer tolerance; it stays converged."""
        began = time.perf_counter()
        tol = POLISH * self.options.tol
        rest = self._run(best.mixture, max_iter, 0, best.objective[-2], tol)
        self.em_seconds += time.perf_counter() - began
        stop_reason = "callback" if rest.stop_reason == "callback" else best.stop_reason
        return _joined(best, rest)._replace(stop_reason=stop_reason, converged=best.converged)

    def _attempt(
        self, start: Start, max_iter: int, number: int, previous: float | None
    ) -> tuple[Run | None, StartReport]:
        began = time.perf_counter()
        try:
            initial = start.make() if self.adapt is None else self.adapt(start.make())
            initial = _feasible(initial, self.maker.floor)
            made = time.perf_counter()
            self.start_seconds += made - began
            result = self._run(initial, max_iter, number, previous)
        except DegenerateFitError as error:
            return None, StartReport(start.kind, np.nan, 0, False, True, str(error))
        self.em_seconds += time.perf_counter() - made
        return result, _report(start.kind, result)

    def _continue(
        self, short: Run, max_iter: int, number: int, kind: str
    ) -> tuple[Run | None, StartReport]:
        if short.converged or short.n_iter >= max_iter:
            return short, _report(kind, short)
        began = time.perf_counter()
        previous = short.objective[-2] if short.n_iter else None
        try:
            rest = self._run(short.mixture, max_iter - short.n_iter, number, previous)
        except DegenerateFitError as error:
            return None, StartReport(kind, np.nan, short.n_iter, False, True, str(error))
        finally:
            self.em_seconds += time.perf_counter() - began
        whole = _joined(short, rest)
        return whole, _report(kind, whole)

    def _run(
        self,
        initial: Mixture,
        max_iter: int,
        number: int,
        previous: float | None,
        tol: float | None = None,
    ) -> Run:
        return run_em(
            self.maker.expectation,
            initial,
            self.maximise,
            self.maker.floor,
            tol=self.options.tol if tol is None else tol,
            max_iter=max_iter,
            callback=self.callback,
            start_number=number,
            previous_objective=previous,
        )


def _joined(first: Run, rest: Run) -> Run:
    """`rest`, which started from where `first` ended, with the whole history."""
    return rest._replace(
        objective=first.objective + rest.objective[1:], n_iter=first.n_iter + rest.n_iter
    )


def _report(kind: str, result: Run) -> StartReport:
    return StartReport(kind, result.objective[-1], result.n_iter, result.converged, True)


def _reached(run: Run) -> float:
    return run.objective[-1]


def _feasible(start: Mixture, floor: Floor) -> Mixture:
    """The start with covariances not below the floor, so that no later M-step has to fall."""
    covariances, floored = start.family.raise_to(floor, start.covariances)
    if not floored.any():
        return start
    return Mixture._of(start.family, start.weights, start.means, covariances)
