"""What every kernel backend agrees on: codes, the accumulator's layout, the plan, the final sum.

A backend is a module with `accumulate`, `combine`, `evaluate` and `factorise`, whose meaning
``reference.py`` states, and perhaps `maximise`, `advance`, `iterate`, `ascend` and `slopes`,
compiled forms of what is done in NumPy otherwise:

``maximise(state, step, then, n_threads=1) -> bool`` writes the M-step from one flat state
(`state_parts`) into another, all but its sums. False says that it is not an ordinary one (an empty
component, a covariance below the floor or without a Cholesky factor); `then` means nothing in that
case.

``advance(X, sample_weight, state, step, kept, share, needed, accumulators, plan, then, marks,
n_threads) -> code`` does a step of ``streams/advance.py``: the sums of `state`, times `kept`, and
those of the rows under its mixture, times `share`, are added up; `then` gets their M-step, and the
sums moved to the new means. X may have no rows. Sums of STEP_SPHERICAL have the layout LAYOUT_DIAG
in both states. A component of less mass than `needed` keeps mean and covariance, one below the
floor is raised to it, and `marks` (K,) int64 gets a MARK_ code for each. `code` is 1 if
one is marked, else 0; or -1 where NumPy is to do it, as with rows or sums that are not finite, and
`then` and `marks` mean nothing. `accumulators` are scratch, `state` is only read.

``iterate(X, sample_weight, state, step, fresh, rule, accumulators, plan, tol, before, trace,
n_threads) -> (done, code)`` does EM iterations (RULE_SOFT or RULE_HARD) in place until `trace`
(length, 2), which gets log-likelihood and classification log-likelihood after each, is full. If
`fresh`, the sums of `state` are still to be gathered, and the first row is that of `state` itself.
The objective is the former, or the latter for RULE_HARD. `before` is the objective before that of
`state`, or NaN, for the stopping rule of ``em.run_em``; the hard rule stops also where no label has
changed. `done` rows were written, and `code` says why no more. An
iteration that is not ordinary (as above, or sums that are not finite, or an objective that falls by
more than a sum's own rounding) is not done: mixture and sums are what they were, and the code is
LOOP_HANDED_BACK. `accumulators` are scratch.

``ascend(Z, shares, table, steps, lengths)`` writes what ``hills/landscape.py`` states as `step` for
full covariances, from posterior probabilities `shares` (n, K); `table` (K, D (D + 1) / 2 + D) holds
the lower triangles of the precisions S_k^-1, by rows, and the vectors S_k^-1 mu_k.

``slopes(Z, means, factors, table, shares, gradients, curvatures, precisions, newton, concave)``
writes what it states as `slope`; `concave` (n,) float64 gets 1 or 0. A row's numbers depend on no
other row, in both.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

# How the precision factors P_k (lower triangular, P_k Sigma_k P_k^T = I) are stored.
FACTOR_DIAG = 0  # (K, D): the diagonals
FACTOR_FULL = 1  # (K, D, D)
FACTOR_SHARED = 2  # (D, D): one factor for all components

# What is gathered of the second moments.
LAYOUT_SPHERICAL = 0  # (K,): squared distances, summed over features
LAYOUT_DIAG = 1  # (K, D)
LAYOUT_FULL = 2  # (K, D, D), lower triangles
LAYOUT_POOLED = 3  # (D, D), lower triangle, summed over components
LAYOUTS = {
    "spherical": LAYOUT_SPHERICAL,
    "diag": LAYOUT_DIAG,
    "full": LAYOUT_FULL,
    "pooled": LAYOUT_POOLED,
}
LAYOUT_NAMES = {code: name for name, code in LAYOUTS.items()}

# How log joint densities become responsibilities. A row for which all are -inf, because its squared
# distances overflow, is as near to all components of positive weight (log coefficient above -inf,
# which one must have) as to any: equal posteriors for these, 0 for the others.
RULE_SOFT = 0  # the posterior probabilities
RULE_HARD = 1  # 1 for the most probable component, ties to the lowest index
RULE_TEMPERED = 2  # the posterior probabilities to the power beta, normalised
RULE_STOCHASTIC = 3  # 1 for a component drawn from the posterior probabilities

# What `evaluate` writes.
WANT_LOG_JOINT = 0  # (n, K)
WANT_LOGPDF = 1  # (n,)
WANT_RESPONSIBILITIES = 2  # (n, K)
WANT_LABELS = 3  # (n,) int64
WANT_MAHALANOBIS = 4  # (n, K), distances (not squared)

# The M-steps that `maximise` and `iterate` know; "means" is that of k-means: only the means move.
STEP_SPHERICAL = 0
STEP_DIAG = 1
STEP_FULL = 2
STEP_TIED = 3
STEP_MEANS = 4

# Why `iterate` ended.
LOOP_FULL = 0  # as many iterations as the trace has room for
LOOP_SETTLED = 1  # one more than the first whose change is below tol
LOOP_UNCHANGED = 2  # no bit of the mixture changed, nor the objective
LOOP_HANDED_BACK = 3  # the next iteration is not an ordinary one
LOOP_SAME_LABELS = 4  # hard: the last iteration gave every row the label it had

# What `advance` did to a component beside moving it.
MARK_NONE = 0
MARK_HELD = 1  # it had too little mass for a mean and a covariance of its own
MARK_RAISED = 2  # its covariance was below the floor

N_SCALARS = 6
FEW = 4  # up to so many features the pooled layout takes each component's own: nothing is cheaper
ACCUMULATOR_BYTES = 1 << 25  # all accumulators of a fit together, where V is not at its minimum
SLOT_FLOPS = 1 << 27  # a slot costs at most this, so that a call of a few slots stays short


class Parameters(NamedTuple):
    """A mixture as the kernels read it; float64, C-contiguous."""

    factor_kind: int
    log_coefficients: np.ndarray  # (K,): log w_k + log det P_k - D/2 log 2 pi; -inf if w_k = 0
    means: np.ndarray  # (K, D)
    factors: np.ndarray  # by factor_kind
    centre: np.ndarray  # (D,): FACTOR_SHARED whitens x - centre


class RuleCall(NamedTuple):
    """A rule with its parameters, as the kernels read it.

    The stochastic rule gives row n of the data the first component whose cumulative posterior
    probability exceeds u, where u is the upper 52 bits of ``splitmix64(key)[n]`` as a number in
    [0, 1), and key is ``splitmix64(seed)[iteration]``: output n or `iteration`, counted from 0, of
    the generator of Steele, Lea & Flood (2014), OOPSLA, 453-472. So the draws depend neither on
    threads nor on chunks; backends agree on a label unless u lies within rounding of a cumulative
    probability.
    """

    code: int  # RULE_
    beta: float = 1.0  # tempered: inverse temperature, 0 < beta <= 1
    seed: int = 0  # stochastic: below 2^64
    iteration: int = 0  # stochastic: below 2^64


SOFT = RuleCall(RULE_SOFT)
HARD = RuleCall(RULE_HARD)


class StepPlan(NamedTuple):
    """An M-step: its kind, the sizes of the mixture, and the floor of the covariances."""

    code: int  # STEP_
    n_components: int
    n_features: int
    scale: np.ndarray  # (D,): standard deviations that the floor is relative to
    relative: float  # no eigenvalue in scaled coordinates goes below it


class StateParts(NamedTuple):
    """Where the parts of a flat float64 state begin: a mixture, and its sums (an accumulator)."""

    means: int  # weights (K,) stand before it
    covariances: int
    coefficients: int
    factors: int
    centre: int
    sums: int
    size: int


class Plan(NamedTuple):
    """How rows are cut up. It follows from D, K and the layout alone, and so do all sums' bits."""

    block: int  # rows a kernel holds in cache at once
    slot_rows: int  # consecutive rows whose sums are accumulated together
    n_accumulators: int  # slot s adds to accumulator s mod n_accumulators


class Offsets(NamedTuple):
    """Where the parts of one accumulator (a flat float64 row) begin."""

    first: int  # mass (K,) stands before it
    second: int
    # (K, K), empty unless the layout is pooled. How much of the sums of squares is left to them is
    # the backend's affair: none where taking it with the rows is cheaper.
    pairs: int
    # Log-likelihood, classification log-likelihood, entropy, weight; and with RULE_HARD the lower
    # and the upper 32 bits of the sum modulo 2^64, over the rows of positive weight, of
    # splitmix64(label)[row] (see RuleCall): two passes with an equal sum have given the same
    # labels, or err with a probability of 2^-64. Such halves add up without rounding.
    scalars: int
    size: int


def second_size(n_components: int, n_features: int, layout: int) -> int:
    """Number of second moments that one accumulator of `layout` holds."""
    return {
        LAYOUT_SPHERICAL: n_components,
        LAYOUT_DIAG: n_components * n_features,
        LAYOUT_FULL: n_components * n_features * n_features,
        LAYOUT_POOLED: n_features * n_features,
    }[layout]


@lru_cache(maxsize=64)  # a fit asks often, and always for the same
def offsets(n_components: int, n_features: int, layout: int) -> Offsets:
    """Begin of each part of an accumulator for K = `n_components`, D = `n_features`."""
    first = n_components
    second = first + n_components * n_features
    pairs = second + second_size(n_components, n_features, layout)
    scalars = pairs + (n_components * n_components if layout == LAYOUT_POOLED else 0)
    return Offsets(first, second, pairs, scalars, scalars + N_SCALARS)


STEP_LAYOUTS = {
    STEP_SPHERICAL: LAYOUT_SPHERICAL,
    STEP_DIAG: LAYOUT_DIAG,
    STEP_FULL: LAYOUT_FULL,
    STEP_TIED: LAYOUT_POOLED,
    STEP_MEANS: LAYOUT_SPHERICAL,
}


@lru_cache(maxsize=64)
def state_parts(n_components: int, n_features: int, step: int) -> StateParts:
    """Begin of each part of a state for K = `n_components`, D = `n_features`."""
    layout = STEP_LAYOUTS[step]
    diagonals = n_components * n_features
    matrices = second_size(n_components, n_features, layout)
    dense = step in (STEP_FULL, STEP_TIED)
    means = n_components
    covariances = means + diagonals
    coefficients = covariances + (diagonals if step == STEP_MEANS else matrices)
    factors = coefficients + n_components
    centre = factors + (matrices if dense else diagonals)
    sums = centre + n_features
    return StateParts(
        means,
        covariances,
        coefficients,
        factors,
        centre,
        sums,
        sums + offsets(n_components, n_features, layout).size,
    )


@lru_cache(maxsize=64)
def plan(n_components: int, n_features: int, layout: int) -> Plan:
    """The plan for K = `n_components`, D = `n_features`: block, slot and accumulator counts."""
    # About 1 MB of scratch in a block, and at most 256 rows: a band of the moments stage then
    # stays in the first-level cache. Sapphire Rapids (48 KB, 2 MB), full, overlapping, ms per pass
    # at 64, 128, 256, 512 rows: d8k16 29.2 27.6 27.2 27.5, d16k32 71.7 67.4 65.0 72.4, d32k16 112
    # 105 104 106, d64k64 420 394 385 370, d128k16 396 379 360 345.
    row_bytes = 8 * (3 * n_features + n_components + 8)
    block = 64
    while block < 256 and 2 * block * row_bytes <= 1 << 20:
        block *= 2
    if layout == LAYOUT_POOLED and n_features > FEW:
        # Two runs more of all features. EPYC (Zen 4), tied, 8,192 rows, us of an iteration at 64,
        # 128, 256 rows: D = 32, K = 16: 1550 1486 1545; 16, 64: 2327 2218 2238; 64, 16: 4150 4038
        # 4021.
        block = min(block, 128)
    quadratic = n_features * n_features if layout in (LAYOUT_FULL, LAYOUT_POOLED) else n_features
    row_flops = 2 * n_components * max(quadratic, 8)
    slot_rows = 1024
    while slot_rows > block and slot_rows * row_flops > SLOT_FLOPS:
        slot_rows //= 2
    size = offsets(n_components, n_features, layout).size
    n_accumulators = 64
    while n_accumulators > 4 and 8 * n_accumulators * size > ACCUMULATOR_BYTES:
        n_accumulators //= 2
    return Plan(block, slot_rows, n_accumulators)


def fold_pairs(pairs: np.ndarray, means: np.ndarray, second: np.ndarray) -> None:
    """Add ``sum_jk pairs[j, k] (mu_j - mu_k)(mu_j - mu_k)^T`` to the lower triangle of `second`.

    The part of the pooled second moments that lies between means: a sum of squares with
    weights >= 0, so that nothing cancels however far apart the means are.
    """
    for j, mean in enumerate(means):
        # Far-apart components share no row: most pairs are exactly 0.
        near = pairs[j] != 0.0
        gap = mean - means[near]
        # einsum, not BLAS: its sums do not depend on a thread count.
        second += np.tril(np.einsum("kd,ke->de", pairs[j, near, None] * gap, gap))


def combine(accumulators: np.ndarray, means: np.ndarray, layout: int) -> np.ndarray:
    """Sum of the accumulators (V, S) -> (S,), in a fixed tree, with whole second moments.

    Neighbours are added, then neighbouring pairs, and so on; what is left over waits for the next
    level. Pairs of a pooled layout are folded, and upper triangles filled in.
    """
    while len(accumulators) > 1:
        paired = accumulators[0:-1:2] + accumulators[1::2]
        if len(accumulators) % 2:
            paired = np.concatenate([paired, accumulators[-1:]])
        accumulators = paired
    total = accumulators[0].copy()
    n_components, n_features = means.shape
    part = offsets(n_components, n_features, layout)
    second = total[part.second : part.pairs]
    if layout == LAYOUT_POOLED:
        second = second.reshape(1, n_features, n_features)
        pairs = total[part.pairs : part.scalars].reshape(n_components, n_components)
        fold_pairs(pairs, means, second[0])
    elif layout == LAYOUT_FULL:
        second = second.reshape(n_components, n_features, n_features)
    if layout in (LAYOUT_POOLED, LAYOUT_FULL):
        lower = np.tri(n_features, dtype=bool)
        np.copyto(second, second.swapaxes(-1, -2), where=~lower)
    return total
