"""The kernel backend that is live, how it was chosen, and why the others are not.

Order of preference: the compiled kernels at the highest instruction-set level this CPU runs,
then Numba, then plain NumPy. ``GAUSSMIX_BACKEND`` (cython, numba, reference) and
``GAUSSMIX_CPU_LEVEL`` (base, avx2, avx512: the highest level to use) choose otherwise;
``GAUSSMIX_REQUIRE_EXT=1`` makes it an error if the compiled kernels cannot be loaded.
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

import numpy as np

from . import _build_info, threads
from .errors import BackendWarning, InvalidInputError, warn

NAMES = ("cython", "numba", "reference")
LEVELS = ("base", "avx2", "avx512")  # ascending


class Backend(NamedTuple):
    """The kernels of a backend; ``kernels/contract.py`` says where their meaning stands."""

    name: str
    level: str
    accumulate: Callable
    evaluate: Callable
    factorise: Callable
    combine: Callable
    maximise: Callable | None = None  # these are NumPy's where there is no compiled form
    advance: Callable | None = None
    iterate: Callable | None = None
    ascend: Callable | None = None
    slopes: Callable | None = None
    Scorer: type | None = None  # scorer.Scorer in compiled form
    c_api: object | None = None  # the capsule for C programs


_reasons: dict[str, str] = {}  # why a compiled level is not available
_active: Backend | None = None


def active() -> Backend:
    """The live backend; loaded on first use."""
    global _active
    if _active is None:
        _active = _choose()
    return _active


@contextmanager
def use(name: str, level: str | None = None):
    """Make `name` (at `level`) live within a ``with`` block; for tests and comparisons.

    Not meant for use while another thread fits or scores: the choice is the process's.
    """
    global _active
    previous, _active = active(), _load(name, level)
    try:
        yield _active
    finally:
        _active = previous


def available() -> list[tuple[str, str]]:
    """``(name, level)`` of every backend that this process can load, the best one first."""
    found = [("cython", level) for level in reversed(LEVELS) if _module(level) is not None]
    if _numba_installed():
        found.append(("numba", "llvm"))
    return [*found, ("reference", "numpy")]


def announce() -> None:
    """Say once, in one sentence, if the compiled kernels are missing; called at import."""
    requested = os.environ.get("GAUSSMIX_BACKEND", "")
    if requested not in ("", "cython") or _module("base") is not None:
        return
    reason = _reasons["base"]
    if os.environ.get("GAUSSMIX_REQUIRE_EXT", "0") not in ("", "0"):
        raise ImportError(
            f"GAUSSMIX_REQUIRE_EXT is set, but the compiled kernels did not load: {reason}. "
            "Rebuild with a C compiler and look at the build log."
        )
    fallback = "Numba" if _numba_installed() else "plain NumPy (slow)"
    warn(
        f"gaussmix runs on {fallback}, since its compiled kernels are missing ({reason}); "
        "reinstall it with a C compiler, e.g. after `apt install gcc`, for full speed.",
        BackendWarning,
    )


def config() -> dict:
    """What was built and what is live, as a dictionary; `show_config` prints it."""
    import platform  # of no use to the import of gaussmix, which it would slow down

    from . import __version__

    live = active()
    found = available()  # tries every level, and so fills the reasons
    return {
        "gaussmix": __version__,
        "backend": live.name,
        "level": live.level,
        "available": [f"{name} {level}" for name, level in found],
        "not available": {
            **{f"cython {level}": reason for level, reason in _reasons.items()},
            **({} if _numba_installed() else {"numba": 'pip install "gaussmix[numba]"'}),
        },
        "threads": threads.resolve(None),
        "build": _build_info.read(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def show_config() -> None:
    """Print which backend and instruction-set level are live, what was built, and why not more."""
    _show(config(), "")


def _show(values: dict, indent: str) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _show(value, indent + "  ")
        elif isinstance(value, list):
            print(f"{indent}{key}: {', '.join(map(str, value)) or '-'}")
        else:
            print(f"{indent}{key}: {value if value != '' else '-'}")


def _choose() -> Backend:
    name = os.environ.get("GAUSSMIX_BACKEND", "")
    level = os.environ.get("GAUSSMIX_CPU_LEVEL") or None
    if level is not None and level not in LEVELS:
        warn(
            f"GAUSSMIX_CPU_LEVEL={level!r} is ignored; it may be one of {', '.join(LEVELS)}.",
            BackendWarning,
        )
        level = None
    if name in NAMES:
        return _load(name, level if name == "cython" else None)
    if name:
        warn(
            f"GAUSSMIX_BACKEND={name!r} is ignored; it may be one of {', '.join(NAMES)}.",
            BackendWarning,
        )
    if _module("base") is not None:
        return _load("cython", level)
    return _load("numba" if _numba_installed() else "reference", None)


def _load(name: str, level: str | None) -> Backend:
    if name not in NAMES:
        raise InvalidInputError(f"backend={name!r} is unknown; use one of {', '.join(NAMES)}.")
    if name == "cython":
        for usable in reversed(LEVELS[: LEVELS.index(level or LEVELS[-1]) + 1]):
            module = _module(usable)
            if module is not None:
                if level is not None and usable != level:
                    warn(
                        f"the kernels of level {level} are not available ({_reasons[level]}); "
                        f"those of {usable} are used.",
                        BackendWarning,
                    )
                return _backend(name, usable, module)
        raise ImportError(
            f"the compiled kernels are not available: {_reasons['base']}. Reinstall gaussmix with "
            "a C compiler, or set GAUSSMIX_BACKEND=numba."
        )
    file = {"numba": "numba_kernels", "reference": "reference"}[name]
    try:
        module = importlib.import_module(f".kernels.{file}", __package__)
    except ImportError as error:
        raise ImportError(
            f'the {name} backend did not load: {error}. Try `pip install "gaussmix[numba]"`.'
        ) from error
    return _backend(name, module.LEVEL, module)


def _backend(name: str, level: str, module: ModuleType) -> Backend:
    kernels = (getattr(module, kernel, None) for kernel in Backend._fields[2:])
    return Backend(name, level, *kernels)


def _numba_installed() -> bool:
    from importlib.util import find_spec  # not needed where the compiled kernels load

    spec = find_spec("numba")  # without a loader, a mere directory of that name
    return spec is not None and spec.origin is not None


def _module(level: str) -> ModuleType | None:
    """The compiled kernels of `level`, or None: `_reasons` then tells why."""
    if level in _reasons:
        return None
    # Only the base module runs on every CPU, and it tells what this one has.
    if level != "base":
        base = _module("base")
        if base is None or not base.cpu_supports()[level]:
            _reasons[level] = _reasons.get("base", "this CPU does not have the instructions")
            return None
    name = f"{__package__}.kernels._cython_{level}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        _reasons[level] = _build_reason(level) or str(error)
        return None
    if level == "base":
        threads.follow(module.openmp_threads)
    return module


def _build_reason(level: str) -> str:
    """Why the build left out the module of `level`, or an empty string if it did not."""
    extensions = _build_info.read().get("extensions", {})
    extension = extensions.get(f"gaussmix.kernels._cython_{level}", {})
    return "" if extension.get("built", True) else str(extension.get("reason", "not built"))
