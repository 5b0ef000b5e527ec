"""Areas G and H of the matrix: calls among threads, processes and interrupts, and out of memory.

Each call has to give the bits that it gives on one thread, alone; or the error that is named, and
then these bits from the next call.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import gaussmix as gm
from gaussmix import threads
from outcomes import CRASHED, REFUSED, RIGHT, WARNED, WRONG, Observed, observe

N_ROWS = 24_000  # enough for a second thread
FEW_ROWS = 3_000  # for the reference, which has one
FAILING = (0, 1, 2, 5, 10, 20, 50, 100, 200)  # numbers of arrays whose allocation fails


def _rows(single: bool) -> np.ndarray:
    n_rows = FEW_ROWS if gm.config()["backend"] == "reference" else N_ROWS
    X = np.random.default_rng(0).standard_normal((n_rows, 3))
    X[::3] += 6.0
    return np.round(X * 1024).astype(np.float32 if single else np.float64) / 1024


def _mixture(covariance_type: str) -> gm.Mixture:
    X = _rows(False)[:300]
    return gm.fit(X, 3, covariance_type=covariance_type, seed=0).mixture


def _fit(X, covariance_type, n_components=3):
    return gm.fit(X, n_components, covariance_type=covariance_type, seed=0).mixture


def _estimator(X, covariance_type, n_components=3):
    model = gm.GaussianMixture(n_components, covariance_type=covariance_type, random_state=0)
    return model.fit(X).mixture_


def _partial_fit(X, covariance_type):
    online = gm.OnlineMixture(3, covariance_type=covariance_type, seed=0)
    for rows in np.array_split(X, 5):
        online.update(rows)
    return online.mixture


def _select(X, covariance_type):
    # More rows need 1,600 iterations, which take the reference 6 s.
    return gm.select(X[:500], [1, 3], covariance_type, n_starts=1, seed=0).mixture


CALLS: dict[str, Callable] = {
    "fit": _fit,
    "GaussianMixture": _estimator,
    "partial_fit": _partial_fit,
    "select": _select,
    "score": lambda X, kind: _mixture(kind).logpdf(X),
    "predict": lambda X, kind: _mixture(kind).predict_proba(X),
    "nearest": lambda X, kind: _mixture(kind).nearest(X, gate=3.0),
    "hills": lambda X, kind: _mixture(kind).hills(X[:2000]),
    "sample": lambda X, kind: _mixture(kind).sample(len(X), seed=0)[0],
}
FITS = ("fit", "GaussianMixture", "partial_fit", "select")


def _bits(value) -> bytes:
    if isinstance(value, gm.Mixture):
        return b"".join(p.tobytes() for p in (value.weights, value.means, value.covariances))
    return np.ascontiguousarray(value).tobytes()


# -- conditions; each takes a call without arguments, and gives bits that have to be its own


@contextmanager
def _threads(count: int):
    before = os.environ.get("GAUSSMIX_NUM_THREADS")
    os.environ["GAUSSMIX_NUM_THREADS"] = str(count)
    threads.reset()
    try:
        yield
    finally:
        del os.environ["GAUSSMIX_NUM_THREADS"]
        if before is not None:
            os.environ["GAUSSMIX_NUM_THREADS"] = before
        threads.reset()


def _on_threads(count: int) -> Callable:
    def condition(call):
        with _threads(count):
            return [call()]

    return condition


def _at_once(count: int) -> Callable:
    """From so many Python threads at the same time."""

    def condition(call):
        found: list = []

        def work() -> None:
            try:
                found.append(call())
            except BaseException as error:
                found.append(error)

        workers = [threading.Thread(target=work) for _ in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return found

    return condition


def _beside_a_fit(call):
    """While another thread fits something else."""
    token = threading.Event()
    X = np.random.default_rng(1).standard_normal((5000, 4))

    def work() -> None:
        observe(lambda: gm.fit(X, 3, tol=0.0, max_iter=10**9, cancel=token, seed=0))

    other = threading.Thread(target=work)
    other.start()
    try:
        return [call()]
    finally:
        token.set()
        other.join()


def _in_a_child(call):
    """In a forked process; it warns that it works on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            try:
                answer.write_bytes(call())
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.waitpid(child, 0)
        return [answer.read_bytes() if answer.exists() else b""]


def _after_an_interrupt(call):
    """Again after Ctrl-C has ended the call, wherever it was."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for seconds in (1e-4, 1e-3, 5e-3, 2e-2):
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                call()
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except KeyboardInterrupt:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    return [call()]


def _after_failed_allocations(call):
    """Again after an array could not be allocated: MemoryError, or the bits without it."""
    found, make = [], np.empty
    for number in FAILING:
        left = [number]

        def failing(*arguments, left=left, **options):
            left[0] -= 1
            if left[0] == -1:
                raise MemoryError("no memory, by a test")
            return make(*arguments, **options)

        np.empty = failing
        try:
            found.append(call())
        except MemoryError:
            pass
        finally:
            np.empty = make
        if left[0] >= 0:  # there are no more
            break
    return [*found, call()]


CONDITIONS: dict[str, Callable] = {
    "G 3 threads": _on_threads(3),
    "G 64 threads": _on_threads(64),
    "G another thread": _at_once(1),
    "G four threads at once": _at_once(4),
    "G beside a fit": _beside_a_fit,
    "G forked child": _in_a_child,
    "G after Ctrl-C": _after_an_interrupt,
    "H after failed allocations": _after_failed_allocations,
}
# -- what cannot be held


def _too_much(call: str, covariance_type: str):
    """A request of 10^17 bytes and more."""
    rows = np.broadcast_to(np.ones((1, 3)), (10**17, 3))
    if call in FITS:
        if call == "partial_fit":
            return gm.OnlineMixture(3, covariance_type=covariance_type).update(rows)
        if call == "select":
            return gm.select(rows, [10**15], covariance_type)
        return CALLS[call](rows, covariance_type, 10**15)
    mixture = _mixture(covariance_type)
    if call == "sample":
        return mixture.sample(10**17)
    name = {"score": "logpdf", "predict": "predict_proba"}.get(call, call)
    return getattr(mixture, name)(rows)


TOO_MUCH = "H more than memory holds"
KINDS = (*CONDITIONS, TOO_MUCH)


def judged(call: str, kind: str, covariance_type: str, single: bool) -> tuple[str, str]:
    """The outcome of a call under a condition, and what there is to say of it."""
    if kind == TOO_MUCH:
        return _outcome(observe(lambda: _too_much(call, covariance_type)), None)
    X = _rows(single)

    def bits() -> bytes:
        return _bits(CALLS[call](X, covariance_type))

    with _threads(1):
        expected = bits()
    return _outcome(observe(lambda: CONDITIONS[kind](bits)), expected)


def _outcome(seen: Observed, expected: bytes | None) -> tuple[str, str]:
    if seen.error is not None:
        named = isinstance(seen.error, (gm.GaussmixError, MemoryError))
        told = str(seen.error)
        if expected is None and named and ("bytes" in told or "iB" in told):
            return REFUSED, told
        return CRASHED, repr(seen.error)
    if expected is None:
        return WRONG, "did what cannot be done"
    if any(found != expected for found in seen.value):
        return WRONG, "other bits"
    told = [one for one in seen.warnings if issubclass(one.category, gm.GaussmixWarning)]
    told = [one for one in told if one.category is not gm.ConvergenceWarning]
    return (WARNED, str(told[0].message)) if told else (RIGHT, "")
