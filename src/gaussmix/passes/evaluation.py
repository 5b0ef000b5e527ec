"""What scoring asks of rows: each one's densities, posteriors, label or distances."""

from math import isfinite

import numpy as np

from .. import backends, stopping, threads
from ..inputs import validate
from ..kernels import contract
from ..kernels.contract import Parameters

CALL_FLOPS = 1 << 30  # about 50 ms of kernel time: signals and callbacks wait no longer
# About 0.1 ms of one thread. Below it a second thread saves little, and where another program keeps
# a core busy, waiting for that thread to be scheduled costs up to 20 ms.
SERIAL_FLOPS = 1 << 22
FACTOR_LAYOUTS = {
    contract.FACTOR_DIAG: "diag",
    contract.FACTOR_FULL: "full",
    contract.FACTOR_SHARED: "pooled",
}
SCORE_ROWS = 1 << 14  # rows whose log densities `log_likelihood` adds up at once
SCORE_PARTS = 8  # so many of them that it holds at once


def row_flops(n_components: int, n_features: int, layout: str = "full") -> int:
    """Floating-point work of one row in one E-step, with the exponentials; for scheduling."""
    if layout == "full":
        return n_components * (2 * n_features * (n_features + 2) + 40)
    shared = 3 * n_features * n_features if layout == "pooled" else 0
    return shared + n_components * (8 * n_features + 40)


def evaluate(
    X: np.ndarray,
    parameters: Parameters,
    want: int,
    out: np.ndarray,
    n_threads: int | None,
    first: int = 0,
) -> np.ndarray:
    """Fill and return `out` with what `want` names, for each row of X from `first` on; O(N K D^2).

    Rows may be integers, as ``validate.data(piecewise=True)`` leaves them.

    Raises InvalidInputError, naming the cell, if X holds NaN or an infinity.
    """
    n_rows = len(out)
    flops = row_flops(*parameters.means.shape, FACTOR_LAYOUTS[parameters.factor_kind])
    count = _n_threads(n_rows * flops, n_threads)
    if n_rows * flops <= SERIAL_FLOPS:
        part = X if n_rows == len(X) else X[first : first + n_rows]
        _evaluate_part(X, first, part, parameters, want, out, 1)
        return out
    done = 0
    while done < n_rows:
        stopping.check()
        done += _evaluate_some(X, first + done, parameters, want, out[done:], count, flops)
    return out


def log_likelihood(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    parameters: Parameters,
    n_threads: int | None,
) -> float:
    """Total ``sum w log p(x)`` in nats, without an array of N numbers; O(N K D^2)."""
    flops = row_flops(*parameters.means.shape, FACTOR_LAYOUTS[parameters.factor_kind])
    # Not by the thread count: how the sum is cut must not depend on it.
    step = max(64, min(SCORE_ROWS, CALL_FLOPS // flops))
    if len(X) <= step:
        out = evaluate(X, parameters, contract.WANT_LOGPDF, np.empty(len(X)), n_threads)
        return _weighted_sum(out, sample_weight)
    count = _n_threads(len(X) * flops, n_threads)
    # Several parts for each call of the kernel: of one part it took 50 us with D = 2, K = 3, and
    # what goes on around a call was 4 % of that.
    buffer = np.empty(min(len(X), SCORE_PARTS * step))
    # Parts add up with what each addition rounds off (Neumaier 1974): of 2^31 rows that was 1e-12.
    total = lost = 0.0
    begin = end = 0  # of the rows whose densities the buffer holds
    for first in range(0, len(X), step):
        if first == end:
            stopping.check()
            begin, held = end, buffer[: len(X) - end]
            want = contract.WANT_LOGPDF
            end += _evaluate_some(X, begin, parameters, want, held, count, flops, step)
        last = min(first + step, end)
        weight = None if sample_weight is None else sample_weight[first:last]
        part, before = _weighted_sum(buffer[first - begin : last - begin], weight), total
        total += part
        larger, smaller = (before, part) if abs(before) >= abs(part) else (part, before)
        lost += (larger - total) + smaller
    return total + lost if isfinite(lost) else total


def _weighted_sum(log_densities: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """``sum w log p``, in place; rows of no weight count for nothing, also where it is -inf."""
    if sample_weight is not None:
        log_densities[sample_weight == 0.0] = 0.0
        log_densities *= sample_weight
    return float(log_densities.sum())


def _n_threads(flops: int, n_threads: int | None) -> int:
    """Threads for so much work; an argument is checked even where one thread will do."""
    if flops > SERIAL_FLOPS or n_threads is not None:
        count = threads.resolve(n_threads)
    return count if flops > SERIAL_FLOPS else 1


def _evaluate_some(
    X, first: int, parameters, want: int, out, n_threads: int, flops: int, unit: int = 1
) -> int:
    """One of the kernel calls that cut up much work, for rows of X from `first` on; how many.

    Of the rows of `out`, each of so many `flops`, as many as one call may take of the threads that
    it gets, in units of so many.
    """
    with threads.share(n_threads) as count:
        n_rows = CALL_FLOPS * count // flops
        if X.dtype.kind != "f":
            n_rows = min(n_rows, validate.CONVERTED_VALUES // X.shape[1])
        out = out[: max(64, unit, n_rows // unit * unit)]
        part = X[first : first + len(out)]
        if X.dtype.kind != "f":
            part = validate.floats(part, "X")
        _evaluate_part(X, first, part, parameters, want, out, count)
    return len(out)


def _evaluate_part(X, first: int, part, parameters, want: int, out, n_threads: int) -> None:
    """A kernel call on `part`, which are the rows of X from `first` on."""
    bad_row = backends.active().evaluate(part, parameters, want, out, n_threads)
    if bad_row >= 0:
        validate.raise_nonfinite(X, first + bad_row)
