"""The Numba backend: the stages of numba_stages over blocks, slots and Python threads.

Threads are Python's own and run machine code that holds no GIL: Numba's parallel layer may abort
the process when two Python threads enter it. Functions compile at their first call and are cached
on disk where Numba finds a place to write; elsewhere they compile once per process.
"""

from __future__ import annotations

import numpy as np

from .arguments import check_accumulate, check_combine, check_evaluate, check_loop, check_step
from .contract import (
    FACTOR_DIAG,
    FACTOR_FULL,
    FACTOR_SHARED,
    SOFT,
    STEP_FULL,
    STEP_LAYOUTS,
    STEP_TIED,
    WANT_LABELS,
    Parameters,
    Plan,
    RuleCall,
    StateParts,
    StepPlan,
    offsets,
    state_parts,
)
from .numba_compile import run
from .numba_drivers import BETWEEN, LOOP, PASS, kernel
from .numba_loop import DONE, GO_ON, NO_PASS
from .numba_tiles import ROWS

NAME = "numba"
LEVEL = "llvm"

THREAD_FLOPS = 1 << 20  # `evaluate` starts no thread for less: about 0.1 ms, twice a thread's start

_NO_FLOAT32 = np.empty((0, 1), dtype=np.float32)
_NO_FLOAT64 = np.empty((0, 1))
_NO_ROW = np.empty(0)
_NO_LABELS = np.empty(0, dtype=np.int64)
_NO_PLAN = Plan(1, 1, 1)
# What `passes` is told of a loop where there is none.
_NO_STEP = (0, 0, 0, _NO_ROW, 0.0)
_NO_STATES = ((0,) * len(StateParts._fields), _NO_ROW, _NO_ROW, _NO_ROW, _NO_ROW)


def accumulate(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    first_row: int,
    parameters: Parameters,
    layout: int,
    rule: RuleCall,
    accumulators: np.ndarray,
    plan: Plan,
    n_threads: int,
) -> int:
    """-1, or the first row of X with NaN or infinity; adds the rows' statistics to `accumulators`.

    Arguments, result and cost are those of ``reference.accumulate``. At most `n_threads` threads
    run, the caller among them, each on accumulators of its own; the sums' bits do not depend on it.
    """
    check_accumulate(X, sample_weight, first_row, parameters, layout, rule, accumulators, plan)
    rows = _rows(X, sample_weight, first_row, parameters, layout, rule, accumulators, plan)
    n_threads = max(1, min(n_threads, -(-len(X) // plan.slot_rows), plan.n_accumulators))
    return run(kernel("passes"), _passes(rows, n_threads))


def iterate(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    state: np.ndarray,
    step: StepPlan,
    fresh: bool,
    rule: RuleCall,
    accumulators: np.ndarray,
    plan: Plan,
    tol: float,
    before: float,
    trace: np.ndarray,
    n_threads: int,
) -> tuple[int, int]:
    """Do EM iterations in place; how many were done, and a LOOP_ code.

    As ``kernels.contract`` states. O(N K D^2) for each, or O(N K D) for diagonal factors.
    """
    check_step(step, state=state)
    check_loop(rule, fresh, trace)
    model = state.copy()  # the mixture that a pass is made for
    parameters, layout = _parameters(model, step), STEP_LAYOUTS[step.code]
    check_accumulate(X, sample_weight, 0, parameters, layout, rule, accumulators, plan)
    rows = _rows(X, sample_weight, 0, parameters, layout, rule, accumulators, plan)
    n_threads = max(1, min(n_threads, -(-len(X) // plan.slot_rows), plan.n_accumulators))
    memory = np.array([0.0, tol, before, 0.0, fresh])
    loop = (*step, _parts(step), state, model, memory, trace.reshape(-1), 0, 1)
    passes = kernel("passes")
    code = passes(*rows, LOOP if n_threads == 1 else BETWEEN, NO_PASS, *loop)
    while code == GO_ON:  # with threads
        bad_row = run(passes, _passes(rows, n_threads))
        code = passes(*rows, BETWEEN, bad_row, *loop)
    return int(memory[DONE]), code


def factorise(covariances: np.ndarray, factors: np.ndarray, log_determinants: np.ndarray) -> int:
    """-1, or the first component whose covariance has no Cholesky factor.

    As ``reference.factorise`` states, with the operations and so the bits of the M-steps.
    """
    flat = (covariances.reshape(-1), factors.reshape(-1), log_determinants)
    return kernel("factorise")(*flat, covariances.shape[-1])


def maximise(state: np.ndarray, step: StepPlan, then: np.ndarray, n_threads: int = 1) -> bool:
    """Write the M-step from `state` into `then`; whether it was an ordinary one.

    As ``kernels.contract`` states, on one thread. O(K D^2), O(K D^3) with matrices.
    """
    check_step(step, state=state, then=then)
    layout = STEP_LAYOUTS[step.code]
    rows = _rows(_NO_FLOAT64, None, 0, _parameters(then, step), layout, SOFT, _NO_ROW, _NO_PLAN)
    # A loop of one iteration makes the next mixture before its first pass.
    memory, trace = np.array([0.0, 0.0, np.nan, 0.0, False]), np.empty(2)
    loop = (*step, _parts(step), state, then, memory, trace, 0, 1)
    return kernel("passes")(*rows, BETWEEN, NO_PASS, *loop) == GO_ON


def combine(
    accumulators: np.ndarray, means: np.ndarray, layout: int, total: np.ndarray, n_threads: int
) -> None:
    """Write the sum of `accumulators` into `total`, as ``reference.combine`` does; one thread."""
    check_combine(accumulators, means, layout, total)
    sums = tuple(offsets(*means.shape, layout))
    arguments = (accumulators.reshape(-1), means.reshape(-1), layout, *means.shape, sums, total)
    kernel("combine")(*arguments)


def evaluate(
    X: np.ndarray, parameters: Parameters, want: int, out: np.ndarray, n_threads: int
) -> int:
    """-1, or the first row of X with NaN or infinity; writes what is wanted of each row to `out`.

    Arguments and result are those of ``reference.evaluate``. At most `n_threads` threads run, fewer
    where the work is small.
    """
    check_evaluate(X, parameters, want, out)
    n_rows, n_features = X.shape
    square = n_features if parameters.factor_kind == FACTOR_FULL else 1
    flops = 2 * n_rows * n_features * square * len(parameters.means)
    n_blocks = -(-n_rows // ROWS)
    n_threads = max(1, min(n_threads, n_blocks, flops // THREAD_FLOPS))
    labels = want == WANT_LABELS
    arguments = (
        *_by_dtype(X),
        *_flat(parameters),
        want,
        _NO_ROW if labels else out.reshape(-1),
        out if labels else _NO_LABELS,
    )
    cuts = [ROWS * (n_blocks * i // n_threads) for i in range(n_threads)] + [n_rows]
    calls = [(*arguments, cuts[i], cuts[i + 1]) for i in range(n_threads)]
    return run(kernel("evaluate"), calls)


def _by_dtype(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (X, _NO_FLOAT64) if X.dtype.char == "f" else (_NO_FLOAT32, X)


def _flat(parameters: Parameters) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        parameters.factor_kind,
        parameters.log_coefficients,
        parameters.means.reshape(-1),
        parameters.factors.reshape(-1),
        parameters.centre if parameters.factor_kind == FACTOR_SHARED else _NO_ROW,
    )


def _rows(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    first_row: int,
    parameters: Parameters,
    layout: int,
    rule: RuleCall,
    accumulators: np.ndarray,
    plan: Plan,
) -> tuple:
    """What `passes` is told of a pass, but for the threads."""
    return (
        *_by_dtype(X),
        _NO_ROW if sample_weight is None else sample_weight,
        first_row // plan.slot_rows,
        *_flat(parameters),
        layout,
        rule.code,
        rule.beta,
        np.uint64(rule.seed),
        np.uint64(rule.iteration),
        accumulators.reshape(-1),
        plan.slot_rows,
        plan.n_accumulators,
        tuple(offsets(*parameters.means.shape, layout)),
    )


def _passes(rows: tuple, n_threads: int) -> list[tuple]:
    """The arguments of a pass for each thread."""
    return [(*rows, PASS, 0, *_NO_STEP, *_NO_STATES, i, n_threads) for i in range(n_threads)]


def _parts(step: StepPlan) -> tuple[int, ...]:
    return tuple(state_parts(step.n_components, step.n_features, step.code))


def _parameters(state: np.ndarray, step: StepPlan) -> Parameters:
    """The mixture that a flat state holds, as the passes read it; views of the state."""
    parts = state_parts(step.n_components, step.n_features, step.code)
    shape = (step.n_components, step.n_features)
    kind, factors = {
        STEP_FULL: (FACTOR_FULL, (*shape, step.n_features)),
        STEP_TIED: (FACTOR_SHARED, (step.n_features, step.n_features)),
    }.get(step.code, (FACTOR_DIAG, shape))
    return Parameters(
        kind,
        state[parts.coefficients : parts.factors],
        state[parts.means : parts.covariances].reshape(shape),
        state[parts.factors : parts.centre].reshape(factors),
        state[parts.centre : parts.sums],
    )
