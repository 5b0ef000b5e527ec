"""The kernels in plain NumPy: what the other backends have to compute, and the last resort.

Every block is copied to a float64 array (D, block) of one fixed shape, short blocks are padded, and
sums go through einsum without BLAS: so no sum depends on X's memory order, on the rows around a row
or on a thread count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .arguments import check_accumulate, check_combine, check_evaluate
from .contract import (
    FACTOR_DIAG,
    FACTOR_SHARED,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    LAYOUT_POOLED,
    LAYOUT_SPHERICAL,
    RULE_HARD,
    RULE_SOFT,
    RULE_TEMPERED,
    SOFT,
    WANT_LABELS,
    WANT_LOG_JOINT,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    Offsets,
    Parameters,
    Plan,
    RuleCall,
    offsets,
)
from .contract import combine as sum_of

NAME = "reference"
LEVEL = "numpy"

EVALUATE_BLOCK = 64  # rows; one row costs as much as a block, so a small one


# SplitMix64: contract.RuleCall names its source.
GOLDEN = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class _Posterior(NamedTuple):
    """What the rule makes of a block's log joint densities (K, block)."""

    responsibilities: np.ndarray  # (K, block)
    logpdf: np.ndarray  # (block,)
    largest: np.ndarray  # (block,): the largest log joint density
    entropy: np.ndarray  # (block,)


def accumulate(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    first_row: int,
    parameters: Parameters,
    layout: int,
    rule: RuleCall,
    accumulators: np.ndarray,
    plan: Plan,
    n_threads: int,
) -> int:
    """-1, or the first row of X with NaN or infinity; adds the rows' statistics to `accumulators`.

    Parameters
    ----------
    X : ndarray (n, D)
        float32 or float64, any strides; read only.
    sample_weight : ndarray (n,) or None
        float64, contiguous, >= 0. Rows of weight 0 add nothing.
    first_row : int
        Global number of the first row, a multiple of ``plan.slot_rows``.
    parameters : Parameters
        The mixture; the moments are gathered around its means.
    layout : int
        A LAYOUT_ code.
    rule : RuleCall
        With the parameters that a RULE_ code needs.
    accumulators : ndarray (plan.n_accumulators, size)
        Added to in place; unspecified when a row is reported. Slot s adds to row
        ``s % n_accumulators``, and slots add in increasing order. The first slot of a row,
        ``s < n_accumulators``, does not add to what the row holds but overwrites it.
    plan : Plan
        From ``contract.plan``.
    n_threads : int
        Accepted and not used here.

    Returns
    -------
    int
        -1, or the smallest local index of a row that holds NaN or infinity.

    Notes
    -----
    Costs O(n K D^2) for full factors or the full layout, O(n (D^2 + K D)) for shared factors with
    the pooled layout, O(n K D) otherwise. Needs memory for a few blocks only.
    """
    check_accumulate(X, sample_weight, first_row, parameters, layout, rule, accumulators, plan)
    parts = offsets(*parameters.means.shape, layout)
    for start, block in _blocks(X, plan.block):
        stop = min(start + plan.block, len(X))
        bad = _first_nonfinite(block)
        if bad >= 0:
            return start + bad
        # Padding has weight 0, so it adds nothing.
        weight = np.zeros(plan.block)
        weight[: stop - start] = 1.0 if sample_weight is None else sample_weight[start:stop]
        slot = (first_row + start) // plan.slot_rows
        accumulator = accumulators[slot % plan.n_accumulators]
        if start % plan.slot_rows == 0 and slot < plan.n_accumulators:
            accumulator[:] = 0.0
        with np.errstate(all="ignore"):
            log_joint = _log_joint(_squared_distances(block, parameters), parameters)
            rows = np.arange(plan.block, dtype=np.uint64) + np.uint64(first_row + start)
            posterior = _posterior(log_joint, parameters.log_coefficients, rule, rows)
            _add_scalars(weight, posterior, accumulator[parts.scalars :])
            if rule.code == RULE_HARD:
                counted = weight > 0.0
                labels = posterior.responsibilities.argmax(axis=0)
                numbers = splitmix64(labels[counted], rows[counted])
                _add_labels(numbers, accumulator[parts.scalars + 4 :])
            _add_moments(block, weight, posterior, parameters, layout, parts, accumulator)
    return -1


def combine(
    accumulators: np.ndarray, means: np.ndarray, layout: int, total: np.ndarray, n_threads: int
) -> None:
    """Write the sum of `accumulators` (V, S) into `total` (S,), as ``contract.combine`` states.

    `means` (K, D) are those that the moments were gathered around; `n_threads` is not used here.
    """
    check_combine(accumulators, means, layout, total)
    total[:] = sum_of(accumulators, means, layout)


def evaluate(
    X: np.ndarray, parameters: Parameters, want: int, out: np.ndarray, n_threads: int
) -> int:
    """-1, or the first row of X with NaN or infinity; writes what is wanted of each row to `out`.

    Parameters
    ----------
    X : ndarray (n, D)
        float32 or float64, any strides; read only.
    parameters : Parameters
        The mixture.
    want : int
        A WANT_ code.
    out : ndarray (n, K) or (n,)
        float64, int64 for labels; C-contiguous. A row's result does not depend on other rows.
    n_threads : int
        Accepted and not used here.

    Returns
    -------
    int
        -1, or the smallest index of a row that holds NaN or infinity; `out` is then unspecified.
    """
    check_evaluate(X, parameters, want, out)
    for start, block in _blocks(X, EVALUATE_BLOCK):
        bad = _first_nonfinite(block)
        if bad >= 0:
            return start + bad
        stop = min(start + EVALUATE_BLOCK, len(X))
        with np.errstate(all="ignore"):
            result = _wanted(_squared_distances(block, parameters), parameters, want)
        out[start:stop] = result.T[: stop - start]
    return -1


def factorise(covariances: np.ndarray, factors: np.ndarray, log_determinants: np.ndarray) -> int:
    """-1, or the first component whose covariance has no Cholesky factor.

    Parameters
    ----------
    covariances : ndarray (K, D, D)
        float64, C-contiguous; only lower triangles are read.
    factors : ndarray (K, D, D)
        Written: lower-triangular P_k with P_k S_k P_k^T = I, zeros above. Unspecified from the
        failing component on.
    log_determinants : ndarray (K,)
        Written: log det P_k.
    """
    for k, covariance in enumerate(covariances):
        try:
            lower = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return k
        if not np.isfinite(lower).all():
            return k
        inverse = factors[k]
        inverse[:] = 0.0
        for i, pivot in enumerate(np.diagonal(lower)):
            inverse[i, :i] = -np.einsum("j,je->e", lower[i, :i], inverse[:i, :i]) / pivot
            inverse[i, i] = 1.0 / pivot
        log_determinants[k] = -np.log(np.diagonal(lower)).sum()
    return -1


def _blocks(X: np.ndarray, n_rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """(start, float64 block (D, n_rows)) for the rows of X in order; the last one zero-padded."""
    for start in range(0, len(X), n_rows):
        rows = X[start : start + n_rows]
        block = np.zeros((X.shape[1], n_rows))
        block[:, : len(rows)] = rows.T
        yield start, block


def _first_nonfinite(block: np.ndarray) -> int:
    """Smallest column of the block that holds NaN or infinity, or -1."""
    bad = ~np.isfinite(block).all(axis=0)
    return int(bad.argmax()) if bad.any() else -1


def _squared_distances(block: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Squared Mahalanobis distances (K, block); infinity where they overflow, never NaN."""
    kind, _, means, factors, centre = parameters
    squared = np.empty((len(means), block.shape[1]))
    if kind == FACTOR_SHARED:
        factor = np.tril(factors)
        whitened = np.einsum("de,eb->db", factor, block - centre[:, None])
        whitened_means = np.einsum("de,ke->kd", factor, means - centre)
    for k, mean in enumerate(means):
        if kind == FACTOR_DIAG:
            residual = factors[k][:, None] * (block - mean[:, None])
        elif kind == FACTOR_SHARED:
            residual = whitened - whitened_means[k][:, None]
        else:
            residual = np.einsum("de,eb->db", np.tril(factors[k]), block - mean[:, None])
        squared[k] = np.einsum("db,db->b", residual, residual)
    # inf - inf on the way to a distance that overflows.
    squared[np.isnan(squared)] = np.inf
    return squared


def _log_joint(squared: np.ndarray, parameters: Parameters) -> np.ndarray:
    return parameters.log_coefficients[:, None] - 0.5 * squared


def splitmix64(seed: int | np.ndarray, n: np.ndarray) -> np.ndarray:
    """(n,) uint64: the outputs of numbers `n` (uint64), counted from 0, of SplitMix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (n + np.uint64(1)) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(MULTIPLIERS[0])
        z = (z ^ (z >> np.uint64(27))) * np.uint64(MULTIPLIERS[1])
        return z ^ (z >> np.uint64(31))


def _uniforms(rule: RuleCall, rows: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) for the rows of these global numbers."""
    key = splitmix64(rule.seed, np.array([rule.iteration], dtype=np.uint64))[0]
    return (splitmix64(key, rows) >> np.uint64(12)) * 2.0**-52


def _below_largest(
    log_joint: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The largest log joint density of each row (block,), and how far below it they are.

    A row for which no component has a density that float64 can hold is as near to all of positive
    weight.
    """
    largest = log_joint.max(axis=0)
    share = np.where(coefficients > -np.inf, 0.0, -np.inf)[:, None]
    return largest, np.where(np.isneginf(largest), share, log_joint - largest)


def _posterior(
    log_joint: np.ndarray, coefficients: np.ndarray, rule: RuleCall, rows: np.ndarray
) -> _Posterior:
    """Responsibilities and the block's per-row numbers under `rule`."""
    largest, below = _below_largest(log_joint, coefficients)
    scaled = np.exp(below)
    total = np.add.reduce(scaled, axis=0)
    logpdf = largest + np.log(total)
    if rule.code in (RULE_SOFT, RULE_TEMPERED):
        if rule.code == RULE_TEMPERED:
            below = rule.beta * below
            scaled = np.exp(below)
            total = np.add.reduce(scaled, axis=0)
        surprise = np.where(scaled > 0.0, scaled * below, 0.0)
        entropy = np.log(total) - np.add.reduce(surprise, axis=0) / total
        return _Posterior(scaled / total, logpdf, largest, entropy)
    if rule.code == RULE_HARD:
        labels = below.argmax(axis=0)
    else:
        cumulative = np.add.accumulate(scaled, axis=0)
        threshold = _uniforms(rule, rows) * cumulative[-1]
        labels = (cumulative <= threshold).sum(axis=0)
    responsibilities = (np.arange(len(below))[:, None] == labels).astype(np.float64)
    return _Posterior(responsibilities, logpdf, largest, np.zeros_like(largest))


def _wanted(squared: np.ndarray, parameters: Parameters, want: int) -> np.ndarray:
    """What `want` names for a block: (K, block) or (block,)."""
    if want == WANT_MAHALANOBIS:
        return np.sqrt(squared)
    log_joint = _log_joint(squared, parameters)
    if want == WANT_LOG_JOINT:
        return log_joint
    if want == WANT_LABELS:
        return _below_largest(log_joint, parameters.log_coefficients)[1].argmax(axis=0)
    posterior = _posterior(log_joint, parameters.log_coefficients, SOFT, np.empty(0))
    return posterior.logpdf if want == WANT_LOGPDF else posterior.responsibilities


def _add_scalars(weight: np.ndarray, posterior: _Posterior, scalars: np.ndarray) -> None:
    for i, value in enumerate((posterior.logpdf, posterior.largest, posterior.entropy)):
        # A row of weight 0 adds nothing, even where its density is -inf.
        scalars[i] += np.where(weight > 0.0, weight * value, 0.0).sum()
    scalars[3] += weight.sum()


def _add_labels(numbers: np.ndarray, halves: np.ndarray) -> None:
    """Adds uint64 `numbers` to a sum modulo 2^64 that is kept as its lower and upper half."""
    total = int(halves[0]) + (int(halves[1]) << 32) + int(numbers.sum())
    halves[:2] = total & 0xFFFFFFFF, total >> 32 & 0xFFFFFFFF


def _add_moments(
    block: np.ndarray,
    weight: np.ndarray,
    posterior: _Posterior,
    parameters: Parameters,
    layout: int,
    parts: Offsets,
    accumulator: np.ndarray,
) -> None:
    """Adds mass, first and second moments of the block to `accumulator`."""
    n_components, n_features = parameters.means.shape
    mass = accumulator[: parts.first]
    first = accumulator[parts.first : parts.second].reshape(n_components, n_features)
    second = accumulator[parts.second : parts.pairs]
    weighted = weight * posterior.responsibilities
    for k, mean in enumerate(parameters.means):
        delta = block - mean[:, None]
        # The factor is applied first: 0 times a square that overflows would be NaN.
        scaled = np.where(weighted[k] > 0.0, weighted[k] * delta, 0.0)
        delta[:, weighted[k] == 0.0] = 0.0
        mass[k] += weighted[k].sum()
        first[k] += np.einsum("db->d", scaled)
        if layout == LAYOUT_SPHERICAL:
            second[k] += np.einsum("db,db->d", scaled, delta).sum()
        elif layout == LAYOUT_DIAG:
            second.reshape(first.shape)[k] += np.einsum("db,db->d", scaled, delta)
        elif layout == LAYOUT_FULL:
            products = np.tril(np.einsum("db,eb->de", scaled, delta))
            second.reshape(n_components, n_features, n_features)[k] += products
    if layout == LAYOUT_POOLED:
        pairs = accumulator[parts.pairs : parts.scalars].reshape(n_components, n_components)
        _add_pooled(block, weighted, weight, posterior, parameters, second, pairs)


def _add_pooled(
    block: np.ndarray,
    weighted: np.ndarray,
    weight: np.ndarray,
    posterior: _Posterior,
    parameters: Parameters,
    second: np.ndarray,
    pairs: np.ndarray,
) -> None:
    """Adds the block's pooled second moments around each row's most responsible component.

    With j that component, delta = x - mu_j and g = sum_k r_k (mu_j - mu_k),
    sum_k r_k (x - mu_k)(x - mu_k)^T = delta delta^T + delta g^T + g delta^T
    + sum_k r_k (mu_j - mu_k)(mu_j - mu_k)^T; the last sum is left to `combine`.
    """
    means = parameters.means
    labels = posterior.responsibilities.argmax(axis=0)
    delta = block - means[labels].T
    gap = np.zeros_like(block)
    for k, mean in enumerate(means):
        gap += posterior.responsibilities[k] * (means[labels] - mean).T
    delta[:, weight == 0.0] = 0.0
    products = np.einsum("db,eb->de", weight * (delta + gap), delta)
    products += np.einsum("db,eb->de", weight * delta, gap)
    second += np.tril(products).ravel()
    for k in range(len(means)):
        own = labels == k
        column = np.einsum("kb->k", np.where(own, weighted, 0.0))
        column[k] = 0.0
        pairs[k] += column
