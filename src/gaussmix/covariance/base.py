"""What every covariance family offers, and the part of the M-step that all share."""

import math
import sys
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ..errors import DegenerateFitError
from ..statistics import SufficientStatistics, mean_offsets

# A component with less of the total mass than this keeps its mean and covariance.
EMPTY_SHARE = sys.float_info.epsilon


class Floor(NamedTuple):
    """The smallest covariance a fit allows, relative to the data.

    In coordinates divided by `scale` no eigenvalue of a covariance goes below `relative`.
    """

    scale: np.ndarray  # (D,), positive: the features' standard deviations, in data units
    relative: float  # >= 0; 0 switches the floor off

    @property
    def variances(self) -> np.ndarray:
        """(D,) smallest variance of each feature, in squared data units."""
        return self.relative * self.scale**2


class MStep(NamedTuple):
    """What an M-step returns: the parameters and what was repaired on the way."""

    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    covariances: np.ndarray  # by family
    floored: np.ndarray  # (K,) bool: components whose covariance was raised to the floor
    empty: np.ndarray  # (K,) bool: components that kept mean and covariance for want of mass


def empty_components(statistics: SufficientStatistics) -> np.ndarray:
    """(K,) bool: components with so little mass that they keep mean and covariance."""
    return statistics.mass <= EMPTY_SHARE * statistics.mass.sum()


class CovarianceFamily(ABC):
    """One covariance type: its shape, its statistics, its M-step, its precision factors.

    A new family is a new file: it names the layout and the factor kind it uses of the kernels
    and implements the methods below.
    """

    name: str  # the covariance_type users write
    layout: str  # of the second moments its M-step reads
    factor_kind: int  # how the kernels read its precision factors
    step_code: int | None = None  # of the compiled M-step, if the kernels have one

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of the covariances."""

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Free parameters of the covariances alone."""

    @abstractmethod
    def check(self, covariances: np.ndarray) -> None:
        """Raise InvalidInputError unless symmetric positive definite; names the component."""

    @abstractmethod
    def factor(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Precision factors as the kernels read them, and log det P_k (K,) or a scalar.

        Raises DegenerateFitError if a covariance is not positive definite in floating point.
        """

    @abstractmethod
    def covariance(
        self, statistics: SufficientStatistics, mass: np.ndarray, offset: np.ndarray
    ) -> np.ndarray:
        """Maximum-likelihood covariances around ``shift + offset`` without the floor.

        `mass` (K,) are positive; where a component is empty the result is not used.
        """

    @abstractmethod
    def raise_to(self, floor: Floor, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Covariances with eigenvalues clipped at the floor, and which (bool) were changed.

        Clipping in scaled coordinates is the exact maximiser under the constraint, so that a
        clipped M-step still never lowers the log-likelihood.
        """

    @abstractmethod
    def keep(self, covariances: np.ndarray, previous: np.ndarray, empty: np.ndarray) -> np.ndarray:
        """`covariances` with those of the `empty` (K,) components taken from `previous`."""

    @abstractmethod
    def dense(self, covariances: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        """The covariances as matrices (K, D, D)."""

    @abstractmethod
    def marginal(self, covariances: np.ndarray, features: list[int]) -> np.ndarray:
        """The covariances of some features alone, in the order given."""

    @abstractmethod
    def condition(
        self, covariances: np.ndarray, given: list[int], rest: list[int]
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Slopes (K or 1, M, F) of `rest` (M) on `given` (F), and the covariances around the lines.

        The mean of the rest is ``mean[rest] + slopes (x - mean[given])``. None if all slopes are 0.
        Raises InvalidInputError if a covariance is too close to singular.
        """

    def m_step(
        self,
        statistics: SufficientStatistics,
        previous_covariances: np.ndarray | None,
        floor: Floor,
    ) -> MStep:
        """Parameters that maximise the expected complete-data log-likelihood, under the floor.

        `previous_covariances` are read where a component is empty; else they may be None.
        Dempster, Laird & Rubin (1977); O(K D^2), O(K D^3) where eigenvalues are clipped.
        """
        total = statistics.mass.sum()
        empty = empty_components(statistics)
        offset = mean_offsets(statistics, empty)
        mass = np.where(empty, 1.0, statistics.mass)
        covariances = self.covariance(statistics, mass, offset)
        if empty.any():
            covariances = self.keep(covariances, previous_covariances, empty)
        covariances, floored = self.raise_to(floor, covariances)
        weights = np.where(empty, 0.0, statistics.mass / total)
        return MStep(weights, statistics.shift + offset, covariances, floored, empty)


def log_coefficients(
    weights: np.ndarray, log_determinants: np.ndarray, n_features: int
) -> np.ndarray:
    """(K,) ``log w_k + log det P_k - D/2 log 2 pi``, -inf for a weight of zero."""
    return logarithms(weights) + log_determinants - 0.5 * n_features * math.log(2.0 * math.pi)


def logarithms(values: np.ndarray) -> np.ndarray:
    """Natural logarithms of numbers >= 0, -inf for zero, by the C library.

    As in the compiled M-steps, so that a mixture made of the parameters of another scores with
    the same bits: NumPy's vectorised logarithm ends in another bit for one number in 300.
    """
    numbers = values.ravel().tolist()
    try:
        logs = np.fromiter(map(math.log, numbers), float, len(numbers))
    except ValueError:  # a zero
        logs = np.array([math.log(number) if number > 0.0 else -math.inf for number in numbers])
    return logs.reshape(values.shape)


def singular(component: int | None, detail: str) -> DegenerateFitError:
    """The error for a covariance that has no Cholesky factor."""
    which = (
        "the shared covariance" if component is None else f"the covariance of component {component}"
    )
    return DegenerateFitError(
        f"{which} is singular ({detail}). Raise reg_covar, use fewer components or a simpler "
        "covariance_type."
    )
