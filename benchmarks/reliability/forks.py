"""Do children of every kind work after the kernels have run: fork, spawn, loky, Dask's nanny?

    python -m benchmarks.reliability forks --count 200

Forks are made after a fit on several threads, then while another thread is inside such fits. Each
child fits and scores again: right are the parent's bits together with exactly one BackendWarning;
a child that has not ended after two minutes hangs. Then processes are started by multiprocessing's
spawn and forkserver, by loky and by a Dask cluster of nannies (where installed).
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import signal
import threading
import time
import warnings
from importlib.util import find_spec

import numpy as np

import gaussmix as gm

from . import _counts

HANG_SECONDS = 120
WORKERS = 2
RIGHT, OTHER_BITS, OTHER_WARNINGS = 0, 3, 4  # what a forked child exits with


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="forks", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="forks of each kind")
    count = parser.parse_args(arguments).count
    warnings.simplefilter("ignore", gm.ConvergenceWarning)
    gm.config()  # the number of threads, before Dask sets OMP_NUM_THREADS for its workers
    expected = work()
    found = collections.Counter(_fork(expected) for _ in range(count))
    found += _while_fitting(expected, count)
    started = _others(expected)
    found += collections.Counter(started.values())
    _counts.finish(
        sum(found.values()) - found["right"],
        tried=sum(found.values()),
        right=found["right"],
        other_bits=found["other bits"],
        not_one_warning=found["other warnings"],
        crashed=found["crashed"],
        hung=found["hung"],
        backend=gm.config()["backend"],
        also=" ".join(started),
    )


def work(_: object = None) -> bytes:
    """The bits of a fit and of scores, on two threads where there may be two."""
    X = np.random.default_rng(0).standard_normal((30_000, 4))
    X[:10_000] += 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        result = gm.fit(X, 3, start=X[[0, 15_000, 29_000]], n_threads=2, max_iter=3, tol=0.0)
    return result.mixture.means.tobytes() + result.mixture.logpdf(X, n_threads=2).tobytes()


def _fork(expected: bytes) -> str:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(HANG_SECONDS)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                same = work() == expected
            told = [w for w in caught if issubclass(w.category, gm.BackendWarning)]
            code = RIGHT if same and len(told) == 1 else OTHER_WARNINGS if same else OTHER_BITS
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"
    named = {RIGHT: "right", OTHER_BITS: "other bits", OTHER_WARNINGS: "other warnings"}
    return named.get(os.WEXITSTATUS(status), "crashed")


def _while_fitting(expected: bytes, count: int) -> collections.Counter:
    """Forks at random moments of another thread's fits."""
    over = threading.Event()

    def fit() -> None:
        while not over.is_set():
            work()

    worker = threading.Thread(target=fit)
    worker.start()
    rng, found = np.random.default_rng(0), collections.Counter()
    for _ in range(count):
        time.sleep(0.02 * rng.random())
        found[_fork(expected)] += 1
    over.set()
    worker.join()
    return found


def _others(expected: bytes) -> dict[str, str]:
    """What processes give that are started anew, by the way of starting them."""
    found = {}
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(WORKERS) as pool:
            found[method] = _judged(pool.map_async(work, range(4)).get, expected)
    if find_spec("joblib"):
        import joblib

        parallel = joblib.Parallel(WORKERS, timeout=HANG_SECONDS)
        calls = [joblib.delayed(work)(i) for i in range(4)]
        found["loky"] = _judged(lambda _: parallel(calls), expected)
    if find_spec("distributed"):
        import distributed

        with (
            distributed.LocalCluster(WORKERS, threads_per_worker=2, dashboard_address=None) as one,
            distributed.Client(one) as client,
        ):
            futures = client.map(work, range(4), pure=False)
            found["nanny"] = _judged(lambda _: client.gather(futures), expected)
    return found


def _judged(answers, expected: bytes) -> str:
    try:
        return "right" if set(answers(HANG_SECONDS)) == {expected} else "other bits"
    except (TimeoutError, multiprocessing.TimeoutError):
        return "hung"
