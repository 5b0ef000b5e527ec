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
from .task import Task


def run_annealed(
    algorithm: Annealed,
    task: Task,
    start: Mixture,
    callback: Callable[[IterationState], object] | None,
) -> Run:
    """EM from what the annealing of `start` arrives at; the trace holds both."""
    mixture, stopped = spread_evenly(start, task.floor), False
    traces: tuple[list[float], list[float]] = ([], [])
    betas = algorithm.schedule()
    for iteration, beta in enumerate(betas):
        rule = algorithm.tempered(beta)
        statistics = finite(task.expectation(mixture.kernel_parameters, rule), iteration)
        traces[0].append(statistics.log_likelihood)
        traces[1].append(statistics.classification)
        if callback is not None and iteration:
            change = (traces[0][-1] - traces[0][-2]) / statistics.weight
            state = IterationState(iteration, mixture, traces[0][-1], change)
            stopped = bool(callback(state))
        if stopped:
            break
        mixture = _moved(statistics, mixture)
    done = len(traces[0]) - stopped
    end = run_em(
        task.expectation,
        mixture,
        task.maximise,
        task.floor,
        tol=task.tol,
        max_iter=0 if stopped else task.max_iter,
        callback=task.observer(callback, done),
    )
    reason = "callback" if stopped else end.stop_reason
    first = Stage(
        algorithm.name, 0, done, "callback" if stopped else "max_iter", betas=frozen(betas[:done])
    )
    return end._replace(
        log_likelihood=traces[0][:done] + end.log_likelihood,
        classification=traces[1][:done] + end.classification,
        n_iter=done + end.n_iter,
        stop_reason=reason,
        converged=end.converged and not stopped,
        floored={k: done + iteration for k, iteration in end.floored.items()},
        empty={k: done + iteration for k, iteration in end.empty.items()},
        stages=(first, Stage("em", done, done + end.n_iter, reason)),
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
