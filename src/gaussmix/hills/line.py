"""Every peak and every valley of a mixture in one dimension, found by subdividing intervals."""

from __future__ import annotations

import numpy as np

# An interval this much shorter than the local standard deviation is not divided further: two
# peaks within it are one.
FINEST = 1e-7
# (u^2 - 1) exp(-u^2 / 2), the second derivative of a Gaussian, is largest at u^2 = 3.
_STEEPEST = float(np.sqrt(3.0))
_LARGEST_CURVATURE = float(2.0 * np.exp(-1.5))
_ROUNDING = 1e-13  # of the sum of absolute terms: what a bound may be wrong by
_LARGEST_EXPONENT = 300.0
_LEVELS = 2000  # of subdivision; float64 has no room for more
_BISECTIONS = 80
_CHUNK_VALUES = 1 << 18


def critical_points(
    log_coefficients: np.ndarray, means: np.ndarray, precisions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Peaks (M,) and the valleys (M - 1,) between them, both ascending.

    The derivative of the density has one sign left of all means and another one right of them.
    Between them, intervals are divided until each provably holds no root of the derivative (its
    range excludes 0) or at most one (the range of the second derivative excludes 0), so that no
    peak is missed but one within `FINEST` of a valley. There are at most K peaks.

    Parameters
    ----------
    log_coefficients : (K,)
        Logarithms of the components' heights at their means, finite.
    means : (K,)
    precisions : (K,)
        1 / standard deviation.

    Notes
    -----
    Moore, Kearfott & Cloud (2009), Introduction to Interval Analysis, SIAM, chapter 8.
    """
    low, high = means.min(), means.max()
    if low == high:
        return means[:1].copy(), np.empty(0)
    line = log_coefficients, means, precisions
    nodes = np.concatenate([means, means - 1.0 / precisions, means + 1.0 / precisions])
    nodes = np.unique(nodes[(nodes >= low) & (nodes <= high)])
    kept = [nodes]
    left, right = nodes[:-1], nodes[1:]
    for _ in range(_LEVELS):
        open_ = _in_chunks(_undecided, left, right, line)
        left, right = left[open_], right[open_]
        if not len(left):
            break
        middle = 0.5 * left + 0.5 * right
        kept.append(middle)
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    nodes = np.unique(np.concatenate(kept))
    slopes = _in_chunks(_slopes, nodes, line)
    slopes[0], slopes[-1] = 1.0, -1.0
    # A node that is itself a root stands between two of different signs, or is no peak.
    nodes, slopes = nodes[slopes != 0.0], slopes[slopes != 0.0]
    at = np.flatnonzero(np.sign(slopes[:-1]) != np.sign(slopes[1:]))
    roots = _bisected(nodes[at], nodes[at + 1], np.sign(slopes[at]), line)
    return roots[0::2], roots[1::2]


def _in_chunks(function, *arguments) -> np.ndarray:
    *points, line = arguments
    step = max(1, _CHUNK_VALUES // len(line[1]))
    parts = [
        function(*(p[i : i + step] for p in points), *line) for i in range(0, len(points[0]), step)
    ]
    return np.concatenate(parts)


def _slopes(points, log_coefficients, means, precisions) -> np.ndarray:
    """Derivative of the log density at `points`."""
    u = (points[:, None] - means) * precisions
    log_joint = log_coefficients - 0.5 * u * u
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return -(joint * u * precisions).sum(axis=1) / joint.sum(axis=1)


def _undecided(left, right, log_coefficients, means, precisions) -> np.ndarray:
    """(I,) bool: intervals that may hold more than one root, and can still be divided."""
    middle = 0.5 * left + 0.5 * right
    u_left = (left[:, None] - means) * precisions
    u_right = (right[:, None] - means) * precisions
    u = (middle[:, None] - means) * precisions
    log_joint = log_coefficients - 0.5 * u * u
    open_ = ~_one_sign(u_left, u_right, log_joint, log_coefficients, means, precisions, middle)
    open_ &= ~_one_root(u_left, u_right, u, log_coefficients, precisions, right - left)
    share = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    precision = (share * precisions**2).sum(axis=1) / share.sum(axis=1)
    divisible = (right - left) * np.sqrt(precision) > FINEST
    return open_ & divisible & (middle > left) & (middle < right)


def _one_sign(u_left, u_right, log_joint, log_coefficients, means, precisions, middle):
    """Whether the derivative, divided by the density of one component, is bounded away from 0.

    With l_k the log joint density, p' exp(-l_j) = sum_k l_k' exp(l_k - l_j): the exponents are
    quadratic, the l_k' linear, and so their ranges are known. j is the largest in the middle.
    """
    rows = np.arange(len(middle))
    j = log_joint.argmax(axis=1)
    at_left = log_coefficients - 0.5 * u_left**2
    at_right = log_coefficients - 0.5 * u_right**2
    e_left = at_left - at_left[rows, j][:, None]
    e_right = at_right - at_right[rows, j][:, None]
    lowest, highest = np.minimum(e_left, e_right), np.maximum(e_left, e_right)
    # The vertex of l_k - l_j, where it lies within the interval.
    p_j, m_j = precisions[j][:, None] ** 2, means[j][:, None]
    bend = p_j - precisions**2
    half = 0.5 * (u_right - u_left)  # of the interval, in standard deviations of k
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = (p_j * m_j - precisions**2 * means) / bend
        inside = np.abs((vertex - middle[:, None]) * precisions) <= half
        at_vertex = (
            log_coefficients
            - 0.5 * ((vertex - means) * precisions) ** 2
            - log_coefficients[j][:, None]
            + 0.5 * (vertex - m_j) ** 2 * p_j
        )
    inside &= np.isfinite(at_vertex)
    lowest = np.where(inside, np.minimum(lowest, at_vertex), lowest)
    highest = np.where(inside, np.maximum(highest, at_vertex), highest)
    bounds = [np.exp(np.clip(e, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)) for e in (lowest, highest)]
    bounds[0][lowest < -_LARGEST_EXPONENT] = 0.0
    steepest, flattest = -u_left * precisions, -u_right * precisions
    upper = np.where(steepest > 0.0, bounds[1], bounds[0]) * steepest
    lower = np.where(flattest > 0.0, bounds[0], bounds[1]) * flattest
    slack = _ROUNDING * (np.abs(upper) + np.abs(lower)).sum(axis=1)
    return (lower.sum(axis=1) > slack) | (upper.sum(axis=1) < -slack)


def _one_root(u_left, u_right, u, log_coefficients, precisions, width):
    """Whether the density's derivative is monotone, or too steep in the middle to come to 0."""
    furthest = np.maximum(np.abs(u_left), np.abs(u_right))
    nearest = np.where(u_left * u_right <= 0.0, 0.0, np.minimum(np.abs(u_left), np.abs(u_right)))
    top = (log_coefficients - 0.5 * nearest**2).max(axis=1, keepdims=True)
    height = np.exp(np.minimum(log_coefficients - top, _LARGEST_EXPONENT)) * precisions
    ends = [(v * v - 1.0) * np.exp(-0.5 * v * v) for v in (nearest, furthest)]
    least, most = np.minimum(*ends), np.maximum(*ends)
    most = np.where((nearest < _STEEPEST) & (furthest > _STEEPEST), _LARGEST_CURVATURE, most)
    scale = height * precisions
    slack = _ROUNDING * (scale * (np.abs(least) + np.abs(most))).sum(axis=1)
    least, most = (scale * least).sum(axis=1) - slack, (scale * most).sum(axis=1) + slack
    slopes = height * u * np.exp(-0.5 * u * u)
    slope = np.abs(slopes.sum(axis=1)) - _ROUNDING * np.abs(slopes).sum(axis=1)
    steep = slope > 0.5 * width * np.maximum(np.abs(least), np.abs(most))
    return (least > 0.0) | (most < 0.0) | steep


def _bisected(left, right, signs, line) -> np.ndarray:
    """The roots between `left` and `right`, where the derivative has sign `signs` and `-signs`."""
    left, right = left.copy(), right.copy()
    for _ in range(_BISECTIONS):
        middle = 0.5 * left + 0.5 * right
        if ((middle <= left) | (middle >= right)).all():
            break
        sign = np.sign(_in_chunks(_slopes, middle, line))
        before = sign == signs
        left = np.where(before | (sign == 0.0), middle, left)
        right = np.where(before, right, middle)
    return 0.5 * left + 0.5 * right
