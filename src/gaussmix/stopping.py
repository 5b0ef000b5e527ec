"""When a fit has to end early: a limit of time, or a token that another thread sets.

Whatever reads rows asks `check` between kernel calls of about 50 ms. The limits of the call that
is under way stand in a context variable: passes over the rows are made in many places, and a fit
in another thread has limits of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .errors import FitStoppedError, InvalidInputError
from .inputs import validate

MAX_SECONDS, CANCELLED = "max_seconds", "cancelled"
REASONS = (MAX_SECONDS, CANCELLED)  # the stop reasons of fits that ended early


class Stopped(BaseException):
    """The fit has to end now; never leaves gaussmix. No error, and not to be caught as one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Limits:
    def __init__(self, max_seconds: float | None, cancel: Any) -> None:
        self.max_seconds, self.cancel = max_seconds, cancel
        self.end = None if max_seconds is None else time.perf_counter() + max_seconds

    def check(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Stopped(CANCELLED)
        if self.end is not None and time.perf_counter() >= self.end:
            raise Stopped(MAX_SECONDS)


_limits: ContextVar[_Limits | None] = ContextVar("gaussmix_limits", default=None)


@contextmanager
def within(max_seconds: float | None = None, cancel: Any = None) -> Iterator[None]:
    """Let `check` raise once `max_seconds` have passed since now, or `cancel` has been set.

    Without either there is no limit in the block: that of a fit does not hold for its callback.

    Raises
    ------
    FitStoppedError
        If the block has no answer to that.
    InvalidInputError
        If `max_seconds` is not above 0, or `cancel` cannot be asked ``is_set()``.
    """
    if max_seconds is not None:
        max_seconds = validate.real("max_seconds", max_seconds, 0.0, low_open=True)
    if cancel is not None and not callable(getattr(cancel, "is_set", None)):
        raise InvalidInputError(
            f"cancel is {validate.shown(cancel)}; pass a threading.Event, or another object "
            "with a method is_set."
        )
    limited = max_seconds is not None or cancel is not None
    before = _limits.set(_Limits(max_seconds, cancel) if limited else None)
    try:
        yield
    except Stopped as stop:
        raise FitStoppedError(
            f"{told(stop.reason)} ended the fit before there was a mixture to return. Give it "
            "more time, fewer rows or a cheaper start."
        ) from None
    finally:
        _limits.reset(before)


def check() -> None:
    """Raise `Stopped` if what is under way has to end."""
    limits = _limits.get()
    if limits is not None:
        limits.check()


def stopped() -> bool:
    """Whether what is under way has to end."""
    try:
        check()
    except Stopped:
        return True
    return False


def max_seconds() -> float | None:
    """The limit of time of what is under way, for its report."""
    limits = _limits.get()
    return None if limits is None else limits.max_seconds


def told(reason: str) -> str:
    """What ends the work that is under way, as messages begin."""
    return f"max_seconds={max_seconds():g}" if reason == MAX_SECONDS else "cancel"
