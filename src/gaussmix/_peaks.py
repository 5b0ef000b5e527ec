"""The search for the peaks of the density in more than one dimension."""

from __future__ import annotations

import numpy as np

from ._basins import FLAT, Basins, Peaks, balls, no_basins
from ._landscape import MAX_STEPS, STUCK, Landscape

ROUNDS = 40  # of climbing and polishing; each looks closer at what is left
FEW_STEPS = 16  # in the first round, and twice as many in each later one
NEAR = 0.05  # steps this short (in standard deviations) are tried to be finished by Newton's method
NEWTON_STEPS = 60
NEWTON_DONE, NEWTON_CLOSE = 1e-10, 1e-5  # steps that end it, and that still count as an end
LONGEST_NEWTON = 0.5
# Of a flat peak few digits are known; down to minus `ROUNDING` a curvature's sign is rounding.
ROUNDING = 1e-9
FLAT_MERGE = 1e-3
NUDGE = 0.05  # standard deviations, off a saddle
ALL_PAIRS = 48  # components; with more, pairs are made with the nearest ones only
NEIGHBOURS = 12
MOST_STARTS = 128  # between components, or 2 K if that is more
SHARE_BETWEEN = 0.3  # of the posterior that a pair must have between its means
APART = 0.3  # coordinates: of points closer than this only one is polished at a time
SLOPE_VALUES = 1 << 22


def find(landscape: Landscape, tol: float) -> tuple[np.ndarray, Basins, np.ndarray]:
    """Peaks (M, D), their basins, and the peak (K,) that each component's mean climbs to."""
    search = _Search(landscape, tol)
    component_mode = search.climb(landscape.means)
    if len(landscape.means) > 1:
        search.climb(_between(landscape))
    return search.peaks.z, search.basins, component_mode


class _Search:
    """Climbs from given points, adding the peaks that it comes to."""

    def __init__(self, landscape: Landscape, tol: float) -> None:
        n = landscape.n_features
        self.landscape = landscape
        self.tol = tol
        none = np.empty((0, n, n))
        self.peaks = Peaks(np.empty((0, n)), none, none, np.empty(0, dtype=bool))
        self.basins = no_basins(n)

    def climb(self, starts: np.ndarray) -> np.ndarray:
        """(n,) index of the peak that each start climbs to; new peaks are added."""
        label = np.full(len(starts), -1)
        z = np.array(starts)
        until = NEAR
        for count in range(ROUNDS):
            left = np.flatnonzero(label < 0)
            if not len(left):
                return label
            label[left], z[left] = self._climb(z[left], until, min(MAX_STEPS, FEW_STEPS << count))
            left = left[label[left] < 0]
            if not len(left):
                return label
            self._add(*self._polished(_spread_out(z[left])))
            if until <= STUCK:
                z[left] = self._nudged(z[left])
            until = max(STUCK, 0.1 * until)
        left = label < 0
        if left.any():
            label[left] = self.basins.nearest(z[left])
        return label

    def _climb(self, z: np.ndarray, until: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
        step = self.landscape.block_rows
        parts = [
            self.landscape.climb(z[i : i + step], self.basins, limit, until)
            for i in range(0, len(z), step)
        ]
        return tuple(np.concatenate(both) for both in zip(*parts, strict=True))

    def _polished(self, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Peaks that Newton's method finds from the rows of z: positions and derivatives."""
        n = self.landscape.n_features
        step = max(1, SLOPE_VALUES // (2 * n * n + 4 * n * len(self.landscape.means)))
        parts = [self._newton(z[i : i + step]) for i in range(0, len(z), step)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _newton(self, z: np.ndarray) -> tuple[np.ndarray, ...]:
        z, size = z.copy(), np.full(len(z), np.inf)
        moving = np.arange(len(z))
        done = np.zeros(len(z), dtype=bool)
        n = self.landscape.n_features
        curvature, precision = np.empty((2, len(z), n, n))
        for _ in range(NEWTON_STEPS):
            slope = self.landscape.slope(z[moving])
            curvature[moving], precision[moving] = slope.curvature, slope.precision
            values, vectors = np.linalg.eigh(slope.curvature)
            typical = np.einsum("mdd->m", slope.precision) / n
            least = ROUNDING * typical
            along = np.einsum("mde,md->me", vectors, slope.gradient)
            step = np.einsum("mde,me->md", vectors, along / np.maximum(values, least[:, None]))
            length = np.sqrt(np.einsum("md,mde,me->m", step, slope.precision, step))
            step *= np.minimum(1.0, LONGEST_NEWTON / np.maximum(length, STUCK))[:, None]
            size[moving] = length
            upward = values[:, 0] > -least  # else there is no peak here
            going = upward & (length > NEWTON_DONE)
            done[moving] = upward
            z[moving] += np.where(going[:, None], step, 0.0)
            moving = moving[going]
            if not len(moving):
                break
        peak = done & (size < NEWTON_CLOSE)
        return z[peak], curvature[peak], precision[peak]

    def _nudged(self, z: np.ndarray) -> np.ndarray:
        """Points off the saddles z, along the direction in which the density curves up most."""
        slope = self.landscape.slope(z)
        axis = np.linalg.eigh(slope.curvature)[1][:, :, 0]
        at = np.abs(axis).argmax(axis=1)[:, None]
        axis = axis * np.sign(np.take_along_axis(axis, at, axis=1))
        length = np.sqrt(np.einsum("md,mde,me->m", axis, slope.precision, axis))
        return z + NUDGE / length[:, None] * axis

    def _add(self, z: np.ndarray, curvature: np.ndarray, precision: np.ndarray) -> None:
        """Take those of the given peaks that are not known yet."""
        n_known = len(self.peaks.z)
        for i in range(len(z)):
            gap = self.peaks.z - z[i]
            distance = np.sqrt(np.einsum("md,de,me->m", gap, precision[i], gap))
            if (distance <= self.tol).any():
                continue
            root = np.linalg.inv(np.linalg.cholesky(precision[i]))
            flat = bool(np.linalg.eigvalsh(root @ curvature[i] @ root.T)[0] < FLAT)
            if (distance <= np.where(flat | self.peaks.flat, FLAT_MERGE, 0.0)).any():
                continue
            new = Peaks(z[i], curvature[i], precision[i], np.array(flat))
            both = zip(self.peaks, new, strict=True)
            self.peaks = Peaks(*(np.concatenate([old, one[None]]) for old, one in both))
        if len(self.peaks.z) > n_known:
            added = Peaks(*(part[n_known:] for part in self.peaks))
            shape, radii = balls(self.landscape, added, self.tol)
            self.basins = self.basins.joined(self.peaks.z, shape, radii)


def _spread_out(z: np.ndarray) -> np.ndarray:
    """Rows of z such that all others are near one of them: those come to the same peak."""
    left = np.arange(len(z))
    chosen = []
    while len(left):
        chosen.append(left[0])
        left = left[((z[left] - z[left[0]]) ** 2).sum(axis=1) > APART**2]
    return z[chosen]


def _between(landscape: Landscape) -> np.ndarray:
    """Starts (n, D) between components that overlap.

    For each pair the points of its ridgeline at 1/4, 1/2 and 3/4, on which all critical points of
    two Gaussians lie (Ray & Lindsay 2005, Annals of Statistics 33(5), 2042-2065), where the pair
    has a share of the posterior; and the mean of each component's neighbourhood.
    """
    n_components = len(landscape.means)
    apart = landscape.mahalanobis(landscape.means)
    apart = np.minimum(apart, apart.T)
    first, second = np.triu_indices(n_components, 1)
    if n_components > ALL_PAIRS:
        nearest = np.sort(apart, axis=1)[:, NEIGHBOURS]
        chosen = apart[first, second] <= np.maximum(nearest[first], nearest[second])
        first, second = first[chosen], second[chosen]
    most = max(MOST_STARTS, 2 * n_components)
    points, ranks = [], []
    for part in (0.5, 0.25, 0.75):
        z = _ridgeline(landscape, first, second, part)
        shares = landscape.shares(z)
        at = np.arange(len(z))
        both = shares[at, first] + shares[at, second]
        kept = both > SHARE_BETWEEN
        # The middle first; among equals, pairs that share the point evenly.
        uneven = np.abs(shares[at, first] - shares[at, second])
        points.append(z[kept])
        ranks.append((uneven + (part != 0.5))[kept])
    order = np.argsort(np.concatenate(ranks), kind="stable")[:most]
    close = (apart < 3.0).astype(float)
    np.fill_diagonal(close, 1.0)
    around = close @ landscape.means / close.sum(axis=1, keepdims=True)
    centres = around[close.sum(axis=1) > 2]
    return np.concatenate([np.concatenate(points)[order], np.unique(centres, axis=0)])


def _ridgeline(landscape: Landscape, first, second, part: float) -> np.ndarray:
    """(n, D) points where a pair's precisions, weighted by 1 - part and part, balance."""
    precisions, means = landscape.precisions, landscape.means
    if landscape.diagonal:
        one, other = (1.0 - part) * precisions[first], part * precisions[second]
        return (one * means[first] + other * means[second]) / (one + other)
    moments = np.einsum("kde,ke->kd", precisions, means)
    precision = (1.0 - part) * precisions[first] + part * precisions[second]
    pull = (1.0 - part) * moments[first] + part * moments[second]
    return np.linalg.solve(precision, pull[:, :, None])[:, :, 0]
