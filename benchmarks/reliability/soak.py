"""Does memory grow over minutes of mixed fits, scores, files and errors?

    python -m benchmarks.reliability soak --minutes 10

Resident memory is read between rounds of the same work. Drift is its median over the last tenth of
the time minus that over a tenth after a warm-up of a fifth (allocators and caches fill at first).
Above 1 MB it is a failure; so is a round whose results are not the first one's to the bit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import gaussmix as gm

from . import _counts

LIMIT_MB = 1.0
READINGS = 800
WARM_UP = 0.2  # of the time
TYPES = ("full", "tied", "diag", "spherical")


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    if options.seconds is None:
        options.seconds = 60.0 * options.minutes
    warnings.simplefilter("ignore")
    work = Work(options.threads)
    expected = work.round()
    readings = np.full(READINGS, np.nan)  # ahead of time: a list of them would be a drift itself
    begin, n_readings, calls, wrong = time.monotonic(), 0, 0, 0
    while (elapsed := time.monotonic() - begin) < options.seconds:
        wrong += work.round() != expected
        calls += work.calls
        due = WARM_UP + (1.0 - WARM_UP) * n_readings / READINGS  # as a part of the time
        if elapsed >= due * options.seconds:
            readings[n_readings] = _resident_mb()
            n_readings += 1
    readings = readings[:n_readings]
    tenth = max(1, n_readings // 8)  # of the whole time
    drift = float(np.median(readings[-tenth:]) - np.median(readings[:tenth]))
    _counts.finish(
        wrong + (drift > LIMIT_MB),
        minutes=round(options.seconds / 60, 1),
        calls=calls,
        threads=options.threads or "default",
        resident_MB=round(readings[-1], 1),
        drift_MB=round(drift, 3),
        rounds_with_other_bits=wrong,
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--threads", type=int, help="n_threads of every call")
    return parser.parse_args(arguments)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Work:
    """A round of calls on fixed data; its result is a checksum that never changes."""

    def __init__(self, n_threads: int | None) -> None:
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((6000, 4))
        self.X[:2000] *= 0.5
        self.X[:2000] += 4.0
        self.single = np.asfortranarray(self.X, dtype=np.float32)
        self.threads = {"n_threads": n_threads}
        self.folder = tempfile.TemporaryDirectory()
        self.calls = 0

    def round(self) -> list[bytes]:
        self.calls = 0
        values = []
        for covariance_type in TYPES:
            for X in (self.X[:600], self.single):
                settings = {"covariance_type": covariance_type, "max_iter": 20, **self.threads}
                model = gm.fit(X, 3, seed=0, **settings).mixture
                values += self._scores(model, X)
                self.calls += 1
        values += self._others(model)
        self._errors(model)
        return [np.asarray(value).tobytes() for value in values]

    def _scores(self, model: gm.Mixture, X: np.ndarray) -> list:
        methods = ("predict", "predict_proba", "logpdf", "log_joint", "mahalanobis", "score")
        self.calls += len(methods) + 40
        for row in X[:40]:
            model.logpdf(row[None])
        return [getattr(model, method)(X, **self.threads) for method in methods]

    def _others(self, model: gm.Mixture) -> list:
        path = Path(self.folder.name, "model.npz")
        gm.save(model, path)
        online = gm.OnlineMixture(2, seed=0)
        for begin in range(0, 3000, 1000):
            online.update(self.X[begin : begin + 1000])
        chosen = gm.select(self.X[:300], [1, 2, 3], seed=0, **self.threads)
        estimator = gm.GaussianMixture(2, random_state=0, max_iter=10).fit(self.X[:500])
        chunks = gm.fit(lambda: iter((self.X[:500], self.X[500:900])), 2, seed=0, max_iter=5)
        self.calls += 9
        return [
            gm.load(path).means,
            model.sample(1000, seed=0)[0],
            model.hills(self.X[:200]),
            online.mixture.means,
            chosen.best.mixture.means,
            estimator.predict(self.X),
            chunks.mixture.means,
        ]

    def _errors(self, model: gm.Mixture) -> None:
        bad = self.X[:500].copy()
        bad[400, 2] = np.nan
        for call in (
            lambda: model.logpdf(bad),
            lambda: gm.fit(bad, 2),
            lambda: model.logpdf(self.X[:, :2]),
            lambda: gm.load(__file__),
        ):
            self.calls += 1
            try:
                call()
            except gm.GaussmixError:
                continue
            raise AssertionError("bad input was accepted")
