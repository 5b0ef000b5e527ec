"""Do many Python threads on one model get the right bits, and all the cores?

    python -m benchmarks.reliability threads --seconds 60

Sixteen threads score batches of 1 to 20,000 rows with one Mixture, and every result is compared
with that of one thread before. Throughput (of batches of 2,000 rows) is measured with 1, 2, ... 16
threads. Then one estimator is fitted again and again, in turn to two sets of rows, while others
score with it: each answer must be that of one of both models; and fits from two threads at once,
of which one has to be refused.
"""

from __future__ import annotations

import argparse
import collections
import sys
import threading
import time
import warnings

import numpy as np

import gaussmix as gm

from . import _counts

THREADS = 16
METHODS = ("logpdf", "predict", "predict_proba", "log_joint", "mahalanobis")
BATCHES = (1, 3, 64, 2_000, 20_000)
RATE_SECONDS = 3.0
RATE_ROWS = 2_000


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="threads", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of scoring")
    seconds = parser.parse_args(arguments).seconds
    warnings.simplefilter("ignore", gm.ConvergenceWarning)
    mixture, X = _model()
    scored = _score(mixture, X, seconds)
    rates = {count: _rate(mixture, X[:RATE_ROWS], count) for count in (1, 2, 4, THREADS)}
    refits = _refits(min(seconds, 10.0)) if "sklearn" in sys.modules or _has_sklearn() else {}
    _counts.finish(
        scored["wrong"] + refits.get("torn", 0) + refits.get("other errors", 0),
        calls=scored["right"] + scored["wrong"],
        right=scored["right"],
        wrong=scored["wrong"],
        million_rows_a_second=" ".join(f"{n}:{rate / 1e6:.1f}" for n, rate in rates.items()),
        **{f"refits_{name.replace(' ', '_')}": value for name, value in refits.items()},
    )


def _has_sklearn() -> bool:
    from importlib.util import find_spec

    return find_spec("sklearn") is not None


def _model() -> tuple[gm.Mixture, np.ndarray]:
    rng = np.random.default_rng(0)
    means = 3.0 * rng.standard_normal((8, 8))
    mixture = gm.Mixture(np.full(8, 1 / 8), means, np.tile(np.eye(8), (8, 1, 1)))
    return mixture, mixture.sample(BATCHES[-1], seed=0)[0]


def _run(works: list) -> None:
    workers = [threading.Thread(target=work) for work in works]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _score(mixture: gm.Mixture, X: np.ndarray, seconds: float) -> collections.Counter:
    expected = {name: getattr(mixture, name)(X, n_threads=1) for name in METHODS}
    found = [collections.Counter() for _ in range(THREADS)]
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        while time.monotonic() < end:
            name, rows = rng.choice(METHODS), int(rng.choice(BATCHES))
            begin = int(rng.integers(len(X) - rows + 1))
            answer = getattr(mixture, name)(X[begin : begin + rows])
            same = np.array_equal(answer, expected[name][begin : begin + rows])
            found[number]["right" if same else "wrong"] += 1

    _run([lambda number=number: work(number) for number in range(THREADS)])
    return sum(found, collections.Counter())


def _rate(mixture: gm.Mixture, X: np.ndarray, count: int) -> float:
    """Rows a second, of `count` threads together, each on one core."""
    calls, end = [0] * count, time.monotonic() + RATE_SECONDS

    def work(number: int) -> None:
        while time.monotonic() < end:
            mixture.logpdf(X, n_threads=1)
            calls[number] += 1

    _run([lambda number=number: work(number) for number in range(count)])
    return sum(calls) * len(X) / RATE_SECONDS


def _refits(seconds: float) -> collections.Counter:
    """Scores and second fits while one estimator is fitted in turn to two sets of rows."""
    rng = np.random.default_rng(0)
    sets = [rng.standard_normal((3_000, 2)) + offset for offset in (0.0, 50.0)]
    probe = np.concatenate([rows[:20] for rows in sets])
    estimator = gm.GaussianMixture(2, random_state=0, max_iter=30)
    right = {estimator.fit(rows).score_samples(probe).tobytes() for rows in sets}
    found, end = collections.Counter(), time.monotonic() + seconds

    def fit() -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            try:
                estimator.fit(sets[turn % 2])
                found["done"] += 1
            except RuntimeError as error:
                refused = str(error).startswith("fit already running on this object")
                found["refused" if refused else "other errors"] += 1

    def score() -> None:
        while time.monotonic() < end:
            whole = estimator.score_samples(probe).tobytes() in right
            found["scores whole" if whole else "torn"] += 1

    _run([fit, fit, score, score])
    return collections.Counter({"torn": 0, "other errors": 0, **found})
