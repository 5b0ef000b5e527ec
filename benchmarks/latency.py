"""What one call for one row takes, over a million calls: medians and tails.

    python -m benchmarks.latency                     # 100,000 calls each, all covariance types
    python -m benchmarks.latency --calls 1000000     # the tails for the guide

Each call is timed by itself with `time.perf_counter_ns`, of which an empty call is shown as well,
and nothing is subtracted. On the last core that the process may use.
"""

from __future__ import annotations

import argparse
import os
import time
from array import array
from collections.abc import Callable
from functools import partial

import numpy as np

from . import _data

SHAPES = {"D=8, K=16": (8, 16), "D=2, K=3": (2, 3)}


def times(call: Callable, x, calls: int) -> np.ndarray:
    """Nanoseconds of each call ``call(x)``."""
    clock, spent = time.perf_counter_ns, array("q", bytes(8 * calls))
    for _ in range(min(calls, 1000)):
        call(x)
    for i in range(calls):
        start = clock()
        call(x)
        spent[i] = clock() - start
    return np.frombuffer(spent, np.int64)


def show(name: str, call: Callable, x, calls: int) -> None:
    """One line of the table."""
    spent = times(call, x, calls) / 1e3
    median, p99, p999 = np.quantile(spent, [0.5, 0.99, 0.999])
    print(f"| {name} | {median:.2f} | {p99:.2f} | {p999:.2f} | {p999 / median:.1f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--types", nargs="+", default=_data.COVARIANCE_TYPES)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(
        "| call, µs | median | p99 | p99.9 | p99.9 / median |\n| --- | ---: | ---: | ---: | ---: |"
    )
    show("an empty call", lambda x: None, None, given.calls)
    for shape, (n_features, n_components) in SHAPES.items():
        for covariance_type in given.types:
            case = _data.make(_data.Shape(16, n_features, n_components), covariance_type)
            scorer, x = case.truth.scorer(), case.X[0].copy()
            place = f"{shape}, {covariance_type}"
            show(f"{place}: predict", scorer.predict, x, given.calls)
            show(f"{place}: logpdf", scorer.logpdf, x, given.calls)
            show(f"{place}: nearest", scorer.nearest, x, given.calls)
            posteriors = partial(scorer.predict_proba, out=np.empty(n_components))
            show(f"{place}: predict_proba(out=)", posteriors, x, given.calls)


if __name__ == "__main__":
    main()
