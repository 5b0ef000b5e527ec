"""The cost of ``import gaussmix`` and of a first model, in fresh interpreters."""

import os
import statistics
import subprocess
import sys
import tempfile

from . import _data

TIMED = """
from time import perf_counter
begin = perf_counter()
{code}
print(perf_counter() - begin)
"""


# Bytecode is kept, as it is where packages are installed, whatever the environment says.
BYTECODE = tempfile.TemporaryDirectory()


def seconds(code: str) -> float:
    """Seconds of the code in a fresh interpreter, the interpreter's own start left out."""
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": BYTECODE.name,
    }
    result = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return float(result.stdout)


def ratio_to_numpy(code: str) -> float:
    """How many times longer than ``import numpy`` the code takes, by medians."""
    seconds(code)  # which writes the bytecode
    # In turns, so that a machine that slows down slows both.
    pairs = [(seconds(code), seconds("import numpy")) for _ in range(3 if _data.SMALL else 25)]
    ours, numpys = zip(*pairs, strict=True)
    return statistics.median(ours) / statistics.median(numpys)


class Import:
    """How long does the import take, by itself and against the NumPy it needs anyway?"""

    def timeraw_import_gaussmix(self):
        return "import gaussmix"

    def timeraw_import_numpy(self):
        return "import numpy"

    def track_ratio_to_numpy(self):
        return ratio_to_numpy("import gaussmix")

    track_ratio_to_numpy.unit = "times import numpy"


class FirstModel:
    """How long until a fresh process has a model from a file, ready to score?"""

    def setup(self):
        handle, self.path = tempfile.mkstemp(suffix=".gmix")
        os.close(handle)
        _data.make(_data.Shape(1, 8, 16)).truth.save(self.path)

    def teardown(self):
        os.unlink(self.path)

    def track_ratio_to_numpy(self):
        return ratio_to_numpy(f"import gaussmix; gaussmix.load({self.path!r}).scorer()")

    track_ratio_to_numpy.unit = "times import numpy"
