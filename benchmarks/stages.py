"""Where does the time of a block go, and what would its multiplications alone need?

    python -m benchmarks.stages            the levels that this machine has

Compiles stages.c together with the kernels' tiles, for each instruction set with the flags that
setup.py uses, and prints nanoseconds per 1,000 rows and component on one core, with all data in the
cache: the four stages (full covariances, every row with a share in every component), their sum, and
D^2 multiply-adds at the rate of a loop that does nothing else. From a checkout only: the wheel does
not hold the sources.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import gaussmix as gm
from gaussmix import backends

from . import _machine

SHAPES = [(1, 4), (2, 8), (4, 8), (8, 16), (16, 32), (32, 16), (64, 64), (128, 16)]
KERNELS = Path(__file__).parents[1] / "src/gaussmix/kernels"
HEAD = ("D", "K", "pack", "density", "rule", "moments", "sum", "D^2 FMAs", "share")


def main() -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("benchmarks.stages needs a C compiler (gcc or cc on PATH).")
    built = gm.config()["build"]["extensions"].values()
    flags = {extension["level"]: extension["flags"] for extension in built if extension["built"]}
    print(_machine.describe())
    for backend, level in backends.available():
        if backend == "cython":
            print(f"{level}: {' '.join(flags[level])}")
            with tempfile.TemporaryDirectory() as folder:
                report(compile_stages(compiler, flags[level], folder))


def compile_stages(compiler: str, flags: list[str], folder: str) -> str:
    program = str(Path(folder, "stages"))
    source = str(Path(__file__).with_suffix(".c"))
    command = [compiler, *flags, f"-I{KERNELS}", "-w", source, "-o", program, "-lm"]
    subprocess.run(command, check=True)
    return program


def report(program: str) -> None:
    print("".join(f"{name:>9}" for name in HEAD))
    for n_features, n_components in SHAPES:
        command = [program, str(n_features), str(n_components)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        *stages, least = map(float, done.stdout.split())
        total = sum(stages)
        numbers = "".join(f"{value:9.0f}" for value in (*stages, total, least))
        print(f"{n_features:9}{n_components:9}{numbers}{least / total:9.0%}", flush=True)


if __name__ == "__main__":
    main()
