"""Stochastic EM: a chain of mixtures whose labels are drawn, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import DegenerateFitError
from ..model.mixture import Mixture, frozen
from ..rules import Stochastic
from ..statistics import SufficientStatistics
from ..stopping import Stopped
from .em import EARLY, Run
from .matching import matched
from .maximisation import Step
from .phase import Phase
from .results import IterationState, Stage
from .task import Task

_TRACES = ("log_likelihood", "classification", "weights", "means")
_AVERAGED = ("averaged_weights", "averaged_means", "averaged_covariances")


def run_stochastic(
    algorithm: Stochastic,
    task: Task,
    start: Mixture,
    callback: Callable[[IterationState], object] | None,
) -> Run:
    """``task.max_iter`` draws from `start`, then what `algorithm` makes of them.

    The trace of the chain is followed by that of the mixture which comes out: the average, or the
    best iterate and its EM iterations. If the fit has to end early it is the best iterate, with
    the statistics of its draw. Raises `Stopped` before the first draw.
    """
    chain = _Chain(algorithm, task, start)
    chain.complete(callback)
    if chain.stop is not None:
        return chain.cut_short(chain.stop.reason)
    if algorithm.average and chain.average is not None:
        found, polish = chain.average.mixture(), 0
    else:
        found, polish = chain.best, 0 if chain.stopped else algorithm.polish
    done = len(chain.log_likelihood)  # to come back to the best, or to average, counts as one
    try:
        run = chain.then_em(found, polish, callback, done)
    except Stopped as stop:
        return chain.cut_short(stop.reason)
    stages = (chain.stage(), Stage("em", done, run.n_iter, run.stop_reason))
    early = "callback" if chain.stopped else run.stop_reason
    return run._replace(
        stop_reason=early if early in EARLY else "chain", stages=stages if polish else stages[:1]
    )


class _Chain(Phase):
    """The draws."""

    step = Stochastic.name  # of a journal

    def __init__(self, algorithm: Stochastic, task: Task, start: Mixture) -> None:
        super().__init__(task, start, task.max_iter)
        self.algorithm = algorithm
        self.seed = int(task.rng.integers(1 << 63))
        self.best, self.best_at = start, 0
        self.best_statistics: SufficientStatistics | None = None
        self.average: _Average | None = None
        self.weights: list[np.ndarray] = []
        self.means: list[np.ndarray] = []

    def iterate(self, callback: Callable[[IterationState], object] | None) -> None:
        """The whole chain: a pass over the rows for each mixture, which also draws the next.

        Raises `Stopped` if not even the first one is complete.
        """
        task = self.task
        for iteration in range(len(self.log_likelihood), task.max_iter + 1):
            statistics = self.pass_over_rows(self.algorithm.drawn(self.seed, iteration))
            if statistics is None:
                return
            self._record(iteration, statistics)
            if self.tell(callback, statistics) or iteration == task.max_iter:
                return
            self.mixture = next_of_chain(task, statistics, self.mixture)
            if task.journal is not None:
                task.journal.note()

    def saved(self) -> dict:
        """What `restore` goes on from, for a checkpoint; nothing before the first draw."""
        if self.best_statistics is None:
            return {}
        state = {
            "mixture": self.mixture,
            "best": self.best,
            "best_at": self.best_at,
            "best_statistics": self.best_statistics,
            **{name: getattr(self, name)[:] for name in _TRACES},
        }
        if self.average is not None:
            state["averaged"] = self.average.count
            state |= zip(_AVERAGED, map(np.copy, self.average.sums), strict=True)
        return state

    def restore(self, saved: dict) -> None:
        """Become what `saved` was made of."""
        for name in ("mixture", "best", "best_at", "best_statistics", *_TRACES):
            setattr(self, name, saved[name])
        if "averaged" in saved:
            self.average = _Average(self.mixture)
            self.average.sums = [saved[name] for name in _AVERAGED]
            self.average.count = saved["averaged"]

    def _record(self, iteration: int, statistics: SufficientStatistics) -> None:
        self.weights.append(self.mixture.weights)
        self.means.append(self.mixture.means)
        if iteration == 0 or statistics.log_likelihood > self.log_likelihood[self.best_at]:
            self.best, self.best_at, self.best_statistics = self.mixture, iteration, statistics
        if self.algorithm.average and 2 * iteration > self.task.max_iter:
            if self.average is None:
                self.average = _Average(self.mixture)
            else:
                self.average.add(matched(self.average.mixture(), self.mixture, self.task.floor),
                                 self.mixture)  # fmt: skip

    def cut_short(self, reason: str) -> Run:
        """The run that ends with the best iterate; `reason` is in ``stopping.REASONS``."""
        done, best = len(self.log_likelihood), self.best_at
        return Run(
            self.best,
            self.best_statistics,
            [*self.log_likelihood, self.log_likelihood[best]],
            [*self.classification, self.classification[best]],
            done,
            False,
            reason,
            {},
            {},
            stages=(replace(self.stage(), stop_reason=reason),),
        )

    def stage(self) -> Stage:
        """The chain's own part of the result."""
        return Stage(
            self.algorithm.name,
            0,
            len(self.log_likelihood) - 1,
            "callback" if self.stopped else "max_iter",
            weights=frozen(np.array(self.weights)),
            means=frozen(np.array(self.means)),
            best=self.best_at,
        )


class _Average:
    """The mean of the parameters of mixtures whose components are in one order."""

    def __init__(self, first: Mixture) -> None:
        self.family = first.family
        self.sums = [np.array(part) for part in _parameters(first)]
        self.count = 1

    def add(self, order: np.ndarray, mixture: Mixture) -> None:
        """One more mixture, whose component ``order[k]`` is the k-th."""
        weights, means, covariances = _parameters(mixture)
        if len(covariances) == len(order) and self.family.name != "tied":
            covariances = covariances[order]
        for total, part in zip(self.sums, (weights[order], means[order], covariances), strict=True):
            total += part
        self.count += 1

    def mixture(self) -> Mixture:
        """The average, which is above the floor as all of its parts are."""
        weights, means, covariances = (total / self.count for total in self.sums)
        return Mixture._of(self.family, weights / weights.sum(), means, covariances)


def _parameters(mixture: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return mixture.weights, mixture.means, mixture.covariances


def next_of_chain(task: Task, statistics: SufficientStatistics, mixture: Mixture) -> Mixture:
    """The M-step from drawn labels; a component that drew too few rows stays as it was.

    Too few are those that do not determine a covariance. Such a component keeps its weight too,
    so that the next draw may give it rows again: a chain does not lose it. Where even then no
    covariance can be had, e.g. of equal rows without a floor, the mixture stays for another draw.
    """
    least = {"full": mixture.n_features + 1, "pooled": 1}.get(statistics.layout, 2)
    row = statistics.weight / max(statistics.n_rows, 1)
    # A part in a thousand less: the weights of `least` rows need not add up to theirs exactly.
    few = statistics.mass < 0.999 * least * row
    if not few.any():
        return _maximised(task, statistics, mixture)
    if few.all():
        return mixture
    mass = np.where(few, 0.0, statistics.mass)
    kept = float(mixture.weights[few].sum())
    updated = _maximised(task, statistics._with(mass=mass), mixture)
    weights = np.where(few, mixture.weights, (1.0 - kept) * mass / mass.sum())
    return Mixture._of(updated.family, weights / weights.sum(), updated.means, updated.covariances)


def _maximised(task: Task, statistics: SufficientStatistics, mixture: Mixture) -> Mixture:
    try:
        step: Step = task.maximise(statistics, mixture)
    except DegenerateFitError:
        return mixture
    return step.mixture
