"""How soon does a fit end after Ctrl-C, a cancel token or max_seconds?

    python -m benchmarks.reliability interrupts --count 300 --within 30

Large fits (N=50,000, D=64, K=64, with one start and with six; N=50,000, D=128, K=16; N=1,000,000,
D=8, K=16; full covariances, clusters that overlap) are interrupted at random moments of their first
`--within` seconds, starts, EM and the continued best runs included: by a signal, by a token that
another thread sets, and by max_seconds, in turn. Each has to end by KeyboardInterrupt, or with a
mixture or the error that there is none yet. The time runs from the request to the return of the
call. Meant for a machine that does nothing else.

An interrupt costs half of `--within` on average. With `--jump FOLDER` each fit is run once to
`--within`, with a checkpoint every second that is kept in FOLDER, and those interrupted are resumed
from the last one before their moment. FOLDER is used again if it holds such checkpoints. A moment
is counted from where a fit has read its checkpoint: reading is no part of the fit that it stands
for. With `--reading` the interrupts come while it is read instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

import gaussmix as gm
from gaussmix.fitting import checkpoint

from . import _counts


class Case(NamedTuple):
    """A fit that takes longer than it is given."""

    n_rows: int
    n_features: int
    n_components: int
    options: dict

    def data(self, rng: np.random.Generator) -> np.ndarray:
        """Clusters whose centres are about four standard deviations from each other."""
        shape = self.n_components, self.n_features
        centres = 4.0 / np.sqrt(2.0 * self.n_features) * rng.normal(size=shape)
        labels = rng.integers(self.n_components, size=self.n_rows)
        return centres[labels] + rng.normal(size=(self.n_rows, self.n_features))


ENDLESS = {"tol": 0.0, "max_iter": 10**9}
CASES = {
    "d64k64": Case(50_000, 64, 64, ENDLESS),
    # Starts, short runs, runs to the end and the best continued: about 200 iterations in all.
    "d64k64s6": Case(50_000, 64, 64, {"tol": 0.0, "max_iter": 30, "n_starts": 6}),
    "d128k16": Case(50_000, 128, 16, ENDLESS),
    "d8k16": Case(1_000_000, 8, 16, ENDLESS),
}
LIMIT_MS = 100.0
EVERY = 1.0  # seconds from one checkpoint to the next


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="interrupts", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=300, help="interrupts of each fit")
    parser.add_argument("--within", type=float, default=30.0, help="seconds of the fit")
    parser.add_argument("--case", choices=CASES, nargs="*", default=list(CASES))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--jump", type=Path, help="folder for checkpoints to begin from")
    parser.add_argument("--reading", action="store_true", help="interrupt while these are read")
    parser.add_argument("--latencies", type=Path, help="file to add all to: moment, ms, clock")
    options = parser.parse_args(arguments)
    if options.reading and options.jump is None:
        parser.error("--reading needs --jump")
    warnings.simplefilter("ignore")
    # A shell has its background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wrong, every, counts = 0, [], {}
    for name in options.case:
        X = CASES[name].data(np.random.default_rng(0))
        rng = np.random.default_rng([options.seed, list(CASES).index(name)])
        moments = _moments(X, name, options)
        if options.reading and not moments.checkpoints:
            parser.error(f"--reading needs two checkpoints or more in {options.jump / name}")
        latencies = []
        for number in range(options.count):
            # As many moments in each part of the time: their mean varies less.
            after = (number + rng.uniform()) * options.within / options.count
            at = moments.within_reading(after, rng) if options.reading else moments.of(after)
            latency = KINDS[number % 3](X, CASES[name], *at)
            wrong += latency is None
            latencies.append(np.inf if latency is None else 1e3 * latency)
            if options.latencies:
                with options.latencies.open("a") as file:
                    kind = KINDS[number % 3].__name__.removeprefix("_by_")
                    print(
                        name, kind, f"{after:.3f} {latencies[-1]:.2f} {time.time():.3f}", file=file
                    )
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


class _Moments:
    """How to come to a moment of a fit: seconds of a checkpoint, and its file, in order."""

    def __init__(self, X, case: Case, checkpoints: list[tuple[float, Path]]) -> None:
        self.X, self.case, self.checkpoints = X, case, checkpoints
        self.reading: dict[Path, float] = {}  # seconds

    def of(self, after: float) -> tuple[float, Path | None]:
        """Seconds that a fit takes to a moment, and the file it begins from."""
        before = [known for known in self.checkpoints if known[0] <= after]
        if not before:
            return after, None
        begin, path = before[-1]
        return after - begin + self.seconds(path), path

    def within_reading(self, after: float, rng: np.random.Generator) -> tuple[float, Path]:
        """A random moment while the checkpoint before `after`, or the first one, is read."""
        known = [path for begin, path in self.checkpoints if begin <= after]
        path = known[-1] if known else self.checkpoints[0][1]
        return rng.uniform() * self.seconds(path), path

    def seconds(self, path: Path) -> float:
        """How long a fit takes from its call until it has read a checkpoint."""
        if path not in self.reading:
            token, opened, read = threading.Event(), checkpoint.opened, []

            def noted(*arguments):
                found = opened(*arguments)
                read.append(time.perf_counter())
                token.set()
                return found

            begin = time.perf_counter()
            with mock.patch.object(checkpoint, "opened", noted):
                _fit(self.X, self.case, path, cancel=token)
            self.reading[path] = read[0] - begin
        return self.reading[path]


def _moments(X, name: str, options: argparse.Namespace) -> _Moments:
    if options.jump is None:
        return _Moments(X, CASES[name], [])
    folder = options.jump / name
    if not folder.exists():
        folder.mkdir(parents=True)
        _record(X, CASES[name], options.within, folder)
    known = sorted((float(path.stem), path) for path in folder.glob("*.gmix"))
    return _Moments(X, CASES[name], known[1:])  # the first one is written before anything is done


def _record(X, case: Case, within: float, folder: Path) -> None:
    """Fit for `within` seconds; a checkpoint is linked under the seconds at which it was there."""
    path, token, seen = folder / "fit", threading.Event(), 0
    begin = time.perf_counter()

    def watch() -> None:
        nonlocal seen
        while (seconds := time.perf_counter() - begin) < within:
            if path.exists() and path.stat().st_mtime_ns != seen:
                seen = path.stat().st_mtime_ns
                os.link(path, folder / f"{seconds:07.3f}.gmix")
            time.sleep(0.01)
        token.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = gm.fit(
        X, case.n_components, seed=0, cancel=token,
        checkpoint=path, checkpoint_seconds=EVERY, **case.options,
    )  # fmt: skip
    watcher.join()
    print(f"{folder.name}: {result.stop_reason} after {len(result.starts)} starts", file=sys.stderr)
    if result.stop_reason != "cancelled":
        sys.exit(f"{folder.name} ended by itself within {within:g} s; take less with --within.")


def _fit(X, case: Case, resume: Path | None, **limits):
    """A fit that would not end by itself."""
    try:
        return gm.fit(X, case.n_components, seed=0, resume=resume, **case.options, **limits)
    except gm.FitStoppedError:
        return None


def _by_signal(X, case: Case, after: float, resume: Path | None) -> float | None:
    asked = []

    def interrupt() -> None:
        asked.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    try:
        timer.start()
        _fit(X, case, resume)
    except KeyboardInterrupt:
        return time.perf_counter() - asked[0]
    return None


def _by_token(X, case: Case, after: float, resume: Path | None) -> float | None:
    asked, token = [], threading.Event()

    def cancel() -> None:
        asked.append(time.perf_counter())
        token.set()

    threading.Timer(after, cancel).start()
    result = _fit(X, case, resume, cancel=token)
    latency = time.perf_counter() - asked[0] if asked else 0.0
    return latency if result is None or result.stop_reason == "cancelled" else None


def _by_seconds(X, case: Case, after: float, resume: Path | None) -> float | None:
    begin, after = time.perf_counter(), max(after, 1e-6)
    result = _fit(X, case, resume, max_seconds=after)
    latency = time.perf_counter() - begin - after
    return latency if result is None or result.stop_reason == "max_seconds" else None


KINDS = (_by_signal, _by_token, _by_seconds)
