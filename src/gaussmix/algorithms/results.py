"""What a fit tells: the result, its starts, stages and repairs, and what a callback sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InvalidInputError
from ..files import container, records
from ..files.records import NONE
from ..model.mixture import Mixture, frozen
from ..statistics import SufficientStatistics


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
    """Something a fit had to mend, or could not.

    Attributes
    ----------
    kind : str
        "floor" (a covariance was raised to `reg_covar`), "empty" (a component without mass
        kept its mean and covariance, with weight 0), "re-seeded" (an emptied component became
        half of another one), "constant" (a column without variance), "single row",
        "few rows" (a mass of less than one and a half), "rank" (linearly dependent columns)
        or "coinciding" (all components are in one place).
    component, feature : int or None
        Of "floor", `feature` is the column with most part in the narrowest direction; None
        where all are alike ("spherical"), and for all but the first five components of a fit that
        `max_seconds` or `cancel` has ended.
    iteration : int
        First iteration in which it happened; 0 before the first, and for "re-seeded";
        the last one for "coinciding" and for rows of a component that is not at the floor.
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
        "kmeans", "k-means++", "broad", "mixture", "re-seeded", ...
    log_likelihood : float
        Total, in nats; nan if it failed. Starts of hard EM are compared by the classification
        log-likelihood instead.
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
class Stage:
    """The part of a fit that one algorithm has done.

    Attributes
    ----------
    algorithm : str
        "em", "hard", "stochastic" or "annealed".
    begin, end : int
        Its iterations: ``result.log_likelihood[begin : end + 1]`` is its trace.
    stop_reason : str
        As in `FitResult`.
    weights : ndarray (end - begin + 1, K) or None
        Of every mixture of a stochastic chain.
    means : ndarray (end - begin + 1, K, D) or None
        The same.
    best : int or None
        Which of them had the highest log-likelihood.
    betas : ndarray (end - begin,) or None
        Inverse temperatures of annealed iterations.
    """

    algorithm: str
    begin: int
    end: int
    stop_reason: str
    weights: np.ndarray | None = field(default=None, repr=False)
    means: np.ndarray | None = field(default=None, repr=False)
    best: int | None = None
    betas: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted mixture and how it was found.

    Attributes
    ----------
    mixture : Mixture
    log_likelihood : ndarray (n_iter + 1,)
        Total, in nats; element i belongs to the mixture after i iterations, the last one to
        `mixture`. With ``algorithm="em"`` it never falls by more than rounding. To come back
        to the best iterate of a stochastic chain, or to its average, counts as an iteration.
    classification : ndarray (n_iter + 1,)
        Classification log-likelihoods ``sum_n max_k log(w_k N(x_n; k))``, beside these. With
        ``algorithm="hard"`` it never falls by more than rounding.
    n_iter : int
        M-steps done.
    converged : bool
        Of a stochastic fit: whether the EM iterations from the best iterate reached `tol`.
    stop_reason : str
        "tol", "no change", "same labels" (hard), "chain" (stochastic: all draws were made),
        "closed form", "max_iter", "callback", or "rounding": the objective fell by more than
        rounding explains, and the better mixture was kept. "max_seconds" and "cancelled" end
        a fit before all it would have done: the mixture is the best so far. That of an annealed
        part that was not complete, or the best of a chain, then has the statistics of that part.
    starts : list of StartReport
    repairs : list of Repair
    stages : list of Stage
        What each algorithm has done, in their order.
    config : dict
        The arguments, with the backend and the number of threads that ran.
    timings : dict
        Seconds: "start", "em", "total".
    statistics : SufficientStatistics
        Of the data under `mixture`, by the rule of the algorithm.
    """

    mixture: Mixture
    log_likelihood: np.ndarray
    classification: np.ndarray
    n_iter: int
    converged: bool
    stop_reason: str
    starts: list[StartReport]
    repairs: list[Repair]
    stages: list[Stage] = field(repr=False)
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

    def save(self, path) -> None:
        """Write all of it to a model file, completely or not at all; `gaussmix.load` reads it.

        Errors as `Mixture.save`.
        """
        container.write(path, self._record())

    def _record(self) -> container.Record:
        arrays = {"log_likelihood": self.log_likelihood, "classification": self.classification}
        # Of starts that failed it is NaN, which no JSON is.
        arrays["start_log_likelihoods"] = np.array(
            [start.log_likelihood for start in self.starts], dtype=np.float64
        )
        for number, stage in enumerate(self.stages):
            arrays |= {
                f"stages.{number}.{name}": getattr(stage, name)
                for name in _STAGE_ARRAYS
                if getattr(stage, name) is not None
            }
        report = {
            "n_iter": self.n_iter,
            "converged": self.converged,
            "stop_reason": self.stop_reason,
            "starts": [{name: getattr(start, name) for name in _START} for start in self.starts],
            "repairs": [
                {name: getattr(mended, name) for name in REPAIR} for mended in self.repairs
            ],
            "stages": [{name: getattr(stage, name) for name in _STAGE} for stage in self.stages],
            "config": self.config,
            "timings": self.timings,
        }
        record = container.Record("fit", {}, arrays | {"report": records.text(report)})
        record.nest("mixture", self.mixture._record())
        record.nest("statistics", self.statistics._record())
        return record

    @classmethod
    def _of_record(cls, record: container.Record) -> FitResult:
        own, mixture, statistics = record.split("mixture", "statistics")
        records.fields(own)
        staged = {name: own.arrays.pop(name) for name in [*own.arrays] if "stages." in name}
        traces = ("log_likelihood", "classification")
        records.numbers(own, *traces, "start_log_likelihoods", "report")
        report = records.document_of(own, "report")
        n_iter, converged, stop_reason, _, _, _, config, timings = records.values(
            report, "report: ", **_REPORT
        )
        starts, stages = records.rows(report, "starts", **_START), []
        for number, (algorithm, begin, end, stop, best) in enumerate(
            records.rows(report, "stages", **_STAGE)
        ):
            arrays = [staged.pop(f"stages.{number}.{name}", None) for name in _STAGE_ARRAYS]
            arrays = [None if array is None else array.copy() for array in arrays]
            stages.append(Stage(algorithm, begin, end, stop, *arrays[:2], best, arrays[2]))
        result = cls(
            mixture=records.mixture_of(mixture, Mixture),
            **{name: frozen(own.arrays[name].copy()) for name in traces},
            n_iter=n_iter,
            converged=converged,
            stop_reason=stop_reason,
            starts=_start_reports(starts, own.arrays["start_log_likelihoods"]),
            repairs=repairs_of(report),
            stages=stages,
            config=config,
            timings=timings,
            statistics=records.statistics_of(statistics, SufficientStatistics),
        )
        if staged:
            raise InvalidInputError(f"the array {next(iter(staged))!r} is unknown.")
        result._check()
        return result

    def _check(self) -> None:
        """Raise InvalidInputError if parts that were read from a file do not fit together."""
        n_components, n_features = self.mixture.means.shape
        for name in ("log_likelihood", "classification"):
            trace = getattr(self, name)
            if trace.shape != (self.n_iter + 1,) or np.isnan(trace).any():
                raise InvalidInputError(
                    f"{name} has shape {trace.shape} or holds NaN; n_iter is {self.n_iter}."
                )
        found = (*self.statistics.shift.shape, self.statistics.layout)
        if found != (n_components, n_features, self.mixture.family.layout):
            raise InvalidInputError(f"statistics of {found} do not fit the mixture.")
        for name, value in [*self.config.items(), *self.timings.items()]:
            records.require_text("a key of config or timings", name)
            for item in value if type(value) is list else [value]:
                if type(item) not in (str, int, float, bool, NONE):
                    raise InvalidInputError(f"config or timings: {name} is {type(item).__name__}.")
                if type(item) is str:
                    records.require_text(name, item)
        for number, stage in enumerate(self.stages):
            if not 0 <= stage.begin <= stage.end <= self.n_iter:
                raise InvalidInputError(
                    f"stages[{number}] goes from {stage.begin} to {stage.end}; n_iter is "
                    f"{self.n_iter}."
                )
            steps = stage.end - stage.begin
            if stage.best is not None and not 0 <= stage.best <= steps:
                raise InvalidInputError(f"stages[{number}]: best is {stage.best} of {steps + 1}.")
            shapes = ((steps + 1, n_components), (steps + 1, n_components, n_features), (steps,))
            for name, shape in zip(_STAGE_ARRAYS, shapes, strict=True):
                array = getattr(stage, name)
                if array is not None and (array.dtype != np.float64 or array.shape != shape):
                    raise InvalidInputError(
                        f"stages.{number}.{name} is {array.dtype} {array.shape}, not float64 "
                        f"{shape}."
                    )


def repairs_of(report: dict) -> list[Repair]:
    """The repairs in the report of a file."""
    return [Repair(*row) for row in records.rows(report, "repairs", **REPAIR)]


def _start_reports(rows: list[list], log_likelihoods: np.ndarray) -> list[StartReport]:
    if log_likelihoods.shape != (len(rows),):
        raise InvalidInputError(
            f"start_log_likelihoods is {log_likelihoods.shape} for {len(rows)} starts."
        )
    return [
        StartReport(kind, log_likelihood, *rest)
        for (kind, *rest), log_likelihood in zip(rows, log_likelihoods.tolist(), strict=True)
    ]


_REPORT = {
    "n_iter": int,
    "converged": bool,
    "stop_reason": str,
    "starts": list,
    "repairs": list,
    "stages": list,
    "config": dict,
    "timings": dict,
}
_START = {"kind": str, "n_iter": int, "converged": bool, "continued": bool, "error": (str, NONE)}
REPAIR = {
    "kind": str,
    "component": (int, NONE),
    "feature": (int, NONE),
    "iteration": int,
    "message": str,
}
_STAGE = {"algorithm": str, "begin": int, "end": int, "stop_reason": str, "best": (int, NONE)}
_STAGE_ARRAYS = ("weights", "means", "betas")
