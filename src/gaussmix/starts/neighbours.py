"""Starts from a fit with another number of components: its components split or merged.

The moves of Ueda, Nakano, Ghahramani & Hinton (2000), SMEM Algorithm for Mixture Models, Neural
Computation 12(9), 2109-2128, made in the sufficient statistics, so that the M-step of any family
turns them into a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from ..algorithms.results import FitResult
from ..covariance import Floor
from ..model.mixture import Mixture
from ..passes.posteriors import posterior_pieces
from ..statistics import SufficientStatistics, unchecked
from .reseeding import centred, halved, maximised, split_shares, sums_to_cut


def splits(
    result: FitResult,
    n_components: int,
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    floor: Floor,
    n_threads: int,
    limit: int,
) -> list[Mixture]:
    """At most `limit` mixtures of `n_components`, more than `result` has, with components cut.

    Each begins by cutting another component, those with the largest share of the entropy first;
    if more cuts are needed, the largest share of what has become of it is cut each time. A cut
    keeps weight, mean and covariance of both halves together. Two passes over the rows.
    """
    mixture, statistics = result.mixture, result.statistics
    n_before = mixture.n_components
    shares = split_shares(mixture, statistics, X, sample_weight, n_threads)
    sums = sums_to_cut(mixture, statistics, X, sample_weight, n_threads)
    count = n_components - n_before
    sums = [with_empty(part, count) for part in sums]
    previous = mixture.covariances
    if statistics.layout != "pooled":
        previous = np.concatenate([previous, np.repeat(previous[:1], count, axis=0)])
    found = []
    for first in islice(_largest(np.where(statistics.mass > 0.0, shares, 0.0)), limit):
        parts, left = sums, np.concatenate([shares, np.zeros(count)])
        parent = first
        for component in range(n_before, n_components):
            parts = halved(parts, parent, component, floor)
            left[[parent, component]] = 0.5 * left[parent]
            parent = int(np.argmax(left))
        found.append(maximised(parts[0], mixture.family, previous, floor))
    return found


def merges(
    result: FitResult,
    n_components: int,
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    floor: Floor,
    n_threads: int,
    limit: int,
) -> list[Mixture]:
    """At most `limit` mixtures of `n_components`, fewer than `result` has, with pairs made one.

    Each begins with another pair, those that share most rows first (the sum of the products of
    their posteriors; Ueda et al. 2000, eq. 3.1); if more have to go, the pair that then shares
    most each time. One pass over the rows, O(N K (D^2 + K)).
    """
    mixture = result.mixture
    shared = np.triu(overlaps(mixture, X, sample_weight, n_threads), 1)
    pairs = zip(*np.unravel_index(_order(shared.ravel()), shared.shape), strict=True)
    found = []
    for first in islice(((int(i), int(j)) for i, j in pairs if i < j), limit):
        sums, left, pair = result.statistics, shared, first
        previous = mixture.covariances
        while True:
            sums, left = _merged(sums, *pair), _joined(left, *pair)
            if sums.layout != "pooled":
                previous = np.delete(previous, pair[1], axis=0)
            if sums.n_components == n_components:
                break
            pair = tuple(int(k) for k in np.unravel_index(int(np.argmax(left)), left.shape))
            pair = pair if pair[0] < pair[1] else (0, 1)  # where nothing is shared
        found.append(maximised(sums, mixture.family, previous, floor))
    return found


def overlaps(
    mixture: Mixture, X: np.ndarray, sample_weight: np.ndarray | None, n_threads: int
) -> np.ndarray:
    """(K, K) ``sum w r_i r_j`` over the rows, for each pair of components; O(N K (D^2 + K))."""
    n_components = mixture.n_components
    total = np.zeros((n_components, n_components))
    for rows, r in posterior_pieces(X, mixture.kernel_parameters, n_threads):
        weighted = r if sample_weight is None else r * sample_weight[rows, None]
        # Not `@`, whose sums depend on the library and on its threads.
        total += np.einsum("ni,nj->ij", weighted, r)
    return total


def _order(values: np.ndarray) -> np.ndarray:
    """Indices of the largest first; of equals, the lowest."""
    return np.argsort(-values, kind="stable")


def _largest(values: np.ndarray) -> Iterator[int]:
    return (int(k) for k in _order(values) if values[k] > 0.0)


def with_empty(statistics: SufficientStatistics, count: int) -> SufficientStatistics:
    """The statistics with `count` more components, without mass."""
    shift = np.concatenate([statistics.shift, np.repeat(statistics.shift[:1], count, axis=0)])
    mass = np.concatenate([statistics.mass, np.zeros(count)])
    first = np.concatenate([statistics.first, np.zeros((count, shift.shape[1]))])
    second = statistics.second
    if statistics.layout != "pooled":
        second = np.concatenate([second, np.zeros((count, *second.shape[1:]))])
    return unchecked(shift, mass, first, second, statistics.layout)


def _merged(statistics: SufficientStatistics, i: int, j: int) -> SufficientStatistics:
    """Statistics with component `j` added to `i`, which is lower, and gone."""
    groups = np.arange(statistics.n_components)
    groups[j:] -= 1
    groups[j] = i
    return grouped(statistics, groups)


def grouped(statistics: SufficientStatistics, groups: np.ndarray) -> SufficientStatistics:
    """Centred statistics with the components of each group made one.

    `groups` (K,) are numbers 0, 1, ... of groups, in the order of their first components.
    """
    sums = centred(statistics)
    shift, mass = sums.shift, sums.mass
    first = np.unique(groups, return_index=True)[1]
    rest = np.delete(np.arange(len(groups)), first)

    def added(values: np.ndarray) -> np.ndarray:
        total = values[first]
        np.add.at(total, groups[rest], values[rest])
        return total

    total = added(mass)
    # Steps from one mean to the others, not a sum of means: they do not cancel.
    steps = added(mass[:, None] * (shift - shift[first][groups]))
    means = shift[first] + steps / np.where(total > 0.0, total, 1.0)[:, None]
    moved = sums._moved(means[groups])
    second = moved.second if moved.layout == "pooled" else added(moved.second)
    return unchecked(means, total, added(moved.first), second, moved.layout)


def _joined(shared: np.ndarray, i: int, j: int) -> np.ndarray:
    """Upper triangle of what pairs share, with `j` added to `i`, and gone."""
    both = shared + shared.T
    both[i] += both[j]
    both[:, i] = both[i]
    both = np.delete(np.delete(both, j, axis=0), j, axis=1)
    return np.triu(both, 1)
