"""The stages of the Numba backend: pack, density, rule and moments of one block of rows.

All arrays are flat. A block (see numba_tiles) holds a feature, a component or a single quantity of
ROWS rows per stretch. X is read in `pack` only, and accumulators are written in `moments` only.
"""

from __future__ import annotations

import numpy as np

from .contract import FACTOR_DIAG, FACTOR_FULL, FACTOR_SHARED
from .numba_tiles import (
    EXP_LOWEST,
    LANES,
    LARGEST,
    ROWS,
    difference,
    exp_below_zero,
    feature,
    log_above_one,
    lower_product,
    reduction,
    splitmix,
    stage,
    unit_uniform,
)

STRIP = 8  # rows


@stage
def new(size):
    """An array for scratch use."""
    return np.empty(size)


@stage
def pack(X, start, count, x):
    """First of rows start..start+count of X with NaN or infinity, or -1; copies them to block x.

    The rest of the block is zero.
    """
    n_features = X.shape[1]
    finite = True
    # Feature by feature in a strip: of a whole block where rows lie apart less than features do,
    # else of a cache line of the block, so that no line of it is written in pieces.
    strip = count if abs(X.strides[0]) < abs(X.strides[1]) else STRIP
    for begin in range(0, count, strip):
        rows = np.uint64(min(strip, count - begin))
        row = np.uint64(start + begin)
        for d in range(n_features):
            at = feature(d) + np.uint64(begin)
            column = np.uint64(d)
            for i in range(rows):
                value = float(X[row + i, column])
                x[at + i] = value
                finite &= abs(value) <= LARGEST
    for d in range(n_features):
        for i in range(count, ROWS):
            x[d * ROWS + i] = 0.0
    if finite:
        return -1
    for i in range(count):
        for d in range(n_features):
            if not abs(x[d * ROWS + i]) <= LARGEST:
                return start + i
    return -1


@stage
def take_weights(sample_weight, start, count, weight):
    """The weights of rows start..start+count, 1 without any; padding rows weigh 0."""
    for i in range(ROWS):
        weight[i] = 1.0 if i < count else 0.0
    if sample_weight.size > 0:
        for i in range(count):
            weight[i] = sample_weight[start + i]


@stage
def whiten_means(factor, means, centre, n_components, n_features, whitened):
    """whitened[k] = P (mean_k - centre) for a shared lower factor P."""
    for k in range(n_components):
        for d in range(n_features):
            total = 0.0
            for e in range(d + 1):
                total += factor[d * n_features + e] * (means[k * n_features + e] - centre[e])
            whitened[k * n_features + d] = total


@stage
def squared_distances(
    x, kind, means, factors, centre, whitened, n_components, n_features, y, z, out
):
    """Squared Mahalanobis distances of a block, (K, ROWS); infinity where they overflow.

    y and z are scratch blocks of D features.
    """
    # One place that calls lower_product: it is inlined, and compiling it takes a second.
    shared = kind == FACTOR_SHARED
    reference = centre if shared else means
    diagonal = kind == FACTOR_DIAG or (kind == FACTOR_FULL and n_features == 1)
    for k in range(n_components):
        row = feature(k)
        c = k * n_features
        for i in range(LANES):
            out[row + i] = 0.0
        if diagonal:
            _add_scaled_squares(x, means, factors, c, n_features, out, row)
        elif not shared or k == 0:
            difference(x, reference, c, n_features, y)
            lower_product(factors, c * n_features, n_features, y, z, out, row)
        if shared:
            _set_squares(z, whitened, c, n_features, out, row)
        for i in range(LANES):
            # inf - inf on the way to a distance that overflows.
            out[row + i] = out[row + i] if out[row + i] == out[row + i] else np.inf


@stage
def _add_scaled_squares(x, means, factors, c, n_features, out, row):
    """Adds |factors (x - mean)|^2 for diagonal factors; four features per pass over `out`."""
    whole = n_features - n_features % 4
    for d in range(0, whole, 4):
        x0, x1, x2, x3 = feature(d), feature(d + 1), feature(d + 2), feature(d + 3)
        at = c + d
        mean0, mean1, mean2, mean3 = means[at], means[at + 1], means[at + 2], means[at + 3]
        p0, p1, p2, p3 = factors[at], factors[at + 1], factors[at + 2], factors[at + 3]
        for i in range(LANES):
            y0 = p0 * (x[x0 + i] - mean0)
            y1 = p1 * (x[x1 + i] - mean1)
            y2 = p2 * (x[x2 + i] - mean2)
            y3 = p3 * (x[x3 + i] - mean3)
            out[row + i] += (y0 * y0 + y1 * y1) + (y2 * y2 + y3 * y3)
    for d in range(whole, n_features):
        x0 = feature(d)
        mean0, p0 = means[c + d], factors[c + d]
        for i in range(LANES):
            y0 = p0 * (x[x0 + i] - mean0)
            out[row + i] += y0 * y0


@stage
def _set_squares(z, whitened, c, n_features, out, row):
    """Writes |z - whitened mean|^2; four features per pass over `out`."""
    for i in range(LANES):
        out[row + i] = 0.0
    whole = n_features - n_features % 4
    for d in range(0, whole, 4):
        z0, z1, z2, z3 = feature(d), feature(d + 1), feature(d + 2), feature(d + 3)
        at = c + d
        mean0, mean1 = whitened[at], whitened[at + 1]
        mean2, mean3 = whitened[at + 2], whitened[at + 3]
        for i in range(LANES):
            y0 = z[z0 + i] - mean0
            y1 = z[z1 + i] - mean1
            y2 = z[z2 + i] - mean2
            y3 = z[z3 + i] - mean3
            out[row + i] += (y0 * y0 + y1 * y1) + (y2 * y2 + y3 * y3)
    for d in range(whole, n_features):
        z0 = feature(d)
        mean0 = whitened[c + d]
        for i in range(LANES):
            y0 = z[z0 + i] - mean0
            out[row + i] += y0 * y0


@stage
def log_joint_densities(log_coefficients, n_components, block):
    """Turns squared distances (K, ROWS) into log joint densities, in place."""
    for k in range(n_components):
        row = feature(k)
        coefficient = log_coefficients[k]
        for i in range(LANES):
            block[row + i] = coefficient - 0.5 * block[row + i]


@stage
def find_largest(log_joint, log_coefficients, n_components, largest, labels):
    """The largest log joint density of each row and the lowest component that has it.

    Of those of positive weight, which matters where no component reaches a row: all have -inf.
    """
    begin = 0
    while begin < n_components - 1 and log_coefficients[begin] == -np.inf:
        begin += 1
    row = feature(begin)
    for i in range(LANES):
        largest[i] = log_joint[row + i]
        labels[i] = begin
    for k in range(begin + 1, n_components):
        row = feature(k)
        for i in range(LANES):
            better = log_joint[row + i] > largest[i]
            largest[i] = log_joint[row + i] if better else largest[i]
            labels[i] = k if better else labels[i]


@stage
def count_reaching(log_coefficients, n_components):
    """How many components have a positive weight."""
    count = 0
    for k in range(n_components):
        count += 1 if log_coefficients[k] > -np.inf else 0
    return count


@stage
def scale_shares(shares, scale, floor, log_coefficients, n_components):
    """Multiplies shares (K, ROWS) by `scale`; adds `floor` to those of positive weight."""
    for k in range(n_components):
        row = feature(k)
        held = 1.0 if log_coefficients[k] > -np.inf else 0.0
        for i in range(LANES):
            shares[row + i] = shares[row + i] * scale[i] + held * floor[i]


@stage
def soften(
    log_joint, log_coefficients, weight, n_components, largest, logpdf, entropy, scale, floor
):
    """Turns log joint densities into shares, in place; logpdf and entropy too.

    `scale_shares` makes weight * responsibility of shares, with the rows scale and floor. A row
    too far away for any density is shared evenly by the components of positive weight.
    """
    n_reaching = count_reaching(log_coefficients, n_components)
    for i in range(LANES):
        logpdf[i] = 0.0
        entropy[i] = 0.0
    for k in range(n_components):
        row = feature(k)
        for i in range(LANES):
            t = log_joint[row + i] - largest[i]
            t = t if t > EXP_LOWEST else EXP_LOWEST  # NaN too: -inf - -inf
            e = exp_below_zero(t)
            log_joint[row + i] = e
            logpdf[i] += e
            entropy[i] += e * t
    even, log_even = 1.0 / n_reaching, np.log(float(n_reaching))
    for i in range(LANES):
        nowhere = largest[i] == -np.inf
        total = 1.0 if nowhere else logpdf[i]
        log_total = log_even if nowhere else log_above_one(total)
        logpdf[i] = -np.inf if nowhere else largest[i] + log_total
        share = 1.0 / total
        entropy[i] = log_total - entropy[i] * share
        scale[i] = weight[i] * share
        floor[i] = weight[i] * even if nowhere else 0.0


@stage
def temper(
    log_joint, log_coefficients, weight, n_components, beta, largest, logpdf, entropy, scale, floor
):
    """As `soften`, with responsibilities and entropy of beta times the log joint densities.

    `logpdf` is that of the mixture all the same.
    """
    n_reaching = count_reaching(log_coefficients, n_components)
    for i in range(LANES):
        logpdf[i] = 0.0
        entropy[i] = 0.0
        scale[i] = 0.0
    for k in range(n_components):
        row = feature(k)
        for i in range(LANES):
            t = log_joint[row + i] - largest[i]
            t = t if t > -1e300 else -1e300  # NaN too: -inf - -inf
            logpdf[i] += exp_below_zero(t)
            t = beta * t
            t = t if t > EXP_LOWEST else EXP_LOWEST
            e = exp_below_zero(t)
            log_joint[row + i] = e
            scale[i] += e
            entropy[i] += e * t
    even, log_even = 1.0 / n_reaching, np.log(float(n_reaching))
    for i in range(LANES):
        nowhere = largest[i] == -np.inf
        total = 1.0 if nowhere else scale[i]
        log_total = log_even if nowhere else log_above_one(total)
        logpdf[i] = -np.inf if nowhere else largest[i] + log_above_one(logpdf[i])
        share = 1.0 / total
        entropy[i] = log_total - entropy[i] * share
        scale[i] = weight[i] * share
        floor[i] = weight[i] * even if nowhere else 0.0


@stage
def draw(shares, n_components, key, first, threshold, labels):
    """A component for each row, drawn in proportion to `shares` (K, ROWS), as the contract states.

    `first` is the global number of the block's first row, unsigned; threshold is scratch.
    """
    for i in range(LANES):
        threshold[i] = 0.0
        labels[i] = 0
    for k in range(n_components):
        row = feature(k)
        for i in range(LANES):
            threshold[i] += shares[row + i]
            shares[row + i] = threshold[i]
    for i in range(LANES):
        threshold[i] *= unit_uniform(key, first + i)
    for k in range(n_components - 1):
        row = feature(k)
        for i in range(LANES):
            labels[i] += 0 if shares[row + i] > threshold[i] else 1


@stage
def add_labels(weight, labels, first, out, at):
    """Adds what stands for each row's label to the sum modulo 2^64 whose halves are at out[at].

    `first` is the global number of the block's first row, unsigned.
    """
    total = np.uint64(out[at]) + (np.uint64(out[at + 1]) << np.uint64(32))
    for i in range(LANES):
        mixed = splitmix(np.uint64(labels[i]), first + i)
        total += mixed if weight[i] > 0.0 else np.uint64(0)
    out[at] = float(total & np.uint64(0xFFFFFFFF))
    out[at + 1] = float(total >> np.uint64(32))


@stage
def harden(weight, labels, n_components, block, entropy):
    """Puts the whole weight of each row on its label: (K, ROWS); its entropy is 0."""
    for k in range(n_components):
        row = feature(k)
        for i in range(LANES):
            block[row + i] = weight[i] if labels[i] == k else 0.0
    for i in range(LANES):
        entropy[i] = 0.0


@reduction
def weighted_sum(weight, values):
    """Sum of weight * values over the rows; a row of weight 0 adds nothing, even if it is -inf."""
    total = 0.0
    for i in range(LANES):
        total += weight[i] * values[i] if weight[i] > 0.0 else 0.0
    return total
