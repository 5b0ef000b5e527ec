"""One step of online EM: a batch's sums mixed into the running ones, and the M-step of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backends, threads
from ..algorithms.em import EPS, finite
from ..algorithms.maximisation import flat_state, mixture_of
from ..covariance import CovarianceFamily, Floor
from ..kernels.contract import MARK_HELD, MARK_NONE, MARK_RAISED, StepPlan, state_parts
from ..model.mixture import Mixture
from ..passes.expectation import SHORT_SLOTS, Expectation, short_work
from ..passes.sources import Rows
from ..statistics import from_accumulator, mean_offsets, to_accumulator


class Batch(NamedTuple):
    """Rows of a stream."""

    X: Rows
    sample_weight: np.ndarray | None
    weight: float  # of all rows together
    n_threads: int


class Iterate:
    """A mixture, and sums around its means: per unit weight, a combined accumulator, or None.

    One array where a compiled step has made it: the `Mixture` is made of that when it is wanted.
    """

    __slots__ = ("_mixture", "_state", "family", "shape", "sums")

    def __init__(self, mixture: Mixture, sums: np.ndarray | None = None) -> None:
        self.family, self.shape = mixture.family, mixture.means.shape
        self._mixture = mixture
        self.sums = sums  # of `gather_layout`
        self._state = None  # as the compiled steps read it

    @classmethod
    def of_state(cls, state: np.ndarray, before: Iterate) -> Iterate:
        """That which a compiled step has made of the one `before`."""
        iterate = object.__new__(cls)
        iterate.family, iterate.shape = before.family, before.shape
        iterate._mixture, iterate._state = None, state
        iterate.sums = state[-before.sums.size :]
        return iterate

    @property
    def mixture(self) -> Mixture:
        if self._mixture is None:
            plan = StepPlan(self.family.step_code, *self.shape, None, 0.0)
            self._mixture = mixture_of(self._state, self.family, plan)
        return self._mixture

    @property
    def means(self) -> np.ndarray:
        """(K, D) of the mixture, which need not be made for them."""
        if self._mixture is not None:
            return self._mixture.means
        n_components, n_features = self.shape
        part = state_parts(n_components, n_features, self.family.step_code)
        return self._state[part.means : part.covariances].reshape(self.shape)

    @property
    def state(self) -> np.ndarray:
        """Mixture and sums in one array, for the compiled steps of the family."""
        if self._state is None:
            plan = StepPlan(self.family.step_code, *self.shape, None, 0.0)
            state = flat_state(self._mixture, None, plan, self.sums.size)
            state[-self.sums.size :] = self.sums
            self._state = state
        return self._state

    def __reduce__(self):
        return Iterate, (self.mixture, self.sums)


class Advance(NamedTuple):
    """What a step has made."""

    iterate: Iterate
    marks: np.ndarray  # (K,) MARK_ codes
    mended: bool  # whether any is not MARK_NONE


def gather_layout(family: CovarianceFamily) -> str:
    """That of the family; "diag" if spherical, whose sums tell nothing of single features.

    The floor needs the variance of each.
    """
    return "diag" if family.layout == "spherical" else family.layout


def gathered(mixture: Mixture, batch: Batch) -> np.ndarray:
    """The sums of a batch under the mixture, a combined accumulator; O(n K D^2).

    Raises InvalidInputError if X holds NaN or an infinity, DegenerateFitError if sums overflow.
    """
    X, weight = batch.X, batch.sample_weight
    layout, n_components = gather_layout(mixture.family), mixture.n_components
    expectation = Expectation(
        X, weight, layout, n_components, batch.n_threads, short_slots=SHORT_SLOTS
    )
    sums = expectation.sums(mixture.kernel_parameters)
    if not np.isfinite(sums).all():
        finite(from_accumulator(sums, mixture.means, layout, len(X)), 0)
    return sums


def compiled(
    iterate: Iterate,
    floor: Floor,
    needed: float,
    kept: float = 1.0,
    share: float = 0.0,
    batch: Batch | None = None,
) -> Advance | None:
    """What `by_formula` makes of the sums times `kept` and those of a batch times `share`.

    By the backend's kernel; None if it has none or declines, as it does where rows or sums are not
    finite, or the batch is one that a single call of a kernel must not take.
    """
    kernel, code = backends.active().advance, iterate.family.step_code
    if kernel is None or code is None:
        return None
    n_components, n_features = iterate.shape
    if batch is None:
        batch = Batch(np.empty((0, n_features)), None, 0.0, 1)
    X, weight, _, n_threads = batch
    if not isinstance(X, np.ndarray):
        return None
    layout = gather_layout(iterate.family)
    work = short_work(len(X), n_features, layout, n_components, n_threads)
    if work is None:
        return None
    state = iterate.state
    then = np.empty(state.size)
    marks = np.empty(n_components, dtype=np.int64)
    accumulators = np.empty((work.plan.n_accumulators, iterate.sums.size))
    step = StepPlan(code, n_components, n_features, floor.scale, floor.relative)
    with threads.share_briefly(work.n_threads, work.most_seconds) as n_threads:
        any_marked = kernel(
            X,
            weight,
            state,
            step,
            kept,
            share,
            needed,
            accumulators,
            work.plan,
            then,
            marks,
            n_threads,
        )
    if any_marked < 0:
        return None
    return Advance(Iterate.of_state(then, iterate), marks, bool(any_marked))


def by_formula(iterate: Iterate, floor: Floor, needed: float) -> Advance:
    """The M-step of an iterate's sums; O(K D^3).

    Components of less mass than `needed` are held: they keep mean and covariance, and their
    weight alone follows. The others are the constrained maximiser. Raises DegenerateFitError if
    a covariance is singular.
    """
    mixture, family = iterate.mixture, iterate.family
    statistics = from_accumulator(iterate.sums.copy(), mixture.means, gather_layout(family), 0)
    total = statistics.mass.sum()
    held = ~(statistics.mass >= max(needed, EPS * total))
    mass = np.where(held, 1.0, statistics.mass)
    offset = mean_offsets(statistics, held)
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
    return Advance(Iterate(moved, sums), marks, bool(marks.any()))
