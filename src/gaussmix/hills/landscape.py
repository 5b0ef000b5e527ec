"""The density as a landscape: coordinates, slope and curvature, and the climb to a peak."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backends
from ..kernels import contract
from ..kernels.contract import Parameters

BLOCK_VALUES = 1 << 18  # numbers that one block of climbing rows holds for each of its arrays
LARGEST_BLOCK, SMALLEST_BLOCK = 4096, 32
FARTHEST = 1e140  # coordinates in standard deviations: squares, and sums of them, stay finite
MAX_STEPS = 2000
# A climb follows the flow along the fixed-point iteration's steps, which by themselves jump over
# peaks and borders: at `pace` 1 it goes a quarter of a standard deviation, or a tenth of the step
# if that is more, and beyond 1e4 standard deviations, where no data are, as far as there. Of
# 32,000 rows of 32 mixtures 44 end elsewhere than the flow does at pace 1, 23 at `FINE`.
LONGEST, LONGEST_PART, FAR = 0.25, 0.1, 1e4
FINE = 0.4
# Along a ridge, where steps are short and keep their direction, they grow up to the same length.
PLAIN_STEPS = 3
GROWTH, STRAIGHT = 2.0, 0.99
SMALL_MATRIX = 24  # features up to which systems are solved elementwise over rows
STUCK = 1e-13  # a step of fewer standard deviations is rounding
# Of the mean precision: eigenvalues of the curvature, or pivots of its Cholesky factor, above it.
CONCAVE = 1e-4


class Slope(NamedTuple):
    """Derivatives of the log density at m points, in the landscape's coordinates."""

    gradient: np.ndarray  # (m, D)
    curvature: np.ndarray  # (m, D, D): minus the Hessian
    precision: np.ndarray  # (m, D, D): mean precision of the components, by their shares
    newton: np.ndarray  # (m, D): the step to where the gradient would vanish; by `concave` only
    concave: np.ndarray  # (m,) bool: surely, by `CONCAVE`; all else takes a closer look


class Landscape:
    """A mixture in coordinates z with x = centre + L z, in which it is about one unit wide.

    L is the Cholesky factor of the pooled within-component covariance, so that neither the units
    of the features nor what all components have in common, correlations included, costs digits.
    Components of weight 0 are left out.

    Parameters
    ----------
    parameters : Parameters
        The mixture as the kernels read it.
    weights : (K,)
    covariances : (K, D, D), (D, D) or anything
        Read where the factors are dense.

    Attributes
    ----------
    components : ndarray (K',)
        Indices of the components with positive weight; K' is written K below.
    parameters : Parameters
        These components in the coordinates z.
    precisions : ndarray (K, D) or (K, D, D)
    """

    def __init__(self, parameters: Parameters, weights: np.ndarray, covariances) -> None:
        self.components = np.flatnonzero(weights > 0.0)
        chosen = self.components
        weights = weights[chosen]
        kind, _, means, factors, _ = parameters
        means = means[chosen]
        self.n_features = means.shape[1]
        self._set_axes(kind, weights, factors, covariances)
        self.centre = _centre(means)
        if kind == contract.FACTOR_SHARED:
            factors = np.ones_like(means)
        elif kind == contract.FACTOR_DIAG:
            factors = factors[chosen] * self.root
        else:
            scaled = factors[chosen] * self.scale
            factors = np.tril(scaled @ self.root)
        self.diagonal = factors.ndim == 2
        diagonals = factors if self.diagonal else np.diagonal(factors, axis1=1, axis2=2)
        log_coefficients = np.log(weights) + np.log(diagonals).sum(axis=1)
        log_coefficients -= 0.5 * self.n_features * np.log(2.0 * np.pi)
        self._extremes: tuple[np.ndarray, np.ndarray] | None = None
        self.means = np.ascontiguousarray(self.coordinates(means))
        self.parameters = Parameters(
            contract.FACTOR_DIAG if self.diagonal else contract.FACTOR_FULL,
            log_coefficients,
            self.means,
            np.ascontiguousarray(factors),
            np.zeros(self.n_features),
        )
        if self.diagonal:
            self.precisions = factors**2
            moments = self.precisions * self.means
            table = [self.precisions, moments]
        else:
            self.precisions = factors.transpose(0, 2, 1) @ factors
            moments = np.einsum("kde,ke->kd", self.precisions, self.means)
            self._lower = np.tril_indices(self.n_features)
            table = [self.precisions[:, *self._lower], moments]
        self._table = np.ascontiguousarray(np.concatenate(table, axis=1))
        values = self._table.shape[1] + 2 * len(means) + self.n_features**2 * (not self.diagonal)
        self.block_rows = int(np.clip(BLOCK_VALUES // values, SMALLEST_BLOCK, LARGEST_BLOCK))

    def _set_axes(self, kind: int, weights, factors, covariances) -> None:
        """`scale` (D,), powers of two, and `root`: (D,), or (D, D) within scaled features."""
        share = weights / weights.sum()
        if kind == contract.FACTOR_DIAG:
            deviations = 1.0 / factors[self.components]
            unit = 2.0 ** np.round(np.log2(deviations.max(axis=0)))
            self.scale = np.ones(self.n_features)
            self.root = unit * np.sqrt(share @ (deviations / unit) ** 2)
            return
        shared = kind == contract.FACTOR_SHARED
        dense = covariances[None] if shared else covariances[self.components]
        variances = np.diagonal(dense, axis1=1, axis2=2)
        self.scale = 2.0 ** np.round(0.5 * np.log2(variances.max(axis=0)))
        scaled = dense / self.scale[:, None] / self.scale
        self.root = np.linalg.cholesky(scaled[0] if shared else np.tensordot(share, scaled, 1))

    @property
    def extreme_precisions(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) smallest and largest eigenvalue of each component's precision, in coordinates z."""
        # No cached_property: before Python 3.12 it holds a lock, which a fork may take along.
        if self._extremes is None:
            values = self.precisions if self.diagonal else np.linalg.eigvalsh(self.precisions)
            self._extremes = values.min(axis=1), values.max(axis=1)
        return self._extremes

    def coordinates(self, X: np.ndarray) -> np.ndarray:
        """(n, D) coordinates z of rows x, feature-major in memory; each row by itself."""
        out = np.empty((self.n_features, len(X)))
        with np.errstate(over="ignore", invalid="ignore"):
            for d in range(self.n_features):
                gap = X[:, d].astype(float) - self.centre[d]
                if self.root.ndim == 1:
                    out[d] = gap / self.root[d]
                else:
                    out[d] = gap / self.scale[d]
                    for e in range(d):
                        out[d] -= self.root[d, e] * out[e]
                    out[d] /= self.root[d, d]
                np.clip(out[d], -FARTHEST, FARTHEST, out=out[d])
        return out.T

    def positions(self, Z: np.ndarray) -> np.ndarray:
        """(n, D) rows x of coordinates z."""
        moved = Z * self.root if self.root.ndim == 1 else (Z @ self.root.T) * self.scale
        return self.centre + moved

    def shares(self, Z: np.ndarray) -> np.ndarray:
        """(n, K) posterior probabilities at coordinates Z."""
        out = np.empty((len(Z), len(self.means)))
        backends.active().evaluate(Z, self.parameters, contract.WANT_RESPONSIBILITIES, out, 1)
        return out

    def mahalanobis(self, Z: np.ndarray) -> np.ndarray:
        """(n, K) Mahalanobis distances to the components at coordinates Z."""
        out = np.empty((len(Z), len(self.means)))
        backends.active().evaluate(Z, self.parameters, contract.WANT_MAHALANOBIS, out, 1)
        return out

    def log_joint(self, Z: np.ndarray) -> np.ndarray:
        """(n, K) log joint densities at coordinates Z, per unit volume of z."""
        out = np.empty((len(Z), len(self.means)))
        backends.active().evaluate(Z, self.parameters, contract.WANT_LOG_JOINT, out, 1)
        return out

    def step(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step (D, n) of the fixed-point iteration, and its length (n,) in standard deviations.

        To ``(sum_k r_k S_k^-1)^-1 sum_k r_k S_k^-1 mu_k``, with r_k the posterior probabilities;
        the log density rises all along it. Carreira-Perpinan (2000), IEEE Transactions on Pattern
        Analysis and Machine Intelligence 22(11), 1318-1323. A row's bits do not depend on
        the other rows: sums are elementwise over rows, without BLAS.
        """
        n, kernel = self.n_features, backends.active().ascend
        if kernel is not None and not self.diagonal:
            Z, steps, length = np.ascontiguousarray(Z), np.empty((len(Z), n)), np.empty(len(Z))
            kernel(Z, self.shares(Z), self._table, steps, length)
            return steps.T, length
        shares = np.ascontiguousarray(self.shares(Z).T)
        sums = np.einsum("kn,kf->fn", shares, self._table)
        if self.diagonal:
            step = sums[n:] / sums[:n] - Z.T
            return step, np.sqrt((sums[:n] * step * step).sum(axis=0))
        matrix = np.zeros((n, n, len(Z)))
        matrix[self._lower] = sums[:-n]
        if n > SMALL_MATRIX:
            # LAPACK, one matrix at a time.
            matrix[self._lower[::-1]] = sums[:-n]
            matrices, right = np.ascontiguousarray(matrix.transpose(2, 0, 1)), sums[-n:].T
            step = np.linalg.solve(matrices, right[:, :, None])[:, :, 0].T - Z.T
            length = np.array([v @ m @ v for m, v in zip(matrices, step.T, strict=True)])
            return step, np.sqrt(length)
        step = _solve(matrix, sums[-n:]) - Z.T
        length = np.zeros(len(Z))
        for d in range(n):
            # `matrix` holds the Cholesky factor now: |C^T step|^2.
            length += (matrix[d:, d] * step[d:]).sum(axis=0) ** 2
        return step, np.sqrt(length)

    def climb(
        self,
        Z: np.ndarray,
        basins,
        limit: int = MAX_STEPS,
        until: float = STUCK,
        pace: float = FINE,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Climb from each row of Z; the ball (n,) it ends in or -1, and where (n, D) it stopped.

        Rows climb until they are in one of `basins`, `limit` steps are done, or a step is shorter
        than `until` standard deviations. Each row by itself: no bit depends on the other rows.
        A smaller `pace` is closer to the flow.
        """
        plain = min(1.0, pace)
        label = np.full(len(Z), -1)
        stopped = np.array(Z)
        rows = np.arange(len(Z))
        moving = stopped.T.copy(), np.zeros(Z.shape[::-1]), np.full((1, len(Z)), plain)
        for count in range(limit):
            inside = basins.of(moving[0].T)
            label[rows] = inside
            rows, moving = _kept(inside < 0, rows, moving, stopped)
            if not len(rows):
                break
            step, length = self.step(moving[0].T)
            z, before, stretch = moving
            longest = _longest_part(length, pace)
            if count >= PLAIN_STEPS:
                # Along a ridge steps shrink or grow slowly and keep their direction.
                along = (step * before).sum(axis=0)
                norms = np.sqrt((step * step).sum(axis=0)) * np.sqrt((before * before).sum(axis=0))
                straight = along > STRAIGHT * norms
                stretch = np.where(straight, GROWTH * stretch, plain)
            stretch = np.minimum(stretch, longest)
            going = length > until
            moving = np.where(going, z + stretch * step, z), step, stretch
            rows, moving = _kept(going, rows, moving, stopped)
            if not len(rows):
                break
        stopped[rows] = moving[0].T
        return label, stopped

    def slope(self, Z: np.ndarray) -> Slope:
        """Gradient and curvature of the log density at each row of Z; O(n K D^2), held too."""
        shares, kernel = self.shares(Z), backends.active().slopes
        if kernel is not None and not self.diagonal:
            return self._compiled_slope(kernel, np.ascontiguousarray(Z), shares)
        gap = self.means - Z[:, None]
        if self.diagonal:
            pull = self.precisions * gap
            precision = np.zeros((len(Z), self.n_features, self.n_features))
            np.einsum("mdd->md", precision)[...] = shares @ self.precisions
        else:
            # Through the factors: the precisions alone would lose digits of narrow components.
            factors = self.parameters.factors
            whitened = np.matmul(gap.transpose(1, 0, 2), factors.transpose(0, 2, 1))
            pull = np.matmul(whitened, factors).transpose(1, 0, 2)
            flat = shares @ self.precisions.reshape(len(self.means), -1)
            precision = flat.reshape(-1, self.n_features, self.n_features)
        gradient = np.einsum("mk,mkd->md", shares, pull)
        off = np.subtract(pull, gradient[:, None], out=gap)
        off *= np.sqrt(shares)[:, :, None]
        curvature = precision - off.transpose(0, 2, 1) @ off
        least = CONCAVE / self.n_features * np.einsum("mdd->m", precision)
        concave = np.linalg.eigvalsh(curvature)[:, 0] > least
        newton = np.zeros_like(gradient)
        solution = np.linalg.solve(curvature[concave], gradient[concave][:, :, None])
        newton[concave] = solution[:, :, 0]
        return Slope(gradient, curvature, precision, newton, concave)

    def _compiled_slope(self, kernel, Z: np.ndarray, shares: np.ndarray) -> Slope:
        gradient, newton = np.empty((2, *Z.shape))
        curvature, precision = np.empty((2, len(Z), self.n_features, self.n_features))
        concave = np.empty(len(Z))
        kernel(
            Z,
            self.means,
            self.parameters.factors,
            self._table,
            shares,
            gradient,
            curvature,
            precision,
            newton,
            concave,
        )
        return Slope(gradient, curvature, precision, newton, concave > 0.0)


def _longest_part(length: np.ndarray, pace: float) -> np.ndarray:
    """How many times a step of so many standard deviations a climb may go without a jump."""
    length = np.maximum(length, STUCK)
    part = np.maximum(pace * LONGEST / length, min(1.0, pace * LONGEST_PART))
    return np.maximum(part, 1.0 - FAR / length)


def _centre(means: np.ndarray) -> np.ndarray:
    """(D,) what is taken off each feature: an offset, where that is exact, or else 0.

    Numbers within a factor of two of each other differ by a number of double precision (Sterbenz
    1974). Where the spread of the means exceeds their offset nothing needs to be taken off.
    """
    low, high = means.min(axis=0), means.max(axis=0)
    smallest = np.where(low > 0.0, low, np.where(high < 0.0, high, 0.0))
    largest = np.where(low > 0.0, high, low)
    return np.where(np.abs(largest) <= 2.0 * np.abs(smallest), smallest, 0.0)


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions (D, n) of n symmetric positive definite systems, (D, D, n) and (D, n).

    Cholesky's method, elementwise over the n systems; `matrix` is overwritten with the factors.
    """
    n = len(matrix)
    out = right.copy()
    for d in range(n):
        matrix[d:, d] /= np.sqrt(matrix[d, d])
        below = matrix[d + 1 :, d]
        matrix[d + 1 :, d + 1 :] -= below[:, None] * below  # above the diagonal too: fewer calls
        out[d] /= matrix[d, d]
        out[d + 1 :] -= matrix[d + 1 :, d] * out[d]
    for d in reversed(range(n)):
        out[d] /= matrix[d, d]
        out[:d] -= matrix[d, :d] * out[d]
    return out


def _kept(going: np.ndarray, rows: np.ndarray, moving: tuple, stopped: np.ndarray) -> tuple:
    """`rows` and `moving` (arrays (., n)) of those still `going`; the others' z is `stopped`.

    Fewer than eight are filled up by repetition: with one row left NumPy would sum along another
    axis, in another order.
    """
    kept = np.flatnonzero(going)
    if len(kept) == len(rows) >= 8:
        return rows, moving
    stopped[rows] = moving[0].T
    if 0 < len(kept) < 8:
        kept = np.resize(kept, 8)
    return rows[kept], tuple(np.ascontiguousarray(part[:, kept]) for part in moving)
