"""The cost of ``import gaussmix``, in fresh interpreters."""

import statistics
import subprocess
import sys

from . import _data

TIMED_IMPORT = """
from time import perf_counter
begin = perf_counter()
import {module}
print(perf_counter() - begin)
"""


def seconds(module: str) -> float:
    """Seconds an import takes in a fresh interpreter, the interpreter's own start left out."""
    code = TIMED_IMPORT.format(module=module)
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(result.stdout)


class Import:
    """How long does the import take, by itself and against the NumPy it needs anyway?"""

    def timeraw_import_gaussmix(self):
        return "import gaussmix"

    def timeraw_import_numpy(self):
        return "import numpy"

    def track_ratio_to_numpy(self):
        # In turns, so that a machine that slows down slows both.
        pairs = [(seconds("gaussmix"), seconds("numpy")) for _ in range(3 if _data.SMALL else 25)]
        ours, numpys = zip(*pairs, strict=True)
        return statistics.median(ours) / statistics.median(numpys)

    track_ratio_to_numpy.unit = "times import numpy"
