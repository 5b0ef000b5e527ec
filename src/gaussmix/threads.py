"""How many threads a call may use.

An argument counts first, then ``GAUSSMIX_NUM_THREADS``, then the first number of
``OMP_NUM_THREADS``, then the CPUs that this process may run on, capped by the quota of every
control group (container) that it lives in. Nothing is started and nothing in the environment is
changed; the answer for None is worked out once and kept until `reset`.
"""

from __future__ import annotations

import math
import os

from . import _validate
from .errors import BackendWarning, warn

# More threads than any machine has cores is a typing error; a thread pool of that size may not
# even start. Results never depend on the number, so the cap changes nothing but the schedule.
MAX_THREADS = 1024

_VARIABLES = ("GAUSSMIX_NUM_THREADS", "OMP_NUM_THREADS")
_CGROUP_FILE = "/proc/self/cgroup"
_CGROUP_ROOT = "/sys/fs/cgroup"

_default: int | None = None
_forked = False
_fork_reported = False


def resolve(n_threads: int | None = None) -> int:
    """The number of threads to use, at least 1.

    Parameters
    ----------
    n_threads : int, optional
        What the user asked for; capped at 1024. None takes the first valid one of
        ``GAUSSMIX_NUM_THREADS``, ``OMP_NUM_THREADS``, and the CPUs available to the process
        (affinity and container quota). The environment and the machine are looked at on the
        first call with None only.

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
        count = min(_validate.integer("n_threads", n_threads, 1), MAX_THREADS)
    else:
        if _default is None:
            _default = _from_environment() or available_cpus()
        count = _default
    if _forked and count > 1:
        _report_fork()
        return 1
    return count


def reset() -> None:
    """Forget the answer for None, so that the environment is read again; for tests."""
    global _default
    _default = None


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
            f"{variable} is {_validate.shown(text)}, which is not a number of threads from 1 to "
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
            return file.read(65536).decode("ascii", "replace")
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
