"""Step sizes of online EM: a function of the rows, however these are cut into batches."""

from __future__ import annotations

from math import exp, expm1, log, log1p
from typing import NamedTuple

import numpy as np

MANY = 1 << 16  # steps of one batch that are made one by one; more come of large weights
SERIES = 8  # terms of log(1 - g), of which g is below 2^-8 then


class Schedule(NamedTuple):
    """``g = (t + t0) ** -alpha`` for so many rows as t counts as one; see `OnlineMixture`."""

    alpha: float
    t0: float
    unit_rows: int | None  # None: those of the start
    half_life: float | None  # in rows; the step falls no further than it needs

    def step(self, before: float, rows: float, start_rows: int) -> float:
        """g in (0, 1] for `rows` that come after `before`, both by weight.

        Each of the at most MANY steps that are made one by one is right to 1.2e-16.
        """
        if before < start_rows:  # gathered under one mixture: their plain mean
            return rows / (before + rows)
        unit = self.unit_rows or start_rows
        t, moved = before / unit, rows / unit
        # As so many steps of one unit that share one E-step, and a part of one more.
        whole = int(moved)
        step = min(1.0, (moved - whole) * (t + moved + self.t0) ** -self.alpha)
        if whole:
            times = t + np.arange(1.0, min(whole, MANY) + 1.0) + self.t0
            kept = float(np.prod(1.0 - np.minimum(1.0, times**-self.alpha)))
            if whole > MANY:
                kept *= _kept_by_more(float(times[-1]), whole - MANY, self.alpha)
            step = 1.0 - (1.0 - step) * kept
        if self.half_life is not None:
            step = max(step, -expm1(-log(2.0) * rows / self.half_life))
        return step


def _kept_by_more(after: float, count: int, alpha: float) -> float:
    """The product of ``1 - t**-alpha`` over the `count` times t that follow `after` >= MANY.

    By the integral of each term of the logarithm's series from half a unit before the first to
    half a unit after the last: to 1e-8 of the product, however large the times are.
    """
    low, width = after + 0.5, log1p(count / (after + 0.5))
    total = 0.0
    for m in range(1, SERIES + 1):
        power = 1.0 - m * alpha
        integral = width if power == 0.0 else expm1(power * width) / power
        total += low**power * integral / m
    return exp(-total)
