"""Peak memory of whole processes."""

import warnings

import numpy as np

import gaussmix as gm
from gaussmix.errors import GaussmixWarning

from . import _data


class LargeData:
    """How much memory do a fit and scoring need beyond the data? Subtract `peakmem_data_alone`.

    N = 2,000,000, D = 8, K = 32: one float64 array of N x K would be 512 MB, the data are 128 MB.
    """

    timeout = 300

    def setup(self):
        warnings.simplefilter("ignore", GaussmixWarning)
        rng = np.random.default_rng(_data.SEED)
        # Filled in place: temporary arrays here would raise the peak and hide a fit's own.
        self.X = np.empty((_data.rows(2_000_000), 8))
        rng.standard_normal(out=self.X)
        self.X[::2] += 3.0
        self.start = gm.Mixture(
            np.full(32, 1 / 32), rng.standard_normal((32, 8)), np.tile(np.eye(8), (32, 1, 1))
        )

    def peakmem_data_alone(self):
        self.X.sum()

    def peakmem_fit(self):
        gm.fit(self.X, 32, start=self.start, tol=0.0, max_iter=2)

    def peakmem_fit_default_start(self):
        gm.fit(self.X, 32, max_iter=2, seed=0)

    def peakmem_score(self):
        self.start.score(self.X)
