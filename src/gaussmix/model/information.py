"""Entropy and divergence of mixtures, by sampling: `Mixture.entropy` and `Mixture.kl`.

Neither has a closed form for more than one component.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import underflow
from ..errors import InvalidInputError
from ..inputs import validate

_ROWS_AT_ONCE = 1 << 14


class Estimate(NamedTuple):
    """A Monte Carlo estimate."""

    value: float  # nats
    standard_error: float  # nats: the standard deviation of `value` over seeds


@underflow.ignored
def entropy(mixture, n: int, seed, n_threads) -> Estimate:
    """Differential entropy in nats; see `Mixture.entropy`."""
    n = validate.integer("n", n, 2)
    rng = validate.seed(seed)

    def uncertainty(rows: np.ndarray) -> np.ndarray:
        shares = mixture.predict_proba(rows, n_threads)
        # r log r at r = 0 is 0: log of the smallest normal number instead of -inf.
        return -(shares * np.log(np.maximum(shares, np.finfo(float).tiny))).sum(axis=1)

    mean, error = _average(mixture, uncertainty, n, rng)
    return Estimate(_joint_entropy(mixture) - mean, error)


@underflow.ignored
def kl(mixture, other, n: int, seed, n_threads) -> Estimate:
    """Kullback-Leibler divergence in nats; see `Mixture.kl`."""
    if not isinstance(other, type(mixture)):
        raise InvalidInputError(
            f"other is a {type(other).__name__}, not a Mixture. Give result.mixture."
        )
    if other.n_features != mixture.n_features:
        raise InvalidInputError(
            f"other has {other.n_features} features, this mixture {mixture.n_features}. Compare "
            "mixtures of the same features; see Mixture.marginal."
        )
    n = validate.integer("n", n, 2)
    rng = validate.seed(seed)

    def log_ratio(rows: np.ndarray) -> np.ndarray:
        return mixture.logpdf(rows, n_threads) - other.logpdf(rows, n_threads)

    return Estimate(*_average(mixture, log_ratio, n, rng))


def _joint_entropy(mixture) -> float:
    """Entropy of a point and its component together: known exactly."""
    weights = mixture.weights / mixture.weights.sum()
    live = weights > 0.0
    # The coefficients hold log w + log det P - D/2 log 2 pi: minus the log density at the mean.
    coefficients = mixture.kernel_parameters.log_coefficients[live]
    return float(weights[live] @ (0.5 * mixture.n_features - coefficients))


def _average(
    mixture, function: Callable[[np.ndarray], np.ndarray], n: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Mean of a function over `n` points of the mixture, and its standard error."""
    count, mean, squares = 0, 0.0, 0.0
    while count < n:
        values = function(mixture.sample(min(_ROWS_AT_ONCE, n - count), rng)[0])
        if np.isinf(values).any():
            # So far out that a log density overflows: the divergence is as good as infinite.
            return math.inf, math.inf
        # Chan, Golub & LeVeque (1983): means and sums of squares of parts, put together.
        part = float(values.mean())
        total = count + len(values)
        gap = part - mean
        squares += float(np.square(values - part).sum()) + gap * gap * count * len(values) / total
        mean += gap * len(values) / total
        count = total
    return mean, math.sqrt(squares / (n - 1) / n)
