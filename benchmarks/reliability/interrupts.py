"""How soon does a fit end after Ctrl-C, a cancel token or max_seconds?

    python -m benchmarks.reliability interrupts --count 300 --within 30

Three large fits (N=50,000, D=64, K=64; N=50,000, D=128, K=16; N=1,000,000, D=8, K=16; full
covariances) are interrupted at random moments of the first `--within` seconds, their starts
included: by a signal, by a token that another thread sets, and by max_seconds, in turn. Each has
to end by KeyboardInterrupt, or with a mixture or the error that there is none yet. The time runs
from the request to the return of the call. Meant for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
import warnings

import numpy as np

import gaussmix as gm

from . import _counts

CASES = {
    "d64k64": (50_000, 64, 64),
    "d128k16": (50_000, 128, 16),
    "d8k16": (1_000_000, 8, 16),
}
LIMIT_MS = 100.0


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="interrupts", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=300, help="interrupts of each fit")
    parser.add_argument("--within", type=float, default=30.0, help="seconds of the fit")
    parser.add_argument("--case", choices=CASES, nargs="*", default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    wrong, every, counts = 0, [], {}
    for name in options.case:
        rng = np.random.default_rng(options.seed)
        X = _data(*CASES[name], rng)
        kinds = (_by_signal, _by_token, _by_seconds)
        latencies = []
        for number in range(options.count):
            after = float(rng.uniform(0.0, options.within))
            latency = kinds[number % 3](X, CASES[name][2], after)
            wrong += latency is None
            latencies.append(np.inf if latency is None else 1e3 * latency)
        every += latencies
        counts[name] = "/".join(f"{value:.0f}" for value in _summary(latencies))
    p50, p99, most = _summary(every)
    _counts.finish(
        wrong + (p99 > LIMIT_MS),
        interrupts=len(every),
        other_ends=wrong,
        within_s=options.within,
        p50_ms=round(p50),
        p99_ms=round(p99),
        max_ms=round(most),
        **{f"{name}_p50/p99/max": value for name, value in counts.items()},
    )


def _summary(latencies: list[float]) -> tuple[float, float, float]:
    p50, p99 = np.percentile(latencies, (50, 99), method="higher")
    return float(p50), float(p99), max(latencies)


def _data(n_rows: int, n_features: int, n_components: int, rng) -> np.ndarray:
    centres = 3.0 * rng.normal(size=(n_components, n_features))
    return centres[rng.integers(n_components, size=n_rows)] + rng.normal(size=(n_rows, n_features))


def _fit(X, n_components: int, **limits):
    """A fit that would not end by itself."""
    try:
        return gm.fit(X, n_components, tol=0.0, max_iter=10**9, seed=0, **limits)
    except gm.FitStoppedError:
        return None


def _by_signal(X, n_components: int, after: float) -> float | None:
    asked = []

    def interrupt() -> None:
        asked.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    timer.start()
    try:
        _fit(X, n_components)
    except KeyboardInterrupt:
        return time.perf_counter() - asked[0]
    return None


def _by_token(X, n_components: int, after: float) -> float | None:
    asked, token = [], threading.Event()

    def cancel() -> None:
        asked.append(time.perf_counter())
        token.set()

    threading.Timer(after, cancel).start()
    result = _fit(X, n_components, cancel=token)
    latency = time.perf_counter() - asked[0]
    return latency if result is None or result.stop_reason == "cancelled" else None


def _by_seconds(X, n_components: int, after: float) -> float | None:
    begin, after = time.perf_counter(), max(after, 1e-6)
    result = _fit(X, n_components, max_seconds=after)
    latency = time.perf_counter() - begin - after
    return latency if result is None or result.stop_reason == "max_seconds" else None
