"""Compiled functions of the Numba backend: built at their first use, cached, run on threads."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from numba import njit

from ..kernels import contract, numba_loop, numba_maximise, numba_moments, numba_stages, numba_tiles

STAGES = (contract, numba_tiles, numba_stages, numba_moments, numba_maximise, numba_loop)

_compiled: dict[Callable, Callable] = {}
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A fork waits for a compilation in another thread: its locks, Numba's among them, would
    # stay locked in the child.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def compiled(driver: Callable, signature) -> Callable:
    """What ``driver(stamp)`` returns, compiled or read from Numba's cache at its first use."""
    if driver not in _compiled:
        with _lock:
            if driver not in _compiled:
                _compiled[driver] = _compile(driver(_source_stamp()), signature)
    return _compiled[driver]


def _compile(function: Callable, signature) -> Callable:
    options = {
        "nogil": True,
        "error_model": "numpy",
        "boundscheck": None,
    }  # NUMBA_BOUNDSCHECK decides
    with _existing_directory():
        try:
            return njit(signature, cache=True, **options)(function)
        except Exception:
            # No directory to write to, a full disk, a damaged cache file: all only cost time.
            return njit(signature, **options)(function)


@contextmanager
def _existing_directory():
    """The root as current directory if the current one is deleted; Numba asks for its path."""
    try:
        os.getcwd()
    except FileNotFoundError:
        deleted = os.open(".", os.O_RDONLY)
        os.chdir(os.sep)
        try:
            yield
        finally:
            os.fchdir(deleted)
            os.close(deleted)
    else:
        yield


def _source_stamp() -> int:
    """Changes with the source of the stages and of the codes that are constants in them.

    Numba's cache looks at the file of the cached function and at its closure, not at the files of
    the functions that it calls; so this number goes into the closure of each driver.
    """
    stamp = 0
    for module in STAGES:
        try:
            stamp = zlib.crc32(Path(module.__file__).read_bytes(), stamp)
        except OSError:
            stamp = zlib.crc32(repr(module.__file__).encode(), stamp)
    return stamp


def run(kernel: Callable, calls: list[tuple]) -> int:
    """The smallest row >= 0 that a call returned, or -1; each call but the first has a thread."""
    results = [-1] * len(calls)
    errors = []

    def work(i):
        try:
            results[i] = kernel(*calls[i])
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    started = []
    try:
        for i in range(1, len(calls)):
            thread = threading.Thread(target=work, args=(i,), daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The system refuses more threads: this one does their work too.
                for j in range(i, len(calls)):
                    work(j)
                break
            started.append(thread)
        work(0)
    finally:
        # Also after Ctrl-C: nothing may write to the caller's arrays any more.
        for thread in started:
            thread.join()
    if errors:
        raise errors[0]
    return min((row for row in results if row >= 0), default=-1)
