"""A soak as a service does it: rows at a fixed rate, models that change, input that is not what it
should be.

    python -m benchmarks.serve            # 10 s for each library, the model changed every 2 s
    python -m benchmarks.serve --full     # 180 s for each, the model changed every 10 s

Open loop: row i is due at i / rate whether or not the rows before it are done, and its latency
counts from then, so that nobody looks fast by making callers wait. One process per library, on one
core, served by one thread. A request is the posterior probabilities of one row (D = 8, K = 16, full
covariances); one in a hundred is hostile. The next model is read from a file by a thread of its
own, on the same core, while the old one serves: code that has not run for seconds is slow, and
rows should not wait for it. Every thousandth ordinary answer is compared with `Mixture`'s.

The table holds for each library the rows served a second; the median time in a call; percentiles
of the latency (where a library cannot keep up they grow with the length of the run); errors and
wrong answers that were not to be expected; bad rows that were answered instead of refused; and the
growth of the process after the first fifth of the run. A model that could not be read counts as an
unexpected error. "nothing" answers at once: its figures are those of the machine and of this loop.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gaussmix as gm

D, K, POOL = 8, 16, 4000  # features, components, different rows
RATE = 20_000  # rows a second
CHECK_EVERY = 1000
LIBRARIES = ("nothing", "gaussmix", "scikit-learn", "opencv")
SINGLE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


class Service(NamedTuple):
    """A library: how a model file is written, how it is opened, and what answers to it."""

    suffix: str
    write: Callable[[gm.Mixture, Path], None]
    read: Callable[[Path], Callable]  # path -> function of a row
    tolerance: float  # of posterior probabilities; 0: the bits of Mixture


def _nothing() -> Service:
    """What the machine and this loop cost by themselves."""
    return Service("", lambda mixture, path: None, lambda path: lambda row: None, np.inf)


def _gaussmix() -> Service:
    def read(path):
        scorer = gm.load(path).scorer()
        out = np.empty(K)
        return lambda row: scorer.predict_proba(row, out=out)

    return Service(".gmix", gm.save, read, 0.0)


def _scikit_learn() -> Service:
    from sklearn.mixture import GaussianMixture

    def write(mixture, path):
        model = GaussianMixture(K)
        model.weights_, model.means_ = mixture.weights, mixture.means
        model.covariances_ = mixture.covariances
        model.precisions_cholesky_ = mixture.precision_factors.transpose(0, 2, 1)
        model.n_features_in_ = D
        path.write_bytes(pickle.dumps(model))

    def read(path):
        model = pickle.loads(path.read_bytes())
        return lambda row: model.predict_proba(row[None])[0]

    return Service(".pickle", write, read, 1e-9)


def _opencv() -> Service:
    import cv2

    cv2.setNumThreads(1)

    def write(mixture, path):
        # It cannot be given parameters, only led to similar ones.
        model = cv2.ml.EM_create()
        model.setClustersNumber(K)
        model.setTermCriteria((cv2.TERM_CRITERIA_COUNT, 1, 0.0))
        X = mixture.sample(20_000, seed=0)[0]
        model.trainM(X, mixture.predict_proba(X))
        model.save(str(path))

    def read(path):
        model = cv2.ml.EM_load(str(path))
        return lambda row: model.predict2(row[None])[1][0]

    return Service(".yml", write, read, np.inf)


SERVICES = {
    "nothing": _nothing,
    "gaussmix": _gaussmix,
    "scikit-learn": _scikit_learn,
    "opencv": _opencv,
}


def mixtures() -> list[gm.Mixture]:
    """The two that take turns."""
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(K, D, D))
        covariances = root @ root.swapaxes(1, 2) + np.eye(D)
        weights = 1.0 + rng.random(K)
        made.append(gm.Mixture(weights / weights.sum(), 4 * rng.normal(size=(K, D)), covariances))
    return made


def hostile_rows() -> list:
    """What is sent instead of a row; every one of them is to be refused."""
    bad = [np.zeros(D) for _ in range(3)]
    bad[0][3], bad[1][0], bad[2][7] = np.nan, np.inf, -np.inf
    return [
        *bad,
        np.zeros(D - 1),
        np.zeros(D + 1),
        np.zeros(0),
        np.zeros((2, 2, D)),
        np.zeros(D, complex),
        np.full(D, "1e9999999"),
        np.array([None] * D),
        "drop table",
        None,
        object(),
    ]


class Outcome(NamedTuple):
    """What a run showed; times in microseconds, memory in MB."""

    library: str
    seconds: float
    served: float  # rows a second
    call: float  # median time in a call of an ordinary row
    p50: float
    p99: float
    p999: float
    worst: float
    unexpected: int  # errors of ordinary rows, wrong answers
    answered: int  # hostile rows that were not refused
    hostile: int
    swaps: int
    drift: float


def resident() -> float:
    """Memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def serve(library: str, seconds: float, rate: float, swap_every: float) -> Outcome:
    """One run, in this process and on the last core it may use."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    service, models = SERVICES[library](), mixtures()
    requests = list(models[0].sample(POOL, seed=1)[0])
    expected = [mixture.predict_proba(np.stack(requests)) for mixture in models]
    hostile = hostile_rows()
    for i, row in enumerate(hostile * (POOL // 100 // len(hostile) + 1)):
        if i < POOL // 100:
            requests[100 * i + 50] = row
    total = int(seconds * rate)
    # Filled before the run: pages that are first written in it would look like growth.
    latencies, calls = array("d", bytes(8 * total)), array("d", bytes(8 * total))
    unexpected = answered = n_hostile = swaps = done = 0
    memory = 0.0
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"model{i}{service.suffix}") for i in range(len(models))]
        for mixture, path in zip(models, paths, strict=True):
            service.write(mixture, path)
        answer, current = service.read(paths[0]), 0
        coming, fetched, taken = None, [], 0

        def fetch(which):
            fetched.append((service.read(paths[which]), which))

        clock = time.perf_counter
        start = clock()
        next_swap = start + swap_every
        end = start + seconds
        for i in range(total):
            due = start + i / rate
            began = clock()
            while began < due:
                began = clock()
            if began > end:
                break
            if began > next_swap:
                swaps += 1
                coming = threading.Thread(target=fetch, args=(swaps % len(paths),))
                coming.start()
                next_swap += swap_every
                memory = memory or (resident() if began - start > seconds / 5 else 0.0)
            if fetched:
                answer, current = fetched.pop()
                taken += 1
            place = i % POOL
            bad = place % 100 == 50
            try:
                result = answer(requests[place])
                if bad:
                    answered += 1
                elif i % CHECK_EVERY == 0 and service.tolerance < np.inf:
                    gap = np.abs(result - expected[current][place]).max()
                    unexpected += not gap <= service.tolerance
            except Exception:  # which kind does not matter: the service lives on
                unexpected += not bad
            now = clock()
            n_hostile += bad
            latencies[i], calls[i] = now - due, np.nan if bad else now - began
            done = i + 1
        if coming:
            coming.join()
        unexpected += swaps - taken - len(fetched)
    drift = resident() - memory if memory else 0.0
    waited = 1e6 * np.frombuffer(latencies)[:done]
    worked = 1e6 * np.frombuffer(calls)[:done]
    return Outcome(
        library,
        seconds,
        done / seconds,
        float(np.nanmedian(worked)),
        *np.quantile(waited, [0.5, 0.99, 0.999]).tolist(),
        float(waited.max()),
        unexpected,
        answered,
        n_hostile,
        swaps,
        drift,
    )


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| library | served/s | call µs | p50 | p99 | p99.9 | worst µs | unexpected errors "
        "| bad rows answered | growth MB |",
        "| --- | " + "---: | " * 9,
    ]
    for o in outcomes:
        times = " | ".join(f"{value:,.1f}" for value in (o.call, o.p50, o.p99, o.p999, o.worst))
        lines.append(
            f"| {o.library} | {o.served:,.0f} | {times} | {o.unexpected} "
            f"| {o.answered} of {o.hostile} | {o.drift:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run each library in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="180 s, a swap every 10 s")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=float, default=RATE, help="rows a second")
    parser.add_argument("--only", choices=LIBRARIES)
    parser.add_argument("--inside", choices=LIBRARIES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    seconds = given.seconds or (180.0 if given.full else 10.0)
    swap_every = 10.0 if given.full else seconds / 5
    if given.inside:
        print(json.dumps(serve(given.inside, seconds, given.rate, swap_every)))
        return
    outcomes = []
    for library in [given.only] if given.only else LIBRARIES:
        command = [sys.executable, "-m", "benchmarks.serve", "--inside", library]
        command += ["--seconds", str(seconds), "--rate", str(given.rate)]
        command += ["--full"] if given.full else []
        result = subprocess.run(
            command, env={**os.environ, **SINGLE}, stdout=subprocess.PIPE, text=True
        )
        if result.returncode:
            print(f"{library} is left out: its process ended with {result.returncode}.")
            continue
        outcomes.append(Outcome(*json.loads(result.stdout)))
    swaps = outcomes[0].swaps if outcomes else 0
    print(f"{given.rate:,.0f} rows/s for {seconds:g} s, {swaps} swaps of the model\n")
    print(table(outcomes))
    ours = [outcome for outcome in outcomes if outcome.library == "gaussmix"]
    sys.exit(any(outcome.unexpected or outcome.answered for outcome in ours))


if __name__ == "__main__":
    main()
