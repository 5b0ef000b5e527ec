"""The M-steps of the basic families for the Numba backend: sums of a state to the next parameters.

The formulas of covariance/*.py for the ordinary case, as in _maximise.pxi. Compiled without any
licence to contract or reorder: the bits are those of the operations as they stand, whichever
compiled function a step becomes a part of. States are flat, and filled by loops: for Numba every
array that a function takes and every slice is dear to compile.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .contract import STEP_DIAG, STEP_FULL, STEP_MEANS, STEP_TIED
from .numba_tiles import exact

EMPTY_SHARE = 2.0**-52  # as in covariance/base.py
LOG_2_PI = math.log(2.0 * math.pi)


class Places(NamedTuple):
    """Where the parts of a flat state begin, as contract has it: a mixture, then its sums."""

    means: int
    covariances: int
    coefficients: int
    factors: int
    centre: int
    mass: int
    first: int
    second: int
    pairs: int
    scalars: int


class Fit(NamedTuple):
    """What an M-step needs beside the states `now` and `then`."""

    step: int
    n_components: int
    n_features: int
    scale: np.ndarray  # D: the features' standard deviations
    relative: float  # the floor in scaled coordinates
    scratch: np.ndarray  # offsets (K D), first / mass; then two matrices (D D)
    at: Places


@exact
def fit_of(step, n_components, n_features, scale, relative, parts, sums):
    """The M-step `step`, from contract's StateParts and Offsets, with scratch memory of its own."""
    means, covariances, coefficients, factors, centre, mass, _ = parts
    first, second, pairs, scalars, _ = sums
    at = Places(
        means, covariances, coefficients, factors, centre,
        mass, mass + first, mass + second, mass + pairs, mass + scalars,
    )  # fmt: skip
    scratch = np.empty(n_components * n_features + 2 * n_features * n_features)
    return Fit(step, n_components, n_features, scale, relative, scratch, at)


@exact
def maximise_state(fit, now, then):
    """One M-step of the family; False where it is not an ordinary one: `then` means nothing."""
    if not _move_means(fit, now, then):
        return False
    if fit.step == STEP_MEANS:
        return True
    if fit.step == STEP_FULL or fit.step == STEP_TIED:
        for k in range(fit.n_components if fit.step == STEP_FULL else 1):
            _dense_covariance(fit, now, then, k)
            if not _factorise_above_floor(fit, then, k):
                return False
    elif fit.step == STEP_DIAG:
        if not _diag_covariances(fit, now, then):
            return False
    elif not _spherical_covariances(fit, now, then):
        return False
    at = fit.at
    shared = then[at.coefficients]
    for k in range(fit.n_components):
        # They hold log det P_k so far, or the first one the only one.
        log_determinant = shared if fit.step == STEP_TIED else then[at.coefficients + k]
        half = 0.5 * fit.n_features * LOG_2_PI
        then[at.coefficients + k] = np.log(then[k]) + log_determinant - half
    return True


@exact
def _move_means(fit, now, then):
    """Weights mass / sum, means shift + first / mass, and the centre; k-means keeps the rest."""
    at, n_features, offset = fit.at, fit.n_features, fit.scratch
    total = least = 0.0
    for k in range(fit.n_components):
        total += now[at.mass + k]
    if fit.step == STEP_MEANS:
        for i in range(at.centre):
            then[i] = now[i]
    else:
        least = EMPTY_SHARE * total
    for d in range(n_features):
        then[at.centre + d] = 0.0
    for k in range(fit.n_components):
        mass = now[at.mass + k]
        if not mass > least:
            return False
        if fit.step != STEP_MEANS:
            then[k] = mass / total
        for d in range(n_features):
            i = k * n_features + d
            offset[i] = now[at.first + i] / mass
            then[at.means + i] = now[at.means + i] + offset[i]
            then[at.centre + d] += then[k] * then[at.means + i]
    return True


@exact
def _dense_covariance(fit, now, then, k):
    """second / mass - offset offset^T of component k; the shared covariance for STEP_TIED.

    That is (second - sum_k mass_k offset_k offset_k^T) / sum_k mass_k.
    """
    at, n, offset = fit.at, fit.n_features, fit.scratch
    c = k * n * n
    total = 0.0
    for j in range(fit.n_components):
        total += now[at.mass + j]
    for d in range(n):
        for e in range(d + 1):
            second = now[at.second + c + d * n + e]
            if fit.step == STEP_FULL:
                product = offset[k * n + d] * offset[k * n + e]
                covariance = second / now[at.mass + k] - product
            else:
                between = 0.0
                for j in range(fit.n_components):
                    between += now[at.mass + j] * offset[j * n + d] * offset[j * n + e]
                covariance = (second - between) / total
            then[at.covariances + c + d * n + e] = covariance
            then[at.covariances + c + e * n + d] = covariance


@exact
def _diag_covariances(fit, now, then):
    """second / mass - offset^2 of each component and feature."""
    at, offset, scale = fit.at, fit.scratch, fit.scale
    for k in range(fit.n_components):
        log_determinant = 0.0
        for d in range(fit.n_features):
            i = k * fit.n_features + d
            variance = now[at.second + i] / now[at.mass + k] - offset[i] * offset[i]
            if not _is_variance(variance, fit.relative * (scale[d] * scale[d])):
                return False
            factor = 1.0 / np.sqrt(variance)
            then[at.covariances + i] = variance
            then[at.factors + i] = factor
            log_determinant += np.log(factor)
        then[at.coefficients + k] = log_determinant
    return True


@exact
def _spherical_covariances(fit, now, then):
    """(second / mass - |offset|^2) / D of each component."""
    at, n_features, offset, scale = fit.at, fit.n_features, fit.scratch, fit.scale
    lowest = 0.0
    for d in range(n_features):
        lowest = max(lowest, fit.relative * (scale[d] * scale[d]))
    for k in range(fit.n_components):
        squares = 0.0
        for i in range(k * n_features, (k + 1) * n_features):
            squares += offset[i] * offset[i]
        mass = now[at.mass + k] * n_features
        variance = now[at.second + k] / mass - squares / n_features
        if not _is_variance(variance, lowest):
            return False
        factor = 1.0 / np.sqrt(variance)
        then[at.covariances + k] = variance
        for i in range(k * n_features, (k + 1) * n_features):
            then[at.factors + i] = factor
        then[at.coefficients + k] = n_features * np.log(factor)
    return True


@exact
def _is_variance(variance, lowest):
    """Positive, finite and not below the floor."""
    return variance > 0.0 and variance * 0.0 == 0.0 and variance >= lowest


@exact
def _factorise_above_floor(fit, then, k):
    """Factor `k` and its log determinant; False if there is none, or below the floor.

    All eigenvalues in scaled coordinates are above the floor where what exceeds it still has a
    Cholesky factor, and surely where the trace of the inverse, the sum of their inverses, is small.
    """
    at, n, scale, scratch = fit.at, fit.n_features, fit.scale, fit.scratch
    matrix = fit.n_components * n
    upper = matrix + n * n
    covariance, factor = at.covariances + k * n * n, at.factors + k * n * n
    if not cholesky_rows(then, covariance, scratch, upper, n):
        return False
    then[at.coefficients + k] = invert_rows(scratch, upper, then, factor, n)
    if fit.relative == 0.0:
        return True
    trace = 0.0
    for d in range(n):
        for e in range(d + 1):
            entry = then[factor + d * n + e] * scale[e]
            trace += entry * entry
    if fit.relative * trace <= 0.5:
        return True
    for d in range(n):
        for e in range(d + 1):
            entry = then[covariance + d * n + e] / (scale[d] * scale[e])
            scratch[matrix + d * n + e] = entry - fit.relative if e == d else entry
    return cholesky_rows(scratch, matrix, scratch, upper, n)


@exact
def cholesky_rows(matrices, matrix, scratch, upper, n):
    """upper^T upper = the matrix at `matrix`, read in its lower triangle; False if none."""
    for j in range(n):
        for i in range(j, n):
            scratch[upper + j * n + i] = matrices[matrix + i * n + j]
        for m in range(j):
            factor = scratch[upper + m * n + j]
            for i in range(j, n):
                scratch[upper + j * n + i] -= factor * scratch[upper + m * n + i]
        pivot = scratch[upper + j * n + j]
        if not (pivot > 0.0 and pivot * 0.0 == 0.0):
            return False
        factor = 1.0 / np.sqrt(pivot)
        for i in range(j, n):
            scratch[upper + j * n + i] *= factor
    return True


@exact
def invert_rows(scratch, upper, inverses, inverse, n):
    """Writes upper^-T, lower triangular with zeros above, at `inverse`; its log determinant."""
    log_determinant = 0.0
    for i in range(n):
        row = inverse + i * n
        for e in range(n):
            inverses[row + e] = 0.0
        for m in range(i):
            factor = scratch[upper + m * n + i]
            for e in range(m + 1):
                inverses[row + e] -= factor * inverses[inverse + m * n + e]
        factor = 1.0 / scratch[upper + i * n + i]
        for e in range(i):
            inverses[row + e] *= factor
        inverses[row + i] = factor
        log_determinant += np.log(factor)
    return log_determinant
