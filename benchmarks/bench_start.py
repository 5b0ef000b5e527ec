"""Initial mixtures: what a start costs beside EM iterations, and what it leads to."""

import statistics
import time
import warnings

import gaussmix as gm
from gaussmix.errors import GaussmixWarning

from . import _data

KINDS = ["kmeans", "k-means++", "random", "random_from_data"]


class Starts:
    """What does each kind of start cost on many rows, and how good is the fit it leads to?

    N = 400,000, D = 8, K = 16. With max_iter=0 a fit is the start, one pass for the column scales
    and one for the log-likelihood.
    """

    params = (KINDS,)
    param_names = ("kind",)
    timeout = 300

    def setup(self, kind):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.shape = _data.SHAPES["d8k16"]
        self.case = _data.make(self.shape)

    def fit(self, **arguments):
        return gm.fit(self.case.X, self.shape.n_components, seed=0, **arguments)

    def time_start(self, kind):
        self.fit(start=kind, max_iter=0)

    def track_iterations_that_it_costs(self, kind):
        # In turns, so that a machine that slows down slows both.
        ratios = []
        for _ in range(1 if _data.SMALL else 7):
            start = self.fit(start=kind, max_iter=0).timings["start"]
            began = time.perf_counter()
            self.case.start.statistics(self.case.X)
            ratios.append(start / (time.perf_counter() - began))
        return statistics.median(ratios)

    track_iterations_that_it_costs.unit = "EM iterations"

    def track_mean_log_likelihood_after_it(self, kind):
        # The median over seeds: one seed says little of a start that is drawn.
        reached = [
            gm.fit(self.case.X, self.shape.n_components, start=kind, seed=seed).log_likelihood[-1]
            for seed in range(2 if _data.SMALL else 5)
        ]
        return statistics.median(reached) / len(self.case.X)

    track_mean_log_likelihood_after_it.unit = "nats per row"


class SmallStarts:
    """What does a start cost where the data are small? Old Faithful: N = 272, D = 2, K = 3."""

    params = (KINDS,)
    param_names = ("kind",)

    def setup(self, kind):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.X = gm.datasets.load("faithful").X

    def time_start(self, kind):
        gm.fit(self.X, 3, start=kind, max_iter=0, seed=0)
