"""Annealed EM: means and weights at falling temperatures, then plain EM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..covariance import Floor
from ..model.mixture import Mixture, frozen
from ..rules import Annealed
from ..statistics import SufficientStatistics, mean_offsets
from ..stopping import Stopped
from .em import Run
from .phase import Phase
from .results import IterationState, Stage
from .task import Task

# In standard deviations of the held covariances. Means that lie together at a high temperature
# become equal to the bit, and stay so when it has fallen; plain EM needs a larger difference, or
# `tol` ends it before they have parted. Medians over 12 starts, with none, the first alone, and
# both: iris, K = 6, spherical -301, -280, -280; 4 components on 3 groups, D = 7, full -15018,
# -15002, -14991. A first one of 0.001 or 0.03 does as much, and so does a last one of 0.3.
PUSH = 0.01  # in every iteration but the last
LAST_PUSH = 0.1


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
    cooling = _Cooling(algorithm, task, start)
    cooling.complete(callback)
    if cooling.stop is not None:
        return cooling.cut_short(cooling.stop.reason)
    done, stopped = cooling.n_done, cooling.stopped
    try:
        run = cooling.then_em(cooling.mixture, 0 if stopped else task.max_iter, callback, done)
    except Stopped as stop:
        return cooling.cut_short(stop.reason)
    reason = "callback" if stopped else run.stop_reason
    first = cooling.stage("callback" if stopped else "max_iter")
    return run._replace(
        stop_reason=reason,
        converged=run.converged and not stopped,
        stages=(first, Stage("em", done, run.n_iter, reason)),
    )


class _Cooling(Phase):
    """The annealed iterations."""

    step = Annealed.name  # of a journal

    def __init__(self, algorithm: Annealed, task: Task, start: Mixture) -> None:
        self.algorithm, self.betas = algorithm, algorithm.schedule()
        super().__init__(task, spread_evenly(start, task.floor), len(self.betas) - 1)
        self.deviations = np.sqrt(held_variances(start, task.floor))
        self.known: tuple[Mixture, SufficientStatistics] | None = None  # the last that has passed

    @property
    def n_done(self) -> int:
        """Iterations done."""
        return len(self.log_likelihood) - self.stopped

    def iterate(self, callback: Callable[[IterationState], object] | None) -> None:
        """All iterations; raises `Stopped` if not even the first one's sums are complete."""
        for beta in self.betas[len(self.log_likelihood) :]:
            statistics = self.pass_over_rows(self.algorithm.tempered(beta))
            if statistics is None:
                return
            self.known = self.mixture, statistics
            if self.tell(callback, statistics):
                return
            self.mixture = _moved(statistics, self.mixture, self._pushes())
            if self.task.journal is not None:
                self.task.journal.note()

    def _pushes(self) -> np.ndarray:
        """(K, D) what parts means that have become equal; the same in every fit of this size."""
        iteration = len(self.log_likelihood) - 1
        size = LAST_PUSH if iteration == len(self.betas) - 1 else PUSH
        draws = np.random.default_rng(iteration).standard_normal(self.mixture.means.shape)
        return size * self.deviations * draws

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


def held_variances(start: Mixture, floor: Floor) -> np.ndarray:
    """(D,) the data's variances times K^(-2/D) / 4.

    With K^(-2/D) alone, K components fill the volume of one with the data's standard deviations.
    With half these deviations more of them have come apart at the end.
    """
    n_components, n_features = start.means.shape
    return floor.scale**2 * (0.25 * float(n_components) ** (-2.0 / n_features))


def spread_evenly(start: Mixture, floor: Floor) -> Mixture:
    """`start` with equal, axis-parallel covariances: the `held_variances`."""
    n_components = start.n_components
    variances = held_variances(start, floor)
    covariances = {
        "full": lambda: np.tile(np.diag(variances), (n_components, 1, 1)),
        "tied": lambda: np.diag(variances),
        "diag": lambda: np.tile(variances, (n_components, 1)),
        "spherical": lambda: np.full(n_components, variances.mean()),
    }[start.covariance_type]()
    covariances, _ = start.family.raise_to(floor, covariances)
    return Mixture._of(start.family, start.weights, start.means, covariances)


def _moved(statistics: SufficientStatistics, mixture: Mixture, push: np.ndarray) -> Mixture:
    """The M-step of means and weights alone; the means are moved by `push` (K, D) as well."""
    mass = statistics.mass
    means = mixture.means + mean_offsets(statistics, mass <= 0.0) + push
    return Mixture._of(mixture.family, mass / mass.sum(), means, mixture.covariances)
