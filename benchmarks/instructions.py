"""How many machine instructions do three kernels take, counted, not timed?

    python -m benchmarks.instructions            count, and compare with instructions.json
    python -m benchmarks.instructions --check    the same; fails if one has grown by over 3 %
    python -m benchmarks.instructions --update   write what was counted to instructions.json

Times on a shared machine differ by more than most changes to a kernel; counts do not. One process
runs the kernels under ``valgrind --tool=callgrind``, which notes its counter between them. Valgrind
knows no AVX-512: the counts are those of the AVX2 kernels. They depend on the compiler, so its
version is kept with them, and with another one nothing is compared. Fewer instructions are not
always less time: the counts show that something has changed, and the other suites what it costs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

FILE = Path(__file__).with_name("instructions.json")
COMMAND = "python -m benchmarks.instructions --update"
GROWTH = 0.03  # above what differs between builds by one compiler, below what a change costs
LEVEL = "avx2"
ROWS = 4096
MARK = os.getppid  # a C function by the same name, which nothing else calls: callgrind sees it
REPEATS = 4  # calls that are counted together; the interpreter adds to them once
# Name: function of the backend, covariance type, D, K. Sums bound by multiplications, sums bound
# by exponentials, and scoring.
KERNELS = {
    "accumulate full D=8 K=16": ("accumulate", "full", 8, 16),
    "accumulate diag D=2 K=8": ("accumulate", "diag", 2, 8),
    "responsibilities full D=32 K=16": ("evaluate", "full", 32, 16),
}


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 if a kernel has grown and this was a check."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.instructions", description=__doc__.split("\n")[0]
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail if a count has grown by > 3 %%")
    choice.add_argument("--update", action="store_true", help=f"write {FILE.name}")
    choice.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        _run()
        return 0
    missing = _missing()
    if missing:
        print(f"instructions are not counted: {missing}.")
        return 0
    counted = _count()
    if options.update:
        FILE.write_text(json.dumps(_record(counted), indent=2) + "\n")
        print(f"written to {FILE}")
    recorded = json.loads(FILE.read_text())
    comparable = recorded["compiler"] == _compiler()
    if not comparable:
        print(f"not compared: counted with {recorded['compiler']}, this build is {_compiler()}.")
    known = recorded["instructions"] if comparable else {}
    grown = [_compare(name, counted[name], known.get(name)) for name in KERNELS]
    if not (comparable and any(grown)):
        return 0
    print(f"Make it cheaper, or say in the commit what it buys, and run `{COMMAND}`.")
    return int(options.check)


def _missing() -> str:
    """What counting needs and is not here, or an empty string."""
    from gaussmix import backends

    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if ("cython", LEVEL) not in backends.available():
        return f"there is no cython {LEVEL} backend"
    return ""


def _compiler() -> str:
    from gaussmix import backends

    with backends.use("cython", LEVEL):
        return backends.config()["build"]["compiler"]["version"]


def _record(counted: dict[str, int]) -> dict:
    return {
        "command": COMMAND,
        "compiler": _compiler(),
        "level": LEVEL,
        "rows": ROWS,
        "instructions": counted,
    }


def _compare(name: str, count: int, known: int | None) -> bool:
    """Print a line; whether the kernel has grown by more than GROWTH."""
    if known is None:
        print(f"{name}: {count / ROWS:.1f} instructions per row, not recorded")
        return True
    change = count / known - 1.0
    grown = change > GROWTH
    remark = "  GROWN" if grown else "  (--update records it)" if change < -GROWTH else ""
    print(f"{name}: {count / ROWS:.1f} instructions per row, {change:+.1%}{remark}")
    return grown


def _count() -> dict[str, int]:
    """Instructions of one call of each kernel."""
    environment = os.environ | {
        "GAUSSMIX_BACKEND": "cython",
        "GAUSSMIX_CPU_LEVEL": LEVEL,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # or dictionaries differ from run to run
    }
    with tempfile.TemporaryDirectory() as directory:
        profile = Path(directory) / "profile"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]
        command += [f"--dump-before={MARK.__name__}", sys.executable, "-m", __spec__.name, "--run"]
        root = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        # A file for each mark, of what ran since the one before: each kernel's is an even one.
        parts = [profile.with_name(f"profile.{2 * i + 2}") for i in range(len(KERNELS))]
        totals = [int(re.search(r"^totals: (\d+)", part.read_text(), re.M)[1]) for part in parts]
    return {name: round(total / REPEATS) for name, total in zip(KERNELS, totals, strict=True)}


def _run() -> None:
    """What runs under callgrind: every kernel, between two marks."""
    for name in KERNELS:
        call = _call(name)
        call()  # once uncounted: whatever only the first call does
        MARK()
        for _ in range(REPEATS):
            call()
        MARK()


def _call(name: str) -> Callable[[], object]:
    """The kernel with its arguments, on one thread."""
    import numpy as np

    from gaussmix import backends
    from gaussmix.kernels import contract

    from . import _data

    kind, covariance_type, n_features, n_components = KERNELS[name]
    case = _data.make(_data.Shape(ROWS, n_features, n_components), covariance_type)
    parameters = case.start.kernel_parameters
    backend = backends.active()
    if kind == "evaluate":
        out = np.empty((ROWS, n_components))
        want = contract.WANT_RESPONSIBILITIES
        return lambda: backend.evaluate(case.X, parameters, want, out, 1)
    layout = contract.LAYOUTS[case.start.family.layout]
    key = (n_components, n_features, layout)
    plan = contract.plan(*key)
    sums = np.zeros((plan.n_accumulators, contract.offsets(*key).size))
    return lambda: backend.accumulate(
        case.X, None, 0, parameters, layout, contract.SOFT, sums, plan, 1
    )


if __name__ == "__main__":
    sys.exit(main())
