"""What C and Cython programs compile against, and the table of functions that they call.

``include/gaussmix.h`` says what the functions do, who owns what, and what is promised.
"""

from __future__ import annotations

import os

from . import backends


def get_include() -> str:
    """The directory of ``gaussmix.h``, for a C compiler's include path.

    Examples
    --------
    >>> import gaussmix
    >>> from setuptools import Extension
    >>> module = Extension("mine", ["mine.pyx"], include_dirs=[gaussmix.get_include()])
    """
    return os.path.join(os.path.dirname(__file__), "include")


def __getattr__(name: str):
    if name != "table":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if backends.active().c_api is None:
        raise unavailable()
    return backends.active().c_api


def unavailable() -> ImportError:
    """The error that says why nothing can be called from C."""
    return ImportError(
        f"gaussmix runs on its {backends.active().name} backend, and only the compiled kernels can "
        "be called from C. gaussmix.show_config() says why they are not in use."
    )
