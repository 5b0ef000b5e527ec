"""What the algorithms of a fit work on, and how they tell a callback where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..covariance import Floor
from ..passes.expectation import Expectation
from .em import Maximise
from .results import IterationState


@dataclass(frozen=True)
class Task:
    """The data and the limits of one run from one start."""

    expectation: Expectation
    maximise: Maximise
    floor: Floor
    tol: float
    max_iter: int  # of each algorithm
    rng: np.random.Generator
    journal: Any = None  # a `checkpoint.Journal`, if the fit keeps one

    @staticmethod
    def observer(
        callback: Callable[[IterationState], object] | None, done: int
    ) -> Callable[[IterationState], object] | None:
        """The callback, told of iterations that begin after `done` others."""
        if callback is None or done == 0:
            return callback
        return lambda state: callback(replace(state, iteration=state.iteration + done))
