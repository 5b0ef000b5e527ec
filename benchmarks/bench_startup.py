"""The cost of ``import gaussmix`` and of a first model, in fresh interpreters.

python -m benchmarks.bench_startup      # both as medians and as ratios to import numpy
"""

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


def medians(*codes: str) -> list[float]:
    """Median seconds of each code, run in turns, so that a machine that slows down slows all."""
    for code in codes:
        seconds(code)  # which writes the bytecode
    turns = [[seconds(code) for code in codes] for _ in range(3 if _data.SMALL else 31)]
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def ratio_to_numpy(code: str) -> float:
    """How many times longer than ``import numpy`` the code takes, by medians."""
    ours, numpys = medians(code, "import numpy")
    return ours / numpys


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
        return ratio_to_numpy(self.code)

    @property
    def code(self) -> str:
        """From nothing to a scorer."""
        return f"import gaussmix; gaussmix.load({self.path!r}).scorer()"

    track_ratio_to_numpy.unit = "times import numpy"


def main() -> None:
    """Print medians and ratios."""
    model = FirstModel()
    model.setup()
    codes = {
        "import numpy": "import numpy",
        "import gaussmix": "import gaussmix",
        "import gaussmix, load, scorer": model.code,
    }
    found = medians(*codes.values())
    model.teardown()
    for name, spent in zip(codes, found, strict=True):
        print(f"{name:30} {1e3 * spent:7.2f} ms {spent / found[0]:6.3f}")


if __name__ == "__main__":
    main()
