"""Annealed EM: means and weights at falling temperatures, then plain EM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .covariance import Floor
from .em import Run, finite, run_em
from .mixture import Mixture, frozen
from .results import IterationState, Stage
from .rules import Annealed
from .statistics import SufficientStatistics
from .stopping import Stopped
from .task import Task


def run_annealed(
    algorithm: Annealed,
    task: Task,
    start: Mixture,
    callback: Callable[[IterationState], object] | None,
) -> Run:
    """EM from what the annealing of `start` arrives at; the trace holds both.

    If the fit has to end early while annealing, the last mixture whose sums are known. Raises
    `Stopped` before the first.
    """
    cooling, journal = _Cooling(algorithm, task, start), task.journal
    ended = None if journal is None else journal.begin(cooling)
    if ended is None:
        cooling.cool(callback)
        if journal is not None and not cooling.stopped and cooling.stop is None:
            journal.end(cooling, "max_iter")
    if cooling.stop is not None:
        return cooling.cut_short(cooling.stop.reason)
    done, stopped = cooling.n_done, cooling.stopped
    try:
        end = run_em(
            task.expectation,
            cooling.mixture,
            task.maximise,
            task.floor,
            tol=task.tol,
            max_iter=0 if stopped else task.max_iter,
            callback=task.observer(callback, done),
            journal=journal,
        )
    except Stopped as stop:
        return cooling.cut_short(stop.reason)
    reason = "callback" if stopped else end.stop_reason
    first = cooling.stage("callback" if stopped else "max_iter")
    return end._replace(
        log_likelihood=cooling.log_likelihood[:done] + end.log_likelihood,
        classification=cooling.classification[:done] + end.classification,
        n_iter=done + end.n_iter,
        stop_reason=reason,
        converged=end.converged and not stopped,
        floored={k: done + iteration for k, iteration in end.floored.items()},
        empty={k: done + iteration for k, iteration in end.empty.items()},
        stages=(first, Stage("em", done, done + end.n_iter, reason)),
    )


class _Cooling:
    """The annealed iterations, as far as they have been made."""

    def __init__(self, algorithm: Annealed, task: Task, start: Mixture) -> None:
        self.algorithm, self.task = algorithm, task
        self.betas = algorithm.schedule()
        self.mixture = spread_evenly(start, task.floor)  # the next one to pass over the rows with
        self.known: tuple[Mixture, SufficientStatistics] | None = None  # the last one that has
        self.stopped = False  # by the callback
        self.stop: Stopped | None = None  # by anything else
        self.log_likelihood: list[float] = []
        self.classification: list[float] = []

    @property
    def n_done(self) -> int:
        """Iterations done."""
        return len(self.log_likelihood) - self.stopped

    def cool(self, callback: Callable[[IterationState], object] | None) -> None:
        """All iterations; raises `Stopped` if not even the first one's sums are complete."""
        for iteration in range(len(self.log_likelihood), len(self.betas)):
            rule = self.algorithm.tempered(self.betas[iteration])
            try:
                sums = self.task.expectation(self.mixture.kernel_parameters, rule)
            except Stopped as stop:
                if self.known is None:
                    raise
                self.stop = stop
                return
            statistics = finite(sums, iteration)
            self.known = self.mixture, statistics
            self.log_likelihood.append(statistics.log_likelihood)
            self.classification.append(statistics.classification)
            if callback is not None and iteration and callback(self._state(statistics)):
                self.stopped = True
                return
            self.mixture = _moved(statistics, self.mixture)
            if self.task.journal is not None:
                self.task.journal.note()

    def saved(self) -> dict:
        """What `restore` goes on from, for a checkpoint; nothing before the first pass."""
        if self.known is None:
            return {}
        return {
            "mixture": self.mixture,
            "known": self.known[0],
            "statistics": self.known[1],
            "log_likelihood": self.log_likelihood[:],
            "classification": self.classification[:],
        }

    def restore(self, saved: dict) -> None:
        """Become what `saved` was made of."""
        self.mixture, self.known = saved["mixture"], (saved["known"], saved["statistics"])
        self.log_likelihood, self.classification = saved["log_likelihood"], saved["classification"]

    def _state(self, statistics: SufficientStatistics) -> IterationState:
        before, now = self.log_likelihood[-2:]
        change = (now - before) / statistics.weight
        return IterationState(len(self.log_likelihood) - 1, self.mixture, now, change)

    def stage(self, reason: str) -> Stage:
        """The annealed part of the result."""
        betas = frozen(self.betas[: self.n_done])
        return Stage(self.algorithm.name, 0, self.n_done, reason, betas=betas)

    def cut_short(self, reason: str) -> Run:
        """The run that ends here; `reason` is in ``stopping.REASONS``."""
        (mixture, statistics), n_iter = self.known, len(self.log_likelihood) - 1
        betas = frozen(self.betas[:n_iter])
        return Run(
            mixture,
            statistics,
            self.log_likelihood,
            self.classification,
            n_iter,
            False,
            reason,
            {},
            {},
            stages=(Stage(self.algorithm.name, 0, n_iter, reason, betas=betas),),
        )


def spread_evenly(start: Mixture, floor: Floor) -> Mixture:
    """`start` with equal, axis-parallel covariances: the data's variances times K^(-2/D) / 4.

    With K^(-2/D) alone, K components fill the volume of one with the data's standard deviations.
    With half these deviations more of them have come apart at the end.
    """
    n_components, n_features = start.means.shape
    variances = floor.scale**2 * (0.25 * float(n_components) ** (-2.0 / n_features))
    covariances = {
        "full": lambda: np.tile(np.diag(variances), (n_components, 1, 1)),
        "tied": lambda: np.diag(variances),
        "diag": lambda: np.tile(variances, (n_components, 1)),
        "spherical": lambda: np.full(n_components, variances.mean()),
    }[start.covariance_type]()
    covariances, _ = start.family.raise_to(floor, covariances)
    return Mixture._of(start.family, start.weights, start.means, covariances)


def _moved(statistics: SufficientStatistics, mixture: Mixture) -> Mixture:
    """The M-step of means and weights alone."""
    mass = statistics.mass
    empty = mass <= 0.0
    offset = statistics.first / np.where(empty, 1.0, mass)[:, None]
    means = mixture.means + np.where(empty[:, None], 0.0, offset)
    return Mixture._of(mixture.family, mass / mass.sum(), means, mixture.covariances)
