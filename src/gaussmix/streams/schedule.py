"""Step sizes of online EM: a function of the rows, however these are cut into batches."""

from __future__ import annotations

from math import expm1, log
from typing import NamedTuple

import numpy as np


class Schedule(NamedTuple):
    """``g = (t + t0) ** -alpha`` for so many rows as t counts as one; see `OnlineMixture`."""

    alpha: float
    t0: float
    unit_rows: int | None  # None: those of the start
    half_life: float | None  # in rows; the step falls no further than it needs

    def step(self, before: float, rows: float, start_rows: int) -> float:
        """g in (0, 1] for `rows` that come after `before`, both by weight."""
        if before < start_rows:  # gathered under one mixture: their plain mean
            return rows / (before + rows)
        unit = self.unit_rows or start_rows
        t, moved = before / unit, rows / unit
        # As so many steps of one unit that share one E-step, and a part of one more.
        whole = int(moved)
        step = min(1.0, (moved - whole) * (t + moved + self.t0) ** -self.alpha)
        if whole:
            times = t + np.arange(1.0, whole + 1.0) + self.t0
            kept = np.prod(1.0 - np.minimum(1.0, times**-self.alpha))
            step = 1.0 - (1.0 - step) * float(kept)
        if self.half_life is not None:
            step = max(step, -expm1(-log(2.0) * rows / self.half_life))
        return step
