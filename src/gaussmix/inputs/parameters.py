"""Checks of single-valued parameters; reached through `validate`, which re-exports them."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInputError

_SHOWN_CHARACTERS = 60


def shown(value: Any) -> str:
    """`repr` of a user's value, cut to one short line and safe to print."""
    try:
        text = repr(value)
    except Exception:  # a broken __repr__ must not hide the message it would have been part of
        text = f"<{type(value).__name__}>"
    text = " ".join(text.split())
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 3] + "..."
    return text


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as an `int` within ``low..high``.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : int or numpy.integer
        Booleans and floats are refused even when they are whole: ``n_components=2.0`` or
        ``True`` is more often a mistake than a wish.
    low, high : int
        Smallest and largest value allowed; `high` None means no upper limit.

    Raises
    ------
    InvalidInputError
        If `value` is not an integer or lies outside.
    """
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    allowed = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, (bool, np.bool_)):
        raise InvalidInputError(f"{name} is {shown(value)}, a boolean; pass {allowed}.")
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidInputError(
            f"{name} is {shown(value)} ({type(value).__name__}), not an integer; pass {allowed}."
        ) from None
    if number < low or (high is not None and number > high):
        raise InvalidInputError(f"{name} is {shown(number)}, out of range; pass {allowed}.")
    return number


def features(name: str, value: Any, n_features: int) -> list[int]:
    """`value`, one feature or several, as a list of different integers from 0 to D - 1.

    Raises
    ------
    InvalidInputError
        If it is empty, or one is not such an integer or comes twice.
    """
    try:
        given = list(value)
    except (TypeError, NotImplementedError):  # a single one; a memoryview of two dimensions
        return [integer(name, value, 0, n_features - 1)]
    if not given:
        raise InvalidInputError(
            f"{name} is empty; pass at least one integer from 0 to {n_features - 1}."
        )
    seen: dict[int, int] = {}
    for position, item in enumerate(given):
        feature = integer(f"{name}[{position}]", item, 0, n_features - 1)
        if feature in seen:
            raise InvalidInputError(
                f"{name}[{position}] is {feature}, as {name}[{seen[feature]}] is; pass each "
                "feature once."
            )
        seen[feature] = position
    return list(seen)


def real(
    name: str,
    value: Any,
    low: float,
    high: float | None = None,
    low_open: bool = False,
    allow_inf: bool = False,
) -> float:
    """`value` as a `float` within ``low..high``; NaN and booleans are always refused.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : real number
        Any real number, NumPy scalars included.
    low, high : float
        Limits, both allowed themselves unless `low_open`; `high` None means no upper limit.
    low_open : bool
        Whether `low` itself is refused.
    allow_inf : bool
        Whether infinities inside the limits are accepted.

    Raises
    ------
    InvalidInputError
        If `value` is not a real number or lies outside.
    """
    if type(value) is float:
        number = value
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
    else:
        raise InvalidInputError(
            f"{name} is {shown(value)} ({type(value).__name__}), not a real number; "
            f"pass {_interval(low, high, low_open, allow_inf)}."
        )
    inside = (number > low if low_open else number >= low) and (high is None or number <= high)
    if not inside or (math.isinf(number) and not allow_inf):
        allowed = _interval(low, high, low_open, allow_inf)
        raise InvalidInputError(f"{name} is {shown(value)}, out of range; pass {allowed}.")
    return number


def counted(n: int, noun: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def flag(name: str, value: Any) -> bool:
    """`value` as a bool. Raises InvalidInputError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidInputError(f"{name} is {shown(value)}; pass True or False.")
    return bool(value)


def _interval(low: float, high: float | None, low_open: bool, allow_inf: bool) -> str:
    number = "a number" if allow_inf else "a finite number"
    if low == -math.inf:
        return number if high is None else f"a number <= {high:g}"
    sign = ">" if low_open else ">="
    if high is None:
        return f"{number} {sign} {low:g}"
    return f"a number {sign} {low:g} and <= {high:g}"


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """`value` if it is one of the strings in `options`.

    Raises
    ------
    InvalidInputError
        If it is not; the message lists the options.
    """
    if isinstance(value, str) and value in options:
        return value
    raise InvalidInputError(
        f"{name} is {shown(value)}; pass one of {', '.join(repr(option) for option in options)}."
    )


def seed(value: Any, name: str = "seed") -> np.random.Generator:
    """The random generator that `value` stands for.

    Parameters
    ----------
    value : None, int, numpy.random.Generator or numpy.random.RandomState
        None draws fresh entropy. An int >= 0 always gives the same stream. A Generator is used
        itself, so its state moves on. From a RandomState (what scikit-learn passes around) 256
        bits are drawn, so its state moves on too.
    name : str
        The argument's name, for the message.

    Raises
    ------
    InvalidInputError
        For anything else, negative integers and booleans included.
    """
    if value is None:
        return np.random.default_rng()
    if isinstance(value, np.random.Generator):
        return value
    if isinstance(value, np.random.RandomState):
        return np.random.default_rng(value.randint(0, 1 << 32, size=8, dtype=np.uint64))
    try:
        return np.random.default_rng(integer(name, value, 0))
    except InvalidInputError:
        raise InvalidInputError(
            f"{name} is {shown(value)}; pass an integer >= 0, a numpy.random.Generator, "
            "a numpy.random.RandomState, or None for fresh entropy."
        ) from None
