"""What is left behind when the n-th allocation fails, for n = 1, 2, ...?

    python -m benchmarks.reliability allocations

Fit, score, save, load, partial_fit and others are repeated in a child, each time with another
allocation that fails: one of the kernels' workspaces (`fail_allocation`), of NumPy's arrays (by a
memory handler of our own), or of Python's objects (`_testcapi.set_nomemory`, every `--step`-th).
Right are a MemoryError, with all that existed before unchanged and the next call giving the bits
that it always gives, or these bits at once where nothing needed that memory after all. A
SystemError, by which NumPy and CPython say that C code of theirs has failed without an exception,
is counted by itself; nothing may have changed after it either.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import gaussmix as gm
from gaussmix import backends

from . import _counts

OPERATIONS = ("fit", "score", "save", "load", "checkpoint", "refit", "partial_fit", "update")
MOST = 100_000  # allocations of one operation
ENOUGH = 30  # calls in turn that end well: there are no more allocations, if there is no telling
LEAK_REPEATS, LEAK_MB = 300, 1.0


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="allocations", description=__doc__.split("\n")[0])
    parser.add_argument("--step", type=int, default=7, help="of Python's allocations")
    parser.add_argument("--operations", nargs="*", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--child", nargs=3, metavar=("KIND", "OPERATION", "FIRST"))
    options = parser.parse_args(arguments)
    if options.child:
        kind, operation, first = options.child
        _child(kind, operation, int(first), options.step if kind == "python" else 1)
        return
    counts = dict.fromkeys(
        ("tried", "memory_error", "system_error", "not_needed", "wrong", "crashed"), 0
    )
    for kind in options.kinds:
        for operation in options.operations:
            _in_children(kind, operation, options.step, counts)
    _counts.finish(counts["wrong"] + counts["crashed"], **counts)


def _in_children(kind: str, operation: str, step: int, counts: dict[str, int]) -> None:
    """Count what the allocations of one kind do; after a crash the next one is tried."""
    first, ended = 0, False
    while not ended:
        command = [sys.executable, "-m", "benchmarks.reliability", "allocations"]
        command += ["--step", str(step), "--child", kind, operation, str(first)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = first
        for line in done.stdout.splitlines():
            number, outcome, *detail = line.split(" ", 2)
            last = int(number) + 1
            if outcome == "end":
                ended = True
                continue
            counts["tried"] += 1
            counts[outcome] += 1
            if outcome in ("wrong", "system_error"):
                print(kind, operation, number, *detail)
        if not ended:
            counts["tried"] += 1
            counts["crashed"] += 1
            print(kind, operation, last, "crashed:", done.returncode, done.stderr[-300:])
            first = last + 1
            if counts["crashed"] > 20:
                return


def _child(kind: str, operation: str, first: int, step: int) -> None:
    warnings.simplefilter("ignore")
    fail = KINDS[kind]()
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        call = getattr(work, operation)
        expected, before = call(), work.state()  # twice: what is made once is made now
        assert call() == expected
        unneeded = 0
        for number in range(first, MOST, step):
            outcome, happened = _one(fail, number, call, expected)
            unneeded = unneeded + 1 if outcome == "not_needed" else 0
            if not happened or unneeded == ENOUGH:
                print(number, "end", flush=True)
                break
            if work.state() != before:
                outcome = "wrong something has changed"
            elif call() != expected:
                outcome = "wrong the next call gives other bits"
            print(number, outcome, flush=True)
        if kind == "kernels":
            _check_leaks(fail, call)


def _one(fail, number: int, call: Callable, expected) -> tuple[str, bool]:
    """What comes of a call whose allocation `number` fails, and whether it has come to that."""
    result = error = None
    try:
        fail.begin(number)
        result = call()
    except BaseException as caught:
        error = caught
    if not fail.end():
        return "", False
    if error is None:
        return ("not_needed" if result == expected else "wrong other bits, and no error"), True
    if isinstance(error, MemoryError):
        return "memory_error", True
    if isinstance(error, SystemError):
        return f"system_error {error}".replace("\n", " "), True
    return f"wrong {type(error).__name__}: {error}".replace("\n", " "), True


def _check_leaks(fail, call: Callable) -> None:
    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    for warm in (True, False):
        before = resident()
        for _ in range(LEAK_REPEATS):
            _one(fail, 0, call, None)
        drift = resident() - before
        if not warm and drift > LEAK_MB:
            print(0, f"wrong {drift:.1f} MB leaked", flush=True)


class Work:
    """The operations: each returns what must always be the same."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(400, 3)) + 4.0 * rng.integers(0, 3, size=(400, 1))
        self.mixture = gm.fit(self.X, 3, seed=0).mixture
        self.path, self.kept = folder / "model.gmix", folder / "fit.gmix"
        self.mixture.save(self.path)
        self.online = gm.OnlineMixture(3, start=self.mixture, start_rows=3)
        self.online.update(self.X[:100])
        self.estimator = None
        if find_spec("sklearn") is not None:
            self.estimator = gm.GaussianMixture(3, random_state=0).fit(self.X)
            self.streaming = gm.GaussianMixture(3, random_state=0).fit(self.X)
            self.streaming.partial_fit(self.X[:100])

    def state(self) -> bytes:
        """All there is that a call might leave torn."""
        parts = [self.path.read_bytes(), _bits(self.mixture), pickle.dumps(self.online)]
        if self.estimator is not None:
            parts += [_bits(self.estimator.mixture_), _bits(self.streaming.mixture_)]
        names = sorted(path.name for path in self.path.parent.iterdir())
        parts.append(" ".join(name for name in names if name != self.kept.name).encode())
        return b"".join(parts)

    def fit(self) -> bytes:
        return _bits(gm.fit(self.X, 3, seed=0, n_starts=3, max_iter=10).mixture)

    def score(self) -> bytes:
        mixture, X = self.mixture, self.X
        return (
            mixture.logpdf(X).tobytes()
            + mixture.predict(X).tobytes()
            + np.float64(mixture.score(X)).tobytes()
        )

    def save(self) -> bytes:
        self.mixture.save(self.path)
        return self.path.read_bytes()

    def load(self) -> bytes:
        return _bits(gm.load(self.path))

    def checkpoint(self) -> bytes:
        return _bits(gm.fit(self.X, 3, seed=0, max_iter=5, checkpoint=self.kept).mixture)

    def refit(self) -> bytes:
        if self.estimator is None:
            return b""
        return _bits(self.estimator.fit(self.X).mixture_)

    def partial_fit(self) -> bytes:
        """On a copy, which a call that succeeds may change."""
        if self.estimator is None:
            return b""
        import copy

        model = copy.copy(self.streaming)
        before = _bits(model.mixture_)
        try:
            model.partial_fit(self.X[100:300])
        except MemoryError:
            if _bits(model.mixture_) != before or model.n_samples_seen_ != 500:
                raise RuntimeError("partial_fit has changed its object") from None
            raise
        return _bits(model.mixture_)

    def update(self) -> bytes:
        online = pickle.loads(pickle.dumps(self.online))
        before = pickle.dumps(online)
        try:
            online.update(self.X[100:300])
        except MemoryError:
            if pickle.dumps(online) != before:
                raise RuntimeError("update has changed its object") from None
            raise
        return _bits(online.mixture)


def _bits(mixture: gm.Mixture) -> bytes:
    parts = (mixture.weights, mixture.means, mixture.covariances, mixture.precision_factors)
    return b"".join(part.tobytes() for part in parts)


# -- ways to fail


class _Kernels:
    """The kernels' own workspaces."""

    def begin(self, number: int) -> None:
        self.module = sys.modules[f"gaussmix.kernels._cython_{backends.active().level}"]
        self.module.fail_allocation(number)

    def end(self) -> bool:
        """Whether one has failed."""
        return self.module.fail_allocation(-1)


class _Python:
    """Python's objects and NumPy's small ones."""

    def __init__(self) -> None:
        import _testcapi  # of CPython's tests

        self.arm, self.disarm = _testcapi.set_nomemory, _testcapi.remove_mem_hooks

    def begin(self, number: int) -> None:
        self.arm(number, number + 1)

    def end(self) -> bool:
        """True: there is no telling."""
        self.disarm()
        return True


class _Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("of", _Allocator)]


class _Arrays:
    """A memory handler of NumPy's (NEP 49) that fails once, after so many allocations.

    It calls the one before. Freeing is left to that, since it may happen while an exception is
    on its way, which a function of Python's would clear.
    """

    SET_HANDLER, GET_HANDLER = 304, 305  # their numbers in NumPy's C interface

    def __init__(self) -> None:
        self.left = -1
        self.installed = False

    def _fails(self) -> bool:
        failed = self.left == 0
        self.left -= self.left >= 0
        return failed

    def _install(self) -> None:
        size, address, python = ctypes.c_size_t, ctypes.c_void_p, ctypes.pythonapi
        get_pointer, new = python.PyCapsule_GetPointer, python.PyCapsule_New
        get_pointer.restype, get_pointer.argtypes = address, [ctypes.py_object, ctypes.c_char_p]
        new.restype, new.argtypes = ctypes.py_object, [address, ctypes.c_char_p, address]
        core = getattr(np, "_core", None) or np.core
        entries = ctypes.cast(
            get_pointer(core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(address)
        )
        get_handler = ctypes.PYFUNCTYPE(ctypes.py_object)(entries[self.GET_HANDLER])
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(
            entries[self.SET_HANDLER]
        )
        before = _Handler.from_address(get_pointer(get_handler(), b"mem_handler")).of
        shapes = {"malloc": (size,), "calloc": (size, size), "realloc": (address, size)}
        self._functions = {
            name: ctypes.PYFUNCTYPE(address, address, *shape) for name, shape in shapes.items()
        }
        for name, kind in self._functions.items():
            call = kind(getattr(before, name))
            self._functions[name] = kind(
                lambda _, *given, call=call: None if self._fails() else call(before.ctx, *given)
            )
        addresses = {
            name: ctypes.cast(function, address) for name, function in self._functions.items()
        }
        allocator = _Allocator(before.ctx, **addresses, free=before.free)
        self._handler = _Handler(b"failing", 1, allocator)
        self._capsule = new(ctypes.addressof(self._handler), b"mem_handler", None)
        set_handler(self._capsule)
        self.installed = True

    def begin(self, number: int) -> None:
        if not self.installed:
            self._install()
        self.left = number

    def end(self) -> bool:
        """Whether one has failed."""
        failed, self.left = self.left < 0, -1
        return failed


KINDS = {"kernels": _Kernels, "arrays": _Arrays, "python": _Python}
