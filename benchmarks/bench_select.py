"""Choosing K: what does the sweep cost, and what does it reach, beside separate fits?"""

import time
import warnings

import gaussmix as gm
from gaussmix import datasets
from gaussmix.errors import GaussmixWarning

COUNTS = range(1, 10)
SEPARATE_STARTS = 30  # what separate fits need for log-likelihoods near the sweep's


class Faithful:
    """K = 1..9 and four covariance types on Old Faithful, N = 272, D = 2."""

    timeout = 300

    def setup(self):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.X = datasets.load("faithful").X

    def time_select(self):
        gm.select(self.X, COUNTS, seed=0)

    def time_separate_fits(self):
        self.separate()

    def separate(self):
        """Total log-likelihood of separate fits, all candidates together."""
        return sum(
            gm.fit(
                self.X,
                count,
                covariance_type=name,
                n_starts=SEPARATE_STARTS,
                tol=1e-4,
                max_iter=1000,
                seed=0,
            ).log_likelihood[-1]
            for name in ("full", "tied", "diag", "spherical")
            for count in COUNTS
        )

    def track_share_of_separate_time(self):
        began = time.perf_counter()
        gm.select(self.X, COUNTS, seed=0)
        between = time.perf_counter()
        self.separate()
        return (between - began) / (time.perf_counter() - between)

    track_share_of_separate_time.unit = "ratio"

    def track_log_likelihood(self):
        return gm.select(self.X, COUNTS, seed=0).table["log_likelihood"].sum()

    track_log_likelihood.unit = "nats"
