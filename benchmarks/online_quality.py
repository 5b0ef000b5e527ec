"""How near one pass of online EM comes to batch EM, over streams from random mixtures.

``python -m benchmarks.online_quality [--streams 48] [--rows 60000]`` prints a line for each stream:
its shape, by how much its held-out log-likelihood per row, in per cent of it, lies above that of
batch EM from the truth, and seconds; then how many lie more than 0.5 % below it, and the worst.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import gaussmix as gm

BATCH_ROWS = 1000
HELD_OUT_ROWS = 20_000
MISSED = -0.5  # per cent
# Spread of the means in standard deviations: from one heap to clusters far apart.
SPREADS = (0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


class Stream(NamedTuple):
    """A random mixture, and what it was drawn with."""

    spread: float
    truth: gm.Mixture


def stream(seed: int) -> Stream:
    """Stream `seed`: D from 2 to 16, K from 5 to 25, weights and covariances uneven."""
    rng = np.random.default_rng([seed, 20260101])
    spread = SPREADS[seed % len(SPREADS)]
    n_features, n_components = int(rng.integers(2, 17)), int(rng.integers(5, 26))
    weights = rng.dirichlet(np.full(n_components, 2.0))
    # The smallest has some tens of rows among those of a start.
    weights = (weights + 0.1 / n_components) / 1.1
    means = spread * rng.standard_normal((n_components, n_features))
    mixing = rng.standard_normal((n_components, n_features, n_features)) / np.sqrt(n_features)
    factors = np.eye(n_features) + 0.7 * mixing
    factors *= np.exp(0.3 * rng.standard_normal((n_components, 1, 1)))
    return Stream(spread, gm.Mixture(weights, means, factors @ factors.transpose(0, 2, 1)))


def passed(X: np.ndarray, n_components: int, seed: int) -> gm.Mixture:
    """The mixture after one pass with all defaults."""
    online = gm.OnlineMixture(n_components, seed=seed)
    for begin in range(0, len(X), BATCH_ROWS):
        online.update(X[begin : begin + BATCH_ROWS])
    return online.mixture


def lines(n_streams: int, n_rows: int) -> Iterator[tuple[float, str]]:
    """The gap of each stream in per cent, and its line of the table."""
    for seed in range(n_streams):
        spread, truth = stream(seed)
        X, _ = truth.sample(n_rows, seed=seed)
        held_out, _ = truth.sample(HELD_OUT_ROWS, seed=seed + 1_000_000)
        best = gm.fit(X, truth.n_components, start=truth, tol=1e-6, max_iter=300).mixture
        began = time.perf_counter()
        mixture = passed(X, truth.n_components, seed)
        seconds = time.perf_counter() - began
        wanted = best.score(held_out)
        gap = 100.0 * (mixture.score(held_out) - wanted) / abs(wanted)
        shape = f"D={truth.n_features:<3d} K={truth.n_components:<3d} spread={spread:<4g}"
        yield gap, f"{seed:>4d}  {shape} {gap:+8.3f} %  {seconds:.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=48)
    parser.add_argument("--rows", type=int, default=60_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    gaps = []
    for gap, line in lines(arguments.streams, arguments.rows):
        gaps.append(gap)
        print(line, flush=True)
    missed = sum(gap < MISSED for gap in gaps)
    print(
        f"{missed} of {len(gaps)} more than {-MISSED:g} % below batch EM from the truth; the worst "
        f"{min(gaps):+.2f} %, the median {float(np.median(gaps)):+.3f} %"
    )


if __name__ == "__main__":
    main()
