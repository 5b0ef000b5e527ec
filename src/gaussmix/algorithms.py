"""The algorithms of a fit, one after the other: what runs the rules from a start to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .covariance import Floor
from .em import IterationState, Maximise, Run, Stage, run_em
from .expectation import Expectation
from .mixture import Mixture
from .rules import HARD, SOFT, Algorithm


@dataclass(frozen=True)
class Task:
    """What all algorithms of a fit work on."""

    expectation: Expectation
    maximise: Maximise
    floor: Floor
    tol: float
    max_iter: int
    rng: np.random.Generator


def run(
    algorithms: tuple[Algorithm, ...],
    task: Task,
    start: Mixture,
    callback: Callable[[IterationState], object] | None = None,
    previous_objective: float | None = None,
) -> Run:
    """The algorithms one after the other from `start`, each for at most ``task.max_iter``.

    `previous_objective` is for the first of them, as in `run_em`. The run's objective, convergence
    and stop reason are those of the last one.
    """
    total = None
    for algorithm in algorithms:
        done = 0 if total is None else total.n_iter
        mixture = start if total is None else total.mixture
        part = run_em(
            task.expectation,
            mixture,
            task.maximise,
            task.floor,
            tol=0.0 if algorithm is HARD else task.tol,
            max_iter=task.max_iter,
            rule=algorithm,
            callback=_shifted(callback, done),
            previous_objective=previous_objective if done == 0 and algorithm is SOFT else None,
        )
        part = part._replace(stages=(Stage(algorithm.name, 0, part.n_iter, part.stop_reason),))
        total = part if total is None else joined(total, part)
        if total.stop_reason == "callback":
            break
    return total


def joined(first: Run, rest: Run) -> Run:
    """`rest`, which started from where `first` ended, with the whole history."""
    if rest.n_iter == 0:
        return first._replace(
            statistics=rest.statistics,
            stop_reason=rest.stop_reason,
            converged=rest.converged,
            rule=rest.rule,
            stages=_joined_stages(first, rest),
        )

    def merged(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
        return {k: before.get(k, first.n_iter + iteration) for k, iteration in after.items()}

    return rest._replace(
        log_likelihood=first.log_likelihood + rest.log_likelihood[1:],
        classification=first.classification + rest.classification[1:],
        n_iter=first.n_iter + rest.n_iter,
        floored=merged(first.floored, rest.floored),
        empty=merged(first.empty, rest.empty),
        stages=_joined_stages(first, rest),
    )


def _joined_stages(first: Run, rest: Run) -> tuple[Stage, ...]:
    """The stages of both; one where an algorithm that has no end of its own was continued."""
    stages = list(first.stages)
    for stage in rest.stages:
        moved = replace(stage, begin=stage.begin + first.n_iter, end=stage.end + first.n_iter)
        last = stages[-1] if stages else None
        if last is not None and last.algorithm == moved.algorithm in (SOFT.name, HARD.name):
            stages[-1] = replace(moved, begin=last.begin)
        else:
            stages.append(moved)
    return tuple(stages)


def _shifted(
    callback: Callable[[IterationState], object] | None, done: int
) -> Callable[[IterationState], object] | None:
    """The callback, told of iterations that begin after `done` others."""
    if callback is None or done == 0:
        return callback
    return lambda state: callback(replace(state, iteration=state.iteration + done))
