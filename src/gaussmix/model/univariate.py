"""Distribution function and quantiles of a mixture of one feature: `Mixture.cdf`, `.quantile`."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate

_BLOCK_VALUES = 1 << 16  # of (points, components) at a time
_SATURATED = 6.0  # erfc(-6) is 2 to the last bit
_UNDERFLOWN = 27.3  # erfc(27.3) is 0
# Newton's method settles within ten steps or so. From here on every other step halves the bracket,
# by turns in value and in the number of floats in it, which is below 2^64: that always ends.
_NEWTON_STEPS = 16
_MAX_STEPS = _NEWTON_STEPS + 4 * 64
_RESIDUAL = 4 * float(np.finfo(float).eps)  # relative: what the tails themselves are rounded to


def cdf(mixture, x, upper: bool) -> np.ndarray | float:
    """P(X <= x), or P(X > x); see `Mixture.cdf`."""
    _require_one_feature(mixture, "cdf")
    points, scalar = _points("x", x)
    sign = 1.0 if validate.flag("upper", upper) else -1.0
    weights, means, deviations = _components(mixture)
    result = np.empty(len(points))
    for part in _blocks(len(points), len(weights)):
        with np.errstate(over="ignore"):
            scaled = sign * (points[part, None] - means) / deviations
        # Of the tail asked for, all terms are positive: its small values have all their digits.
        tails = _erfc(scaled * math.sqrt(0.5)) * (0.5 * weights)
        result[part] = tails.sum(axis=1) / weights.sum()
    np.minimum(result, 1.0, out=result)
    return float(result[0]) if scalar else result


def quantile(mixture, p, upper: bool) -> np.ndarray | float:
    """Where the distribution function reaches p; see `Mixture.quantile`."""
    _require_one_feature(mixture, "quantile")
    shares, scalar = _points("p", p)
    outside = ~((shares >= 0.0) & (shares <= 1.0))
    if outside.any():
        place = "" if scalar else f"[{int(np.argmax(outside))}]"
        raise InvalidInputError(
            f"p{place} is {shares[outside][0]:g}; a probability lies between 0 and 1."
        )
    upper = validate.flag("upper", upper)
    weights, means, deviations = _components(mixture)
    # The upper tail of a mixture is the lower one of its mirror image.
    solver = _Solver(weights, -means if upper else means, deviations)
    result = np.empty(len(shares))
    for part in _blocks(len(shares), len(weights)):
        result[part] = solver.solve(shares[part])
    if upper:
        result = -result
    return float(result[0]) if scalar else result


class _Solver:
    """Lower quantiles of one mixture; components in the order of their means."""

    def __init__(self, weights, means, deviations) -> None:
        order = np.argsort(means, kind="stable")
        self.weights, self.means, self.deviations = weights[order], means[order], deviations[order]
        # Sums of the first j weights as a number and the rounding it carries (Knuth's two-sum).
        self.sums, self.rest = np.zeros(len(order) + 1), np.zeros(len(order) + 1)
        for j, weight in enumerate(self.weights.tolist()):
            before = float(self.sums[j])
            total = before + weight
            shadow = total - before
            self.sums[j + 1] = total
            self.rest[j + 1] = self.rest[j] + (before - (total - shadow)) + (weight - shadow)

    # What over- or underflows is compared as the infinity or zero that it is.
    @np.errstate(all="ignore")
    def solve(self, shares: np.ndarray) -> np.ndarray:
        """The quantiles of `shares`, each within a bracket that never loses it."""
        low, high = self._bracket(shares)
        result = np.where(shares == 0.0, -np.inf, np.inf)
        active = np.flatnonzero((shares > 0.0) & (shares < 1.0))
        low, high, shares = low[active], high[active], shares[active]
        x = 0.5 * low + 0.5 * high
        for step in range(_MAX_STEPS):
            residual, slope = self._residual(x, shares)
            low = np.where(residual < 0.0, x, low)
            high = np.where(residual > 0.0, x, high)
            move = residual / slope
            near = np.abs(residual) <= _RESIDUAL
            newton = x - np.where(near & ~np.isfinite(move), 0.0, move)
            inside = (newton >= low) & (newton <= high)
            if step >= _NEWTON_STEPS and step % 2:
                inside &= near
            middle = _middle_float(low, high) if step % 4 < 2 else 0.5 * low + 0.5 * high
            # One ulp is as near as it gets; a bracket without a float in it as well.
            following = np.where(inside, newton, middle)
            done = (
                near
                | (inside & (np.abs(newton - x) <= np.spacing(np.abs(x))))
                | ~((low < middle) & (middle < high))
            )
            ended = active[done]
            result[ended] = np.where(inside | ~near, following, x)[done]
            keep = ~done
            if not keep.any():
                break
            active, shares = active[keep], shares[keep]
            low, high, x = low[keep], high[keep], following[keep]
        else:
            result[active] = x
        return result

    def _bracket(self, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A quantile lies between the least and the largest of those of the components.

        Those are bounded by P(Z < -t) <= exp(-t^2 / 2) / 2, and widened for rounding.
        """
        down = np.sqrt(-2.0 * np.log(np.minimum(2.0 * shares, 1.0)))
        up = np.sqrt(-2.0 * np.log(np.minimum(2.0 * (1.0 - shares), 1.0)))
        slack = 1e-6
        low = (self.means - (down + slack)[:, None] * self.deviations).min(axis=1)
        high = (self.means + (up + slack)[:, None] * self.deviations).max(axis=1)
        return low, high

    def _residual(self, x: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A log ratio that rises with x and is 0 at the quantile, and its slope.

        With L the components whose means lie below x, P(X < x) = share says that what the others
        have below x equals what L has above it, plus share - sum of the weights of L. These are
        tails, small beside what they stand for, so that nothing cancels where the distribution
        function is flat. Of the two sides the logarithms are compared: tails are then nearly
        parabolas, and Newton's steps go far.
        """
        scaled = (x[:, None] - self.means) / self.deviations
        left = scaled > 0.0
        tails = _erfc(np.abs(scaled) * math.sqrt(0.5)) * (0.5 * self.weights)
        density = np.exp(-0.5 * scaled * scaled) * (
            self.weights / (self.deviations * math.sqrt(2.0 * math.pi))
        )
        below, rise = (np.where(left, 0.0, part).sum(axis=1) for part in (tails, density))
        above, fall = (np.where(left, part, 0.0).sum(axis=1) for part in (tails, density))
        n_left = left.sum(axis=1)
        # share times the sum of all weights, which is 1 only to rounding.
        excess = self.sums[-1] - 1.0 + self.rest[-1]
        owed = (shares - self.sums[n_left]) - self.rest[n_left] + shares * excess
        one = below + np.maximum(-owed, 0.0)
        two = above + np.maximum(owed, 0.0)
        residual = np.log(one) - np.log(two)
        # Near 0 by the difference: the two logarithms would carry their own rounding.
        close = np.log1p((one - two) / two)
        residual = np.where(np.abs(one - two) < 0.5 * two, close, residual)
        slope = rise / one + fall / two
        # Both sides below the smallest float: nothing tells the points of such a gap apart.
        return np.where(one == two, 0.0, residual), slope


def _erfc(z: np.ndarray) -> np.ndarray:
    """Complementary error function of each element, by the C library's; 40 ns where not trivial."""
    flat = z.ravel()
    result = np.where(flat < 0.0, 2.0, 0.0)
    inner = np.flatnonzero((flat > -_SATURATED) & (flat < _UNDERFLOWN))
    result[inner] = np.fromiter(map(math.erfc, flat[inner].tolist()), float, len(inner))
    return result.reshape(z.shape)


def _middle_float(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The float with as many floats between it and `low` as between it and `high`."""
    # As integers the bits of floats are in order, those of negative ones in reverse.
    least = np.int64(-(2**63))
    first, last = (np.where(b < 0, least - b, b) for b in (low.view("i8"), high.view("i8")))
    middle = (first >> 1) + (last >> 1) + (first & last & 1)
    return np.where(middle < 0, least - middle, middle).view("f8")


def _components(mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, summing to 1, means and standard deviations (K,) of those with a weight."""
    live = mixture.weights > 0.0
    weights = mixture.weights[live]
    return weights, mixture.means[live, 0], mixture.standard_deviations[live, 0]


def _points(name: str, value) -> tuple[np.ndarray, bool]:
    """(N,) float64, and whether it was a single number; infinities pass, NaN does not."""
    if validate.shape_of(name, value) == ():
        if isinstance(value, np.ndarray):
            value = value[()]
        if isinstance(value, (float, np.floating)) and value != value:
            raise InvalidInputError(f"{name} is NaN. Drop such points.")
        return np.array([validate.real(name, value, -math.inf, allow_inf=True)]), True
    rows = validate.data(value, name=name, n_features=1, min_rows=0)
    points = rows[:, 0].astype(np.float64)
    if np.isnan(points).any():
        validate.raise_nonfinite(rows, int(np.argmax(np.isnan(points))), name)
    return points, False


def _blocks(n_points: int, n_components: int) -> list[slice]:
    step = max(1, _BLOCK_VALUES // n_components)
    return [slice(begin, begin + step) for begin in range(0, n_points, step)]


def _require_one_feature(mixture, method: str) -> None:
    if mixture.n_features != 1:
        raise InvalidInputError(
            f"{method} is for mixtures of one feature, and this one has {mixture.n_features}. Take "
            f"one of them: mixture.marginal(0).{method}(...)."
        )
