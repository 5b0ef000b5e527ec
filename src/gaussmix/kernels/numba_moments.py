"""The moments stage of the Numba backend: weighted sums of a block's rows around the means.

Lanes are rows. The sums of a component over a block stay in registers, as many features at once as
these hold sums for.
"""

from __future__ import annotations

import numpy as np

from .contract import LAYOUT_FULL, LAYOUT_POOLED, LAYOUT_SPHERICAL
from .numba_tiles import LANES, ROWS, add_products, feature, reduction, row_sum, stage

# From MANY features on, up to SPARSE rows of a block are packed together, to a multiple of PACKED:
# a vectorised loop then leaves none over. EPYC 9004, 2 threads, full, D=128, K=16: 446 to 350 ms.
MANY = 64
SPARSE = 96
PACKED = 32
NEGLIGIBLE = 1e-20  # of a component's sums: 10,000 such rows are below rounding


@stage
def lowest_peak(weight, largest):
    """The lowest of the rows' largest log joint densities; rows of weight 0 do not count."""
    lowest = np.inf
    for i in range(LANES):
        peak = largest[i] if weight[i] > 0.0 else np.inf
        lowest = peak if peak < lowest else lowest
    return lowest


@stage
def negligible(total, coefficient, lowest, beta):
    """Weight * responsibility up to which a row cannot change a component's sums of mass `total`.

    A row adds at most w r (1 + d2) to the mass and the whitened second moments, in units in which
    these are about `total`. d2 = 2 (coefficient - log joint), and r > 0 says that
    log joint > largest - 708.5 / beta, where beta is 1 but for the tempered rule.
    """
    gap = coefficient - lowest
    return NEGLIGIBLE * total / (1.0 + 1417.0 / beta + 2.0 * (gap if gap > 0.0 else 0.0))


@stage
def moments(
    x, weighted, log_coefficients, means, lowest, beta, layout, n_components, n_features,
    y, v, kept, out, mass, first, second,
):  # fmt: skip
    """Adds a block's moments to `out`, whose parts begin at mass, first and second.

    `lowest` is that of `lowest_peak`, and `kept` scratch of ROWS integers.

    y and v are scratch blocks of D features. Beyond FEW features the pooled layout is left to
    `pool` and `pooled_moments`.
    """
    for k in range(n_components):
        row = feature(k)
        total = row_sum(weighted, row)
        if total == 0.0:
            continue
        out[mass + k] += total
        c = k * n_features
        if layout == LAYOUT_FULL or layout == LAYOUT_POOLED:
            at = second + (c * n_features if layout == LAYOUT_FULL else 0)
            if n_features == 1:
                _add_square(x, 0, weighted, row, means, c, out, first + c, at)
            elif n_features == 2:
                _add_pair(x, weighted, row, means, c, out, first + c, at)
            else:
                count = ROWS
                if n_features >= MANY:
                    limit = negligible(out[mass + k], log_coefficients[k], lowest, beta)
                    count = _keep(weighted, row, limit, kept)
                if count == ROWS:
                    _weighted_difference(
                        x, means, c, n_features, weighted, row, y, v, out, first + c
                    )
                else:
                    _packed_difference(
                        x, means, c, n_features, weighted, row, kept, count, y, v, out, first + c
                    )
                add_products(v, y, np.uint64(count), n_features, out, at)
        else:
            spherical = layout == LAYOUT_SPHERICAL
            at, step = (second + k, 0) if spherical else (second + c, 1)
            whole = n_features - n_features % 4
            for d in range(0, whole, 4):
                _add_squares(x, d, weighted, row, means, c, out, first + c, at + d * step, step)
            for d in range(whole, n_features):
                _add_square(x, d, weighted, row, means, c, out, first + c, at + d * step)


@stage
def _difference(value, mean, weight):
    """value - mean; 0 where the weight is 0, also if the difference overflows."""
    return value - mean if weight > 0.0 else 0.0


@reduction
def _add_square(x, d, weighted, row, means, c, out, first, second):
    """Adds the sums of w t to out[first + d] and of w t^2 to out[second], t = x - mean."""
    x0, mean0 = feature(d), means[c + d]
    a0 = s0 = 0.0
    for i in range(LANES):
        w = weighted[row + i]
        t0 = _difference(x[x0 + i], mean0, w)
        a0 += w * t0
        s0 += w * t0 * t0
    out[first + d] += a0
    out[second] += s0


@reduction
def _add_squares(x, d, weighted, row, means, c, out, first, second, step):
    """As `_add_square` for the features d..d+4, whose squares go to places `step` apart."""
    x0, x1, x2, x3 = feature(d), feature(d + 1), feature(d + 2), feature(d + 3)
    m = c + d
    mean0, mean1, mean2, mean3 = means[m], means[m + 1], means[m + 2], means[m + 3]
    a0 = a1 = a2 = a3 = s0 = s1 = s2 = s3 = 0.0
    for i in range(LANES):
        w = weighted[row + i]
        t0 = _difference(x[x0 + i], mean0, w)
        t1 = _difference(x[x1 + i], mean1, w)
        t2 = _difference(x[x2 + i], mean2, w)
        t3 = _difference(x[x3 + i], mean3, w)
        a0 += w * t0
        a1 += w * t1
        a2 += w * t2
        a3 += w * t3
        s0 += w * t0 * t0
        s1 += w * t1 * t1
        s2 += w * t2 * t2
        s3 += w * t3 * t3
    out[first + d] += a0
    out[first + d + 1] += a1
    out[first + d + 2] += a2
    out[first + d + 3] += a3
    out[second] += s0
    out[second + step] += s1
    out[second + 2 * step] += s2
    out[second + 3 * step] += s3


@reduction
def _add_pair(x, weighted, row, means, c, out, first, second):
    """First moments and the lower triangle of the second ones, for two features."""
    mean0, mean1 = means[c], means[c + 1]
    a0 = a1 = s00 = s10 = s11 = 0.0
    for i in range(LANES):
        w = weighted[row + i]
        t0 = _difference(x[i], mean0, w)
        t1 = _difference(x[LANES + i], mean1, w)
        a0 += w * t0
        a1 += w * t1
        s00 += w * t0 * t0
        s10 += w * t1 * t0
        s11 += w * t1 * t1
    out[first] += a0
    out[first + 1] += a1
    out[second] += s00
    out[second + 2] += s10
    out[second + 3] += s11


@reduction
def _weighted_difference(x, means, c, n_features, weighted, row, y, v, out, first):
    """Blocks y = x - mean and v = weight * y; adds the sums of v to out[first]."""
    for d in range(n_features):
        at = feature(d)
        mean = means[c + d]
        total = 0.0
        for i in range(LANES):
            w = weighted[row + i]
            delta = _difference(x[at + i], mean, w)
            scaled = w * delta
            y[at + i] = delta
            v[at + i] = scaled
            total += scaled
        out[first + d] += total


@stage
def _keep(weighted, row, limit, kept):
    """How many rows to pack, whose numbers go to `kept`; ROWS where these are too many to pack.

    A multiple of PACKED: the last ones' numbers are -1.
    """
    n = 0
    for i in range(LANES):
        n += 1 if weighted[row + i] > limit else 0
    if n > SPARSE:
        return ROWS
    n = 0
    for i in range(ROWS):
        if weighted[row + np.uint64(i)] > limit:
            kept[n] = i
            n += 1
    while n % PACKED:
        kept[n] = -1
        n += 1
    return n


@stage
def _packed_difference(x, means, c, n_features, weighted, row, kept, count, y, v, out, first):
    """As `_weighted_difference`, of the `count` rows in `kept`; 0 where a number is -1."""
    for d in range(n_features):
        at = feature(d)
        mean = means[c + d]
        total = 0.0
        for i in range(np.uint64(count)):
            used = kept[i] >= 0
            j = np.uint64(kept[i] if used else 0)
            delta = x[at + j] - mean if used else 0.0
            scaled = weighted[row + j] * delta
            y[at + i] = delta
            v[at + i] = scaled
            total += scaled
        out[first + d] += total


@stage
def pool(x, weighted, means, n_components, n_features, pooled, out, mass, first):
    """Writes block pooled = sum_k w r_k (x - mean_k); adds masses and first moments to `out`.

    A few features of all components, then the next: these stay in the first-level cache.
    """
    for i in range(n_features * ROWS):
        pooled[i] = 0.0
    for k in range(n_components):
        out[mass + k] += row_sum(weighted, feature(k))
    whole = n_features - n_features % 4
    for d in range(0, whole, 4):
        for k in range(n_components):
            _pool_four(x, d, weighted, feature(k), means, k * n_features, pooled, out, first)
    for d in range(whole, n_features):
        for k in range(n_components):
            _pool_one(x, d, weighted, feature(k), means, k * n_features, pooled, out, first)


@reduction
def _pool_four(x, d, weighted, row, means, c, pooled, out, first):
    """Adds w (x - mean) to the features d..d+4 of `pooled`, and its sums to out[first + c + d]."""
    x0, x1, x2, x3 = feature(d), feature(d + 1), feature(d + 2), feature(d + 3)
    at = c + d
    mean0, mean1, mean2, mean3 = means[at], means[at + 1], means[at + 2], means[at + 3]
    a0 = a1 = a2 = a3 = 0.0
    for i in range(LANES):
        w = weighted[row + i]
        v0 = w * _difference(x[x0 + i], mean0, w)
        v1 = w * _difference(x[x1 + i], mean1, w)
        v2 = w * _difference(x[x2 + i], mean2, w)
        v3 = w * _difference(x[x3 + i], mean3, w)
        pooled[x0 + i] += v0
        pooled[x1 + i] += v1
        pooled[x2 + i] += v2
        pooled[x3 + i] += v3
        a0 += v0
        a1 += v1
        a2 += v2
        a3 += v3
    out[first + at] += a0
    out[first + at + 1] += a1
    out[first + at + 2] += a2
    out[first + at + 3] += a3


@reduction
def _pool_one(x, d, weighted, row, means, c, pooled, out, first):
    """As `_pool_four`, for one feature."""
    x0, mean0 = feature(d), means[c + d]
    a0 = 0.0
    for i in range(LANES):
        w = weighted[row + i]
        v0 = w * _difference(x[x0 + i], mean0, w)
        pooled[x0 + i] += v0
        a0 += v0
    out[first + c + d] += a0


@stage
def pooled_moments(
    x, weight, weighted, labels, means, n_components, n_features, y, v, out, second, pairs
):
    """Adds a block's pooled second moments and pair weights to `out`; v is what `pool` wrote.

    With j the label of a row, delta = x - mean_j and half = v - w delta / 2, the second moments
    around all means are delta half^T + half delta^T, plus a part that lies between means only,
    which `contract.combine` makes from the pair weights. y is scratch of D features.
    """
    for i in range(ROWS):
        pair = pairs + labels[i] * n_components
        for k in range(n_components):
            out[pair + k] += weighted[k * ROWS + i]
        out[pair + labels[i]] = 0.0
    for d in range(n_features):
        at = feature(d)
        for i in range(LANES):
            y[at + i] = means[labels[i] * n_features + d]
        for i in range(LANES):
            delta = _difference(x[at + i], y[at + i], weight[i])
            y[at + i] = delta
            v[at + i] -= 0.5 * weight[i] * delta
    for part in range(2):
        left, right = (v, y) if part == 0 else (y, v)
        add_products(left, right, LANES, n_features, out, second)
