"""The Numba backend: the stages of numba_stages over blocks, slots and Python threads.

Threads are Python's own and run machine code that holds no GIL: Numba's parallel layer may abort
the process when two Python threads enter it. Functions compile at their first call and are cached
on disk where Numba finds a place to write; elsewhere they compile once per process.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numba import njit, types

from . import numba_moments, numba_stages, numba_tiles
from .arguments import check_accumulate, check_evaluate
from .contract import (
    FACTOR_FULL,
    FACTOR_SHARED,
    LAYOUT_POOLED,
    N_SCALARS,
    RULE_HARD,
    RULE_STOCHASTIC,
    RULE_TEMPERED,
    WANT_LABELS,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
    Parameters,
    Plan,
    RuleCall,
    offsets,
)
from .numba_moments import FEW, lowest_peak, moments, pool, pooled_moments
from .numba_stages import (
    add_labels,
    draw,
    find_largest,
    harden,
    log_joint_densities,
    new,
    pack,
    soften,
    squared_distances,
    take_weights,
    temper,
    weighted_sum,
    whiten_means,
)
from .numba_tiles import ROWS, feature, row_sum, splitmix
from .reference import combine as combine
from .reference import factorise as factorise  # K small matrices: NumPy is fast enough

NAME = "numba"
LEVEL = "llvm"

THREAD_FLOPS = 1 << 20  # `evaluate` starts no thread for less: about 0.1 ms, twice a thread's start

_NO_FLOAT32 = np.empty((0, 1), dtype=np.float32)
_NO_FLOAT64 = np.empty((0, 1))
_NO_ROW = np.empty(0)
_NO_LABELS = np.empty(0, dtype=np.int64)

# One signature per driver, so that it compiles once: X comes as a float32 or as a float64 array of
# any layout, the other one is empty; all else is flat.
_X32 = types.Array(types.float32, 2, "A", readonly=True)
_X64 = types.Array(types.float64, 2, "A", readonly=True)
_IN = types.Array(types.float64, 1, "C", readonly=True)
_OUT = types.float64[::1]
_LABELS = types.int64[::1]
_MODEL = (types.int64, _IN, _IN, _IN, _IN)
_INT = types.int64
_RULE = (types.int64, types.float64, types.uint64, types.uint64)
_SIGNATURES = {
    "accumulate": _INT(_X32, _X64, _IN, _INT, *_MODEL, _INT, *_RULE, _OUT, *[_INT] * 8),
    "evaluate": _INT(_X32, _X64, *_MODEL, _INT, _OUT, _LABELS, _INT, _INT),
}


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
    parts = offsets(*parameters.means.shape, layout)
    first_slot = first_row // plan.slot_rows
    n_slots = -(-len(X) // plan.slot_rows)
    n_threads = max(1, min(n_threads, n_slots, plan.n_accumulators))
    arguments = (
        *_by_dtype(X),
        _NO_ROW if sample_weight is None else sample_weight,
        first_slot,
        *_flat(parameters),
        layout,
        rule.code,
        rule.beta,
        np.uint64(rule.seed),
        np.uint64(rule.iteration),
        accumulators.reshape(-1),
        plan.slot_rows,
        plan.n_accumulators,
        parts.first,
        parts.second,
        parts.pairs,
        parts.scalars,
    )
    kernel = _kernel("accumulate")
    return _run(kernel, [(*arguments, i, n_threads) for i in range(n_threads)])


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
    return _run(_kernel("evaluate"), calls)


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


def _run(kernel: Callable, calls: list[tuple]) -> int:
    """The smallest row >= 0 that a call returned, or -1; each call but the first has a thread."""
    results = [-1] * len(calls)
    errors = []

    def work(i):
        try:
            results[i] = kernel(*calls[i])
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    started = []
    try:
        for i in range(1, len(calls)):
            thread = threading.Thread(target=work, args=(i,), daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The system refuses more threads: this one does their work too.
                for j in range(i, len(calls)):
                    work(j)
                break
            started.append(thread)
        work(0)
    finally:
        # Also after Ctrl-C: nothing may write to the caller's arrays any more.
        for thread in started:
            thread.join()
    if errors:
        raise errors[0]
    return min((row for row in results if row >= 0), default=-1)


_kernels: dict[str, Callable] = {}
_lock = threading.Lock()


def _kernel(name: str) -> Callable:
    """The compiled driver `name`; compiled or read from Numba's cache at its first use."""
    if name not in _kernels:
        with _lock:
            if name not in _kernels:
                build = {"accumulate": _accumulate_driver, "evaluate": _evaluate_driver}[name]
                _kernels[name] = _compile(build(_source_stamp()), _SIGNATURES[name])
    return _kernels[name]


def _compile(function: Callable, signature) -> Callable:
    options = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    with _existing_directory():
        try:
            return njit(signature, cache=True, **options)(function)
        except Exception:
            # No directory to write to, a full disk, a damaged cache file: all only cost time.
            return njit(signature, **options)(function)


@contextmanager
def _existing_directory():
    """The root as current directory if the current one is deleted; Numba asks for its path."""
    try:
        os.getcwd()
    except FileNotFoundError:
        deleted = os.open(".", os.O_RDONLY)
        os.chdir(os.sep)
        try:
            yield
        finally:
            os.fchdir(deleted)
            os.close(deleted)
    else:
        yield


def _source_stamp() -> int:
    """Changes with the source of the stages.

    Numba's cache looks at the file of the cached function and at its closure, not at the files of
    the functions that it calls; so this number goes into the closure of each driver.
    """
    stamp = 0
    for module in (numba_tiles, numba_stages, numba_moments):
        try:
            stamp = zlib.crc32(Path(module.__file__).read_bytes(), stamp)
        except OSError:
            stamp = zlib.crc32(repr(module.__file__).encode(), stamp)
    return stamp


def _accumulate_driver(stamp: int) -> Callable:
    def accumulate_slots(
        X32, X64, sample_weight, first_slot,
        kind, log_coefficients, means, factors, centre,
        layout, rule, beta, seed, iteration, accumulators, slot_rows, n_accumulators,
        first, second, pairs, scalars, thread, n_threads,
    ):  # fmt: skip
        """First bad row or -1; does the slots whose accumulator belongs to `thread`."""
        _ = stamp
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
            mass = accumulator * (scalars + N_SCALARS)
            if first_slot + slot < n_accumulators:
                accumulators[mass : mass + scalars + N_SCALARS] = 0.0
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
                if rule == RULE_HARD or rule == RULE_STOCHASTIC:
                    row = np.uint64(first_slot * slot_rows + start)
                    if rule == RULE_STOCHASTIC:
                        draw(joint, n_components, key, row, scale, labels)
                    else:
                        add_labels(weight, labels, row, accumulators, at + 4)
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

    return accumulate_slots


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
