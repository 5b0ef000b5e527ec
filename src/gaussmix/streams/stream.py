"""What a stream was asked for, and how rows change what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import threads, underflow
from ..algorithms.results import Repair
from ..errors import DegenerateFitError, InvalidInputError
from ..fitting.fit import InFrame, run_in_frame
from ..fitting.frame import Frame, check_means, check_start
from ..fitting.options import FitOptions
from ..model.mixture import Mixture
from ..passes import sources
from .advance import Batch
from .first_rows import FirstRows, default_rows
from .recursion import Recursion, new_repairs
from .schedule import Schedule

# `python -m benchmarks.online_quality`, 48 streams: with as many rounds none ends more than 0.5 %
# below batch EM from the truth (with one round 1 does, without any 27), and with the tolerance of
# `gaussmix.fit`, 1e-3, 4 do.
ROUNDS = 2
TOL = 1e-4  # nats per row


NO_ROWS = FirstRows()


class Moment(NamedTuple):
    """All that rows have changed; replaced as a whole once a batch has gone through."""

    n_rows: int = 0
    n_updates: int = 0
    first: FirstRows = NO_ROWS  # before the start
    recursion: Recursion | None = None  # in the frame, where there is one
    frame: Frame | None = None
    repairs: tuple[Repair, ...] = ()
    coarse: bool = False  # whether float64 holds means of the start to few digits, which it told


class Stream(NamedTuple):
    """The arguments of an `OnlineMixture`, checked; makes one moment of another and of rows."""

    options: FitOptions  # of the fit to the first rows
    schedule: Schedule
    start: str | np.ndarray  # a name, or means; or the name of the class that it began with
    start_rows: int | None
    average: bool
    seed: int
    adapt: Callable[[Mixture], Mixture] | None = None  # changes the start; for the estimator

    def rows_to_start(self, n_features: int) -> int:
        """Rows before the first step."""
        if self.start_rows is not None:
            return self.start_rows
        options = self.options
        return default_rows(options.covariance_type, options.n_components, n_features)

    @underflow.ignored
    def stepped(self, moment: Moment, X: np.ndarray, weight: np.ndarray | None) -> Moment:
        """The moment after one step of the recursion."""
        recursion = moment.recursion
        rows_read = X if moment.frame is None else moment.frame.rows(X)
        try:
            rows = float(len(X) if weight is None else weight.sum())
            start_rows = self.rows_to_start(X.shape[1])
            step = self.schedule.step(recursion.weight, rows, start_rows)
            moving = recursion.weight + rows >= start_rows
            batch = Batch(rows_read, weight, rows, threads.resolve(self.options.n_threads))
            advanced = recursion.advanced(batch, step, self.options.reg_covar, moving)
        except DegenerateFitError as error:
            message = str(error).removeprefix("iteration 0: ")
            raise DegenerateFitError(f"update {moment.n_updates + 1}: {message}") from None
        if moving and recursion.floor is None:  # the first step
            check_start(recursion.mixture, advanced.mixture)
        if moving and self.average:
            advanced = advanced.averaged(rows)
        n_updates = moment.n_updates + moving
        repairs = moment.repairs
        if advanced.mended:
            repairs += new_repairs(advanced, n_updates, repairs, self.options.reg_covar)
        n_rows = moment.n_rows + len(X)
        return Moment(n_rows, n_updates, NO_ROWS, advanced, moment.frame, repairs, moment.coarse)

    def buffered(self, moment: Moment, X: np.ndarray, weight: np.ndarray | None) -> Moment:
        """The moment with the batch among the first rows, or with the start that they make."""
        finite = np.isfinite(X).all(axis=1)
        if not finite.all():
            sources.raise_nonfinite(X, int(np.argmin(finite)))
        if not isinstance(self.start, str) and X.shape[1] != self.start.shape[1]:
            raise InvalidInputError(
                f"X has {X.shape[1]} columns, but start has means of {self.start.shape[1]}."
            )
        first = moment.first.with_batch(X, weight)
        n_rows = moment.n_rows + len(X)
        start_rows, n_components = self.rows_to_start(X.shape[1]), self.options.n_components
        if not first.suffice(start_rows, n_components):
            return moment._replace(n_rows=n_rows, first=first)
        fitted = self.fit(*first.joined())
        result, frame, *_ = fitted
        repairs, coarse = tuple(result.repairs), False
        if frame is not None:  # far from the origin
            coarse = check_means(fitted.outward().mixture, repairs)
        recursion = Recursion.of(result.mixture, result.statistics)
        return Moment(n_rows, 0, NO_ROWS, recursion, frame, repairs, coarse)

    def fit(self, X: np.ndarray, weight: np.ndarray | None) -> InFrame:
        """The fit to the first rows."""
        start = self.start
        if isinstance(start, str):
            start = (start,) * self.options.n_starts
        return run_in_frame(
            X,
            replace(self.options, n_starts=1),
            start=start,
            sample_weight=weight,
            seed=np.random.default_rng(self.seed),
            adapt=self.adapt,
            rounds=ROUNDS if isinstance(self.start, str) and self.adapt is None else 0,
        )
