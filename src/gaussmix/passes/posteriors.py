"""Posteriors of all rows, piece by piece: for what the sufficient statistics do not hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..kernels.contract import WANT_RESPONSIBILITIES, Parameters
from .evaluation import evaluate
from .sources import Rows, Source

CHUNK_VALUES = 1 << 18  # posteriors held at once


def posterior_pieces(
    X: Rows, parameters: Parameters, n_threads: int | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """One pass: (slice of the rows, their posteriors (n, K)) for each piece; O(N K D^2).

    Raises InvalidInputError, naming the cell, if an array X holds NaN or an infinity.
    """
    n_components = len(parameters.means)
    step = max(64, CHUNK_VALUES // n_components)
    if isinstance(X, Source):
        pieces = ((begin, rows, 0, len(rows)) for begin, rows in X.pieces(step, step))
    else:  # as parts of the whole, so that an error names the row in it
        begins = range(0, len(X), step)
        pieces = ((begin, X, begin, min(step, len(X) - begin)) for begin in begins)
    for begin, rows, first, count in pieces:
        out = np.empty((count, n_components))
        evaluate(rows, parameters, WANT_RESPONSIBILITIES, out, n_threads, first)
        yield slice(begin, begin + count), out


def x_log_x(values: np.ndarray) -> np.ndarray:
    """``x log x`` of each value, 0 at 0: minus the entropy of posteriors, in nats."""
    out = np.zeros_like(values)
    np.log(values, out=out, where=values > 0.0)
    out *= values
    return out
