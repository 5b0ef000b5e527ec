"""The E-step over one data set: rows -> kernels -> sufficient statistics."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import backends, stopping, threads
from ..kernels import contract
from ..kernels.contract import Parameters, StepPlan
from ..rules import SOFT, Rule
from ..statistics import SufficientStatistics, from_accumulator
from . import sources
from .evaluation import CALL_FLOPS, SERIAL_FLOPS, row_flops
from .sources import Rows, Source

# Passes of fewer flops stay on one thread where one batch follows the other: the second thread is
# awake, and for the rest see `threads.share_briefly`. 1,000 rows (D = 8, K = 16), 3.2e6 of these,
# take 30 us on two threads and 53 on one (Xeon, AVX-512).
STREAM_FLOPS = 1 << 21
SHORT_SLOTS = 16  # few rows of a stream: cut into short slots, to share them among threads
SHORT_ROWS = 256  # of a short slot, or twice as many
BRIEF_SECONDS, SLOWEST = 1e-3, 4e9  # no E-step takes longer than the first, and a second for these
JOINED_SLOTS = 8  # per thread, joined where chunks are short, so that each thread has work


class Expectation:
    """The E-step over `X`: calling it with a mixture's parameters returns statistics.

    Holds X (not copied), the weights and the accumulators; nothing of size N x K.
    The bits of the result depend on the rows and their numbers only.

    Parameters
    ----------
    X : ndarray (N, D), float32 or float64, or Source
        Chunks continue where the last one ended: the sums are those of one array, to the bit.
    sample_weight : ndarray (N,) or None
    layout : {"spherical", "diag", "full", "pooled"}
        Of the second moments to gather.
    n_components : int
    n_threads : int
    short_slots : int
        Up to so many slots of rows are cut into blocks, so that threads can share them. Other
        bits than without, but still those of any number of threads.
    """

    def __init__(
        self,
        X: Rows,
        sample_weight,
        layout: str,
        n_components: int,
        n_threads: int,
        short_slots: int = 0,
    ) -> None:
        self.X = X
        self.sample_weight = sample_weight
        self.layout = layout
        self.n_components = n_components
        limits = SERIAL_FLOPS, CALL_FLOPS
        chunked = isinstance(X, Source)
        work = _work(*X.shape, layout, n_components, n_threads, short_slots, chunked, limits)
        self._plan, self._n_used, self._unit, self._call_rows = work[:4]
        self.n_threads, self.call_iterations = work[4:6]
        size = contract.offsets(n_components, X.shape[1], contract.LAYOUTS[layout]).size
        self._accumulators = np.empty((self._plan.n_accumulators, size))

    def __call__(self, parameters: Parameters, rule: Rule = SOFT) -> SufficientStatistics:
        """Statistics of all rows under `parameters`, around their means; O(N K D^2).

        Raises InvalidInputError, naming the cell, if X holds NaN or an infinity.
        """
        total = self.sums(parameters, rule)
        return from_accumulator(total, parameters.means, self.layout, len(self.X))

    def sums(self, parameters: Parameters, rule: Rule = SOFT) -> np.ndarray:
        """What a call returns as one combined accumulator; see ``kernels.contract.offsets``."""
        layout = contract.LAYOUTS[self.layout]
        backend = backends.active()
        for begin, rows in sources.pieces(self.X, self._unit, self._call_rows):
            stopping.check()
            weight = self.sample_weight
            if weight is not None:
                weight = weight[begin : begin + len(rows)]
            with threads.share(self.n_threads) as n_threads:
                bad_row = backend.accumulate(
                    rows,
                    weight,
                    begin,
                    parameters,
                    layout,
                    rule.call,
                    self._accumulators,
                    self._plan,
                    n_threads,
                )
            if bad_row >= 0:
                sources.raise_nonfinite(self.X, begin + bad_row)
        total = np.empty(self._accumulators.shape[1])
        used = self._accumulators[: self._n_used]
        with threads.share(self.n_threads) as n_threads:
            backend.combine(used, parameters.means, layout, total, n_threads)
        return total

    def iterate(
        self,
        state: np.ndarray,
        fresh: bool,
        step: StepPlan,
        rule: Rule,
        tol: float,
        before: float,
        max_iter: int,
    ) -> tuple[np.ndarray, int]:
        """Do EM iterations on a flat state, in place; their trace (done, 2), and a LOOP_ code.

        At most `max_iter` iterations, and about `call_iterations`, which must not be 0: then a
        pass alone takes longer than a kernel call may. See ``kernels.contract``.
        """
        stopping.check()
        trace = np.empty((min(max_iter + fresh, self.call_iterations), 2))
        with threads.share(self.n_threads) as n_threads:
            done, code = backends.active().iterate(
                self.X,
                self.sample_weight,
                state,
                step,
                fresh,
                rule.call,
                self._accumulators,
                self._plan,
                tol,
                before,
                trace,
                n_threads,
            )
        return trace[:done], code


class _Work(NamedTuple):
    """How an E-step is cut into slots, calls and threads."""

    plan: contract.Plan
    n_used: int  # accumulators with rows
    unit: int  # a call's rows are a multiple of it
    call_rows: int
    n_threads: int
    call_iterations: int
    most_seconds: float  # of the E-step where no other program keeps a core busy


@lru_cache(maxsize=64)
def _work(
    n_rows: int,
    n_features: int,
    layout: str,
    n_components: int,
    n_threads: int,
    short_slots: int,
    chunked: bool,
    limits: tuple[int, int],
) -> _Work:
    serial_flops, call_flops = limits
    flops = row_flops(n_components, n_features, layout)
    serial = flops * n_rows <= serial_flops
    plan = contract.plan(n_components, n_features, contract.LAYOUTS[layout])
    if n_rows <= short_slots * plan.slot_rows:
        # Twice as long, if there are more and these are soon done: each slot's sums are added up.
        short = min(SHORT_ROWS, plan.slot_rows)
        several = n_rows > 3 * short and flops * short < STREAM_FLOPS // 2
        plan = plan._replace(slot_rows=2 * short if several else short)
    n_slots = -(-n_rows // plan.slot_rows)
    n_used = max(1, min(plan.n_accumulators, n_slots))
    if short_slots:
        plan = plan._replace(n_accumulators=n_used)
    n_threads = 1 if serial else n_threads
    # As many slots for one thread as for another: all wait for the last.
    call_rows = plan.slot_rows * n_threads
    call_rows *= max(1, call_flops // (flops * plan.slot_rows))
    unit = call_rows
    if chunked:
        unit = min(call_rows, JOINED_SLOTS * n_threads * plan.slot_rows)
        call_rows -= call_rows % unit
    # With the M-step's two Cholesky factorisations and an inverse for each component.
    matrices = {"full": n_components, "pooled": 1}.get(layout, 0)
    iteration = flops * n_rows + 2 * matrices * n_features**3
    # The compiled loop reads an array.
    call_iterations = 0 if chunked else call_flops * n_threads // iteration
    most_seconds = BRIEF_SECONDS + n_rows * flops / SLOWEST
    return _Work(plan, n_used, unit, call_rows, n_threads, call_iterations, most_seconds)


@lru_cache(maxsize=64)  # batches of a stream ask for the same again and again
def short_work(
    n_rows: int, n_features: int, layout: str, n_components: int, n_threads: int
) -> _Work | None:
    """How a batch of a stream is cut, as `short_slots` have it; None if not for a single call."""
    if n_rows * row_flops(n_components, n_features, layout) > CALL_FLOPS:
        return None
    limits, rows = (STREAM_FLOPS, CALL_FLOPS), max(n_rows, 1)
    return _work(rows, n_features, layout, n_components, n_threads, SHORT_SLOTS, False, limits)
