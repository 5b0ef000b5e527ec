"""The line a campaign ends with, and its exit code."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime

from .. import _machine


def finish(failures: int, **counts: object) -> None:
    """Print the counts with machine and date; exit with 1 if there were failures."""
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items())
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    date = datetime.now(UTC).date().isoformat()
    print(f"{shown}; {cpus} CPUs, {platform.system()}, {_machine.describe()}; {date}")
    sys.exit(1 if failures else 0)
