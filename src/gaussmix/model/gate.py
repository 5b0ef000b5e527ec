"""The nearest component of each row, unless it lies outside the gate of all: `Mixture.nearest`."""

from __future__ import annotations

import numpy as np

from ..inputs import validate
from ..kernels import contract
from ..kernels.contract import Parameters
from ..passes.evaluation import evaluate
from .chi_square import radius

METRICS = ("mahalanobis", "euclidean")
_BLOCK_VALUES = 1 << 18  # of X, regrouped by component at a time: 2 MB


def nearest(mixture, X, gate, metric: str, calibrated: bool, n_threads, out) -> np.ndarray:
    """(N,) int64 nearest component of each row or -1; see `Mixture.nearest`."""
    X = validate.data(X, n_features=mixture.n_features, min_rows=0)
    validate.choice("metric", metric, METRICS)
    gate = checked_gate(gate)
    if validate.flag("calibrated", calibrated) and gate is not None:
        gate = radius(gate, mixture.n_features)
    own, live = _live_parameters(mixture)
    shape, dtype = (len(X),), validate.INT64
    labels = np.empty(shape, dtype) if out is None else validate.output(out, shape, dtype, X)
    evaluate(X, _levelled(own, metric), contract.WANT_LABELS, labels, n_threads)
    if gate is not None:
        _reject(X, own, gate, labels, n_threads)
    if len(live) < mixture.n_components:
        labels[:] = np.append(live, -1)[labels]  # their numbers in the mixture; -1 stays
    return labels


def checked_gate(gate) -> float | None:
    """`gate` as a positive float, inf allowed, or None."""
    if gate is None:
        return None
    return validate.real("gate", gate, 0.0, low_open=True, allow_inf=True)


def _live_parameters(mixture) -> tuple[Parameters, np.ndarray]:
    """What the kernels read of the components whose weight is not 0, and their numbers."""
    own = mixture.kernel_parameters
    live = np.flatnonzero(mixture.weights > 0.0)
    if len(live) == mixture.n_components:
        return own, live
    shared = own.factor_kind == contract.FACTOR_SHARED
    return own._replace(
        log_coefficients=own.log_coefficients[live],
        means=own.means[live],
        factors=own.factors if shared else own.factors[live],
    ), live


def _levelled(own: Parameters, metric: str) -> Parameters:
    """Parameters under which the most probable component is the nearest one.

    With coefficients of 0 a log joint density is -1/2 the squared distance, and the kernels'
    labels, ties to the lowest index included, need no (N, K) array.
    """
    level = np.zeros(len(own.means))
    if metric == "mahalanobis":
        return own._replace(log_coefficients=level)
    return Parameters(contract.FACTOR_DIAG, level, own.means, np.ones_like(own.means), own.centre)


def _reject(X, own: Parameters, gate: float, labels: np.ndarray, n_threads) -> None:
    """Set -1 where the distance to the labelled component is not below `gate`."""
    n_components, n_features = own.means.shape
    step = max(64, _BLOCK_VALUES // n_features)
    shared = own.factor_kind == contract.FACTOR_SHARED
    # NumPy sorts 16-bit integers by radix, five times as fast as long ones.
    key = np.uint16 if n_components <= 1 << 16 else np.int64
    for begin in range(0, len(X), step):
        of_block = labels[begin : begin + step]
        order = np.argsort(of_block.astype(key), kind="stable")
        ends = np.cumsum(np.bincount(of_block, minlength=n_components))
        first = 0
        for k, end in enumerate(ends.tolist()):
            if end == first:
                continue
            rows, first = order[first:end], end
            one = own._replace(
                log_coefficients=own.log_coefficients[k : k + 1],
                means=own.means[k : k + 1],
                factors=own.factors if shared else own.factors[k : k + 1],
            )
            distance = np.empty((len(rows), 1))
            own_rows = X[begin : begin + step][rows]
            evaluate(own_rows, one, contract.WANT_MAHALANOBIS, distance, n_threads)
            # Not "at least": a distance that overflowed to NaN is outside as well.
            of_block[rows[~(distance[:, 0] < gate)]] = -1
