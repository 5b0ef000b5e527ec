"""Compare the Cython class with Mixture, and print what a row costs."""

import time

import numpy as np
from outliers import OutlierCounter

import gaussmix as gm

rng = np.random.default_rng(0)
mixture = gm.Mixture(
    np.full(16, 1 / 16), 3 * rng.normal(size=(16, 8)), np.tile(np.eye(8), (16, 1, 1))
)
X = mixture.sample(100_000, seed=1)[0]
densities = mixture.logpdf(X)
threshold = float(np.quantile(densities, 0.01))
X[17, 3] = np.nan
densities[17] = -np.inf

counter = OutlierCounter(mixture.scorer(), threshold)
start = time.perf_counter()
found = counter.count(X)
seconds = time.perf_counter() - start
assert found == np.count_nonzero(densities < threshold), found
print(f"{found} outliers among {len(X)} rows, {1e9 * seconds / len(X):.0f} ns a row")
