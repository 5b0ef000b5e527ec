"""What comes of hostile data, arguments and weights, on every backend?

    python -m benchmarks.reliability hostile                     all cases, on all backends
    python -m benchmarks.reliability hostile --backend numba     on one
    python -m benchmarks.reliability hostile --peer              scikit-learn fits the data
    python -m benchmarks.reliability hostile --properties 2000   and so many examples by hypothesis

The cases are those of ``tests/hostile/matrix.py``; they run in processes of their own. One that
ends its process, or takes a minute, counts as a crash; a machine that does much else needs more
patience.
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import threading

from . import _counts
from ._cases import of_tests

PATIENCE = 60  # seconds for a case, if not told otherwise


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="hostile", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backend", help="cython, numba or reference (default: all there are)")
    parser.add_argument("--properties", type=int, default=0, help="examples of each property")
    parser.add_argument("--peer", action="store_true", help="scikit-learn's fits of the data")
    parser.add_argument("--patience", type=int, default=PATIENCE, help="seconds for a case")
    parser.add_argument("--worker", type=int, help="run cases from this one on, for the parent")
    options = parser.parse_args(arguments)
    matrix = of_tests("hostile.matrix")
    if options.worker is not None:
        _work(matrix, options.worker)
        return
    tally = of_tests("outcomes").Tally("scikit-learn" if options.peer else "gaussmix")
    cases = list(matrix.cases())
    if options.peer:
        for case in cases:
            if case.call == "fit" and case.kind in matrix.DATA:
                outcome, detail = matrix.judged_of_peer(case)
                tally.add(case.kind[0], outcome, f"{case}: {detail}")
    for backend in [] if options.peer else [options.backend] if options.backend else _backends():
        _try_all(backend, cases, tally, options.patience)
    if options.properties:
        failed = _properties(options.properties)
        tally.add("properties", "wrong" if failed else "right", "see above")
    tally.show()
    outcomes = of_tests("outcomes").OUTCOMES
    counts = {name.replace(" ", "_"): tally.total()[name] for name in outcomes}
    _counts.finish(len(tally.failures), tried=tally.total().total(), **counts)


def _backends() -> list[str]:
    from gaussmix import backends

    return list(dict.fromkeys(name for name, _ in backends.available()))


def _work(matrix, begin: int) -> None:
    """Cases from number `begin` on: a line with number, outcome and detail for each."""
    for number, case in enumerate(matrix.cases()):
        if number >= begin:
            outcome, detail = matrix.judged(case)
            print(number, outcome, detail.replace("\n", " ")[:300], sep="\t", flush=True)


def _try_all(backend: str, cases: list, tally, patience: int) -> None:
    """All cases on a backend; a new process goes on after each one that failed to answer."""
    done = 0
    while done < len(cases):
        for number, outcome, detail in _answers(backend, done, patience):
            tally.add(f"{backend}: {cases[number].kind[0]}", outcome, f"{cases[number]}: {detail}")
            done = number + 1
        if done < len(cases):
            case = cases[done]
            tally.add(f"{backend}: {case.kind[0]}", "crash", f"{case}: the process ended or hung")
            done += 1


def _answers(backend: str, begin: int, patience: int):
    command = [sys.executable, "-m", "benchmarks.reliability", "hostile", "--worker", str(begin)]
    environment = {**os.environ, "GAUSSMIX_BACKEND": backend}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [*map(lines.put, process.stdout), lines.put("")]).start()
    try:
        # The first case comes after kernels were loaded, or compiled.
        wait = 10 * patience
        while line := _next(lines, wait):
            number, outcome, detail = line.rstrip("\n").split("\t", 2)
            yield int(number), outcome, detail
            wait = patience
    except queue.Empty:
        pass
    finally:
        process.kill()
        process.wait()


def _next(lines: queue.Queue, seconds: int) -> str:
    """The next line; raises queue.Empty. Second by second: a halt of the machine is but one."""
    for _ in range(seconds):
        try:
            return lines.get(timeout=1.0)
        except queue.Empty:
            pass
    raise queue.Empty


def _properties(examples: int) -> bool:
    """Whether a property fails for one of so many examples."""
    environment = {**os.environ, "GAUSSMIX_EXAMPLES": str(examples)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/hostile/test_properties.py"]
    return subprocess.run(command, env=environment, check=False).returncode != 0
