"""Balls around the peaks of the density from which every climb ends at that peak."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backends
from ..kernels import contract
from ..kernels.contract import Parameters
from .landscape import Landscape

# A peak whose smallest curvature, relative to the components' own, is below it is too flat for
# bounds to say much: its ball is `FLAT_REACH` local standard deviations wide.
FLAT = 1e-4
FLAT_REACH = 0.02
DENSE_METRIC = 64  # features; with more, balls are round, since M matrices (D, D) may not fit
RADII = np.geomspace(5e-4, 10.0, 10)  # with 14 modes take longer, and hills no less
NEGLIGIBLE = 16.0  # nats: components this far below the largest are bounded roughly
BLOCK_VALUES = 1 << 21


class Peaks(NamedTuple):
    """Peaks of the density, in a landscape's coordinates."""

    z: np.ndarray  # (M, D)
    curvature: np.ndarray  # (M, D, D): minus the Hessian
    precision: np.ndarray  # (M, D, D): mean precision of the components, by their shares
    flat: np.ndarray  # (M,) bool


class Basins(NamedTuple):
    """Balls around peaks, each in a metric of its own."""

    shape: Parameters  # Mahalanobis distances of `shape` below `radii` are inside
    radii: np.ndarray  # (M,)

    def joined(self, z: np.ndarray, factors: np.ndarray, radii: np.ndarray) -> Basins:
        """These balls and more, at all the peaks z."""
        factors = np.concatenate([self.shape.factors, factors])
        kind = contract.FACTOR_FULL if factors.ndim == 3 else contract.FACTOR_DIAG
        shape = Parameters(
            kind, np.zeros(len(z)), np.ascontiguousarray(z), factors, np.zeros(z.shape[1])
        )
        return Basins(shape, np.concatenate([self.radii, radii]))

    def of(self, Z: np.ndarray) -> np.ndarray:
        """(n,) the ball that each row lies in, or -1."""
        if not len(self.radii):
            return np.full(len(Z), -1)
        depth = self._distances(Z) / self.radii
        nearest = depth.argmin(axis=1)
        return np.where(depth[np.arange(len(Z)), nearest] < 1.0, nearest, -1)

    def nearest(self, Z: np.ndarray) -> np.ndarray:
        """(n,) the nearest peak in the balls' metrics, ties to the lowest index."""
        return self._distances(Z).argmin(axis=1)

    def _distances(self, Z: np.ndarray) -> np.ndarray:
        out = np.empty((len(Z), len(self.radii)))
        backends.active().evaluate(Z, self.shape, contract.WANT_MAHALANOBIS, out, 1)
        return out


def no_basins(n_features: int) -> Basins:
    """Balls around no peak."""
    dense = n_features <= DENSE_METRIC
    z = np.empty((0, n_features))
    factors = np.empty((0, n_features, n_features)) if dense else z
    return Basins(Parameters(0, z[:, 0], z, factors, z), np.empty(0))


def balls(landscape: Landscape, peaks: Peaks, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (lower-triangular factors or diagonals) and radii (M,) of balls around peaks.

    A climb never leaves the superlevel set it starts in: the log density lies above a concave
    quadratic that touches it where a step begins and has its maximum where the step ends. So all
    climbs from within a radius r end at the peak if there is a larger ball, of radius R, that
    holds no other critical point and has lower values on its sphere. In the metric of the
    curvature, with T a bound of the third derivative in the larger ball, that is so if T R < 2
    and r^2/2 + T r^3/6 <= R^2/2 - T R^3/6.
    """
    n_components, n_features = landscape.means.shape
    dense = n_features <= DENSE_METRIC
    size = n_components * (n_features**2 if dense else n_features)
    step = max(1, BLOCK_VALUES // size)
    factors = np.empty((len(peaks.z), *(n_features,) * (1 + dense)))
    radii = np.empty(len(peaks.z))
    for begin in range(0, len(radii), step):
        block = slice(begin, begin + step)
        part = Peaks(*(values[block] for values in peaks))
        factors[block], radii[block] = _balls(landscape, part, dense)
    return factors, np.maximum(radii, smallest)


def _balls(landscape: Landscape, peaks: Peaks, dense: bool) -> tuple[np.ndarray, np.ndarray]:
    n_features = peaks.z.shape[1]
    values, vectors = np.linalg.eigh(peaks.curvature)
    values = np.maximum(values, np.finfo(float).tiny)
    # The curvature lies between `low` and `high` times the metric.
    low, high = (1.0, 1.0) if dense else (values[:, :1], values[:, -1:])
    root = vectors / np.sqrt(values)[:, None, :] if dense else None
    with np.errstate(over="ignore", invalid="ignore"):  # flat peaks, which get another radius
        third = _third_derivative(landscape, peaks.z, root, values[:, 0])
        room = low * RADII**2 / 2 - third * RADII**3 / 6
        room = np.where(third * RADII < 2.0 * low, room, 0.0)
        reach = np.sqrt(2.0 * np.maximum(room, 0.0) / (high + third * RADII / 3))
    radii = np.nan_to_num(reach).max(axis=1)
    if not dense:
        factors = np.ones_like(peaks.z)
        largest = np.linalg.eigvalsh(peaks.precision[peaks.flat])[:, -1]
        radii[peaks.flat] = FLAT_REACH / np.sqrt(largest)
        return factors, radii
    metric = np.where(
        peaks.flat[:, None, None], peaks.curvature + 2.0 * FLAT * peaks.precision, peaks.curvature
    )
    # Lower-triangular P with P^T P = metric.
    flipped = np.linalg.cholesky(metric[:, ::-1, ::-1])[:, ::-1, ::-1]
    radii[peaks.flat] = FLAT_REACH * np.sqrt(FLAT)
    return flipped.transpose(0, 2, 1).reshape(-1, n_features, n_features), radii


def _third_derivative(
    landscape: Landscape, z: np.ndarray, root: np.ndarray | None, smallest: np.ndarray
) -> np.ndarray:
    """(M, len(RADII)) bounds of the log density's third derivative in balls around z.

    In coordinates y with z = peak + root y (root None: the identity). With v_k the gradient and
    -L_k the second derivative of the log joint density of component k, and r_k the posterior,

        D^3 log p [u, u, u] = k_3(v u) - 3 cov(v u, u L u),

    third cumulant and covariance over k by r_k. Moments are bounded around those of component j,
    the largest one: |v_k - v_j| <= b_k, |L_k - L_j| <= c_k, and r_k by log r_k / r_j, whose
    derivatives these are.
    """
    log_joint = landscape.log_joint(z)
    coefficients = landscape.parameters.log_coefficients
    distance = np.sqrt(np.maximum(2.0 * (coefficients - log_joint), 0.0))
    j = log_joint.argmax(axis=1)[:, None]
    highest = np.take_along_axis(log_joint, j, axis=1)
    # Rough bounds for all components, and close ones for those that count.
    a = np.sqrt(landscape.extreme_precisions[1] / (1.0 if root is None else smallest[:, None]))
    a = np.broadcast_to(a, log_joint.shape)
    a_j, distance_j = (np.take_along_axis(values, j, axis=1) for values in (a, distance))
    b, c = a * distance + a_j * distance_j, a * a + a_j * a_j
    near = np.nonzero(log_joint > highest - NEGLIGIBLE)
    b[near], c[near] = _differences(landscape, z, root, *near, j[near[0], 0])
    b, c, r = b[:, None], c[:, None], RADII[:, None]
    by_slope = (log_joint - highest)[:, None] + r * b + 0.5 * r * r * c
    lowest = np.maximum(distance[:, None] - r * a[:, None], 0.0)
    gap_j = distance_j[:, None] + r * a_j[:, None]
    by_distance = (coefficients - coefficients[j])[:, None] - 0.5 * lowest**2 + 0.5 * gap_j**2
    share = np.exp(np.minimum(np.minimum(by_slope, by_distance), 0.0))
    # Its own deviations from itself are 0.
    own = np.broadcast_to(j[:, None], (*share.shape[:2], 1))
    np.put_along_axis(share, own, 0.0, axis=2)
    least = np.exp((log_joint - highest)[:, None] - r * b - 0.5 * r * r * c)
    np.put_along_axis(least, own, 1.0, axis=2)
    share /= least.sum(axis=2, keepdims=True)
    b = b + r * c
    by_b = share * b
    by_bb = by_b * b
    first, second, cubes = by_b.sum(axis=2), by_bb.sum(axis=2), (by_bb * b).sum(axis=2)
    mixed = (by_b * c).sum(axis=2) + first * (share * c).sum(axis=2)
    return cubes + 3.0 * first * second + 2.0 * first**3 + 3.0 * mixed


def _differences(landscape: Landscape, z, root, at, k, j) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bounds of |v_k - v_j| and |L_k - L_j| at peak `at`, for n triples of indices."""
    precisions, means = landscape.precisions, landscape.means
    stiffness = precisions[k] - precisions[j]
    if landscape.diagonal:
        pull = precisions[k] * (means[k] - z[at]) - precisions[j] * (means[j] - z[at])
        if root is None:
            return np.linalg.norm(pull, axis=1), np.abs(stiffness).max(axis=1)
        stiffness = root[at].transpose(0, 2, 1) @ (stiffness[:, :, None] * root[at])
    else:
        pull = np.einsum("nde,ne->nd", precisions[k], means[k] - z[at])
        pull -= np.einsum("nde,ne->nd", precisions[j], means[j] - z[at])
        if root is not None:
            stiffness = root[at].transpose(0, 2, 1) @ stiffness @ root[at]
    if root is not None:
        pull = np.einsum("nd,nde->ne", pull, root[at])
    # The largest eigenvalue is at most trace(S^8)^(1/8), which is cheaper.
    scale = np.maximum(np.abs(stiffness).max(axis=(1, 2)), np.finfo(float).tiny)
    power = stiffness / scale[:, None, None]
    for _ in range(2):
        power = power @ power
    return np.linalg.norm(pull, axis=1), scale * np.sqrt(np.linalg.norm(power, axis=(1, 2))) ** 0.5
