"""The search for the peaks of the density in more than one dimension."""

from __future__ import annotations

import numpy as np

from .basins import FLAT, Basins, Peaks, balls, no_basins
from .landscape import LONGEST, MAX_STEPS, STUCK, Landscape, Slope

ROUNDS = 40  # of climbing and polishing; each looks closer at what is left
FEW_STEPS = 16  # in the first two rounds, and twice as many in each later one
FEW_EXPLORING, EXPLORING = 12, 4.0  # steps in each of two rounds, and their pace
NEAR = 0.05  # steps this short (in standard deviations) are tried to be finished by Newton's method
NEWTON_STEPS = 60
NEWTON_DONE, NEWTON_CLOSE = 1e-10, 1e-5  # steps that end it, and that still count as an end
LONGEST_NEWTON = 0.5
# Of a flat peak few digits are known; down to minus `ROUNDING` a curvature's sign is rounding.
ROUNDING = 1e-9
FLAT_MERGE = 1e-3
# Standard deviations to a peak, and the share of them by which Newton's step may miss it.
BOWL, BOWL_ERROR = 0.5, 0.1
NUDGE = 0.05  # standard deviations, off a saddle
ALL_PAIRS = 48  # components; with more, pairs are made with the nearest ones only
NEIGHBOURS = 12
MOST_STARTS = 128  # between components, or 2 K if that is more
SHARE_BETWEEN = 0.3  # of the posterior that a pair must have between its means
APART = 0.3  # coordinates: of points closer than this only one is polished at a time
SLOPE_VALUES = 1 << 18


def find(landscape: Landscape, tol: float) -> tuple[np.ndarray, Basins, np.ndarray]:
    """Peaks (M, D), their basins, and the peak (K,) that each component's mean climbs to."""
    search = _Search(landscape, tol)
    component_mode = search.climb(landscape.means)
    if len(landscape.means) > 1:
        search.explore(_between(landscape))
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
            limit = FEW_STEPS << max(0, count - 1)
            label[left], z[left] = self._climb(z[left], until, min(MAX_STEPS, limit))
            left = left[label[left] < 0]
            if len(left):
                self._add(*self._polished(_spread_out(z[left])))
                label[left] = self._bowls(z[left])
                left = left[label[left] < 0]
            if len(left) and count:
                label[left] = self._followed(z[left])
                left = left[label[left] < 0]
            if len(left) and until <= STUCK:
                z[left] = self._nudged(z[left])
            until = max(STUCK, 0.1 * until)
        left = label < 0
        if left.any():
            label[left] = self.basins.nearest(z[left])
        return label

    def explore(self, starts: np.ndarray) -> None:
        """Add the peaks that climbs from `starts` come to; of close rows one goes to the end."""
        z = starts
        for until in (NEAR, 0.1 * NEAR):
            if len(z):
                label, z = self._climb(z, until, FEW_EXPLORING, EXPLORING)
                z = z[label < 0]
            if len(z):
                self._add(*self._polished(_spread_out(z)))
                z = z[self._bowls(z) < 0]
        if len(z):
            z = _spread_out(z)
            z = z[self._followed(z) < 0]
        if len(z):
            self._followed(self._nudged(z))

    def _climb(
        self, z: np.ndarray, until: float, limit: int, pace: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        step = self.landscape.block_rows
        parts = [
            self.landscape.climb(z[i : i + step], self.basins, limit, until, pace)
            for i in range(0, len(z), step)
        ]
        return tuple(np.concatenate(both) for both in zip(*parts, strict=True))

    def _polished(self, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Peaks that Newton's method finds from the rows of z: positions and derivatives."""
        *found, peak = self._newton(z)
        return tuple(part[peak] for part in found)

    def _followed(self, z: np.ndarray) -> np.ndarray:
        """(n,) the peak that each row of z comes to by short Newton steps, or -1; adds new peaks.

        Curvatures that bend up are taken as if they bent down, so that rows go up, and away from
        saddles; on the ridges where the last rows crawl that is where the climb goes.
        """
        *found, peak = self._newton(z, follow=True)
        label = np.full(len(z), -1)
        if peak.any():
            found = tuple(part[peak] for part in found)
            self._add(*found)
            gap = self.peaks.z - found[0][:, None]
            distance = np.einsum("nmd,nde,nme->nm", gap, found[2], gap)
            label[peak] = distance.argmin(axis=1)
        return label

    def _newton(self, z: np.ndarray, follow: bool = False) -> tuple[np.ndarray, ...]:
        """Ends (n, D), curvatures and precisions there (n, D, D), and whether they are peaks."""
        step = self._block_rows()
        parts = [self._newton_block(z[i : i + step], follow) for i in range(0, len(z), step)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _block_rows(self) -> int:
        """Rows whose derivatives are held at once."""
        n = self.landscape.n_features
        return max(1, SLOPE_VALUES // (2 * n * n + 4 * n * len(self.landscape.means)))

    def _newton_block(self, z: np.ndarray, follow: bool) -> tuple[np.ndarray, ...]:
        longest = LONGEST if follow else LONGEST_NEWTON
        z, size = z.copy(), np.full(len(z), np.inf)
        moving = np.arange(len(z))
        done = np.zeros(len(z), dtype=bool)
        n = self.landscape.n_features
        curvature, precision = np.empty((2, len(z), n, n))
        for _ in range(NEWTON_STEPS):
            slope = self.landscape.slope(z[moving])
            curvature[moving], precision[moving] = slope.curvature, slope.precision
            step, upward = _newton_steps(slope, follow)
            length = np.sqrt(np.einsum("md,mde,me->m", step, slope.precision, step))
            step *= np.minimum(1.0, longest / np.maximum(length, STUCK))[:, None]
            size[moving] = length
            going = (upward | follow) & (length > NEWTON_DONE)
            done[moving] = upward
            z[moving] += np.where(going[:, None], step, 0.0)
            moving = moving[going]
            if not len(moving):
                break
        return z, curvature, precision, done & (size < NEWTON_CLOSE)

    def _bowls(self, z: np.ndarray) -> np.ndarray:
        """(n,) the known peak that each row of z is close to in an all but quadratic bowl, or -1.

        There Newton's step leads to the peak, and so does every climb: along a flat ridge these
        would take hundreds of steps to the peak's ball.
        """
        label = np.full(len(z), -1)
        if not len(self.peaks.z):
            return label
        step = self._block_rows()
        for begin in range(0, len(z), step):
            part = slice(begin, begin + step)
            slope = self.landscape.slope(z[part])
            rows = np.flatnonzero(slope.concave)
            newton, precision = slope.newton[rows], slope.precision[rows]
            end = z[part][rows] + newton
            nearest = ((self.peaks.z - end[:, None]) ** 2).sum(axis=2).argmin(axis=1)
            gap = self.peaks.z[nearest] - z[part][rows]
            off = np.einsum("nd,nde,ne->n", gap - newton, precision, gap - newton)
            distance = np.einsum("nd,nde,ne->n", gap, precision, gap)
            sure = (distance < BOWL**2) & (off < BOWL_ERROR**2 * distance)
            label[begin + rows[sure]] = nearest[sure]
        return label

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
        root = np.linalg.inv(np.linalg.cholesky(precision))
        relative = np.linalg.eigvalsh(root @ curvature @ root.transpose(0, 2, 1))
        flat = relative[:, :1].min(axis=1, initial=np.inf) < FLAT
        every, every_flat = np.concatenate([self.peaks.z, z]), np.append(self.peaks.flat, flat)
        gap = every - z[:, None]
        distance = np.sqrt(np.maximum((gap @ precision * gap).sum(axis=2), 0.0))
        reach = np.where(flat[:, None] | every_flat, max(FLAT_MERGE, self.tol), self.tol)
        near = distance <= reach
        known, chosen = np.arange(len(every)) < n_known, []
        for i in range(len(z)):
            if not near[i, known].any():
                known[n_known + i] = True
                chosen.append(i)
        if chosen:
            added = Peaks(z[chosen], curvature[chosen], precision[chosen], flat[chosen])
            both = zip(self.peaks, added, strict=True)
            self.peaks = Peaks(*(np.concatenate(parts) for parts in both))
            shape, radii = balls(self.landscape, added, self.tol)
            self.basins = self.basins.joined(self.peaks.z, shape, radii)


def _newton_steps(slope: Slope, follow: bool) -> tuple[np.ndarray, np.ndarray]:
    """Newton's steps (m, D), and whether (m,) a peak may be there.

    Where the density is not surely concave steps go by eigenvalues: those that bend up, or are too
    small to tell, are held at rounding, or if `follow` taken as if they bent down.
    """
    step, upward = slope.newton, slope.concave.copy()
    bent = np.flatnonzero(~upward)
    if len(bent):
        values, vectors = np.linalg.eigh(slope.curvature[bent])
        n_features = slope.gradient.shape[1]
        least = ROUNDING / n_features * np.einsum("mdd->m", slope.precision[bent])
        upward[bent] = values[:, 0] > -least
        along = np.einsum("mde,md->me", vectors, slope.gradient[bent])
        if follow:
            values = np.abs(values)
        step[bent] = np.einsum("mde,me->md", vectors, along / np.maximum(values, least[:, None]))
    return step, upward


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
