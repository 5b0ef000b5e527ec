"""What is known of the data before a fit: location, spread, rank, distinct rows."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import numpy as np

from ..errors import InvalidInputError
from ..kernels.contract import FACTOR_DIAG, LAYOUT_DIAG, Parameters, offsets
from ..stopping import Stopped, check
from .expectation import Expectation
from .sources import Rows, extremes, pieces, take, weighted_rows

TINY = float(np.finfo(float).tiny)
HUGE = float(np.finfo(float).max)
SMALLEST_SQUARE = 1024 * TINY  # 2^-62 of a variance is still a number then
# Sums of squares have terms that are so much smaller than what counts: 2^-52 of the variance.
FLUSHED = 2.0**42
DISTINCT_VALUES = 1 << 18  # numbers sorted at once to count distinct rows


class Summary(NamedTuple):
    """One look at the data: location and spread of each column."""

    n_rows: int  # of positive weight
    weight: float
    mean: np.ndarray  # (D,)
    variance: np.ndarray  # (D,), exactly 0 in constant columns
    scale: np.ndarray  # (D,) standard deviations; a stand-in where a column is constant
    constant: np.ndarray  # (D,) bool


def summarise(X: Rows, sample_weight: np.ndarray | None, n_threads: int) -> Summary:
    """Mean, variance and scale of each column; O(N D), two passes.

    Raises InvalidInputError if X holds NaN or an infinity, or a column spans a range whose
    squares leave float64.
    """
    first = np.zeros(1, dtype=np.intp)
    if sample_weight is not None:
        first = weighted_rows(sample_weight, first)
    n_rows = len(X) if sample_weight is None else int(np.count_nonzero(sample_weight))
    expectation = Expectation(X, sample_weight, "diag", 1, n_threads)
    with np.errstate(over="ignore", invalid="ignore"):
        # Around a row first: no sum near the origin, so that an offset costs no digits.
        row = take(X, first)[0].astype(float)
        weight, gap, _ = _column_moments(expectation, row)
        mean = row + gap
        if all(map(isfinite, mean.tolist())):
            _, gap, variance = _column_moments(expectation, mean)
        else:
            variance = np.full_like(mean, np.inf)
    _check_range(X, sample_weight, variance, n_rows, weight)
    constant = variance <= 0.0
    spread = variance
    if constant.any():
        spread = np.where(constant, stand_in(variance[~constant], mean), variance)
    return Summary(n_rows, weight, mean, variance, np.sqrt(spread), constant)


def _column_moments(
    expectation: Expectation, centre: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Weight of the rows, and the means (D,) and variances (D,) of ``x - centre``.

    Of the sums themselves: a small fit is done before many more objects could be made.
    """
    sums = expectation.sums(_one_component(centre))
    part = offsets(1, len(centre), LAYOUT_DIAG)
    gap = sums[part.first : part.second] / sums[0]
    variance = sums[part.second : part.pairs] / sums[0] - gap * gap
    return float(sums[part.scalars + 3]), gap, variance


def _one_component(centre: np.ndarray) -> Parameters:
    means = centre[None]
    return Parameters(FACTOR_DIAG, np.zeros(1), means, np.zeros_like(means), centre)


def stand_in(variances: np.ndarray, mean: np.ndarray) -> float:
    """A variance to measure constant columns by: that of the others, else of their values.

    The mean over the other columns moves and scales as the data do.
    """
    if len(variances):
        return float(variances.mean())
    largest = float(np.abs(mean).max())
    return largest * largest if TINY < largest * largest < HUGE else 1.0


def _check_range(
    X: Rows, sample_weight: np.ndarray | None, variance: np.ndarray, n_rows: int, weight: float
) -> None:
    """Raise if sums of squares of a column leave float64, or lose digits at its lower end."""
    # What is summed up: rows, or their weights.
    most, least = max(n_rows, weight), min(1.0, weight)
    small, large = SMALLEST_SQUARE / least, HUGE / 4 / most
    note = ""
    if TINY * 0.5 == 0.0:  # another library has subnormal numbers flushed in this thread
        small *= FLUSHED
        note = " without subnormal numbers, which this thread flushes to 0"
    values = variance.tolist()
    if all(value > small for value in values) and sum(values) < large:
        return
    low, high = extremes(X, sample_weight)
    with np.errstate(over="ignore"):
        span = high - low
    for feature, width in enumerate(span.tolist()):
        too_small = 0.0 < width and not variance[feature] > small
        if too_small or not variance[feature] < large / len(variance):
            raise InvalidInputError(
                f"column {feature} of X spans {width:.3g}, whose squares leave the range of "
                f"float64{note}; rescale the column, e.g. divide it by its standard deviation."
            )


def rank(X: Rows, sample_weight: np.ndarray | None, summary: Summary) -> int:
    """Numerical rank of the scaled covariance of the data; O(N D^2).

    D, where the fit has to end early.
    """
    expectation = Expectation(X, sample_weight, "full", 1, 1)
    try:
        statistics = expectation(_one_component(summary.mean))
    except Stopped:
        return len(summary.mean)
    scaled = statistics.second[0] / statistics.mass[0] / summary.scale[:, None] / summary.scale
    values = np.linalg.eigvalsh(scaled)
    return int(np.count_nonzero(values > len(values) * 1e-12 * values.max()))


def distinct_rows(X: Rows, sample_weight: np.ndarray | None, limit: int) -> int:
    """Number of distinct rows of positive weight, counted up to `limit`.

    O(N D log N), in chunks; where rows differ, as they mostly do, the first one is enough.
    """
    found = np.empty((0, X.shape[1]))
    for begin, rows in pieces(X, max(limit, DISTINCT_VALUES // X.shape[1])):
        check()
        if sample_weight is not None:
            rows = rows[sample_weight[begin : begin + len(rows)] > 0.0]
        found = np.unique(np.concatenate([found, rows]), axis=0)
        if len(found) >= limit:
            return limit
    return len(found)
