"""The EM iteration: statistics -> mixture -> statistics, until the log-likelihood rests."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np

from .. import backends
from ..covariance import Floor
from ..errors import DegenerateFitError, PrecisionWarning, warn
from ..kernels import contract
from ..kernels.contract import StepPlan
from ..model.mixture import Mixture
from ..passes.expectation import Expectation
from ..rules import HARD, SOFT, Rule
from ..statistics import SufficientStatistics
from ..stopping import REASONS, Stopped
from .maximisation import Maximiser, Step, flat_state, mixture_of, statistics_of
from .results import IterationState, Stage

EPS = float(np.finfo(float).eps)
FEW_NUMBERS = 64  # which Python adds up before NumPy has begun

Maximise = Callable[[SufficientStatistics, Mixture], Step]
LOOP_REASONS = {
    contract.LOOP_FULL: None,
    contract.LOOP_SETTLED: "tol",
    contract.LOOP_UNCHANGED: "no change",
    contract.LOOP_SAME_LABELS: "same labels",
}
NOUNS = {"log_likelihood": "log-likelihood", "classification": "classification log-likelihood"}
EARLY = ("callback", *REASONS)  # of a run that others have ended, which may go on another time
# Variances that a start far from the rows has rounded to that part of themselves are not right.
BLURRED = 1e-6
ENDS = ("tol", "no change", "same labels", "closed form")  # stop reasons of a run that converged


class Run(NamedTuple):
    """One EM run from one start."""

    mixture: Mixture
    statistics: SufficientStatistics  # under `mixture`
    log_likelihood: list[float]  # total, in nats; element i after i iterations
    classification: list[float]
    n_iter: int
    converged: bool
    stop_reason: str
    floored: dict[int, int]  # component -> first iteration, for those at the floor at the end
    empty: dict[int, int]
    rule: Rule = SOFT
    stages: tuple[Stage, ...] = ()  # of Stage

    @property
    def objective(self) -> list[float]:
        """The trace of what the rule's iterations raise."""
        return getattr(self, self.rule.objective)


def rounding_bound(mixture: Mixture, statistics: SufficientStatistics, floor: Floor) -> float:
    """How far the total log-likelihood may fall from one iteration to the next by rounding.

    Squared distances have a relative error of about eps times the condition number of the
    scaled covariance, at most D |P s|^2 (Frobenius), and they average D per row; a mean of
    magnitude m is held to eps m, which costs (eps m / sd)^2 / 2 per row; and the sum has eps.
    """
    n_features = mixture.n_features
    factors = mixture.kernel_parameters.factors * floor.scale
    sharpest = float(np.square(factors).sum(axis=-1).max())  # 1 / the smallest eigenvalue, or more
    distance = 8.0 * EPS * n_features * n_features * sharpest
    position = float(((EPS * np.abs(mixture.means)) / floor.scale).max() ** 2) * sharpest
    total = abs(statistics.log_likelihood) + abs(statistics.classification)
    bound = statistics.weight * n_features * (distance + position) + 64.0 * EPS * total
    return bound + float(np.finfo(float).tiny)


def run_em(
    expectation: Expectation,
    start: Mixture,
    maximise: Maximise,
    floor: Floor,
    *,
    tol: float,
    max_iter: int,
    rule: Rule = SOFT,
    callback: Callable[[IterationState], object] | None = None,
    previous_objective: float | None = None,
    journal=None,
) -> Run:
    """EM from `start`; the objective (log-likelihood, for SOFT) never falls beyond rounding.

    Converged at iteration t when the mean objective of iteration t - 1 differs from that of
    t - 2 by less than `tol`: scikit-learn's bookkeeping, so that the number of iterations and
    the parameters agree with it. `previous_objective` continues an earlier run's. HARD has
    converged also when an iteration leaves all labels as they were.

    Raises
    ------
    DegenerateFitError
        If a log-likelihood or a parameter is not finite or a covariance is singular; names
        the iteration and the component.

    Stopped within an iteration, it returns what the one before has reached. Raises `Stopped`
    if that is nothing, not even the statistics under `start`. `journal`, a `checkpoint.Journal`,
    knows where to go on, and is told of every iteration or few.
    """
    fit = _Run(expectation, start, maximise, floor, rule, tol, previous_objective)
    stop_reason = None if journal is None else journal.begin(fit, max_iter)
    if max_iter == 0 and fit.statistics is None:
        fit.begin()
    while stop_reason is None and fit.n_iter < max_iter:
        before = fit.n_iter
        try:
            stop_reason = fit.advance(max_iter - before if callback is None else 1)
        except Stopped as stop:
            if fit.statistics is None:
                raise
            stop_reason = stop.reason
        if callback is not None and fit.n_iter > before and callback(fit.state()):
            stop_reason = stop_reason or "callback"
        if journal is not None and stop_reason is None:
            journal.note()
    stop_reason = stop_reason or "max_iter"
    single = ("max_iter", "no change", "same labels")
    if start.n_components == 1 and stop_reason in single and fit.n_iter:
        if fit.n_iter > 1 or rounded_parts(start, fit.mixture).max() <= BLURRED:
            stop_reason = "closed form"
    if journal is not None and stop_reason not in EARLY:
        journal.end(fit, stop_reason)
    return Run(
        fit.mixture,
        fit.statistics,
        fit.log_likelihood,
        fit.classification,
        fit.n_iter,
        stop_reason in ENDS,
        stop_reason,
        fit.floored,
        fit.empty,
        rule,
    )


def rounded_parts(start: Mixture, step: Mixture) -> np.ndarray:
    """(K, D) what part of each variance rounding may come to in a step from means that lay far off.

    Squares around the means of the start are rounded by half a unit of the square of that way. A
    second step is around the means of the first one.
    """
    widths = np.where(step.weights[:, None] > 0.0, step.standard_deviations, np.inf)
    with np.errstate(over="ignore", under="ignore"):
        return 0.5 * EPS * ((step.means - start.means) / widths) ** 2


class _Run:
    """What an EM run has reached; ordinary iterations are done by the compiled loop."""

    def __init__(
        self,
        expectation: Expectation,
        start: Mixture,
        maximise: Maximise,
        floor: Floor,
        rule: Rule,
        tol: float,
        previous_objective: float | None,
    ) -> None:
        self.expectation, self.maximise, self.floor = expectation, maximise, floor
        self.rule, self.tol = rule, tol
        self.step = rule.name  # of a journal
        self.mixture = start
        self.statistics: SufficientStatistics | None = None  # before the first pass
        self.previous = np.nan if previous_objective is None else previous_objective
        self.log_likelihood: list[float] = []
        self.classification: list[float] = []
        self.objective = getattr(self, rule.objective)
        self.floored: dict[int, int] = {}
        self.empty: dict[int, int] = {}
        self.plan = self._loop_plan()

    @property
    def n_iter(self) -> int:
        return max(len(self.objective) - 1, 0)

    @property
    def before(self) -> float:
        """The objective before the last one; NaN if there was none."""
        return self.objective[-2] if len(self.objective) > 1 else self.previous

    @property
    def change(self) -> float:
        """Of the mean objective, in the last iteration."""
        change = (self.objective[-1] - self.before) / self.statistics.weight
        return np.inf if np.isnan(change) else change

    def state(self) -> IterationState:
        """What a callback is told."""
        likelihood = self.statistics.log_likelihood
        return IterationState(self.n_iter, self.mixture, likelihood, self.change)

    def saved(self) -> dict:
        """What `restore` goes on from, for a checkpoint; nothing before the first pass."""
        if self.statistics is None:
            return {}
        return {
            "mixture": self.mixture,
            "statistics": self.statistics,
            "log_likelihood": self.log_likelihood[:],
            "classification": self.classification[:],
            "floored": self.floored,
            "empty": self.empty,
        }

    def restore(self, saved: dict) -> None:
        """Become what `saved` was made of."""
        self.mixture, self.statistics = saved["mixture"], saved["statistics"]
        self.log_likelihood[:] = saved["log_likelihood"]
        self.classification[:] = saved["classification"]
        self.floored, self.empty = saved["floored"], saved["empty"]

    def begin(self) -> None:
        """The pass under the first mixture."""
        self.statistics = finite(self.expectation(self.mixture.kernel_parameters, self.rule), 0)
        self._record()

    def _record(self) -> None:
        self.log_likelihood.append(self.statistics.log_likelihood)
        self.classification.append(self.statistics.classification)

    def advance(self, limit: int) -> str | None:
        """Iterations, at most `limit`, perhaps none but the first pass; why to stop, if so."""
        if self.plan is not None:
            code = self._leap(limit)
            if code != contract.LOOP_HANDED_BACK:
                return LOOP_REASONS[code]
        if self.statistics is None:
            self.begin()
        return self._iterate()

    def _loop_plan(self) -> StepPlan | None:
        """The M-step as the compiled loop knows it; None where every iteration is done here."""
        if (
            # Another class, or another function, may do anything.
            type(self.expectation) is not Expectation
            or not isinstance(self.maximise, Maximiser)
            or self.expectation.call_iterations < 1
            or backends.active().iterate is None
        ):
            return None
        return self.maximise.plan(self.mixture)

    def _leap(self, limit: int) -> int:
        """The first pass, if it is still to be done, and ordinary iterations; a LOOP_ code."""
        fresh = self.statistics is None
        state = flat_state(self.mixture, self.statistics, self.plan)
        trace, code = self.expectation.iterate(
            state, fresh, self.plan, self.rule, self.tol, self.before, limit
        )
        if len(trace):
            self.log_likelihood += trace[:, 0].tolist()
            self.classification += trace[:, 1].tolist()
            if len(trace) > fresh:
                self.mixture = mixture_of(state, self.mixture.family, self.plan)
                self.floored, self.empty = {}, {}
            sums = statistics_of(state, self.mixture, self.plan, len(self.expectation.X))
            # The loop looks at the sums as well; a fit must not end on any that it did not.
            self.statistics = finite(sums, self.n_iter)
        return code

    def _iterate(self) -> str | None:
        """One iteration; why to stop, if so."""
        n_iter = self.n_iter + 1
        settled = abs(self.change) < self.tol
        try:
            step = self.maximise(self.statistics, self.mixture)
        except DegenerateFitError as error:
            raise DegenerateFitError(f"iteration {n_iter}: {error}") from None
        updated = finite(self.expectation(step.mixture.kernel_parameters, self.rule), n_iter)
        value, before = getattr(updated, self.rule.objective), self.objective[-1]
        fall = before - value
        if fall > 0.0:
            bound = rounding_bound(self.mixture, self.statistics, self.floor)
            if fall > bound:
                warn(
                    f"the {NOUNS[self.rule.objective]} fell by {fall:.3g} nats in iteration "
                    f"{n_iter}, more than rounding explains ({bound:.3g}); the mixture before it "
                    "is kept. Subtract large offsets from X, or raise reg_covar.",
                    PrecisionWarning,
                )
                return "rounding"
        unchanged = value == before and step.mixture == self.mixture
        same_labels = self.rule is HARD and updated.label_sum == self.statistics.label_sum
        self.mixture, self.statistics = step.mixture, updated
        self._record()
        self.floored = _first_seen(self.floored, step.floored, n_iter)
        self.empty = _first_seen(self.empty, step.empty, n_iter)
        if settled:
            return "tol"
        return "same labels" if same_labels else "no change" if unchanged else None


def _first_seen(seen: dict[int, int], now: np.ndarray, iteration: int) -> dict[int, int]:
    if not now.any():
        return {}
    return {int(k): seen.get(int(k), iteration) for k in np.flatnonzero(now)}


def _sum(array: np.ndarray) -> float:
    """The sum, without a warning if it is not finite."""
    if array.size <= FEW_NUMBERS:
        return sum(array.ravel().tolist())
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.add.reduce(array, axis=None))


def finite(statistics: SufficientStatistics, iteration: int) -> SufficientStatistics:
    """The statistics, if every sum is finite; a fit must not continue on anything else."""
    total = statistics.log_likelihood
    for array in (statistics.mass, statistics.first, statistics.second):
        total += _sum(array)
    if isfinite(total):
        return statistics
    good = np.isfinite(statistics.mass) & np.isfinite(statistics.first).all(axis=1)
    if statistics.layout != "pooled":
        good &= np.isfinite(statistics.second.reshape(len(good), -1)).all(axis=1)
    if not good.all():
        where = f"the sums of component {np.flatnonzero(~good)[0]}"
    elif not np.isfinite(statistics.second).all():
        where = "the pooled second moments"
    elif not np.isfinite(statistics.log_likelihood):
        where = "the log-likelihood"
    else:  # only the sum of all sums overflowed
        return statistics
    raise DegenerateFitError(
        f"iteration {iteration}: {where} overflowed or became NaN; rescale the columns of X, or "
        "start from means nearer to the data."
    )
