"""The algorithms of a fit, one after the other: what runs the rules from a start to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..model.mixture import Mixture
from ..rules import HARD, SOFT, Algorithm, Annealed, Stochastic
from ..stopping import Stopped
from .annealing import run_annealed
from .em import EARLY, Run, run_em
from .results import IterationState, Stage
from .stochastic import run_stochastic
from .task import Task


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

    Raises `Stopped` if it ends before there are statistics under `start`.
    """
    total = None
    for algorithm in algorithms:
        done = 0 if total is None else total.n_iter
        mixture = start if total is None else total.mixture
        previous = previous_objective if total is None else None
        try:
            part = _run_one(algorithm, task, mixture, task.observer(callback, done), previous)
        except Stopped as stop:
            if total is None:
                raise
            return total._replace(stop_reason=stop.reason, converged=False)
        total = part if total is None else joined(total, part)
        if total.stop_reason in EARLY:
            break
    return total


def _run_one(
    algorithm: Algorithm,
    task: Task,
    start: Mixture,
    callback: Callable[[IterationState], object] | None,
    previous_objective: float | None,
) -> Run:
    if isinstance(algorithm, Stochastic) and task.max_iter > 0:
        return run_stochastic(algorithm, task, start, callback)
    if isinstance(algorithm, Annealed) and task.max_iter > 0:
        return run_annealed(algorithm, task, start, callback)
    rule = HARD if algorithm is HARD else SOFT
    part = run_em(
        task.expectation,
        start,
        task.maximise,
        task.floor,
        tol=0.0 if rule is HARD else task.tol,
        max_iter=task.max_iter,
        rule=rule,
        callback=callback,
        previous_objective=previous_objective if rule is SOFT else None,
        journal=task.journal,
    )
    return part._replace(stages=(Stage(algorithm.name, 0, part.n_iter, part.stop_reason),))


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
