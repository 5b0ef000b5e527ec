"""Attempts: a start that is made, run and taken on; what ends all of them, and their time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import stopping
from ..algorithms.chain import joined
from ..algorithms.chain import run as run_algorithms
from ..algorithms.em import Run
from ..algorithms.maximisation import Maximiser
from ..algorithms.results import IterationState, StartReport
from ..algorithms.task import Task
from ..covariance import Floor
from ..errors import DegenerateFitError, InvalidTypeError
from ..inputs.validate import shown
from ..model.mixture import Mixture
from ..rules import SOFT, Algorithm
from ..starts.start import KINDS, Start, StartMaker
from ..stopping import Stopped
from .options import FitOptions

POLISH = 1e-4  # converged runs go on at a finer tolerance: this much of tol
DRAWN = (*KINDS, "broad")  # kinds of starts that draw random numbers
RESEEDED, REARRANGED = "re-seeded", "rearranged"  # kinds of starts made from another's run


class CallbackError(Exception):
    """Carries a user's DegenerateFitError past what catches those of starts."""


class Attempt(NamedTuple):
    """What a start has come to so far."""

    number: int  # of the start
    run: Run
    unused: frozenset[int]  # components whose weight the user gave as 0


class Attempts:
    """Runs starts one by one, within one fit's callback, limits and checkpoint."""

    def __init__(
        self,
        maker: StartMaker,
        options: FitOptions,
        rng: np.random.Generator,
        callback: Callable[[IterationState], object] | None,
        adapt: Callable[[Mixture], Mixture] | None,
        journal=None,
    ) -> None:
        self.maker = maker
        self.maximise = Maximiser(maker.floor, maker.n_threads)
        self.options = options
        self.rng = rng
        self.callback = callback
        self.adapt = adapt
        self.journal = journal  # a `checkpoint.Journal`, if the fit keeps one
        self.stop_reason: str | None = None  # why no more runs are to be made
        self.start_seconds = self.em_seconds = 0.0

    def attempt(
        self,
        start: Start,
        max_iter: int,
        number: int,
        previous: float | None,
        chain: tuple[Algorithm, ...],
    ) -> tuple[Attempt | None, StartReport]:
        """What `chain` makes of start `number`, None if it fails; and a report."""
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
        return Attempt(number, result, unused), report_of(start.kind, result)

    def _initial(self, start: Start) -> tuple[Mixture, frozenset[int]]:
        """The mixture to begin with, and the components whose weight the user gave as 0."""
        if self.journal is None or start.kind not in DRAWN:
            initial = made = start.make()
        else:
            initial = made = self.journal.start(start.make, self.rng)
        if self.adapt is not None and start.kind not in (RESEEDED, REARRANGED):
            initial = self.adapt(made)
        unused = initial.weights == 0.0
        if start.kind != "mixture":  # made here, of rows: 0 only means that no row was near
            unused &= made.weights > 0.0
        if self.adapt is not None or start.kind == "mixture":  # else an M-step under the floor
            initial = _feasible(initial, self.maker.floor)
        return initial, frozenset(unused.nonzero()[0].tolist())

    def taken_on(self, short: Attempt, max_iter: int) -> Attempt:
        """A short run taken on to `max_iter` iterations, as if it had never stopped."""
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

    def polished(self, best: Attempt, max_iter: int) -> Attempt:
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
                    enough = _answer(self.callback(told))
            except DegenerateFitError as error:
                raise CallbackError from error  # the user's own: no start has failed
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
            result = run_algorithms(chain, task, initial, observer, previous)
        finally:
            self.em_seconds += time.perf_counter() - began
        if result.stop_reason in stopping.REASONS:
            self.stop_reason = result.stop_reason
        return result

    @property
    def stopped(self) -> bool:
        """Whether callback, limit or token have ended the search."""
        return self.stop_reason is not None


def _answer(answer: object) -> bool:
    """What a callback has returned: whether the fit is to end."""
    try:
        return bool(answer)
    except (TypeError, ValueError) as error:  # such as an array of several values
        raise InvalidTypeError(
            f"callback returned {shown(answer)} ({type(answer).__name__}), which is neither true "
            "nor false. Return True to end the fit, False or nothing to go on."
        ) from error


def report_of(kind: str, run: Run) -> StartReport:
    return StartReport(kind, run.log_likelihood[-1], run.n_iter, run.converged, True)


def _feasible(start: Mixture, floor: Floor) -> Mixture:
    """The start with covariances not below the floor, so that no later M-step has to fall."""
    covariances, floored = start.family.raise_to(floor, start.covariances)
    if not floored.any():
        return start
    return Mixture._of(start.family, start.weights, start.means, covariances)
