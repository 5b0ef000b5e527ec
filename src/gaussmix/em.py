"""The EM iteration: statistics -> mixture -> statistics, until the log-likelihood rests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .covariance import Floor
from .errors import DegenerateFitError, PrecisionWarning, warn
from .expectation import Expectation
from .mixture import Mixture
from .rules import SOFT, Rule
from .statistics import SufficientStatistics

EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class IterationState:
    """What a callback sees after each iteration.

    Attributes
    ----------
    iteration : int
        1 after the first M-step.
    mixture : Mixture
    log_likelihood : float
        Total, of `mixture`, in nats.
    change : float
        Mean log-likelihood gained by this iteration, in nats per unit weight.
    start : int
        Number of the start this iteration belongs to, from 0.
    """

    iteration: int
    mixture: Mixture
    log_likelihood: float
    change: float
    start: int = 0


@dataclass(frozen=True)
class Repair:
    """Something a fit had to mend.

    Attributes
    ----------
    kind : str
        "floor" (a covariance was raised to `reg_covar`), "empty" (a component without mass
        kept its mean and covariance, with weight 0), "constant" (a column without variance),
        "single row" or "rank" (linearly dependent columns).
    component, feature : int or None
    iteration : int
        First iteration in which it happened; 0 before the first.
    message : str
    """

    kind: str
    component: int | None
    feature: int | None
    iteration: int
    message: str


@dataclass(frozen=True)
class StartReport:
    """What one start reached.

    Attributes
    ----------
    kind : str
        "kmeans", "k-means++", "broad", "mixture", ...
    log_likelihood : float
        Total, in nats; nan if it failed.
    n_iter : int
    converged : bool
    continued : bool
        False if it was given up after the short run.
    error : str or None
        Why it failed.
    """

    kind: str
    log_likelihood: float
    n_iter: int
    converged: bool
    continued: bool
    error: str | None = None


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted mixture and how it was found.

    Attributes
    ----------
    mixture : Mixture
    log_likelihood : ndarray (n_iter + 1,)
        Total, in nats; element i belongs to the mixture after i iterations, the last one to
        `mixture`. It never falls by more than rounding.
    n_iter : int
        M-steps done.
    converged : bool
    stop_reason : str
        "tol", "no change", "closed form", "max_iter", "callback", or "rounding": the
        log-likelihood fell by more than rounding explains, and the better mixture was kept.
    starts : list of StartReport
    repairs : list of Repair
    config : dict
        The arguments, with the backend and the number of threads that ran.
    timings : dict
        Seconds: "start", "em", "total".
    statistics : SufficientStatistics
        Of the data under `mixture`.
    """

    mixture: Mixture
    log_likelihood: np.ndarray
    n_iter: int
    converged: bool
    stop_reason: str
    starts: list[StartReport]
    repairs: list[Repair]
    config: dict = field(repr=False)
    timings: dict = field(repr=False)
    statistics: SufficientStatistics = field(repr=False)

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        lines = [
            f"FitResult: log-likelihood {self.log_likelihood[-1]:.6g}, {state} after "
            f"{self.n_iter} iterations ({self.stop_reason}), {len(self.starts)} "
            f"{'start' if len(self.starts) == 1 else 'starts'}",
            repr(self.mixture),
        ]
        lines += [f"  repaired: {repair.message}" for repair in self.repairs]
        return "\n".join(lines)


class Run(NamedTuple):
    """One EM run from one start."""

    mixture: Mixture
    statistics: SufficientStatistics  # under `mixture`
    objective: list[float]  # total, in nats; element i after i iterations
    n_iter: int
    converged: bool
    stop_reason: str
    floored: dict[int, int]  # component -> first iteration, for those at the floor at the end
    empty: dict[int, int]


class Step(NamedTuple):
    """A mixture and which components (K,) bool were raised to the floor or had no mass."""

    mixture: Mixture
    floored: np.ndarray
    empty: np.ndarray


Maximise = Callable[[SufficientStatistics, Mixture], Step]


def maximiser(floor: Floor) -> Maximise:
    """The M-step of the mixture's own family under `floor`."""

    def maximise(statistics: SufficientStatistics, mixture: Mixture) -> Step:
        # What overflows is found by `finite`, in the sums of the next pass at the latest.
        with np.errstate(over="ignore", invalid="ignore"):
            step = mixture.family.m_step(statistics, mixture.covariances, floor)
        updated = Mixture._of(mixture.family, step.weights, step.means, step.covariances)
        return Step(updated, step.floored, step.empty)

    return maximise


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
) -> Run:
    """EM from `start`; the objective (log-likelihood, for SOFT) never falls beyond rounding.

    Converged at iteration t when the mean objective of iteration t - 1 differs from that of
    t - 2 by less than `tol`: scikit-learn's bookkeeping, so that the number of iterations and
    the parameters agree with it. `previous_objective` continues an earlier run's.

    Raises
    ------
    DegenerateFitError
        If a log-likelihood or a parameter is not finite or a covariance is singular; names
        the iteration and the component.
    """
    mixture = start
    statistics = finite(expectation(start.kernel_parameters, rule), 0)
    objective = [getattr(statistics, rule.objective)]
    last = objective[0] if previous_objective is None else previous_objective
    change = np.inf if previous_objective is None else (objective[0] - last) / statistics.weight
    floored: dict[int, int] = {}
    empty: dict[int, int] = {}
    stop_reason, n_iter = "max_iter", 0
    for n_iter in range(1, max_iter + 1):
        settled = abs(change) < tol
        try:
            step = maximise(statistics, mixture)
        except DegenerateFitError as error:
            raise DegenerateFitError(f"iteration {n_iter}: {error}") from None
        updated = finite(expectation(step.mixture.kernel_parameters, rule), n_iter)
        value = getattr(updated, rule.objective)
        fall = objective[-1] - value
        if fall > 0.0 and fall > (bound := rounding_bound(mixture, statistics, floor)):
            warn(
                f"the log-likelihood fell by {fall:.3g} nats in iteration "
                f"{n_iter}, more than rounding explains ({bound:.3g}); the mixture before it is "
                "kept. Subtract large offsets from X, or raise reg_covar.",
                PrecisionWarning,
            )
            stop_reason, n_iter = "rounding", n_iter - 1
            break
        unchanged = value == objective[-1] and step.mixture == mixture
        change = (value - objective[-1]) / updated.weight
        mixture, statistics = step.mixture, updated
        objective.append(value)
        floored = _first_seen(floored, step.floored, n_iter)
        empty = _first_seen(empty, step.empty, n_iter)
        if callback is not None and callback(
            IterationState(n_iter, mixture, statistics.log_likelihood, change)
        ):
            stop_reason = "callback"
            break
        if settled:
            stop_reason = "tol"
            break
        if unchanged:
            stop_reason = "no change"
            break
    if mixture.n_components == 1 and stop_reason in ("max_iter", "no change") and n_iter:
        stop_reason = "closed form"
    converged = stop_reason in ("tol", "no change", "closed form")
    return Run(mixture, statistics, objective, n_iter, converged, stop_reason, floored, empty)


def _first_seen(seen: dict[int, int], now: np.ndarray, iteration: int) -> dict[int, int]:
    if not now.any():
        return {}
    return {int(k): seen.get(int(k), iteration) for k in np.flatnonzero(now)}


def finite(statistics: SufficientStatistics, iteration: int) -> SufficientStatistics:
    """The statistics, if every sum is finite; a fit must not continue on anything else."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = statistics.first.sum() + statistics.second.sum() + statistics.mass.sum()
    if np.isfinite(sums) and np.isfinite(statistics.log_likelihood):
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
