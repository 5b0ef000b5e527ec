"""A frame of reference near the data: columns far from the origin are fitted around their means.

A mean near 2^40 is held to 2^-13, whatever the standard deviation is. EM that rounds its means so
in every iteration loses as many digits of the covariances. Around an origin within the data none
are lost: x - origin is exact where x and the origin are within a factor of two of each other
(Sterbenz 1974, Floating-Point Computation, theorem 4.3.1), which is where the offset is large. Only
the means that come out are rounded, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, NoReturn

import numpy as np

from ..algorithms.em import BLURRED, EPS, rounded_parts
from ..algorithms.results import FitResult, IterationState, Repair
from ..errors import PrecisionWarning, warn
from ..kernels.contract import FACTOR_DIAG
from ..model.mixture import Mixture, frozen
from ..passes.expectation import Expectation
from ..passes.sources import Rows, Source, raise_nonfinite
from ..passes.summary import Summary
from ..rules import HARD, SOFT
from ..statistics import SufficientStatistics
from ..stopping import Stopped
from .diagnosis import FEW_DIGITS

# Offsets of more standard deviations are taken off. At 2^10 of them EM's rounding of means has been
# seen to change covariances by 1e-12 of themselves, and at 2^30 by 6e-7.
FAR = 1024.0
# Means rounded by more standard deviations of their component draw a warning: log densities and
# posteriors are then off by some times as much. With less no posterior was seen to move by 1e-6.
COARSE = 1e-7
# With a higher floor, and means within 1024 standard deviations of 0, none is rounded by as much.
LOW_FLOOR = 1e-10
COPIED_VALUES = 1 << 20  # 8 MB; more than that is moved piece by piece in every pass
PIECE_VALUES = 1 << 16  # 512 kB, within a core's second-level cache


class Frame(NamedTuple):
    """Coordinates x - origin; `origin` (D,) is 0 in columns that are near it."""

    origin: np.ndarray

    @classmethod
    def around(cls, mean: np.ndarray, scale: np.ndarray, constant: np.ndarray) -> Frame | None:
        """The frame for columns of such means and standard deviations; None if all are near 0.

        Constant columns stay where they are: nothing of them is rounded.
        """
        far = (np.abs(mean) > FAR * scale) & ~constant
        return cls(np.where(far, mean, 0.0)) if far.any() else None

    @classmethod
    def around_mixture(cls, mixture: Mixture) -> Frame | None:
        """The frame for rows like those that a mixture describes."""
        mean = mixture.weights @ mixture.means
        return cls.around(mean, _deviations(mixture), np.zeros(len(mean), dtype=bool))

    # -- into the frame

    def rows(self, X: Rows) -> Rows:
        """The rows in the frame; a copy, or a `Source` where that would be large."""
        if isinstance(X, np.ndarray) and X.size <= COPIED_VALUES:
            return X - self.origin
        return _Moved(X, self)

    def summary(self, summary: Summary) -> Summary:
        """What is known of the data, in the frame."""
        return summary._replace(mean=summary.mean - self.origin)

    def inward(self, mixture: Mixture) -> Mixture:
        """A mixture of the user's, in the frame."""
        return moved(mixture, mixture.means - self.origin)

    def inward_statistics(self, statistics: SufficientStatistics) -> SufficientStatistics:
        """Sums around a mixture of the user's, in the frame."""
        return statistics._with(shift=statistics.shift - self.origin)

    # -- and back

    def outward(self, mixture: Mixture) -> Mixture:
        """A mixture of the frame for the user; its means are rounded here."""
        return moved(mixture, mixture.means + self.origin)

    def state(self, state: IterationState) -> IterationState:
        """What a callback is told."""
        return replace(state, mixture=self.outward(state.mixture))

    def statistics(self, statistics: SufficientStatistics) -> SufficientStatistics:
        """Sums around the user's means, as `outward` rounds them."""
        shift = statistics.shift + self.origin
        return statistics.recentred(shift - self.origin)._with(shift=frozen(shift))

    def result(self, result: FitResult, X: Rows, sample_weight: np.ndarray | None) -> FitResult:
        """A fit to rows of the frame for the user.

        One pass over them, if the means have to be rounded: the last log-likelihood is then that
        of the mixture the user gets. If the fit has to end early it is that of the mixture before
        its means were rounded.
        """
        result = self._rounded(result, X, sample_weight)
        stages = [
            stage
            if stage.means is None
            else replace(stage, means=frozen(stage.means + self.origin))
            for stage in result.stages
        ]
        return replace(
            result,
            mixture=self.outward(result.mixture),
            statistics=result.statistics._with(shift=frozen(result.mixture.means + self.origin)),
            stages=stages,
        )

    def _rounded(self, result: FitResult, X: Rows, sample_weight: np.ndarray | None) -> FitResult:
        """The fit with means that `outward` holds as they are, and the statistics under these."""
        before = result.mixture
        means = (before.means + self.origin) - self.origin
        if np.array_equal(means, before.means):
            return result
        mixture = moved(before, means)
        layout, n_threads = before.family.layout, result.config["n_threads"]
        expectation = Expectation(X, sample_weight, layout, before.n_components, n_threads)
        rule = HARD if result.stages[-1].algorithm == HARD.name else SOFT
        try:
            statistics = expectation(mixture.kernel_parameters, rule)
        except Stopped:
            statistics = result.statistics.recentred(means)
        log_likelihood, classification = result.log_likelihood.copy(), result.classification.copy()
        log_likelihood[-1] = statistics.log_likelihood
        classification[-1] = statistics.classification
        return replace(
            result,
            mixture=mixture,
            statistics=statistics,
            log_likelihood=frozen(log_likelihood),
            classification=frozen(classification),
        )


def check_means(mixture: Mixture, repairs: Iterable[Repair]) -> bool:
    """Warn if float64 holds a component's mean to few digits of its spread; whether it does.

    Of columns that vary, and whose own spread holds more than few digits: else that is told.
    """
    kind, _, means, factors, _ = mixture.kernel_parameters
    rounding = 0.5 * EPS * np.abs(means)
    told = 2.0 * FEW_DIGITS * (mixture.weights @ rounding) > _deviations(mixture)
    told[[repair.feature for repair in repairs if repair.kind == "constant"]] = True
    widths = factors if kind == FACTOR_DIAG else np.linalg.norm(factors, axis=-2)
    parts = np.where(told | (mixture.weights[:, None] <= 0.0), 0.0, rounding * widths)
    worst = int(parts.sum(axis=1).argmax())
    lost = float(parts[worst].sum())
    if lost > COARSE:
        feature = int(parts[worst].argmax())
        warn(
            f"the mean of component {worst} is {means[worst, feature]:.6g} in column {feature} of "
            f"X, which float64 holds to {rounding[worst, feature]:.2g}: about {lost:.1g} of the "
            "component's standard deviations, by which log densities and posteriors are off. "
            "Subtract the offset.",
            PrecisionWarning,
        )
    return lost > COARSE


def check_start(start: Mixture, step: Mixture) -> None:
    """Warn if the first M-step has taken a mean so far that its sums hold few digits of spread."""
    parts = rounded_parts(start, step)
    worst, feature = np.unravel_index(int(parts.argmax()), parts.shape)
    if parts[worst, feature] > BLURRED:
        way = abs(step.means[worst, feature] - start.means[worst, feature])
        warn(
            f"the rows of component {worst} are {way:.3g} from the mean that it "
            f"started with in column {feature} of X: sums of squares around that mean round "
            f"variances to about {parts[worst, feature]:.1g} of themselves, and later steps "
            "remember them. Start nearer to the rows, or let the first rows make the start.",
            PrecisionWarning,
        )


def _deviations(mixture: Mixture) -> np.ndarray:
    """(D,) standard deviation of each column of rows like those that a mixture describes."""
    weights, means = mixture.weights[:, None], mixture.means
    gaps = means - mixture.weights @ means
    return np.sqrt((weights * (mixture.standard_deviations**2 + gaps**2)).sum(axis=0))


def moved(mixture: Mixture, means: np.ndarray) -> Mixture:
    """The mixture with other means; factors are not computed anew."""
    centre = np.einsum("k,kd->d", mixture.weights, means)
    parameters = mixture.kernel_parameters._replace(means=means, centre=centre)
    return Mixture._with(mixture.family, mixture.weights, mixture.covariances, parameters)


class _Moved(Source):
    """Rows that are read from others, and moved piece by piece."""

    def __init__(self, X: Rows, frame: Frame) -> None:
        self._X, self._frame = X, frame
        self.shape = X.shape
        self.lengths = X.lengths if isinstance(X, Source) else []

    def chunks(self) -> Iterator[np.ndarray]:
        if isinstance(self._X, Source):
            for rows in self._X.chunks():
                yield rows - self._frame.origin
        else:
            for _, rows in self.pieces(1, len(self)):
                yield rows

    def pieces(self, unit: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
        """As `Source.pieces`; each piece of an array is overwritten by the next one."""
        if isinstance(self._X, Source):
            yield from super().pieces(unit, most)
            return
        step = min(most, max(unit, PIECE_VALUES // self.shape[1] // unit * unit))
        # Repeated: NumPy subtracts a row of few columns at a ninth to a quarter of the speed.
        origins = np.tile(self._frame.origin, (min(step, len(self)), 1))
        result = np.empty_like(origins)
        for begin in range(0, len(self), step):
            rows = self._X[begin : begin + step]
            yield begin, np.subtract(rows, origins[: len(rows)], out=result[: len(rows)])

    def raise_nonfinite(self, row: int) -> NoReturn:
        raise_nonfinite(self._X, row)
