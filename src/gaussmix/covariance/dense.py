"""Families with correlations: a matrix per component, or one shared by all."""

from __future__ import annotations

import numpy as np

from .. import backends
from ..errors import InvalidInputError
from ..kernels import contract
from .base import CovarianceFamily, Floor, singular

SYMMETRY_RTOL = 1e-8  # of sqrt(S_ii S_jj): what a user's own arithmetic may leave


class Full(CovarianceFamily):
    """Ellipsoids of any shape: matrices (K, D, D); mclust's VVV."""

    name = "full"
    layout = "full"
    factor_kind = contract.FACTOR_FULL
    step_code = contract.STEP_FULL

    def shape(self, n_components, n_features):
        return (n_components, n_features, n_features)

    def n_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2

    def check(self, covariances):
        check_symmetric(covariances, shared=False)
        require_factors(covariances, shared=False)

    def factor(self, covariances):
        return precision_factors(covariances, shared=False)

    def covariance(self, statistics, mass, offset):
        return statistics.second / mass[:, None, None] - offset[:, :, None] * offset[:, None, :]

    def raise_to(self, floor, covariances):
        return clip_eigenvalues(covariances, floor)

    def keep(self, covariances, previous, empty):
        return np.where(empty[:, None, None], previous, covariances)

    def dense(self, covariances, n_components, n_features):
        return covariances

    def marginal(self, covariances, features):
        return covariances[:, features][:, :, features]

    def condition(self, covariances, given, rest):
        return schur_complement(covariances, given, rest, shared=False)


class Tied(CovarianceFamily):
    """One matrix (D, D) for all components; mclust's EEE."""

    name = "tied"
    layout = "pooled"
    factor_kind = contract.FACTOR_SHARED
    step_code = contract.STEP_TIED

    def shape(self, n_components, n_features):
        return (n_features, n_features)

    def n_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2

    def check(self, covariances):
        check_symmetric(covariances[None], shared=True)
        require_factors(covariances[None], shared=True)

    def factor(self, covariances):
        factors, log_determinants = precision_factors(covariances[None], shared=True)
        return factors[0], log_determinants[0]

    def covariance(self, statistics, mass, offset):
        moved = np.sqrt(statistics.mass)[:, None] * offset  # so that the product is symmetric
        between = np.einsum("kd,ke->de", moved, moved)
        return (statistics.second - between) / statistics.mass.sum()

    def raise_to(self, floor, covariances):
        covariances, floored = clip_eigenvalues(covariances[None], floor)
        return covariances[0], floored

    def keep(self, covariances, previous, empty):
        return covariances

    def dense(self, covariances, n_components, n_features):
        return np.broadcast_to(covariances, (n_components, n_features, n_features))

    def marginal(self, covariances, features):
        return covariances[features][:, features]

    def condition(self, covariances, given, rest):
        slopes, schur = schur_complement(covariances[None], given, rest, shared=True)
        return slopes, schur[0]


def check_symmetric(covariances: np.ndarray, shared: bool) -> None:
    """Raise InvalidInputError at the first matrix of (K, D, D) that is not symmetric."""
    for component, matrix in enumerate(covariances):
        scale = np.sqrt(np.abs(np.diagonal(matrix)))
        gap = np.abs(matrix - matrix.T)
        if not (gap <= SYMMETRY_RTOL * scale[:, None] * scale).all():
            i, j = np.unravel_index(gap.argmax(), gap.shape)
            which = "" if shared else f" of component {component}"
            raise InvalidInputError(
                f"the covariance{which} is not symmetric: entry ({i}, {j}) is "
                f"{matrix[i, j]:g} and ({j}, {i}) is {matrix[j, i]:g}; use (S + S.T) / 2."
            )


def require_factors(covariances: np.ndarray, shared: bool) -> None:
    """Raise InvalidInputError at the first matrix of (K, D, D) without a Cholesky factor."""
    failed = _factorise(covariances)[0]
    if failed >= 0:
        which = "" if shared else f" of component {failed}"
        smallest = np.linalg.eigvalsh(covariances[failed]).min()
        raise InvalidInputError(
            f"the covariance{which} is not positive definite: its smallest eigenvalue is "
            f"{smallest:.6g}; it must be positive. Add a small multiple of the identity."
        )


def precision_factors(covariances: np.ndarray, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lower-triangular P_k with P_k S_k P_k^T = I (K, D, D), and log det P_k (K,); O(K D^3).

    P is the inverse of the Cholesky factor, which is insensitive to the features' units.
    Raises DegenerateFitError if a covariance has none.
    """
    failed, factors, log_determinants = _factorise(covariances)
    if failed >= 0:
        matrix = covariances[failed]
        smallest = np.linalg.eigvalsh(matrix).min() if np.isfinite(matrix).all() else np.nan
        raise singular(None if shared else failed, f"smallest eigenvalue {smallest:.3g}")
    return factors, log_determinants


def clip_eigenvalues(covariances: np.ndarray, floor: Floor) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (K, D, D) whose eigenvalues, in floored coordinates, are at least the floor's.

    Only where the Cholesky factorisation of ``scaled - relative * I`` fails is an eigenvalue
    below the floor, so that the ordinary iteration needs no eigenvalues.
    """
    floored = np.zeros(len(covariances), dtype=bool)
    if floor.relative == 0.0:
        return covariances, floored
    scale = floor.scale[:, None] * floor.scale
    scaled = covariances / scale
    shifted = scaled - floor.relative * np.eye(len(floor.scale))
    if _factorise(shifted)[0] < 0:
        return covariances, floored
    clipped = covariances.copy()
    for component, matrix in enumerate(shifted):
        if not has_factor(matrix):
            values, vectors = np.linalg.eigh(scaled[component])
            values = np.maximum(values, floor.relative)
            raised = (vectors * values) @ vectors.T
            clipped[component] = 0.5 * (raised + raised.T) * scale
            floored[component] = True
    return clipped, floored


def schur_complement(
    covariances: np.ndarray, given: list[int], rest: list[int], shared: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes S_rg S_gg^-1 (K, M, F) and S_rr - S_rg S_gg^-1 S_gr (K, M, M); O(K D^3).

    From the Cholesky factor L of the matrix with the given features first: the slopes are
    L_rg L_gg^-1, and the complement is L_rr L_rr^T. Nothing is subtracted or squared, so that it
    stays positive definite and the features' units do not matter.
    """
    order = [*given, *rest]
    n_given = len(given)
    slopes = np.empty((len(covariances), len(rest), n_given))
    complements = np.empty((len(covariances), len(rest), len(rest)))
    for component, matrix in enumerate(covariances):
        try:
            lower = np.linalg.cholesky(matrix[np.ix_(order, order)])
        except np.linalg.LinAlgError:
            which = "the covariance" if shared else f"the covariance of component {component}"
            raise InvalidInputError(
                f"{which} is too close to singular to take its features in the order {order[:8]}"
                f"{'...' if len(order) > 8 else ''}. Leave out features that follow from others."
            ) from None
        # Of an upper triangle the general solver does the back substitution alone.
        slopes[component] = np.linalg.solve(
            lower[:n_given, :n_given].T, lower[n_given:, :n_given].T
        ).T
        remaining = lower[n_given:, n_given:]
        complements[component] = np.tril(remaining @ remaining.T)
    # Mirrored: a product of BLAS need not be symmetric to the bit.
    complements += np.tril(complements, -1).swapaxes(1, 2)
    return slopes, complements


def has_factor(matrix: np.ndarray) -> bool:
    """Whether the matrix (D, D) is positive definite in floating point."""
    return _factorise(matrix[None])[0] < 0


def _factorise(covariances: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The backend's kernel: first failing component or -1, factors and log determinants."""
    n_components, n_features, _ = covariances.shape
    factors = np.empty((n_components, n_features, n_features))
    log_determinants = np.empty(n_components)
    failed = backends.active().factorise(
        np.ascontiguousarray(covariances), factors, log_determinants
    )
    return failed, factors, log_determinants
