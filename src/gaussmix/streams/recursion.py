"""The recursion of online EM: statistics that forget, and the mixture that they give.

Cappe & Moulines (2009), JRSS B 71(3), 593-613: with s the statistics of a batch, per unit weight,
under the mixture of S, the next ones are S <- (1 - g) S + g s, and the M-step of S is the next
mixture. Both are kept around the means of the mixture, so that nothing cancels far from the origin.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..algorithms.em import EPS
from ..algorithms.results import Repair
from ..covariance import CovarianceFamily, Floor
from ..errors import DegenerateComponentWarning, warn
from ..fitting.diagnosis import components_named
from ..kernels.contract import MARK_HELD, MARK_RAISED
from ..model.mixture import Mixture
from ..passes.summary import stand_in
from ..statistics import SufficientStatistics, from_accumulator, sums_by_name, to_accumulator
from .advance import Advance, Batch, Iterate, by_formula, compiled, gather_layout, gathered

# The floor follows the features' variances when this share of the statistics is new.
FLOOR_SHARE = 0.1
# Weights of the average grow with this power of the rows: that of Shamir & Zhang (2013), ICML,
# with eta = 3, forgets the beginning without knowing where the end is.
AVERAGE_POWER = 4


class Average(NamedTuple):
    """Averaged parameters, and the rows they are an average over."""

    parameters: tuple[np.ndarray, np.ndarray, np.ndarray]  # weights, means, covariances
    weight: float


class Recursion(NamedTuple):
    """A moment of the recursion; `advanced` returns the next one and changes nothing here."""

    iterate: Iterate
    n_rows: int  # in the sums
    weight: float  # of all rows so far, those forgotten included
    concentration: float  # 1 / the number of rows that the sums are worth
    floor: Floor | None
    new_share: float  # of the sums since the floor was set
    average: Average | None
    marks: np.ndarray  # (K,): what the last M-step held or raised to the floor; MARK_ codes
    mended: bool  # whether any was

    @classmethod
    def of(cls, mixture: Mixture, statistics: SufficientStatistics | None = None) -> Recursion:
        """Where to begin: `statistics` of some rows under `mixture`, or none at all yet."""
        none = np.zeros(mixture.n_components, dtype=np.int64)
        if statistics is None:
            return cls(Iterate(mixture), 0, 0.0, 0.0, None, 1.0, None, none, False)
        weight = statistics.weight
        iterate = Iterate(mixture, to_accumulator(_per_feature(statistics)) / weight)
        return cls(iterate, statistics.n_rows, weight, 1.0 / weight, None, 1.0, None, none, False)

    @property
    def mixture(self) -> Mixture:
        return self.iterate.mixture

    @property
    def statistics(self) -> SufficientStatistics | None:
        """The sums by name; those of a spherical mixture have the layout "diag"."""
        if self.iterate.sums is None:
            return None
        layout = gather_layout(self.iterate.family)
        return from_accumulator(self.iterate.sums.copy(), self.mixture.means, layout, self.n_rows)

    def advanced(self, batch: Batch, step: float, relative_floor: float, moving: bool) -> Recursion:
        """The recursion after a batch of positive weight with the size `step`; O((n + K D) K D^2).

        Where `moving` is False the sums are gathered and the mixture stays. Raises
        InvalidInputError if the rows hold NaN or an infinity, DegenerateFitError if sums overflow
        or a covariance is singular.
        """
        iterate, floor = self.iterate, self.floor
        kept, share = 1.0 - step, step / batch.weight
        concentration = kept**2 * self.concentration + step * step / batch.weight
        needed = rows_to_carry(iterate.family, iterate.shape[1]) * concentration
        done = None
        if moving and floor is not None:
            done = compiled(iterate, floor, needed, kept, share, batch)
        if done is None:
            mixed = Iterate(iterate.mixture, share * gathered(iterate.mixture, batch))
            if iterate.sums is not None:
                mixed.sums += kept * iterate.sums
            if not moving:
                done = Advance(mixed, self.marks, self.mended)
            else:
                floor = floor or _floor_of(mixed, relative_floor)
                done = compiled(mixed, floor, needed) or by_formula(mixed, floor, needed)
        new_share = self.new_share + step
        if moving and new_share > FLOOR_SHARE:
            floor, new_share = _floor_of(done.iterate, relative_floor), 0.0
        return Recursion(
            done.iterate,
            self.n_rows + len(batch.X),
            self.weight + batch.weight,
            concentration,
            floor,
            new_share if moving else self.new_share,
            self.average,
            done.marks,
            done.mended,
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


@lru_cache(maxsize=64)
def rows_to_carry(family: CovarianceFamily, n_features: int) -> float:
    """Rows that a component needs to have its mean and covariance estimated.

    Twice as many as have as many numbers as a component has parameters of its own: D + 3 for a
    full covariance, 4 for "diag", 2 + 2 / D for "spherical", 2 for the mean alone.
    """
    own = n_features
    if family.name != "tied":
        own += family.n_parameters(1, n_features)
    return 2.0 * own / n_features


def scale_of(iterate: Iterate) -> np.ndarray:
    """(D,) standard deviations of the features of all rows; a stand-in where one is constant.

    From views of the sums: in a long stream this is one update in nine.
    """
    n_features, shift = iterate.shape[1], iterate.means
    layout = gather_layout(iterate.family)
    mass, first, second = sums_by_name(iterate.sums, *iterate.shape, layout)
    total = mass.sum()
    mean = (mass @ shift + first.sum(axis=0)) / total
    gap = shift - mean
    squares = second
    if layout != "diag":
        squares = second.reshape(-1, n_features**2)[:, :: n_features + 1]
    squares = squares[0] if layout == "pooled" else squares.sum(axis=0)
    between = ((2.0 * first + mass[:, None] * gap) * gap).sum(axis=0)
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


def _floor_of(iterate: Iterate, relative: float) -> Floor:
    return Floor(scale_of(iterate), relative)


def new_repairs(
    recursion: Recursion, update: int, known: tuple[Repair, ...], reg_covar: float
) -> tuple[Repair, ...]:
    """What the last step mended and no step before it, after a warning for each kind."""
    told = {(repair.kind, repair.component) for repair in known}
    found: list[Repair] = []
    for kind, mark, cause in (
        ("floor", MARK_RAISED, f"raised to the floor reg_covar={reg_covar:g}"),
        ("held", MARK_HELD, "held: worth too few rows for a mean and a covariance"),
    ):
        marked = np.flatnonzero(recursion.marks == mark).tolist()
        new = [k for k in marked if (kind, k) not in told]
        if not new:
            continue
        message = (
            f"update {update}: {components_named(new)} {cause}. Use fewer components, a "
            "simpler covariance_type, or a longer half_life."
        )
        warn(message, DegenerateComponentWarning)
        found += [Repair(kind, k, None, update, message) for k in new]
    return tuple(found)
