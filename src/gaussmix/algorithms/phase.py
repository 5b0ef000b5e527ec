"""A phase of a fit: iterations of a kind of their own from a start, from which EM goes on."""

from __future__ import annotations

from collections.abc import Callable

from ..model.mixture import Mixture
from ..rules import Rule
from ..statistics import SufficientStatistics
from ..stopping import Stopped
from .em import Run, finite, run_em
from .results import IterationState
from .task import Task


class Phase:
    """The iterations as far as they have been made.

    A class of phases has `iterate(callback)`, which makes all `max_iter`, and, for checkpoints,
    `step`, `saved` and `restore`.
    """

    def __init__(self, task: Task, start: Mixture, max_iter: int) -> None:
        self.task, self.max_iter = task, max_iter
        self.mixture = start  # the next one to pass over the rows with
        self.stopped = False  # by the callback
        self.stop: Stopped | None = None  # by anything else
        self.log_likelihood: list[float] = []
        self.classification: list[float] = []

    def complete(self, callback: Callable[[IterationState], object] | None) -> None:
        """All iterations, those in a checkpoint included; raises `Stopped` before the first."""
        journal = self.task.journal
        if journal is not None and journal.begin(self, self.max_iter) is not None:
            return
        self.iterate(callback)
        if journal is None:
            return
        if self.stopped:
            journal.current = None  # within an iteration: its entry stays as it was
        elif self.stop is None:
            journal.end(self, "max_iter")

    def pass_over_rows(self, rule: Rule) -> SufficientStatistics | None:
        """Statistics of the mixture at hand, added to the traces; None if a limit forbids them.

        Raises `Stopped` if they would be the first ones.
        """
        try:
            sums = self.task.expectation(self.mixture.kernel_parameters, rule)
        except Stopped as stop:
            if not self.log_likelihood:
                raise
            self.stop = stop
            return None
        statistics = finite(sums, len(self.log_likelihood))
        self.log_likelihood.append(statistics.log_likelihood)
        self.classification.append(statistics.classification)
        return statistics

    def tell(
        self,
        callback: Callable[[IterationState], object] | None,
        statistics: SufficientStatistics,
    ) -> bool:
        """Whether the callback, told of the iteration that these statistics end, stops the fit."""
        n_iter = len(self.log_likelihood) - 1
        if callback is not None and n_iter:
            before, now = self.log_likelihood[-2:]
            change = (now - before) / statistics.weight
            self.stopped = bool(callback(IterationState(n_iter, self.mixture, now, change)))
        return self.stopped

    def then_em(
        self,
        start: Mixture,
        max_iter: int,
        callback: Callable[[IterationState], object] | None,
        done: int,
    ) -> Run:
        """EM from `start`, whose traces and iterations follow the first `done` of this phase.

        Raises `Stopped` if it ends before there are statistics under `start`.
        """
        task = self.task
        end = run_em(
            task.expectation,
            start,
            task.maximise,
            task.floor,
            tol=task.tol,
            max_iter=max_iter,
            callback=task.observer(callback, done),
            # If the callback has ended the fit, a resumed one makes more iterations.
            journal=None if self.stopped else task.journal,
        )
        return end._replace(
            log_likelihood=self.log_likelihood[:done] + end.log_likelihood,
            classification=self.classification[:done] + end.classification,
            n_iter=done + end.n_iter,
            floored={k: done + iteration for k, iteration in end.floored.items()},
            empty={k: done + iteration for k, iteration in end.empty.items()},
        )
