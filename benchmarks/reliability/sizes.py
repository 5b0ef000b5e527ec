"""Are more than 2^31 values and rows right, and is what cannot fit refused with its size?

    python -m benchmarks.reliability sizes

Sparse files of float32 and of uint8 with more than 2^31 values hold zeros but for their last rows;
views of stride 0 have more than 2^31 rows. Fits from a given start have a closed form. It takes
minutes, 2 GB of memory, and next to no disk. Then requests that no machine can hold: each has to
be an error that says how many bytes it needs, before anything is allocated.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

import gaussmix as gm

from . import _counts

FAR = 200.0  # the value of the last rows
LAST = 1000
COLUMNS = 32
BYTES = re.compile(r"\d[\d,.]* ?(bytes|[KMGTPE]i?B)")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="sizes", description=__doc__.split("\n")[0])
    parser.add_argument("--shrink", type=int, default=1, help="divide sizes, to see that it works")
    shrink = parser.parse_args(arguments).shrink
    warnings.simplefilter("ignore", gm.GaussmixWarning)
    tried = {"right": 0, "refused": 0, "wrong": 0}
    for case in (_float_file, _byte_file, _many_rows):
        _count(tried, "right", case.__name__, lambda case=case: case(shrink))
    for name, call in REQUESTS.items():
        _count(tried, "refused", name, lambda call=call: _is_refused(call))
    _counts.finish(tried["wrong"], tried=sum(tried.values()), **tried)


def _count(tried: dict[str, int], good: str, name: str, case) -> None:
    try:
        outcome = case()
    except Exception:
        traceback.print_exc()
        outcome = False
    tried[good if outcome else "wrong"] += 1
    print(f"{name}: {good if outcome else 'WRONG'}", flush=True)


def _float_file(shrink: int) -> bool:
    return _file(np.float32, shrink)


def _byte_file(shrink: int) -> bool:
    return _file(np.uint8, shrink)


def _file(dtype: type, shrink: int) -> bool:
    """One EM iteration, labels and the score of a sparse file, against their closed forms."""
    n_rows = (1 << 31) // COLUMNS // shrink + 12345
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        np.memmap(path, dtype, "w+", shape=(n_rows, COLUMNS))[-LAST:] = FAR
        X = np.memmap(path, dtype, "r", shape=(n_rows, COLUMNS))
        share = np.array([n_rows - LAST, LAST]) / n_rows
        start = gm.Mixture([0.5, 0.5], [[0.0] * COLUMNS, [FAR] * COLUMNS], [1.0, 1.0], "spherical")
        fitted = gm.fit(
            X, 2, covariance_type="spherical", start=start, max_iter=1, reg_covar=0.01
        ).mixture
        labels = fitted.predict(X)
        row = start.logpdf(np.array([[0.0] * COLUMNS, [FAR] * COLUMNS]))
        return (
            bool(np.allclose(fitted.weights, share, rtol=1e-12))
            and bool(np.allclose(fitted.means, start.means, atol=1e-12))
            and not labels[:-LAST].any()
            and bool(labels[-LAST:].all())
            and abs(start.score(X) - share @ row) < 1e-10 * abs(row[0])
        )


def _many_rows(shrink: int) -> bool:
    """2^31 + 5 rows in eight bytes: the score of one row, and a fit of it."""
    X = np.broadcast_to(np.array([[3.0]]), ((1 << 31) // shrink + 5, 1))
    mixture = gm.Mixture([1.0], [0.0], [1.0], "spherical")
    sums = mixture.statistics(X)
    return (
        abs(mixture.score(X) - mixture.logpdf(X[:1])[0]) < 1e-12
        and sums.n_rows == len(X)
        and sums.mass[0] == len(X)
        and sums.first[0, 0] == 3.0 * len(X)
        and float(gm.fit(X, 1).mixture.means[0, 0]) == 3.0
    )


ONE = gm.Mixture([1.0], [0.0], [1.0], "spherical")
HUNDRED = gm.Mixture(np.full(100, 0.01), np.arange(100.0), np.ones(100), "spherical")


def _rows(count: int, columns: int = 1) -> np.ndarray:
    return np.broadcast_to(np.ones((1, columns)), (count, columns))


REQUESTS = {
    "predict of 1e13 rows": lambda: ONE.predict(_rows(10**13)),
    "predict_proba of 1e10 rows, K = 100": lambda: HUNDRED.predict_proba(_rows(10**10)),
    "log_joint of 1e17 rows, K = 100": lambda: HUNDRED.log_joint(_rows(10**17)),
    "sample(10**12)": lambda: ONE.sample(10**12),
    "sample(10**18)": lambda: HUNDRED.sample(10**18),
    "sample(10**30)": lambda: ONE.sample(10**30),
    "fit, K = 10**9": lambda: gm.fit(_rows(2 * 10**9), 10**9),
    "fit, K = 10**6, D = 1000, full": lambda: gm.fit(_rows(2 * 10**6, 1000), 10**6),
    "fit, D = 10**6, full": lambda: gm.fit(_rows(10, 10**6), 1),
    "fit, D = 10**6, tied": lambda: gm.fit(_rows(10, 10**6), 1, covariance_type="tied"),
    "OnlineMixture, D = 10**6": lambda: gm.OnlineMixture(1, start_rows=10).update(_rows(20, 10**6)),
    "select, D = 10**6": lambda: gm.select(_rows(10, 10**6), [1], covariance_types=["full"]),
}


def _is_refused(call) -> bool:
    """Whether the error is a MemoryError or an input error that says how many bytes."""
    try:
        call()
    except (MemoryError, gm.InvalidInputError) as error:
        print(f"    {type(error).__name__}: {error}")
        return BYTES.search(str(error)) is not None
    return False
