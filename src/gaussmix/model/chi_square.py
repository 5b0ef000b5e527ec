"""The chi-square distribution: how far from its mean the points of a Gaussian lie.

A squared Mahalanobis distance of a component's own points has this law, with one degree of freedom
for each feature. All in logarithms, so that neither tail underflows.
"""

from __future__ import annotations

import math

# Loader (2000), "Fast and accurate computation of binomial probabilities": Stirling's series.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING_FROM = 15.0  # from here its seven terms are exact to rounding
_NEAR = 0.1  # |x / a - 1| below which u - log(1 + u) is summed as a series, or it would cancel
_TINY = 1e-300  # what Lentz's method puts for a zero


def radius(gate: float, n_features: int) -> float:
    """The distance that rejects in D dimensions the share that `gate` rejects in one.

    Parameters
    ----------
    gate : float
        Standard deviations, positive; inf is returned as it is.
    n_features : int
        D.

    Returns
    -------
    float
        r with P(chi-square with D degrees of freedom > r^2) = P(|Z| > gate), Z standard normal.
        Correct to a few units in the last place for D up to thousands; O(sqrt(D)).
    """
    # So far out the two differ by less than rounding: the exponential decides alone.
    if n_features == 1 or gate > 1e10 * n_features:
        return gate
    lower, upper = log_tails(gate, 1)
    # The smaller of the two tails is the one that says more.
    tail, wanted, sign = (1, upper, -1.0) if upper < lower else (0, lower, 1.0)

    def excess(log_distance: float) -> float:
        """Rises with the distance, and is 0 at the radius."""
        return sign * (log_tails(math.exp(log_distance), n_features)[tail] - wanted)

    low = math.log(gate)
    high = low + 1.0
    while excess(high) < 0.0:
        low, high = high, high + 1.0
    return math.exp(_root(excess, low, high))


def rejected_share(gate: float, n_features: int) -> float:
    """The share of a Gaussian's own points that lie `gate` standard deviations out, or farther."""
    if gate > 1e10 * n_features:
        return 0.0
    return math.exp(log_tails(gate, n_features)[1])


def log_tails(distance: float, n_features: int) -> tuple[float, float]:
    """log P(r <= distance) and log P(r > distance), r^2 chi-square with D degrees of freedom.

    The regularised incomplete gamma functions at a = D / 2 and x = distance^2 / 2: the series of
    the lower one up to a + 1, the continued fraction of the upper one beyond it (NIST Digital
    Library of Mathematical Functions, 8.11.4 and 8.9.2), each accurate where it is used.
    """
    a, x = 0.5 * n_features, 0.5 * distance * distance
    if x < a + 1.0:
        log_x = 2.0 * math.log(distance) - math.log(2.0)  # also where x underflows
        log_lower = min(_log_power(a, x, log_x) + math.log(_series(a, x)), 0.0)
        return log_lower, _log_complement(log_lower)
    log_power = _log_power(a, x, math.log(x))
    log_upper = min(log_power + math.log(a) + math.log(_fraction(a, x)), 0.0)
    return _log_complement(log_upper), log_upper


def _log_power(a: float, x: float, log_x: float) -> float:
    """log(x^a e^-x / Gamma(a + 1)) without the large terms that would cancel (Loader 2000)."""
    if a < _STIRLING_FROM:
        return a * log_x - x - math.lgamma(a + 1.0)
    power, rest = 1.0 / a, 0.0
    for term in _STIRLING:
        rest += term * power
        power /= a * a
    u = (x - a) / a
    spread = _minus_log(u) if u > -0.5 else u - (log_x - math.log(a))
    return -a * spread - rest - 0.5 * math.log(2.0 * math.pi * a)


def _minus_log(u: float) -> float:
    """u - log(1 + u), for u > -1/2."""
    if abs(u) > _NEAR:
        return u - math.log1p(u)
    total, power, n = 0.0, u * u, 2
    while True:
        term = power / n
        if total + term == total:
            return total
        total += term
        power *= -u
        n += 1


def _series(a: float, x: float) -> float:
    """sum_n x^n / ((a + 1) ... (a + n))."""
    term = total = 1.0
    while term > 1e-17 * total:
        a += 1.0
        term *= x / a
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (...))), by Lentz's method."""
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    total, n = d, 0
    while True:
        n += 1
        numerator = n * (a - n)
        b += 2.0
        d = 1.0 / (numerator * d + b or _TINY)
        c = b + numerator / c or _TINY
        total *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return total


def _log_complement(log_share: float) -> float:
    """log(1 - share) from log(share)."""
    if log_share == 0.0:
        return -math.inf
    # Whichever of the two forms does not cancel.
    if log_share > -math.log(2.0):
        return math.log(-math.expm1(log_share))
    return math.log1p(-math.exp(log_share))


def _root(function, low: float, high: float) -> float:
    """Where the increasing `function` passes 0, to the last bit: secants, and bisection."""
    below, above = function(low), function(high)
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        guess = low - below * (high - low) / (above - below) if above > below else middle
        for point in (guess, middle):
            if low < point < high:
                value = function(point)
                if value < 0.0:
                    low, below = point, value
                elif value > 0.0:
                    high, above = point, value
                else:
                    return point
    return 0.5 * (low + high)
