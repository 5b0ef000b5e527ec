"""Is the file of a fit that is killed always the old checkpoint or the new one?

    python -m benchmarks.reliability kills --count 200

A child fits with a checkpoint after every kernel call and is killed by SIGKILL at a random moment;
the next child goes on from the file. After each kill the file has to be a whole checkpoint with no
less done than after the kill before. Whenever a fit gets to its end, its bits have to be those of
the fit that was never interrupted. All algorithms take their turn.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import gaussmix as gm
from gaussmix.files import container

from . import _counts

FITS = (
    {"tol": 0.0, "max_iter": 60},
    {"algorithm": "hard", "n_starts": 3, "max_iter": 30},
    {"algorithm": "stochastic", "max_iter": 60},
    {"algorithm": ["annealed", "hard"], "max_iter": 20},
    {"n_starts": 6, "covariance_type": "tied", "max_iter": 30},
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="kills", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(options.seed)
    X = rng.normal(size=(options.rows, 16)) + 0.5 * rng.integers(0, 8, size=(options.rows, 1))
    counts = {"kills": 0, "within_a_write": 0, "fits_ended": 0, "wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        number = 0
        while counts["kills"] < options.count:
            _fit_through_kills(X, FITS[number % len(FITS)], Path(folder), options, rng, counts)
            number += 1
    _counts.finish(counts["wrong"], **counts)


def _fit_through_kills(X, arguments, folder: Path, options, rng, counts) -> None:
    """One fit, killed and resumed until it gets to its end."""
    path, answer = folder / "fit.gmix", folder / "answer"
    expected, _ = _ended(X, arguments, None, answer)
    path.unlink(missing_ok=True)
    found, seconds = _ended(X, arguments, path, answer)
    counts["wrong"] += found != expected
    path.unlink()
    done = -1
    while counts["kills"] < options.count:
        answer.unlink(missing_ok=True)
        child = _started(X, arguments, path, answer)
        time.sleep(float(rng.uniform(0.0, 0.5 * seconds)))  # so that a fit takes several kills
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            counts["wrong"] += 1
            return
        if answer.exists():
            counts["fits_ended"] += 1
            counts["wrong"] += answer.read_bytes() != expected
            return
        counts["kills"] += 1
        leftovers = list(folder.glob(".gaussmix-*.tmp"))
        counts["within_a_write"] += bool(leftovers)
        for leftover in leftovers:
            leftover.unlink()
        if path.exists():
            now = container.read(path).arrays["journal"].size  # raises if the file is torn
            counts["wrong"] += now < 0.9 * done
            done = max(done, now)


def _ended(X, arguments, path, answer: Path) -> tuple[bytes, float]:
    begin = time.perf_counter()
    child = _started(X, arguments, path, answer)
    os.waitpid(child, 0)
    return answer.read_bytes(), time.perf_counter() - begin


def _started(X, arguments, path, answer: Path) -> int:
    """A forked child that fits, and writes the bits of its result to `answer` at once."""
    child = os.fork()
    if child:
        return child
    try:
        keep = {}
        if path is not None:
            resume = path if path.exists() else None
            keep = {"checkpoint": path, "checkpoint_seconds": 0.0, "resume": resume}
        result = gm.fit(X, 8, seed=0, n_threads=1, **keep, **arguments)
        mixture = result.mixture
        parts = (result.log_likelihood, mixture.weights, mixture.means, mixture.covariances)
        temporary = answer.with_suffix(".new")
        temporary.write_bytes(b"".join(part.tobytes() for part in parts))
        temporary.replace(answer)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
