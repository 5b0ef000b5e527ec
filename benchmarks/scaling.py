"""How much faster is an EM iteration on two threads, where rows are few?

    python -m benchmarks.scaling               some 80 s
    python -m benchmarks.scaling --turns 15    for a quieter median

All shapes have N K D^2 >= 1e8, most of them not much more: a slot of rows is one thread's work, but
for those left over, and some thousands of rows are few slots. An iteration's time, the M-step
included, is the difference between fits of many iterations and of two, over the difference in
iterations done. One thread and two take turns; what is printed are medians, the ratio that of the
pairs of turns, and the ratio for the fastest fits, which says more on a machine that others use.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import gaussmix as gm

from . import _data, _machine

CASES = [
    ("full", 3_000, 128, 4),
    ("full", 3_100, 128, 3),
    ("full", 5_000, 64, 8),
    ("full", 6_104, 64, 4),
    ("full", 6_104, 32, 16),
    ("full", 7_000, 16, 64),
    ("full", 7_000, 32, 16),
    ("full", 7_000, 128, 4),
    ("full", 10_000, 32, 16),
    ("full", 13_000, 32, 8),
    ("full", 20_000, 128, 4),
    ("full", 24_415, 16, 16),
    ("full", 97_657, 8, 16),
    ("full", 390_625, 4, 16),
    ("full", 100_000, 32, 16),
    ("tied", 3_100, 64, 8),
    ("tied", 7_000, 16, 64),
    ("tied", 7_000, 32, 16),
    ("tied", 13_000, 32, 16),
    ("tied", 7_000, 128, 8),
    ("tied", 50_000, 64, 16),
    ("diag", 13_000, 32, 8),
    ("diag", 7_000, 128, 8),
    ("diag", 50_000, 64, 16),
    ("spherical", 13_000, 32, 8),
    ("spherical", 7_000, 128, 8),
]
TURN_SECONDS = 0.05  # at least, of the longer fit on one thread


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=7, help="default: 7")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # tol is 0: no fit gets there
    print(_machine.describe())
    print("| type | N | D | K | one thread, ms | two, ms | ratio | of the fastest |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for covariance_type, *sizes in CASES:
        case = _data.make(_data.Shape(*sizes), covariance_type)
        most = _iterations(case)
        turns = [[_turn(case, n, most) for n in (1, 2)] for _ in range(options.turns)]
        alone, shared = zip(*turns, strict=True)
        one, two = (1e3 * statistics.median(map(_iteration, side)) for side in (alone, shared))
        ratio = statistics.median(_iteration(a) / _iteration(b) for a, b in turns)
        n_samples, n_features, n_components = sizes
        print(
            f"| {covariance_type} | {n_samples:,} | {n_features} | {n_components} "
            f"| {one:.2f} | {two:.2f} | {ratio:.2f} "
            f"| {_iteration(_fastest(alone)) / _iteration(_fastest(shared)):.2f} |",
            flush=True,
        )


class Turn(NamedTuple):
    """Seconds of a short fit and of a longer one, and how many iterations more this has."""

    short: float
    long: float
    more: int


def _iteration(turn: Turn) -> float:
    return (turn.long - turn.short) / turn.more


def _fastest(turns: Sequence[Turn]) -> Turn:
    """Of the short fits and of the longer ones by themselves, as not every turn has both."""
    return Turn(min(turn.short for turn in turns), min(turn.long for turn in turns), turns[0].more)


def _iterations(case: _data.Case) -> int:
    """How many make the longer fit take TURN_SECONDS."""
    seconds, done = _fit(case, 1, 6)
    return max(12, int(TURN_SECONDS * done / seconds))


def _turn(case: _data.Case, n_threads: int, most: int) -> Turn:
    short, few = min(_fit(case, n_threads, 2) for _ in range(3))
    long, many = _fit(case, n_threads, most)
    return Turn(short, long, many - few)


def _fit(case: _data.Case, n_threads: int, max_iter: int) -> tuple[float, int]:
    gc.collect()
    began = time.perf_counter()
    result = gm.fit(
        case.X,
        case.start.n_components,
        covariance_type=case.start.covariance_type,
        start=case.start,
        tol=0.0,
        max_iter=max_iter,
        n_threads=n_threads,
    )
    return time.perf_counter() - began, result.n_iter


if __name__ == "__main__":  # asv imports every module it finds
    main()
