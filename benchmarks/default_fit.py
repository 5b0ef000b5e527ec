"""Is a fit with all defaults faster than scikit-learn's, and does it end as high?

    python -m benchmarks.default_fit                           N = 400,000, D = 8, K = 16, one seed
    python -m benchmarks.default_fit --rows 40000 --seeds 10   ten seeds, fewer rows

k-means, EM and its stopping rule as each library has them: the ratio is what a user sees who
changes one line, not that of the kernels. Each seed is fitted by both in turns; what is printed in
the end are medians over the seeds. The log-likelihoods are of the data, in nats per row, computed
by each library for its own fit.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import gaussmix as gm

from . import _data

SHAPE = _data.SHAPES["d8k16"]


def main(arguments: list[str] | None = None) -> None:
    from sklearn.mixture import GaussianMixture

    parser = argparse.ArgumentParser(
        prog="benchmarks.default_fit", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=SHAPE.n_samples)
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    options = parser.parse_args(arguments)

    warnings.simplefilter("ignore")  # a fit that stops at max_iter is what the defaults give
    X = _data.make(SHAPE._replace(n_samples=options.rows)).X
    print(f"N = {options.rows:,}, D = {SHAPE.n_features}, K = {SHAPE.n_components}")
    ratios, scores = [], []
    for seed in range(options.first, options.first + options.seeds):
        ours, our_score = _fit(gm.GaussianMixture, X, seed)
        theirs, their_score = _fit(GaussianMixture, X, seed)
        ratios.append(theirs / ours)
        scores.append((our_score, their_score))
        print(
            f"seed {seed}: gaussmix {ours:.3f} s to {our_score:.6f} nats per row, scikit-learn "
            f"{theirs:.2f} s to {their_score:.6f}, ratio {ratios[-1]:.1f}",
            flush=True,
        )
    ours, theirs = map(statistics.median, zip(*scores, strict=True))
    print(
        f"median ratio {statistics.median(ratios):.1f}; median log-likelihood {ours:.6f} against "
        f"{theirs:.6f} nats per row"
    )


def _fit(model: type, X, seed: int) -> tuple[float, float]:
    """Seconds of the fit, and the mean log-likelihood it reached."""
    time.sleep(0.2)  # until threads that another library left spinning rest
    began = time.perf_counter()
    fitted = model(SHAPE.n_components, random_state=seed).fit(X)
    return time.perf_counter() - began, float(fitted.score(X))


if __name__ == "__main__":
    main()
