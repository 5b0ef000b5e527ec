"""Which components of two mixtures stand for one another."""

from __future__ import annotations

import numpy as np

from ..covariance import Floor
from ..model.mixture import Mixture


def matched(reference: Mixture, other: Mixture, floor: Floor) -> np.ndarray:
    """(K,) order: component ``order[k]`` of `other` is the one that stands for k of `reference`.

    The pairing of least total distance: squared differences of means and of standard deviations, in
    the floor's units, and of the square roots of the weights. O(K^2 D), and O(K^3) where two
    components of one have the same nearest in the other.
    """
    cost = np.zeros((reference.n_components, other.n_components))
    for a, b in zip(_places(reference, floor), _places(other, floor), strict=True):
        # Differences, not |a|^2 - 2 a b + |b|^2, which cancels far from the origin.
        for column_a, column_b in zip(a.T, b.T, strict=True):
            cost += np.square(column_a[:, None] - column_b)
    return assignment(cost)


def _places(mixture: Mixture, floor: Floor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (K, D) and standard deviations (K, D) in the floor's units, and root weights (K, 1)."""
    variances = np.diagonal(mixture.dense_covariances(), axis1=1, axis2=2)
    deviations = np.sqrt(variances) / floor.scale
    return mixture.means / floor.scale, deviations, np.sqrt(mixture.weights)[:, None]


def assignment(cost: np.ndarray) -> np.ndarray:
    """(K,) the column of each row of `cost` (K, K) in the pairing of least total cost.

    Shortest augmenting paths (Kuhn 1955; Jonker & Volgenant 1987, Computing 38, 325-340); O(K^3).
    """
    n = len(cost)
    nearest = cost.argmin(axis=1)
    if len(np.unique(nearest)) == n:
        return nearest
    row_price, column_price = np.zeros(n), np.zeros(n)
    row_of = np.full(n + 1, -1)  # by column; the last one is where a path begins
    for row in range(n):
        row_of[n] = row
        column = n
        distance, before = np.full(n, np.inf), np.full(n, n)
        reached = np.zeros(n, dtype=bool)
        while row_of[column] >= 0:
            i = row_of[column]
            if column < n:
                reached[column] = True
            # Reduced costs of the row's edges, and of the path to it through `column`.
            reduced = cost[i] - row_price[i] - column_price
            closer = ~reached & (reduced < distance)
            distance[closer], before[closer] = reduced[closer], column
            free = np.flatnonzero(~reached)
            following = free[distance[free].argmin()]
            step = distance[following]
            path = np.flatnonzero(reached)
            row_price[row_of[path]] += step
            row_price[row] += step
            column_price[path] -= step
            distance[free] -= step
            column = following
        while column < n:
            row_of[column] = row_of[before[column]]
            column = before[column]
    order = np.empty(n, dtype=np.intp)
    order[row_of[:n]] = np.arange(n)
    return order
