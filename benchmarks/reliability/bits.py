"""Are results the same to the bit for any threads, chunks, memory order and precision of the rows?

    python -m benchmarks.reliability bits

On every backend and instruction set that loads, for three shapes and four covariance types: fits by
each algorithm, streams, and what scores rows, compared with one thread on an array in C order. Each
comparison is a case; all bytes of the result have to be the same.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator

import numpy as np

import gaussmix as gm
from gaussmix import backends

from . import _counts
from ._cases import of_tests

TYPES = ("full", "tied", "diag", "spherical")
SHAPES = ((30_011, 3, 4), (6_007, 17, 5), (3_001, 40, 3))
FEWER = {"reference": 4}  # so many times fewer rows: it takes minutes as it is
COUNTS = (2, 3, 7, 64)
SCORES: dict[str, Callable] = {
    name: lambda mixture, X, n, name=name: getattr(mixture, name)(X, n_threads=n)
    for name in ("logpdf", "log_joint", "predict_proba", "predict", "mahalanobis", "nearest")
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bits", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backend", help="cython, numba or reference (default: all there are)")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    outcomes = of_tests("outcomes")
    tally = outcomes.Tally("gaussmix")
    for name, level in backends.available():
        if options.backend in (None, name):
            with backends.use(name, level if name == "cython" else None):
                for what, same, detail in _compared(FEWER.get(name, 1)):
                    outcome = outcomes.RIGHT if same else outcomes.WRONG
                    tally.add(f"{name} {level}: {what}", outcome, detail)
    tally.show()
    total = tally.total()
    same = total[outcomes.RIGHT]
    _counts.finish(
        len(tally.failures), compared=total.total(), same=same, other=len(tally.failures)
    )


def _compared(fewer: int) -> Iterator[tuple[str, bool, str]]:
    """What is compared, whether all bits are the same, and of which case."""
    for n_rows, n_features, n_components in SHAPES:
        rng = np.random.default_rng(n_features)
        X = rng.normal(size=(n_rows // fewer, n_features))
        X[::3] += 4.0
        X = np.round(X * 1024.0) / 1024.0  # which float32 holds
        for kind in TYPES:
            about = f"D={n_features}, {kind}"
            start = gm.fit(X, n_components, covariance_type=kind, seed=0, max_iter=0).mixture
            for algorithm in ("em", "hard", "stochastic", "annealed"):
                for what, same in _fits(X, start, algorithm, rng):
                    yield f"fit, {what}", same, f"{about}, {algorithm}"
            for what, same in _streams(X, start):
                yield f"OnlineMixture, {what}", same, about
            for name, score in SCORES.items():
                for what, same in _scores(X, start, score, rng):
                    yield f"scores, {what}", same, f"{about}, {name}"
            hills = start.hills(X[:500], n_threads=1)
            for n in COUNTS:
                same = _bits(start.hills(X[:500], n_threads=n)) == _bits(hills)
                yield "hills, threads", same, about


def _fits(X, start: gm.Mixture, algorithm: str, rng) -> Iterator[tuple[str, bool]]:
    def fitted(X, n_threads=1) -> bytes:
        result = gm.fit(
            X, start.n_components, covariance_type=start.covariance_type, start=start,
            algorithm=algorithm, max_iter=4, tol=0.0, seed=0, n_threads=n_threads,
        )  # fmt: skip
        return _bits(result.mixture, result.log_likelihood)

    expected = fitted(X)
    for n in COUNTS:
        yield "threads", fitted(X, n) == expected
    yield "again", fitted(X) == expected
    for other in _orders(X):
        yield "memory orders", fitted(other, 2) == expected
    yield "float32", fitted(X.astype(np.float32), 2) == expected
    for _ in range(3):
        chunks = np.split(X, np.sort(rng.integers(0, len(X) + 1, 3)))
        yield "chunks", fitted(chunks, 2) == expected


def _streams(X, start: gm.Mixture) -> Iterator[tuple[str, bool]]:
    def streamed(X, n_threads=1) -> bytes:
        kind = start.covariance_type
        online = gm.OnlineMixture(
            start.n_components,
            covariance_type=kind,
            start=start,
            start_rows=200,
            n_threads=n_threads,
        )
        for begin in range(0, len(X), 700):
            online.update(X[begin : begin + 700])
        return _bits(online.mixture)

    expected = streamed(X)
    for n in COUNTS:
        yield "threads", streamed(X, n) == expected
    for other in _orders(X):
        yield "memory orders", streamed(other) == expected
    yield "float32", streamed(X.astype(np.float32)) == expected


def _scores(X, mixture: gm.Mixture, score: Callable, rng) -> Iterator[tuple[str, bool]]:
    expected = score(mixture, X, 1)
    for n in COUNTS:
        yield "threads", _bits(score(mixture, X, n)) == _bits(expected)
    for other in _orders(X):
        yield "memory orders", _bits(score(mixture, other, 2)) == _bits(expected)
    yield "float32", _bits(score(mixture, X.astype(np.float32), 2)) == _bits(expected)
    for _ in range(3):
        begin, end = np.sort(rng.integers(0, len(X) + 1, 2))
        yield "batches", _bits(score(mixture, X[begin:end], 2)) == _bits(expected[begin:end])
    for row in rng.integers(0, len(X), 5):
        yield (
            "single rows",
            _bits(score(mixture, X[row : row + 1], 1)) == _bits(expected[row : row + 1]),
        )


def _orders(X: np.ndarray) -> list[np.ndarray]:
    """The rows column by column, with gaps, and backwards in memory."""
    wide = np.empty((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    return [np.asfortranarray(X), wide[::2, ::2], X[::-1].copy()[::-1]]


def _bits(*values) -> bytes:
    parts = []
    for value in values:
        if isinstance(value, gm.Mixture):
            parts += [value.weights, value.means, value.covariances, value.precision_factors]
        else:
            parts.append(value)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
