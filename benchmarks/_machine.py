"""What this machine can do: measured peak of fused multiply-adds, and read bandwidth.

A C program is compiled at run time for the machine's own widest vectors and run on as many threads
as gaussmix would use. Peaks from data sheets hold at clocks that vector code does not run at.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import gaussmix as gm
from gaussmix import threads

# 16 accumulators hide the latency of two units; each begins differently, or they would be one.
_PROGRAM = r"""
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__AVX512F__)
#define LANES 8
#elif defined(__AVX__)
#define LANES 4
#else
#define LANES 2
#endif
typedef double vec __attribute__((vector_size(8 * LANES)));
#define ACCUMULATORS 16
#define REPEATS 7
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static double total(const vec *s, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) for (int j = 0; j < LANES; j++) sum += s[i][j];
    return sum;
}
static double multiply(long steps, double seed) {
    vec s[ACCUMULATORS], a = (vec){0} + 0.999999, b = (vec){0} + 1e-9;
    for (int i = 0; i < ACCUMULATORS; i++) s[i] = (vec){0} + seed + 0.01 * i;
    for (long n = 0; n < steps; n++)
        for (int i = 0; i < ACCUMULATORS; i++) s[i] = s[i] * a + b;
    return total(s, ACCUMULATORS);
}
static double read(const vec *x, long n) {
    vec s[4] = {{0}};
    for (long i = 0; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) s[j] += x[i + j];
    return total(s, 4);
}
int main(int argc, char **argv) {
    int threads = atoi(argv[1]);
    long steps = 20000000, vectors = (256L << 20) / sizeof(vec);
    double flops = 0, bytes = 0, sum = 0, begin, rate;
    vec *x = aligned_alloc(64, vectors * sizeof(vec));
    if (argc != 2 || !x) return 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < vectors; i++) x[i] = (vec){0} + (double)i;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        begin = now();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        sum += multiply(steps, 1 + omp_get_thread_num());
        rate = 2.0 * LANES * ACCUMULATORS * steps * threads / (now() - begin);
        if (rate > flops) flops = rate;
        begin = now();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        {
            long share = vectors / threads;
            sum += read(x + share * omp_get_thread_num(), share);
        }
        rate = (vectors / threads) * threads * sizeof(vec) / (now() - begin);
        if (rate > bytes) bytes = rate;
    }
    printf("%.6g %.6g %.3g\n", flops, bytes, sum);
    return 0;
}
"""


class Limits(NamedTuple):
    """Rates of all threads together: the best of seven runs."""

    flops: float  # fused multiply-adds in double, two each, per second
    bytes: float  # read from memory, per second


def measure(n_threads: int | None = None) -> Limits | None:
    """Compile and run the program; None without a C compiler that knows OpenMP."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    count = threads.resolve(n_threads)
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "limits.c"), Path(folder, "limits")
        source.write_text(_PROGRAM)
        flags = ["-O2", "-march=native", "-ffp-contract=fast", "-funroll-loops", "-fopenmp"]
        if "avx512f" in _cpu_flags():
            flags.append("-mprefer-vector-width=512")
        command = [*compiler.split(), *flags, str(source), "-o", str(program)]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        done = subprocess.run([str(program), str(count)], capture_output=True, text=True)
    if done.returncode:
        return None
    flops, read, _ = map(float, done.stdout.split())
    return Limits(flops, read)


def describe() -> str:
    """CPU, threads, Python and the packages compared, in one line."""
    parts = [
        f"{_cpu_name()}, {threads.resolve(None)} threads",
        f"Python {platform.python_version()}",
    ]
    parts.append(f"gaussmix {gm.__version__} ({gm.config()['backend']} {gm.config()['level']})")
    for name, module in (("NumPy", "numpy"), ("scikit-learn", "sklearn")):
        if module in sys.modules:
            parts.append(f"{name} {sys.modules[module].__version__}")
    if "daal4py" in sys.modules:
        from importlib.metadata import version

        parts.append(f"oneDAL of scikit-learn-intelex {version('scikit-learn-intelex')}")
    return "; ".join(parts)


def _cpu_info(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, "")


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> list[str]:
    return _cpu_info("flags").split()
