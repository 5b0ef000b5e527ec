"""Exceptions and warnings, and the one way in which the package issues warnings.

Every message names the argument, what was found and where, what is allowed, and one remedy.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_PACKAGE_PREFIX = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Frames of the import system stand between the package and the user's `import` statement.
_IMPORT_SYSTEM_PREFIX = "<frozen importlib"


class GaussmixError(Exception):
    """Base of every exception that gaussmix raises on purpose."""


class InvalidInputError(GaussmixError, ValueError):
    """An argument, an array or a parameter that cannot be used as given."""


class InvalidTypeError(InvalidInputError, TypeError):
    """Input of a kind that is not accepted at all (sparse, text): also a `TypeError`."""


class DegenerateFitError(GaussmixError, ValueError):
    """Data or a start from which no valid mixture can be fitted."""


class FitStoppedError(GaussmixError, RuntimeError):
    """A fit that `max_seconds` or `cancel` ended before there was anything to return."""


class ModelFileError(GaussmixError, ValueError):
    """A file that is not a model file, or one whose content is not a valid mixture."""


class GaussmixWarning(UserWarning):
    """Base of every warning that gaussmix issues."""


class DegenerateComponentWarning(GaussmixWarning):
    """A component that is empty or re-seeded, holds one row, is at the floor, or no other one."""


class PrecisionWarning(GaussmixWarning):
    """A result that holds fewer correct digits than double precision usually gives."""


class ConvergenceWarning(GaussmixWarning):
    """A fit that a limit of iterations or time, or `cancel`, ended before it was done."""


class BackendWarning(GaussmixWarning):
    """A compiled backend or a thread setting that could not be used as asked for."""


class Recorded(NamedTuple):
    """A warning that `recorded` kept."""

    message: str
    category: type[Warning]


_record: ContextVar[list[Recorded] | None] = ContextVar("gaussmix_warnings", default=None)


@contextmanager
def recorded() -> Iterator[list[Recorded]]:
    """A block whose warnings go into the list that it gives, and are not issued.

    Only those of `warn`, and only in this thread: `warnings.catch_warnings` would change the
    filters of the process, and two threads leaving such blocks in turn would leave them changed.
    """
    kept: list[Recorded] = []
    before = _record.set(kept)
    try:
        yield kept
    finally:
        _record.reset(before)


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that points at the first line outside the package.

    Python's default filter then shows it once per message and user line.

    Parameters
    ----------
    message : str
        What was found, where, and one remedy.
    category : type of Warning
        One of the classes of this module.

    Raises
    ------
    Warning
        `category` itself, where the user's filters turn warnings into errors.
    """
    kept = _record.get()
    if kept is not None:
        kept.append(Recorded(message, category))
        return
    # A fixed stacklevel would depend on how deep in the package the cause was noticed, and
    # `skip_file_prefixes` needs Python 3.12.
    innermost = frame = sys._getframe(1)
    while frame is not None and _is_skipped(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:  # a thread or an embedding whose every frame is ours
        frame = innermost
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__") or "<unknown>",
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_skipped(filename: str) -> bool:
    return filename.startswith((_PACKAGE_PREFIX, _IMPORT_SYSTEM_PREFIX))
