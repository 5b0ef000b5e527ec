"""The cases that campaigns share with the tests, of which these try a few."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def of_tests(name: str) -> ModuleType:
    """A module of ``tests/``, which has to be on the path."""
    tests = str(Path(__file__).parents[2] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    return importlib.import_module(name)
