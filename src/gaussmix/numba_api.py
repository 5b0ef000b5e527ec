"""Mixtures inside ``@njit`` code: functions of ``mixture.as_arrays()`` and a row.

Each takes a `MixtureArrays` and one row ``x`` (D,), float64 or float32 and of any stride, allocates
nothing and needs no GIL. Results are those of `Mixture`'s methods to rounding. A row of another
length, or one that holds NaN or an infinity, raises InvalidInputError. O(K D^2), or O(K D) for
diagonal covariances. They compile as part of the function that calls them; called from Python they
run as Python, for debugging.

    >>> import gaussmix as gm
    >>> import numpy as np
    >>> from gaussmix import numba_api
    >>> from numba import njit
    >>> @njit
    ... def mean_density(arrays, X):
    ...     total = 0.0
    ...     for i in range(len(X)):
    ...         total += np.exp(numba_api.logpdf(arrays, X[i]))
    ...     return total / len(X)
    >>> mixture = gm.Mixture([0.4, 0.6], [[0.0, 0.0], [3.0, 0.0]], [1.0, 2.0], "spherical")
    >>> print(f"{mean_density(mixture.as_arrays(), np.zeros((10, 2))):.6f}")
    0.068694
"""

from __future__ import annotations

import math

from .errors import InvalidInputError

try:
    from numba.extending import register_jitable
except ImportError as error:
    raise ImportError('gaussmix.numba_api needs Numba: pip install "gaussmix[numba]"') from error

__all__ = ["log_joint", "logpdf", "nearest", "predict", "responsibilities"]

# contract: fused multiply-add. Nothing else may change, so NaN and infinity keep their meaning.
_compiled = register_jitable(nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _check(arrays, x):
    if len(x) != arrays.means.shape[1]:
        raise InvalidInputError(
            "x has another number of features than the mixture. Pass the same ones as in fitting."
        )
    for value in x:
        if not value - value == 0.0:
            raise InvalidInputError("x holds NaN or an infinity. Drop that row or impute it.")


@_compiled
def _check_out(arrays, out):
    if len(out) != len(arrays.means):
        raise InvalidInputError("out has to hold one number for each component.")


@_compiled
def _squared_distance(arrays, x, k):
    """|P_k (x - mu_k)|^2; infinite where it overflows."""
    means, factors = arrays.means, arrays.factors
    own = k if len(factors) > 1 else 0
    total = 0.0
    if factors.shape[1] == 1:
        for d in range(len(x)):
            y = (x[d] - means[k, d]) * factors[own, 0, d]
            total += y * y
    else:
        for e in range(len(x)):
            y = 0.0
            for d in range(e + 1):
                y += factors[own, e, d] * (x[d] - means[k, d])
            total += y * y
    return total if total < math.inf else math.inf


@_compiled
def _log_joint(arrays, x, k):
    return arrays.log_coefficients[k] - 0.5 * _squared_distance(arrays, x, k)


@_compiled
def log_joint(arrays, x, out):
    """Write ``log w_k + log N(x; mu_k, S_k)`` of each component into `out` (K,), in nats."""
    _check(arrays, x)
    _check_out(arrays, out)
    for k in range(len(out)):
        out[k] = _log_joint(arrays, x, k)


@_compiled
def logpdf(arrays, x):
    """The log density of x in nats."""
    _check(arrays, x)
    # One pass: the sum is kept relative to the largest term so far.
    largest, total = -math.inf, 0.0
    for k in range(len(arrays.means)):
        value = _log_joint(arrays, x, k)
        if value > largest:
            total = total * math.exp(largest - value) + 1.0
            largest = value
        elif value > -math.inf:
            total += math.exp(value - largest)
    return largest + math.log(total) if total > 0.0 else -math.inf


@_compiled
def responsibilities(arrays, x, out):
    """Write the posterior probability of each component into `out` (K,); they sum to 1."""
    log_joint(arrays, x, out)
    largest, total = -math.inf, 0.0
    for value in out:
        largest = max(largest, value)
    for k in range(len(out)):
        if largest > -math.inf:
            out[k] = math.exp(out[k] - largest)
        else:  # as near to all components of positive weight as to any
            out[k] = 1.0 if arrays.log_coefficients[k] > -math.inf else 0.0
        total += out[k]
    for k in range(len(out)):
        out[k] /= total


@_compiled
def predict(arrays, x):
    """The most probable component, ties to the lowest index."""
    _check(arrays, x)
    label, largest = -1, -math.inf
    for k in range(len(arrays.means)):
        if arrays.log_coefficients[k] == -math.inf:
            continue
        value = _log_joint(arrays, x, k)
        if label < 0 or value > largest:
            label, largest = k, value
    return label


@_compiled
def nearest(arrays, x, gate):
    """The nearest component in its own standard deviations, or -1 if not nearer than `gate`.

    Ties go to the lowest index, and a component of weight 0 is never the nearest. With
    ``math.inf`` only rows are refused whose distance overflows.
    """
    _check(arrays, x)
    if not gate > 0.0:
        raise InvalidInputError("gate has to be positive.")
    label, least = -1, math.inf
    for k in range(len(arrays.means)):
        if arrays.weights[k] > 0.0:
            squared = _squared_distance(arrays, x, k)
            if squared < least:
                label, least = k, squared
    return label if math.sqrt(least) < gate else -1
