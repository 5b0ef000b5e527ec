"""The hills of a mixture: which mode each row climbs to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from .. import threads, underflow
from ..inputs import validate
from .modes import DEFAULT_TOL, Survey, survey

_SERIAL_VALUES = 1 << 14  # rows times components: below, a thread costs more than it saves
_CHECK_VALUES = 1 << 18


@underflow.ignored
def assign(mixture, X: Any, method: str = "ascent", n_threads: int | None = None) -> np.ndarray:
    """(N,) int64 hill of each row of X: an index into the positions of the mixture's modes.

    Parameters
    ----------
    mixture : Mixture
    X : array_like (N, D)
    method : {"ascent", "component"}
        "ascent" climbs from the row itself, by short steps along the flow that the fixed-point
        iteration follows, so that no row jumps over a peak; a row on a saddle goes to the nearest
        mode, in standard deviations. In one dimension a row lies between two valleys. "component"
        takes the hill of the row's most probable component, for one pass of `predict`; it differs
        where a component spreads over several hills.
    n_threads : int, optional

    Raises
    ------
    InvalidInputError
        If X has another number of columns, or holds NaN or an infinity.

    Notes
    -----
    O(N K D^2) for each step (and O(N D^3) for full covariances). A row is done when it enters a
    ball around a mode from which every climb ends there; most rows take five to thirty steps. Rows
    are climbed in blocks, so that memory beyond the result does not grow with N, and each by
    itself: its hill does not depend on the other rows or on the threads. Steps follow the flow
    closely, not exactly: of rows drawn from mixtures one in a thousand, mostly beside a border,
    ends on the other hill, and tens of standard deviations from all means borders may fray.
    """
    validate.choice("method", method, ("ascent", "component"))
    X = validate.data(X, n_features=mixture.n_features, min_rows=0)
    if method == "component":
        component_mode = survey(mixture, DEFAULT_TOL).modes.component_mode
        # A component of weight 0 is predicted only where distances overflow and all are equal.
        return np.maximum(component_mode, 0)[mixture.predict(X, n_threads=n_threads)]
    count = threads.resolve(n_threads)
    out = np.empty(len(X), dtype=np.int64)  # more than memory holds is refused before rows are read
    _require_finite(X)
    found = survey(mixture, DEFAULT_TOL)
    rows = found.landscape.block_rows
    blocks = [slice(begin, begin + rows) for begin in range(0, len(X), rows)]
    if len(X) * len(found.landscape.means) < _SERIAL_VALUES:
        count = 1

    def climb(block: slice) -> None:
        out[block] = _climbed(found, X[block])

    with ExitStack() as stack:
        if count > 1 and len(blocks) > 1:
            pool = stack.enter_context(ThreadPoolExecutor(min(count, len(blocks))))
            # After an error or Ctrl-C only the blocks that are being climbed are waited for.
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            for _ in pool.map(climb, blocks):
                pass
        else:
            for block in blocks:
                climb(block)
    return out


def _climbed(found: Survey, X: np.ndarray) -> np.ndarray:
    z = found.landscape.coordinates(X)
    if found.basins is None:
        return found.order[np.searchsorted(found.valleys, z[:, 0])]
    label, stopped = found.landscape.climb(z, found.basins)
    left = label < 0
    if left.any():
        # On a saddle, or still on their way along a ridge.
        label[left] = found.basins.nearest(stopped[left])
    return found.order[label]


def _require_finite(X: np.ndarray) -> None:
    step = max(1, _CHECK_VALUES // X.shape[1])
    for begin in range(0, len(X), step):
        finite = np.isfinite(X[begin : begin + step]).all(axis=1)
        if not finite.all():
            validate.raise_nonfinite(X, begin + int(np.argmin(finite)))
