"""How many threads a call may use.

An argument counts first, then ``GAUSSMIX_NUM_THREADS``, then the first number of
``OMP_NUM_THREADS``, then the CPUs that this process may run on, capped by the quota of every
control group (container) that it lives in. Without an argument, what `threadpoolctl` or another
library has lowered OpenMP's number of threads to is a limit too; within a `thread_limit` that one
is, with and without. Nothing is started and nothing in the environment is changed; what the
variables and the machine say is worked out once and kept until `reset`.
"""

from __future__ import annotations

import math
import os
from _thread import get_ident  # `threading` would be loaded for it alone
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator, nullcontext
from contextvars import ContextVar
from time import perf_counter

from .errors import BackendWarning, warn
from .inputs import validate

# More threads than any machine has cores is a typing error; a thread pool of that size may not
# even start. Results never depend on the number, so the cap changes nothing but the schedule.
MAX_THREADS = 1024

# A thread that another program keeps from its core is waited for, up to 20 ms at a time. After a
# short call that took so long one thread makes so many, twice as many the next time.
FEWEST_ALONE, MOST_ALONE = 100, 6400

_VARIABLES = ("GAUSSMIX_NUM_THREADS", "OMP_NUM_THREADS")
_CGROUP_FILE = "/proc/self/cgroup"
_CGROUP_ROOT = "/sys/fs/cgroup"

_default: int | None = None
_cpus: int | None = None
# The limits that have been entered and not left; the smallest holds. One variable, set at once.
_limits: ContextVar[tuple[int, ...]] = ContextVar("gaussmix_thread_limits", default=())
_openmp: Callable[[], int] | None = None  # OpenMP's number of threads in the calling thread
_openmp_most = 0  # the largest number seen there; less is somebody's limit
# Threads of the kernel calls that run now, of those that asked for more than one, by Python thread.
# Without a lock, which a fork might take along; what a race costs is too many threads for a call.
_running: dict[int, int] = {}
# Calls that are still to be made by one thread, and how many the next slow one adds.
_alone = 0
_penalty = FEWEST_ALONE
_forked = False
_fork_reported = False
_ALONE = nullcontext(1)


def resolve(n_threads: int | None = None) -> int:
    """The number of threads to use, at least 1.

    Parameters
    ----------
    n_threads : int, optional
        What the user asked for; capped at 1024 and by `thread_limit`. None takes the first valid
        one of ``GAUSSMIX_NUM_THREADS``, ``OMP_NUM_THREADS``, and the CPUs available to the
        process (affinity and container quota), or fewer where OpenMP has been told to use fewer.
        The environment and the machine are looked at on the first call with None only.

    Returns
    -------
    int
        Always 1 in a child made by `os.fork`: the threads of an OpenMP pool do not survive a
        fork, and waiting for them would hang. One `BackendWarning` says so when more was
        asked for.

    Raises
    ------
    InvalidInputError
        If `n_threads` is not a positive integer.

    Warns
    -----
    BackendWarning
        Once per variable that holds no valid number.
    """
    global _default
    if n_threads is not None:
        count = min(validate.integer("n_threads", n_threads, 1), MAX_THREADS)
    else:
        if _default is None:
            _default = _from_environment() or available_cpus()
        count = _default if _openmp is None else min(_default, _openmp_limit())
    if limits := _limits.get():
        count = min(count, *limits)
    if _forked and count > 1:
        _report_fork()
        return 1
    return count


def reset() -> None:
    """Forget the answer for None, so that the environment is read again; for tests."""
    global _default, _cpus
    _default = _cpus = None


def thread_limit(n: int) -> AbstractContextManager[None]:
    """A ``with`` block, or a decorator, in which no call uses more than `n` threads.

    Parameters
    ----------
    n : int, >= 1
        A cap on arguments and defaults alike; it never raises a number. Of nested limits the
        smallest holds.

    Raises
    ------
    InvalidInputError
        If `n` is not a positive integer.

    Notes
    -----
    The limit belongs to the context (`contextvars`) that enters the block: to this thread or
    asyncio task and what it calls, `asyncio.to_thread` included. Fits and scores of other threads
    go on as they were. Threads that the block starts itself begin with an empty context (before
    Python 3.14 at least); hand it over with ``contextvars.copy_context().run``, or pass
    `n_threads` to the calls. The limit is lifted however the block is left, others stay in force,
    and one that is kept may be entered again. Results do not depend on the number of threads.

    Examples
    --------
    >>> import gaussmix as gm
    >>> with gm.thread_limit(1):
    ...     gm.config()["threads"]
    1
    """
    return _Limited(min(validate.integer("n", n, 1), MAX_THREADS))


class _Limited(ContextDecorator):
    """A limit that may be kept and entered again, also within itself and by several threads."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        _limits.set((*_limits.get(), self._count))

    def __exit__(self, *error) -> None:
        limits = list(_limits.get())
        if self._count in limits:  # not where it is left in a context that never entered it
            limits.remove(self._count)
            _limits.set(tuple(limits))


def follow(openmp: Callable[[], int]) -> None:
    """Take what `openmp` returns as a limit whenever it is less than it has been before."""
    global _openmp, _openmp_most
    _openmp, _openmp_most = openmp, openmp()


def _openmp_limit() -> int:
    """OpenMP's number of threads, if it has been lowered: `OMP_NUM_THREADS` alone is no limit."""
    global _openmp_most
    now = _openmp()
    if now < _openmp_most:
        return max(1, now)
    _openmp_most = now
    return MAX_THREADS


def share(count: int) -> AbstractContextManager[int]:
    """A block around a kernel call that wants `count` threads; gives how many it may use.

    All of them if no other such call is under way; else what those leave of the CPUs, and at
    least 1: a pool of threads that all score or fit must not run its square.
    """
    return _ALONE if count <= 1 else _Shared(count, math.inf)


def share_briefly(count: int, most_seconds: float) -> AbstractContextManager[int]:
    """As `share`, for a call among many short ones: for a while 1 if such a one has taken longer.

    `most_seconds` is what it takes where the cores are free, or more.
    """
    global _alone
    if count <= 1:
        return _ALONE
    if _alone > 0:
        _alone -= 1
        return _ALONE
    return _Shared(count, most_seconds)


class _Shared:
    """The block of `share` and `share_briefly`; a class, since a generator takes 1 us longer."""

    __slots__ = ("_began", "_count", "_most_seconds", "_own")

    def __init__(self, count: int, most_seconds: float) -> None:
        self._count, self._most_seconds = count, most_seconds

    def __enter__(self) -> int:
        global _cpus
        if _cpus is None:
            _cpus = available_cpus()
        self._own = get_ident()
        _running.pop(self._own, None)  # what an interrupt may have left there
        others = sum(list(_running.values())) if _running else 0
        if others:
            self._count = max(1, min(self._count, _cpus - others))
        _running[self._own] = self._count
        self._began = perf_counter()
        return self._count

    def __exit__(self, *_) -> None:
        global _alone, _penalty
        _running.pop(self._own, None)
        if self._most_seconds == math.inf or self._count == 1:
            return
        if perf_counter() - self._began > self._most_seconds:
            _alone, _penalty = _penalty, min(2 * _penalty, MOST_ALONE)
        else:
            _penalty = FEWEST_ALONE


def _from_environment() -> int | None:
    for variable in _VARIABLES:
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        # OMP_NUM_THREADS may be a list, one number per nesting level; ours is the outermost.
        first = text.split(",")[0].strip()
        # isdecimal alone would let other scripts' digits through, and int() underscores.
        if first.isascii() and first.isdecimal() and 1 <= len(first.lstrip("0")) <= 4:
            count = int(first)
            if 1 <= count <= MAX_THREADS:
                return count
        warn(
            f"{variable} is {validate.shown(text)}, which is not a number of threads from 1 to "
            f"{MAX_THREADS}; it is ignored. Set it to a positive integer, or unset it.",
            BackendWarning,
        )
    return None


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, capped by every container quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on macOS and Windows
        count = os.cpu_count() or 1
    quota = _cgroup_quota(_CGROUP_FILE, _CGROUP_ROOT)
    if quota < count:
        count = max(1, math.floor(quota))
    return max(1, min(count, MAX_THREADS))


def _cgroup_quota(membership: str, root: str) -> float:
    """Smallest CPU quota, in CPUs, of this process's control groups and all their ancestors.

    A group may allow more than its parent does, so every level counts. Files that are missing,
    empty or odd (a container often sees only a part of the hierarchy) set no limit.

    Parameters
    ----------
    membership : str
        ``/proc/self/cgroup``: lines ``id:controllers:path``; version 2 has id 0 and none.
    root : str
        Where the hierarchies are mounted.

    Returns
    -------
    float
        ``inf`` when there is no limit.
    """
    version_1 = os.path.join(root, "cpu")
    groups = [(root, "/"), (version_1, "/")]  # in a container the own group may be the root
    for line in _read(membership).splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        controllers, path = fields[1].split(","), fields[2]
        if controllers == [""]:
            groups.append((root, path))
        elif "cpu" in controllers:
            groups += [(version_1, path), (os.path.join(root, fields[1]), path)]
    quota = math.inf
    for mount, path in groups:
        names = [name for name in path.split("/") if name not in ("", ".", "..")]
        for depth in range(len(names), -1, -1):
            quota = min(quota, _group_quota(os.path.join(mount, *names[:depth])))
    return quota


def _group_quota(group: str) -> float:
    """The CPU quota that the files of one control group state, version 2 or 1; inf if none."""
    fields = _read(os.path.join(group, "cpu.max")).split()
    if not fields:
        fields = _read(os.path.join(group, "cpu.cfs_quota_us")).split()[:1]
        fields += _read(os.path.join(group, "cpu.cfs_period_us")).split()[:1]
    try:
        quota, period = float(fields[0]), float(fields[1])
    except (ValueError, IndexError):  # "max 100000", or nothing readable
        return math.inf
    # Version 1 writes -1 for "no limit". Comparisons with NaN are False.
    return quota / period if quota > 0.0 and period > 0.0 else math.inf


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(65536))  # a group's name may hold any bytes
    except (OSError, ValueError):
        return ""


def _report_fork() -> None:
    global _fork_reported
    if not _fork_reported:
        _fork_reported = True
        warn(
            "this process was forked, so gaussmix runs on 1 thread in it: a thread pool does not "
            "survive a fork. Start processes with the 'spawn' or 'forkserver' method to use more.",
            BackendWarning,
        )


def _after_fork_in_child() -> None:
    global _forked, _fork_reported
    _forked = True
    _fork_reported = False
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
