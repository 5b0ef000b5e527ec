"""The functions of the Numba backend that Python calls, and their signatures.

One signature each, so that they compile once: X comes as a float32 or as a float64 array of any
layout, the other one is empty; all else is flat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types

from .contract import (
    FACTOR_SHARED,
    FEW,
    LAYOUT_FULL,
    LAYOUT_POOLED,
    RULE_HARD,
    RULE_STOCHASTIC,
    RULE_TEMPERED,
    WANT_LABELS,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
)
from .numba_compile import compiled
from .numba_loop import GO_ON, combine_rows, fold, mirror, next_pass
from .numba_maximise import cholesky_rows, fit_of, invert_rows
from .numba_moments import lowest_peak, moments, pool, pooled_moments
from .numba_stages import (
    add_labels,
    draw,
    find_largest,
    harden,
    log_joint_densities,
    new,
    pack,
    scale_shares,
    soften,
    squared_distances,
    take_weights,
    temper,
    weighted_sum,
    whiten_means,
)
from .numba_tiles import ROWS, feature, row_sum, splitmix, stage

# What `passes` is to do.
PASS = 0  # a pass over the rows of one thread
LOOP = 1  # EM iterations
BETWEEN = 2  # of the loop, what is between two passes

_INT, _FLOAT = types.int64, types.float64
_X32 = types.Array(types.float32, 2, "A", readonly=True)
_X64 = types.Array(types.float64, 2, "A", readonly=True)
_IN = types.Array(types.float64, 1, "C", readonly=True)
_OUT = types.float64[::1]
_LABELS = types.int64[::1]
_MODEL = (_INT, _IN, _IN, _IN, _IN)
_RULE = (_INT, _FLOAT, types.uint64, types.uint64)
_SUMS = types.UniTuple(_INT, 5)  # contract.Offsets
_PARTS = types.UniTuple(_INT, 7)  # contract.StateParts
_STEP = (_INT, _INT, _INT, _IN, _FLOAT)  # contract.StepPlan


def kernel(name: str) -> Callable:
    """The compiled function `name`; compiled or read from Numba's cache at its first use."""
    return compiled(*_DRIVERS[name])


@stage
def add_slots(
    X32, X64, sample_weight, first_slot,
    kind, log_coefficients, means, factors, centre,
    layout, rule, beta, seed, iteration, accumulators, slot_rows, n_accumulators,
    sums, thread, n_threads,
):  # fmt: skip
    """First bad row or -1; does the slots whose accumulator belongs to `thread`."""
    first, second, pairs, scalars, sums_size = sums
    single = X32.shape[0] > 0
    n_rows = X32.shape[0] if single else X64.shape[0]
    n_components = log_coefficients.size
    n_features = means.size // n_components
    size = n_features * ROWS
    # One allocation each: LLVM does not vectorise over parts of one whose distance is unknown.
    x, y, z, v = new(size), new(size), new(size), new(size)
    joint = new(n_components * ROWS)
    weight, largest, logpdf, entropy = new(ROWS), new(ROWS), new(ROWS), new(ROWS)
    scale, floor = new(ROWS), new(ROWS)
    labels, kept = np.empty(ROWS, dtype=np.int64), np.empty(ROWS, dtype=np.int64)
    whitened = np.empty(n_components * n_features)
    if kind == FACTOR_SHARED:
        whiten_means(factors, means, centre, n_components, n_features, whitened)
    key = splitmix(seed, iteration)
    for slot in range(-(-n_rows // slot_rows)):
        accumulator = (first_slot + slot) % n_accumulators
        if accumulator % n_threads != thread:
            continue
        mass = accumulator * sums_size
        if first_slot + slot < n_accumulators:
            accumulators[mass : mass + sums_size] = 0.0
        end = min((slot + 1) * slot_rows, n_rows)
        for start in range(slot * slot_rows, end, ROWS):
            count = min(ROWS, end - start)
            bad = pack(X32, start, count, x) if single else pack(X64, start, count, x)
            if bad >= 0:
                return bad
            take_weights(sample_weight, start, count, weight)
            squared_distances(
                x, kind, means, factors, centre, whitened, n_components, n_features, y, z, joint
            )
            log_joint_densities(log_coefficients, n_components, joint)
            find_largest(joint, log_coefficients, n_components, largest, labels)
            if rule == RULE_TEMPERED:
                temper(
                    joint, log_coefficients, weight, n_components, beta, largest, logpdf,
                    entropy, scale, floor,
                )  # fmt: skip
            else:
                soften(
                    joint, log_coefficients, weight, n_components, largest, logpdf, entropy,
                    scale, floor,
                )  # fmt: skip
            at = mass + scalars
            row = np.uint64(first_slot * slot_rows + start)
            if rule == RULE_HARD:
                add_labels(weight, labels, row, accumulators, at + 4)
            else:
                scale_shares(joint, scale, floor, log_coefficients, n_components)
            if rule == RULE_STOCHASTIC:
                draw(joint, n_components, key, row, scale, labels)
            if rule == RULE_HARD or rule == RULE_STOCHASTIC:
                harden(weight, labels, n_components, joint, entropy)
            accumulators[at] += weighted_sum(weight, logpdf)
            accumulators[at + 1] += weighted_sum(weight, largest)
            accumulators[at + 2] += weighted_sum(weight, entropy)
            accumulators[at + 3] += row_sum(weight, feature(0))
            if layout == LAYOUT_POOLED and n_features > FEW:
                pool(
                    x, joint, means, n_components, n_features, v, accumulators, mass,
                    mass + first,
                )  # fmt: skip
                pooled_moments(
                    x, weight, joint, labels, means, n_components, n_features, y, v,
                    accumulators, mass + second, mass + pairs,
                )  # fmt: skip
            else:
                moments(
                    x, joint, log_coefficients, means, lowest_peak(weight, largest), beta,
                    layout, n_components, n_features, y, v, kept,
                    accumulators, mass, mass + first, mass + second,
                )  # fmt: skip
    return -1


def _passes_driver(stamp: int) -> Callable:
    def passes(
        X32, X64, sample_weight, first_slot, kind, log_coefficients, means, factors, centre,
        layout, rule, beta, seed, iteration, accumulators, slot_rows, n_accumulators, sums,
        task, bad_row, step, n_components, n_features, scale, relative, parts, state, model,
        memory, trace, thread, n_threads,
    ):  # fmt: skip
        """First bad row or -1 of a PASS; of a LOOP, and BETWEEN, what `next_pass` returns.

        The loop's passes are made under the mixture in `model`, of which `means` and so on are
        parts. It calls what a PASS calls, so that it cannot but have the same bits.
        """
        _ = stamp
        fit = fit_of(step, n_components, n_features, scale, relative, parts, sums)
        n_rows = X32.shape[0] + X64.shape[0]
        n_used = min(n_accumulators, -(-n_rows // slot_rows))
        while True:
            if task != PASS:
                code = next_pass(
                    fit, layout, rule, bad_row, n_used, accumulators, state, model, memory, trace
                )
                if task == BETWEEN or code != GO_ON:
                    return code
            bad_row = add_slots(
                X32, X64, sample_weight, first_slot, kind, log_coefficients, means, factors,
                centre, layout, rule, beta, seed, iteration, accumulators, slot_rows,
                n_accumulators, sums, thread, n_threads,
            )  # fmt: skip
            if task == PASS:
                return bad_row

    return passes


def _evaluate_driver(stamp: int) -> Callable:
    def evaluate_rows(
        X32, X64, kind, log_coefficients, means, factors, centre, want, out, out_labels, begin, end
    ):
        """First bad row or -1; writes rows begin..end of `out`, or of `out_labels`."""
        _ = stamp
        single = X32.shape[0] > 0
        n_components = log_coefficients.size
        n_features = means.size // n_components
        size = n_features * ROWS
        x, y, z, joint = new(size), new(size), new(size), new(n_components * ROWS)
        weight, largest, logpdf, entropy = np.ones(ROWS), new(ROWS), new(ROWS), new(ROWS)
        scale, floor = new(ROWS), new(ROWS)
        labels = np.empty(ROWS, dtype=np.int64)
        whitened = np.empty(n_components * n_features)
        if kind == FACTOR_SHARED:
            whiten_means(factors, means, centre, n_components, n_features, whitened)
        for start in range(begin, end, ROWS):
            count = min(ROWS, end - start)
            bad = pack(X32, start, count, x) if single else pack(X64, start, count, x)
            if bad >= 0:
                return bad
            squared_distances(
                x, kind, means, factors, centre, whitened, n_components, n_features, y, z, joint
            )
            if want == WANT_MAHALANOBIS:
                for i in range(joint.size):
                    joint[i] = np.sqrt(joint[i])
            else:
                log_joint_densities(log_coefficients, n_components, joint)
                find_largest(joint, log_coefficients, n_components, largest, labels)
            if want == WANT_LOGPDF or want == WANT_RESPONSIBILITIES:
                soften(
                    joint, log_coefficients, weight, n_components, largest, logpdf, entropy,
                    scale, floor,
                )  # fmt: skip
            if want == WANT_RESPONSIBILITIES:
                scale_shares(joint, scale, floor, log_coefficients, n_components)
            for i in range(count):
                if want == WANT_LABELS:
                    out_labels[start + i] = labels[i]
                elif want == WANT_LOGPDF:
                    out[start + i] = logpdf[i]
                else:
                    for k in range(n_components):
                        out[(start + i) * n_components + k] = joint[k * ROWS + i]
        return -1

    return evaluate_rows


def _combine_driver(stamp: int) -> Callable:
    def combine(accumulators, means, layout, n_components, n_features, sums, total):
        """Writes the sum of the accumulators, with whole second moments, to `total`."""
        _ = stamp
        _, second, pairs, _, size = sums
        combine_rows(accumulators, accumulators.size // size, total, 0)
        if layout == LAYOUT_POOLED:
            fold(total, pairs, second, means, 0, n_components, n_features)
        if layout == LAYOUT_POOLED or layout == LAYOUT_FULL:
            mirror(total, second, pairs, n_features)

    return combine


def _factorise_driver(stamp: int) -> Callable:
    def factorise(covariances, factors, log_determinants, n_features):
        """-1, or the first component without a Cholesky factor; as the M-steps do it."""
        _ = stamp
        size = n_features * n_features
        upper = np.empty(size)
        for k in range(log_determinants.size):
            if not cholesky_rows(covariances, k * size, upper, 0, n_features):
                return k
            log_determinants[k] = invert_rows(upper, 0, factors, k * size, n_features)
        return -1

    return factorise


_DRIVERS = {
    "passes": (
        _passes_driver,
        _INT(
            _X32, _X64, _IN, _INT, *_MODEL, _INT, *_RULE, _OUT, _INT, _INT, _SUMS,
            _INT, _INT, *_STEP, _PARTS, _OUT, _OUT, _OUT, _OUT, _INT, _INT,
        ),
    ),
    "evaluate": (_evaluate_driver, _INT(_X32, _X64, *_MODEL, _INT, _OUT, _LABELS, _INT, _INT)),
    "factorise": (_factorise_driver, _INT(_IN, _OUT, _OUT, _INT)),
    "combine": (_combine_driver, types.void(_IN, _IN, _INT, _INT, _INT, _SUMS, _OUT)),
}  # fmt: skip
