"""Rearranging: all components of a fit cut in two, and as many pairs made one as fit best so.

EM does not move a component from where there are too many to where there are too few. The split
and merge moves of Ueda et al. (2000, see neighbours.py) do, one component at a time. Here every
component is cut in half and a few iterations of EM let the halves go where the rows are; of these
2K Gaussians pairs are merged until K are left, each time the pair that costs least (Runnalls 2007,
Kullback-Leibler approach to Gaussian mixture reduction, IEEE Trans. Aerospace and Electronic
Systems 43(3), 989-999). Halves of what was one Gaussian become one again; two components of one
cluster, too; one that held two clusters stays in two parts.
"""

from __future__ import annotations

import numpy as np

from ..algorithms.em import Run, run_em
from ..algorithms.maximisation import Maximiser
from ..covariance import family
from ..errors import DegenerateFitError
from ..model.mixture import Mixture
from ..passes.expectation import SHORT_SLOTS, Expectation
from .neighbours import grouped, with_empty
from .reseeding import halved, maximised, sums_to_cut
from .start import StartMaker

HALVES_ITERATIONS = 5
# Numbers in the rows for each free parameter of 2K components: with fewer, halves fit noise.
LEAST_NUMBERS = 4
PAIR_VALUES = 1 << 18  # of covariances held at once


def can_rearrange(maker: StartMaker) -> bool:
    """Whether there are components to rearrange, and rows enough for halves of them."""
    n_rows, n_features = maker.summary.n_rows, maker.X.shape[1]
    count = 2 * maker.n_components
    n_parameters = count * (1 + n_features) + maker.family.n_parameters(count, n_features)
    return maker.n_components > 1 and n_rows * n_features >= LEAST_NUMBERS * n_parameters


def rearranged(run: Run, maker: StartMaker) -> Mixture:
    """The mixture of `run` with components merged where there are too many, and others cut.

    About 2 `HALVES_ITERATIONS` iterations' cost, and O(K^2 D^3).

    Raises
    ------
    DegenerateFitError
        If a component has no rows, or halves come to nothing.
    """
    mixture, floor, n_components = run.mixture, maker.floor, maker.n_components
    if not run.statistics.mass.all():
        raise DegenerateFitError("a component without rows has no halves.")
    X, weight, n_threads = maker.X, maker.sample_weight, maker.n_threads
    sums = sums_to_cut(mixture, run.statistics, X, weight, n_threads)
    parents = np.arange(n_components)
    sums = [with_empty(part, n_components) for part in sums]
    halves = halved(sums, parents, n_components + parents, floor)[0]
    previous = mixture.covariances
    if halves.layout != "pooled":
        previous = np.concatenate([previous, previous])
    expectation = Expectation(
        X, weight, halves.layout, 2 * n_components, n_threads, short_slots=SHORT_SLOTS
    )
    start = maximised(halves, mixture.family, previous, floor)
    maximise = Maximiser(floor)
    moved = run_em(expectation, start, maximise, floor, tol=0.0, max_iter=HALVES_ITERATIONS)
    groups = reduction(moved.mixture, n_components)
    return maximised(grouped(moved.statistics, groups), mixture.family, mixture.covariances, floor)


def reduction(mixture: Mixture, n_components: int) -> np.ndarray:
    """(K,) which of `n_components` groups each component belongs to, numbered as they come first.

    Pairs of least cost become one: an upper bound of what that adds to the Kullback-Leibler
    divergence from the mixture (Runnalls 2007, eq. 21). Pairs in which each is the other's cheapest
    do so together, up to half of all that are to be. O(K^2 D^3).
    """
    moments = _Moments(mixture)
    count = mixture.n_components
    groups = np.arange(count)
    costs = np.full((count, count), np.inf)
    fresh = alive = groups.copy()
    while len(alive) > n_components:
        _update(costs, moments, fresh, alive)
        cheapest = costs.argmin(axis=1)
        fresh = alive[(cheapest[cheapest[alive]] == alive) & (alive < cheapest[alive])]
        fresh = fresh[np.argsort(costs[fresh, cheapest[fresh]], kind="stable")]
        fresh = fresh[: (len(alive) - n_components + 1) // 2]
        gone = cheapest[fresh]
        moments.merge(fresh, gone)
        for i, j in zip(fresh, gone, strict=True):
            groups[groups == j] = i
        costs[gone] = costs[:, gone] = np.inf
        alive = alive[groups[alive] == alive]
    # A group is known by its first component.
    return (np.cumsum(groups == np.arange(count)) - 1)[groups]


def _update(costs: np.ndarray, moments: _Moments, fresh: np.ndarray, alive: np.ndarray) -> None:
    """Fill in, on both sides of the diagonal, what it costs to merge `fresh` ones with any."""
    i, j = (pairs.ravel() for pairs in np.meshgrid(fresh, alive, indexing="ij"))
    is_fresh = np.zeros(len(costs), dtype=bool)
    is_fresh[fresh] = True
    wanted = (i < j) | ((i > j) & ~is_fresh[j])
    i, j = i[wanted], j[wanted]
    step = max(1, PAIR_VALUES // moments.means.shape[1] ** 2)
    for begin in range(0, len(i), step):
        a, b = i[begin : begin + step], j[begin : begin + step]
        costs[a, b] = costs[b, a] = moments.costs(a, b)


class _Moments:
    """Weights, means and covariances, and half the logarithm of the volume of each component."""

    def __init__(self, mixture: Mixture) -> None:
        self.layout = mixture.family.layout
        self.weights, self.means = mixture.weights.copy(), mixture.means.copy()
        self.covariances = mixture.dense_covariances().copy()
        self.volumes = self._volumes(self.covariances)

    def _volumes(self, covariances: np.ndarray) -> np.ndarray:
        """(n,) half the log determinants of what the family makes of covariances (n, D, D).

        Under "pooled" those of each alone: for small steps they add up to what is shared.
        """
        if self.layout in ("full", "pooled"):
            return -family("full").factor(covariances)[1]
        variances = np.einsum("kdd->kd", covariances)
        if self.layout == "spherical":
            variances = np.broadcast_to(variances.mean(axis=1)[:, None], variances.shape)
        return 0.5 * np.log(variances).sum(axis=1)

    def _pairs(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and covariances of components `i` and `j` as one."""
        weight = self.weights[i] + self.weights[j]
        share = (self.weights[j] / np.where(weight > 0.0, weight, 1.0))[:, None]
        gap = self.means[j] - self.means[i]
        own = self.covariances[i]
        both = self.covariances[j] - own
        both *= share[..., None]
        both += own
        both += (share * (1.0 - share) * gap)[:, :, None] * gap[:, None, :]
        return weight, self.means[i] + share * gap, both

    def costs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(n,) what it costs, in nats per row, to merge components `i` and `j`."""
        weight, _, covariances = self._pairs(i, j)
        before = self.weights[i] * self.volumes[i] + self.weights[j] * self.volumes[j]
        return weight * self._volumes(covariances) - before

    def merge(self, i: np.ndarray, j: np.ndarray) -> None:
        """Each of components `i` becomes both."""
        self.weights[i], self.means[i], self.covariances[i] = self._pairs(i, j)
        self.volumes[i] = self._volumes(self.covariances[i])
