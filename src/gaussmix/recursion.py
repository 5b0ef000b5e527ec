"""The recursion of online EM: statistics that forget, and the mixture that they give.

Cappe & Moulines (2009), JRSS B 71(3), 593-613: with s the statistics of a batch, per unit weight,
under the mixture of S, the next ones are S <- (1 - g) S + g s, and the M-step of S is the next
mixture. Both are kept around the means of the mixture, so that nothing cancels far from the origin.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import backends
from .covariance import Floor
from .diagnosis import components_named
from .em import EPS, finite
from .errors import DegenerateComponentWarning, warn
from .expectation import Expectation
from .kernels.contract import (
    LAYOUTS,
    MARK_HELD,
    MARK_NONE,
    MARK_RAISED,
    StepPlan,
    offsets,
    state_parts,
)
from .maximisation import flat_state, mixture_of
from .mixture import Mixture
from .results import Repair
from .statistics import SufficientStatistics, from_accumulator, to_accumulator
from .summary import stand_in

# The floor follows the features' variances when this share of the statistics is new.
FLOOR_SHARE = 0.1
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
    marks: np.ndarray  # (K,): what the last M-step held or raised to the floor; MARK_ codes
    mended: bool  # whether any was

    @classmethod
    def of(cls, mixture: Mixture, statistics: SufficientStatistics | None = None) -> Recursion:
        """Where to begin: `statistics` of some rows under `mixture`, or none at all yet."""
        none = np.zeros(mixture.n_components, dtype=np.int64)
        if statistics is None:
            return cls(mixture, None, 0, 0.0, 0.0, None, 1.0, None, none, False)
        weight = statistics.weight
        sums = to_accumulator(_per_feature(statistics)) / weight
        n_rows = statistics.n_rows
        return cls(mixture, sums, n_rows, weight, 1.0 / weight, None, 1.0, None, none, False)

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
        floor, new_share = self.floor, self.new_share + step
        if floor is None or new_share > FLOOR_SHARE:
            layout = gather_layout(self.mixture)
            statistics = from_accumulator(sums.copy(), self.mixture.means, layout, n_rows)
            floor, new_share = Floor(scale_of(statistics), relative_floor), 0.0
        needed = rows_to_carry(self.mixture) * concentration  # as a part of all mass
        done = _compiled(sums, self.mixture, floor, needed)
        if done is None:
            done = by_formula(sums, self.mixture, floor, needed)
        mixture, sums, marks, mended = done
        return Recursion(
            mixture,
            sums,
            n_rows,
            weight,
            concentration,
            floor,
            new_share,
            self.average,
            marks,
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
    return _rows_to_carry(mixture.family, mixture.n_features)


@lru_cache(maxsize=64)
def _rows_to_carry(family, n_features: int) -> float:
    own = n_features
    if family.name != "tied":
        own += family.n_parameters(1, n_features)
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


class Advance(NamedTuple):
    """An M-step of running sums, and these around the means that it makes."""

    mixture: Mixture
    sums: np.ndarray
    marks: np.ndarray  # (K,) MARK_ codes
    mended: bool  # whether any is not MARK_NONE


def _compiled(sums: np.ndarray, mixture: Mixture, floor: Floor, needed: float) -> Advance | None:
    """What `by_formula` returns, by the backend's kernel; None if it has none or declines."""
    kernel, code = backends.active().advance, mixture.family.step_code
    if kernel is None or code is None:
        return None
    plan = StepPlan(code, *mixture.means.shape, floor.scale, floor.relative)
    begin = state_parts(plan.n_components, plan.n_features, code).sums
    state = flat_state(mixture, None, plan, len(sums))
    state[begin:] = sums
    then = np.empty_like(state)
    marks = np.empty(plan.n_components, dtype=np.int64)
    any_marked = kernel(state, plan, needed, then, marks)
    if any_marked < 0:
        return None
    return Advance(mixture_of(then, mixture.family, plan), then[begin:], marks, bool(any_marked))


def by_formula(sums: np.ndarray, mixture: Mixture, floor: Floor, needed: float) -> Advance:
    """The M-step of `sums`, a combined accumulator around the means of `mixture`; O(K D^3).

    Components of less mass than `needed` are held: they keep mean and covariance, and their
    weight alone follows. The others are the constrained maximiser. Raises DegenerateFitError if
    a covariance is singular.
    """
    family = mixture.family
    statistics = from_accumulator(sums.copy(), mixture.means, gather_layout(mixture), 0)
    total = statistics.mass.sum()
    held = ~(statistics.mass >= max(needed, EPS * total))
    mass = np.where(held, 1.0, statistics.mass)
    offset = np.where(held[:, None], 0.0, statistics.first / mass[:, None])
    used = statistics
    if family.layout == "spherical":
        used = used._with(second=used.second.sum(axis=1), layout="spherical")
    covariances = mixture.covariances
    if not held.all():
        with np.errstate(over="ignore", invalid="ignore"):
            covariances = family.covariance(used, mass, offset)
        covariances = family.keep(covariances, mixture.covariances, held)
    covariances, floored = family.raise_to(floor, covariances)
    marks = np.where(held, MARK_HELD, np.where(floored, MARK_RAISED, MARK_NONE))
    moved = Mixture._of(family, statistics.mass / total, mixture.means + offset, covariances)
    sums = to_accumulator(statistics.recentred(moved.means))
    return Advance(moved, sums, marks, bool(marks.any()))


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
