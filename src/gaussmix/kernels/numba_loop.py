"""The EM loop of the Numba backend around its passes over the rows, as _loop.pxi has it.

One function, `next_pass`, stands between two passes: it looks at the sums of the one and makes the
mixture of the next. So the loop is the same where a compiled function makes the passes and where
Python's threads do.
"""

from __future__ import annotations

import numpy as np

from .contract import (
    LAYOUT_FULL,
    LAYOUT_POOLED,
    LOOP_FULL,
    LOOP_HANDED_BACK,
    LOOP_SAME_LABELS,
    LOOP_SETTLED,
    LOOP_UNCHANGED,
    RULE_HARD,
)
from .numba_maximise import maximise_state
from .numba_tiles import exact

GO_ON = -1  # no LOOP_ code: `then` is the mixture of the next pass
NO_PASS = -2  # in the place of the first bad row: no pass has been made yet

# What the loop remembers, one number each.
DONE = 0  # rows of the trace
TOL = 1
BEFORE = 2  # the objective before the state's; NaN if there was none
CHANGE = 3  # of the mean objective in the last iteration
FRESH = 4  # whether the sums of the state are still to be gathered

# As in _loop.pxi: a fall by less than this part of the likelihoods is rounding.
ROUNDING = 64.0 * 2.0**-52
CHUNK = 128  # sums whose tree stays in the first-level cache


@exact
def next_pass(fit, layout, rule, bad_row, n_used, accumulators, now, then, memory, trace):
    """GO_ON, or the LOOP_ code with which the loop ends; `now` is what has been reached.

    `bad_row` is what the pass under the mixture of `then` returned, and `n_used` the number of
    accumulators that it added to. `memory` is the loop's, `trace` flat.
    """
    if bad_row == NO_PASS and memory[FRESH] != 0.0:
        return GO_ON  # `then` is `now`, whose sums are wanted
    code = _judge(fit, layout, rule, bad_row, n_used, accumulators, now, then, memory, trace)
    if code == GO_ON:
        if 2 * memory[DONE] == trace.size:
            code = LOOP_FULL
        elif not maximise_state(fit, now, then):
            code = LOOP_HANDED_BACK
    if code != GO_ON and (layout == LAYOUT_FULL or layout == LAYOUT_POOLED):
        mirror(now, fit.at.second, fit.at.pairs, fit.n_features)
    return code


@exact
def _judge(fit, layout, rule, bad_row, n_used, accumulators, now, then, memory, trace):
    """GO_ON if there is to be another iteration; takes over what the pass has found, or not."""
    scalars = fit.at.scalars
    objective = scalars + 1 if rule == RULE_HARD else scalars
    begins = memory[DONE] == 0.0 and memory[FRESH] != 0.0
    if bad_row != NO_PASS:
        if bad_row >= 0 or not _gather(fit, layout, n_used, accumulators, then):
            return LOOP_HANDED_BACK
        if begins:
            _keep(fit, now, then, memory, trace)
    if bad_row == NO_PASS or begins:
        before = memory[BEFORE]
        change = (now[objective] - before) / now[scalars + 3]
        memory[CHANGE] = np.inf if np.isnan(before) else change
        return GO_ON
    value = then[objective]
    before = now[objective]
    if before - value > ROUNDING * (abs(now[scalars]) + abs(now[scalars + 1])):
        return LOOP_HANDED_BACK
    unchanged = value == before and _same_mixture(fit, now, then)
    same_labels = rule == RULE_HARD and _labels(now, scalars) == _labels(then, scalars)
    settled = abs(memory[CHANGE]) < memory[TOL]
    _keep(fit, now, then, memory, trace)
    if settled:
        return LOOP_SETTLED
    if same_labels:
        return LOOP_SAME_LABELS
    if unchanged:
        return LOOP_UNCHANGED
    memory[CHANGE] = (value - before) / now[scalars + 3]
    return GO_ON


@exact
def _keep(fit, now, then, memory, trace):
    """What the pass was made for becomes what has been reached."""
    for i in range(now.size):
        now[i] = then[i]
    done = int(memory[DONE])
    trace[2 * done] = now[fit.at.scalars]
    trace[2 * done + 1] = now[fit.at.scalars + 1]
    memory[DONE] += 1.0


@exact
def _same_mixture(fit, now, then):
    """Whether weights, means and covariances are equal, number by number."""
    for i in range(fit.at.coefficients):
        if now[i] != then[i]:
            return False
    return True


@exact
def _labels(state, scalars):
    """The 64-bit sum that stands for all labels, from its halves, which may be above 2^32."""
    return np.uint64(state[scalars + 4]) + (np.uint64(state[scalars + 5]) << np.uint64(32))


@exact
def _gather(fit, layout, n_used, accumulators, state):
    """The sums of a pass; False if one of them is not finite."""
    at = fit.at
    combine_rows(accumulators, n_used, state, at.mass)
    if layout == LAYOUT_POOLED:
        fold(state, at.pairs, at.second, state, at.means, fit.n_components, fit.n_features)
    total = 0.0
    for i in range(at.mass, state.size):
        total += abs(state[i])
    return total * 0.0 == 0.0


@exact
def combine_rows(accumulators, count, total, begin):
    """From `begin` to its end, total = the sum of `count` accumulators in the contract's tree."""
    size = total.size - begin
    scratch = np.empty(count * CHUNK)
    for chunk in range(0, size, CHUNK):
        n = min(CHUNK, size - chunk)
        for row in range(count):
            for i in range(n):
                scratch[row * CHUNK + i] = accumulators[row * size + chunk + i]
        apart = 1
        while apart < count:
            for row in range(0, count - apart, 2 * apart):
                for i in range(n):
                    scratch[row * CHUNK + i] += scratch[(row + apart) * CHUNK + i]
            apart *= 2
        for i in range(n):
            total[begin + chunk + i] = scratch[i]


@exact
def fold(total, pairs, second, values, means, n_components, n_features):
    """Adds to the lower triangle at `second` what lies between means; O(K^2 D^2).

    sum_jk pairs[j, k] (mu_j - mu_k)(mu_j - mu_k)^T, with the means in `values`.
    """
    for j in range(n_components):
        for k in range(j):
            # Far-apart components share no row: most pairs are exactly 0.
            share = total[pairs + j * n_components + k] + total[pairs + k * n_components + j]
            if share == 0.0:
                continue
            a, b = means + j * n_features, means + k * n_features
            for d in range(n_features):
                factor = share * (values[a + d] - values[b + d])
                row = second + d * n_features
                for e in range(d + 1):
                    total[row + e] += factor * (values[a + e] - values[b + e])


@exact
def mirror(values, begin, end, n):
    """Fills in the upper triangles of the (n, n) matrices at begin..end from the lower ones."""
    for matrix in range(begin, end, n * n):
        for i in range(n):
            for j in range(i):
                values[matrix + j * n + i] = values[matrix + i * n + j]
