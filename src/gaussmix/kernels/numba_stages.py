"""The stages of the Numba backend: pack, density, rule and moments of one block of rows.

All arrays are flat. A block (see numba_tiles) holds a feature, a component or a single quantity of
ROWS rows per stretch. X is read in `pack` only, and accumulators are written in `moments` only.
"""

from __future__ import annotations

import numpy as np

from .contract import (
    FACTOR_DIAG,
    FACTOR_SHARED,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    LAYOUT_SPHERICAL,
)
from .numba_tiles import (
    EXP_LOWEST,
    LANES,
    LARGEST,
    ROWS,
    add_products,
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
    if abs(X.strides[0]) >= abs(X.strides[1]):
        for i in range(count):
            for d in range(n_features):
                value = float(X[start + i, d])
                x[d * ROWS + i] = value
                finite &= abs(value) <= LARGEST
    else:
        for d in range(n_features):
            for i in range(count):
                value = float(X[start + i, d])
                x[d * ROWS + i] = value
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
    for k in range(n_components):
        row = feature(k)
        c = k * n_features
        for i in range(LANES):
            out[row + i] = 0.0
        if kind == FACTOR_DIAG:
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
    """Adds |factors (x - mean)|^2 for diagonal factors; two features per pass over `out`."""
    for d in range(0, n_features - 1, 2):
        x0, x1 = feature(d), feature(d + 1)
        mean0, mean1 = means[c + d], means[c + d + 1]
        factor0, factor1 = factors[c + d], factors[c + d + 1]
        for i in range(LANES):
            a = factor0 * (x[x0 + i] - mean0)
            b = factor1 * (x[x1 + i] - mean1)
            out[row + i] += a * a + b * b
    if n_features % 2:
        x0 = feature(n_features - 1)
        mean0, factor0 = means[c + n_features - 1], factors[c + n_features - 1]
        for i in range(LANES):
            a = factor0 * (x[x0 + i] - mean0)
            out[row + i] += a * a


@stage
def _set_squares(z, whitened, c, n_features, out, row):
    """Writes |z - whitened mean|^2; two features per pass over `out`."""
    for i in range(LANES):
        out[row + i] = 0.0
    for d in range(0, n_features - 1, 2):
        z0, z1 = feature(d), feature(d + 1)
        mean0, mean1 = whitened[c + d], whitened[c + d + 1]
        for i in range(LANES):
            a = z[z0 + i] - mean0
            b = z[z1 + i] - mean1
            out[row + i] += a * a + b * b
    if n_features % 2:
        z0 = feature(n_features - 1)
        mean0 = whitened[c + n_features - 1]
        for i in range(LANES):
            a = z[z0 + i] - mean0
            out[row + i] += a * a


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
    """Turns log joint densities into weight * responsibility, in place; logpdf and entropy too.

    scale and floor are scratch rows. A row too far away for any density is shared evenly by the
    components of positive weight.
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
    for i in range(LANES):
        nowhere = largest[i] == -np.inf
        total = 1.0 if nowhere else logpdf[i]
        log_total = np.log(float(n_reaching)) if nowhere else log_above_one(total)
        logpdf[i] = -np.inf if nowhere else largest[i] + log_total
        entropy[i] = log_total - entropy[i] / total
        scale[i] = weight[i] / total
        floor[i] = weight[i] / n_reaching if nowhere else 0.0
    scale_shares(log_joint, scale, floor, log_coefficients, n_components)


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
    for i in range(LANES):
        nowhere = largest[i] == -np.inf
        total = 1.0 if nowhere else scale[i]
        log_total = np.log(float(n_reaching)) if nowhere else log_above_one(total)
        logpdf[i] = -np.inf if nowhere else largest[i] + log_above_one(logpdf[i])
        entropy[i] = log_total - entropy[i] / total
        scale[i] = weight[i] / total
        floor[i] = weight[i] / n_reaching if nowhere else 0.0
    scale_shares(log_joint, scale, floor, log_coefficients, n_components)


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


@reduction
def row_sum(block, row):
    """Sum over the rows of the stretch of a block that begins at `row`."""
    total = 0.0
    for i in range(LANES):
        total += block[row + i]
    return total


@reduction
def _product_sum(a, b, row):
    total = 0.0
    for i in range(LANES):
        total += a[row + i] * b[row + i]
    return total


@stage
def _weighted_difference(x, means, c, n_features, weighted, row, y, v):
    """Blocks y = x - mean and v = weight * y; 0 where the weight is 0, also if y overflows."""
    for d in range(n_features):
        at = feature(d)
        mean = means[c + d]
        for i in range(LANES):
            w = weighted[row + i]
            delta = x[at + i] - mean if w > 0.0 else 0.0
            y[at + i] = delta
            v[at + i] = w * delta


@stage
def moments(x, weighted, means, layout, n_components, n_features, y, v, out, mass, first, second):
    """Adds a block's moments to `out`, whose parts begin at mass, first and second.

    Pooled second moments are left to `pooled_moments`. y and v are scratch blocks of D features.
    """
    for k in range(n_components):
        row = feature(k)
        total = row_sum(weighted, row)
        if total == 0.0:
            continue
        out[mass + k] += total
        c = k * n_features
        _weighted_difference(x, means, c, n_features, weighted, row, y, v)
        for d in range(n_features):
            out[first + c + d] += row_sum(v, feature(d))
        if layout == LAYOUT_FULL:
            add_products(v, y, n_features, out, second + c * n_features)
        elif layout == LAYOUT_DIAG:
            for d in range(n_features):
                out[second + c + d] += _product_sum(v, y, feature(d))
        elif layout == LAYOUT_SPHERICAL:
            for d in range(n_features):
                out[second + k] += _product_sum(v, y, feature(d))


@stage
def pooled_moments(
    x, weight, weighted, labels, means, n_components, n_features, y, v, gap, own, out, second, pairs
):
    """Adds a block's pooled second moments and pair weights to `out`.

    With j the label of a row, delta = x - mu_j and g = sum_k w r_k (mu_j - mu_k), the second
    moments around all means are w delta delta^T + g delta^T + delta g^T, plus a part that lies
    between means only, which `contract.combine` makes from the pair weights.
    y, v, gap and own are scratch blocks of D features.
    """
    for i in range(ROWS):
        j = labels[i]
        for d in range(n_features):
            own[d * ROWS + i] = means[j * n_features + d]
        for k in range(n_components):
            if k != j:
                out[pairs + j * n_components + k] += weighted[k * ROWS + i]
    for d in range(n_features):
        at = feature(d)
        for i in range(LANES):
            gap[at + i] = 0.0
        for k in range(n_components):
            row = feature(k)
            mean = means[k * n_features + d]
            for i in range(LANES):
                gap[at + i] += weighted[row + i] * (own[at + i] - mean)
        for i in range(LANES):
            delta = x[at + i] - own[at + i] if weight[i] > 0.0 else 0.0
            y[at + i] = delta
            v[at + i] = weight[i] * delta + gap[at + i]
    for part in range(2):
        left, right = (v, y) if part == 0 else (y, gap)
        add_products(left, right, n_features, out, second)
