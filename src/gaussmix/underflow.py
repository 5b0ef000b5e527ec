"""Numbers that vanish are as good as 0 here, also where the caller has NumPy raise underflow."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


def ignored(function: _Function) -> _Function:
    """The function, during which NumPy says nothing of underflow.

    Not ``numpy.errstate`` as a decorator: its frame would stand between the package's, and
    warnings would point at it instead of the user's line.
    """

    @wraps(function)
    def called(*arguments, **options):
        with np.errstate(under="ignore"):
            return function(*arguments, **options)

    return called
