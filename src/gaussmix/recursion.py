"""The recursion of online EM: statistics that forget, and the mixture that they give.

Cappe & Moulines (2009), JRSS B 71(3), 593-613: with s the statistics of a batch, per unit weight,
under the mixture of S, the next ones are S <- (1 - g) S + g s, and the M-step of S is the next
mixture. Both are kept around the means of the mixture, so that nothing cancels far from the origin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .covariance import Floor
from .diagnosis import stand_in
from .em import EPS, finite
from .expectation import Expectation
from .kernels.contract import LAYOUTS, offsets
from .maximisation import Maximiser
from .mixture import Mixture
from .statistics import SufficientStatistics, from_accumulator, to_accumulator

# The floor follows the features' variances when this share of the statistics is new.
FLOOR_SHARE = 0.02
# Weights of the average grow with this power of the rows: that of Shamir & Zhang (2013), ICML,
# with eta = 3, forgets the beginning without knowing where the end is.
AVERAGE_POWER = 4
SHORT_SLOTS = 16  # batches of up to so many slots are cut into blocks, to share them among threads


class Average(NamedTuple):
    """Averaged parameters, and the rows they are an average over."""

    parameters: tuple[np.ndarray, np.ndarray, np.ndarray]  # weights, means, covariances
    weight: float


class Recursion(NamedTuple):
    """A moment of the recursion; `advanced` returns the next one and changes nothing here."""

    mixture: Mixture
    # Around the mixture's means, per unit weight; an accumulator of `gather_layout`, combined.
    sums: np.ndarray | None
    n_rows: int  # in the sums
    weight: float  # of all rows so far, those forgotten included
    concentration: float  # 1 / the number of rows that the sums are worth
    floor: Floor | None
    new_share: float  # of the sums since the floor was set
    average: Average | None
    floored: np.ndarray  # (K,) bool: raised to the floor by the last M-step
    held: np.ndarray  # (K,) bool: had too few rows for a mean and a covariance of their own
    mended: bool  # whether any was

    @classmethod
    def of(cls, mixture: Mixture, statistics: SufficientStatistics | None = None) -> Recursion:
        """Where to begin: `statistics` of some rows under `mixture`, or none at all yet."""
        none = np.zeros(mixture.n_components, dtype=bool)
        if statistics is None:
            return cls(mixture, None, 0, 0.0, 0.0, None, 1.0, None, none, none, False)
        weight = statistics.weight
        sums = to_accumulator(_per_feature(statistics)) / weight
        n_rows = statistics.n_rows
        return cls(mixture, sums, n_rows, weight, 1.0 / weight, None, 1.0, None, none, none, False)

    @property
    def statistics(self) -> SufficientStatistics | None:
        """The sums by name; those of a spherical mixture have the layout "diag"."""
        if self.sums is None:
            return None
        means, layout = self.mixture.means, gather_layout(self.mixture)
        return from_accumulator(self.sums.copy(), means, layout, self.n_rows)

    def gathered(
        self, X: np.ndarray, sample_weight: np.ndarray | None, n_threads: int
    ) -> np.ndarray:
        """The sums of a batch under the mixture, a combined accumulator; O(n K D^2).

        Raises InvalidInputError if X holds NaN or an infinity, DegenerateFitError if sums overflow.
        """
        layout, n_components = gather_layout(self.mixture), self.mixture.n_components
        expectation = Expectation(
            X, sample_weight, layout, n_components, n_threads, short_slots=SHORT_SLOTS
        )
        sums = expectation.sums(self.mixture.kernel_parameters)
        if not np.isfinite(sums).all():
            finite(from_accumulator(sums, self.mixture.means, layout, len(X)), 0)
        return sums

    def weight_of(self, batch: np.ndarray) -> float:
        """The weight of the rows that `gathered` has summed."""
        layout = LAYOUTS[gather_layout(self.mixture)]
        return float(batch[offsets(*self.mixture.means.shape, layout).scalars + 3])

    def advanced(
        self, batch: np.ndarray, n_rows: int, step: float, relative_floor: float, moving: bool
    ) -> Recursion:
        """The recursion after a batch of `n_rows` and positive weight with the size `step`.

        Where `moving` is False the sums are gathered and the mixture stays; O(K D^3).
        """
        batch_weight = self.weight_of(batch)
        weight = self.weight + batch_weight
        concentration = (1.0 - step) ** 2 * self.concentration + step * step / batch_weight
        sums = batch * (step / batch_weight)
        if self.sums is not None:
            sums += (1.0 - step) * self.sums
        n_rows += self.n_rows
        if not moving:
            return self._replace(
                sums=sums, n_rows=n_rows, weight=weight, concentration=concentration
            )
        layout = gather_layout(self.mixture)
        floor, new_share = self.floor, self.new_share + step
        if floor is None or new_share > FLOOR_SHARE:
            statistics = from_accumulator(sums.copy(), self.mixture.means, layout, n_rows)
            floor, new_share = Floor(scale_of(statistics), relative_floor), 0.0
        needed = rows_to_carry(self.mixture) * concentration  # as a part of all mass
        held = floored = sums[: self.mixture.n_components] < needed
        mixture, mended = None, False
        if layout == self.mixture.family.layout and not held.any():
            mixture = Maximiser(floor).from_sums(sums, self.mixture)
        if mixture is not None:
            _centre(sums, mixture)
        else:
            statistics = from_accumulator(sums, self.mixture.means, layout, n_rows)
            mixture, floored = _maximised(statistics, self.mixture, floor, held)
            sums = to_accumulator(statistics.recentred(mixture.means))
            mended = bool(held.any() or floored.any())
        return Recursion(
            mixture,
            sums,
            n_rows,
            weight,
            concentration,
            floor,
            new_share,
            self.average,
            floored,
            held,
            mended,
        )

    def averaged(self, weight: float) -> Recursion:
        """With the mixture taken into the average, for the `weight` of the rows of its batch."""
        mixture = self.mixture
        now = (mixture.weights, mixture.means, mixture.covariances)
        if self.average is None:
            return self._replace(average=Average(now, weight))
        total = self.average.weight + weight
        share = 1.0 - (self.average.weight / total) ** AVERAGE_POWER
        before = self.average.parameters
        mean = tuple(old + share * (new - old) for old, new in zip(before, now, strict=True))
        return self._replace(average=Average(mean, total))

    @property
    def result(self) -> Mixture:
        """The averaged mixture if there is one, else the last one."""
        if self.average is None:
            return self.mixture
        weights, means, covariances = self.average.parameters
        return Mixture._of(self.mixture.family, weights / weights.sum(), means, covariances)


def gather_layout(mixture: Mixture) -> str:
    """That of the family; "diag" if spherical, whose sums tell nothing of single features.

    The floor needs the variance of each.
    """
    layout = mixture.family.layout
    return "diag" if layout == "spherical" else layout


def rows_to_carry(mixture: Mixture) -> float:
    """Rows that a component needs to have its mean and covariance estimated.

    Twice as many as have as many numbers as a component has parameters of its own: D + 3 for a
    full covariance, 4 for "diag", 2 + 2 / D for "spherical", 2 for the mean alone.
    """
    n_features = mixture.n_features
    own = n_features
    if mixture.covariance_type != "tied":
        own += mixture.family.n_parameters(1, n_features)
    return 2.0 * own / n_features


def scale_of(statistics: SufficientStatistics) -> np.ndarray:
    """(D,) standard deviations of the features of all rows; a stand-in where one is constant."""
    mass, shift = statistics.mass, statistics.shift
    total = mass.sum()
    mean = (mass @ shift + statistics.first.sum(axis=0)) / total
    gap = shift - mean
    squares = statistics.second
    if statistics.layout == "full":
        squares = np.einsum("kdd->kd", squares)
    squares = np.diagonal(squares) if statistics.layout == "pooled" else squares.sum(axis=0)
    between = ((2.0 * statistics.first + mass[:, None] * gap) * gap).sum(axis=0)
    variance = (squares + between) / total
    # Of a constant column only the rounding of its means is left.
    constant = variance <= (8.0 * EPS * mean) ** 2
    if constant.any():
        variance = np.where(constant, stand_in(variance[~constant], mean), variance)
    return np.sqrt(variance)


def _per_feature(statistics: SufficientStatistics) -> SufficientStatistics:
    """Traces of a spherical layout spread evenly over the features, where nothing else is known."""
    if statistics.layout != "spherical":
        return statistics
    n_features = statistics.n_features
    second = np.repeat(statistics.second[:, None] / n_features, n_features, axis=1)
    return statistics._with(second=second, layout="diag")


def _centre(sums: np.ndarray, mixture: Mixture) -> None:
    """Move sums, in place, to the means of `mixture`, their own M-step without any repair.

    There the first moments vanish, and the second ones are the mass times the covariance.
    """
    n_components, n_features = mixture.means.shape
    part = offsets(n_components, n_features, LAYOUTS[mixture.family.layout])
    mass = sums[:n_components]
    sums[part.first : part.second] = 0.0
    second = sums[part.second : part.pairs]
    if mixture.family.layout == "pooled":
        second[:] = mixture.covariances.ravel()
        second *= mass.sum()
    else:
        covariances = mixture.covariances.reshape(n_components, -1)
        np.multiply(mass[:, None], covariances, out=second.reshape(n_components, -1))


def _maximised(
    statistics: SufficientStatistics, mixture: Mixture, floor: Floor, held: np.ndarray
) -> tuple[Mixture, np.ndarray]:
    """The M-step, and which components it raised to the floor; those `held` keep where they were.

    A held component keeps its mean and covariance, and only its weight follows.
    """
    family = mixture.family
    if family.layout == "spherical":
        statistics = statistics._with(second=statistics.second.sum(axis=1), layout="spherical")
    if not held.any():
        step = Maximiser(floor)(statistics, mixture)
        return step.mixture, step.floored
    with np.errstate(over="ignore", invalid="ignore"):
        step = family.m_step(statistics, mixture.covariances, floor)
    means = np.where(held[:, None], mixture.means, step.means)
    kept = mixture.covariances
    if not held.all():
        kept = family.keep(step.covariances, mixture.covariances, held)
    covariances, _ = family.raise_to(floor, kept)
    weights = statistics.mass / statistics.mass.sum()
    return Mixture._of(family, weights, means, covariances), step.floored & ~held
