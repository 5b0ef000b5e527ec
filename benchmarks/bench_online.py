"""Online EM: what a pass over a stream costs beside EM iterations, and how near it comes to EM."""

import statistics
import time
import warnings

import gaussmix as gm
from gaussmix.errors import GaussmixWarning

from . import _data

SHAPE = _data.Shape(_data.rows(1_000_000), 8, 16)
START_ROWS = 200 if _data.SMALL else None


def stream(X, batch_rows, seed=0):
    """The mixture after one pass in batches, its start included."""
    online = gm.OnlineMixture(SHAPE.n_components, seed=seed, start_rows=START_ROWS)
    for begin in range(0, len(X), batch_rows):
        online.update(X[begin : begin + batch_rows])
    return online


class OnePass:
    """What does one pass over 1,000,000 rows cost (D = 8, K = 16), and where does it lead?"""

    params = ([1000, 10_000],)
    param_names = ("batch_rows",)
    timeout = 300

    def setup(self, batch_rows):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.case = _data.make(SHAPE)

    def time_pass(self, batch_rows):
        stream(self.case.X, batch_rows)

    def track_iterations_that_it_costs(self, batch_rows):
        # In turns, so that a machine that slows down slows both.
        ratios = []
        for _ in range(1 if _data.SMALL else 5):
            began = time.perf_counter()
            stream(self.case.X, batch_rows)
            passed = time.perf_counter() - began
            fit = gm.fit(
                self.case.X, SHAPE.n_components, start=self.case.start, max_iter=5, tol=0.0
            )
            ratios.append(passed * fit.n_iter / fit.timings["em"])
        return statistics.median(ratios)

    track_iterations_that_it_costs.unit = "EM iterations"

    def track_held_out_log_likelihood_against_em(self, batch_rows):
        # The worst of a few seeds: one seed says little of a start that is drawn.
        held_out = self.case.truth.sample(SHAPE.n_samples // 10, seed=_data.SEED)[0]
        em = gm.fit(self.case.X, SHAPE.n_components, seed=0, tol=1e-5, max_iter=300).mixture
        best = em.score(held_out)
        reached = [
            stream(self.case.X, batch_rows, seed).mixture.score(held_out)
            for seed in range(1 if _data.SMALL else 3)
        ]
        return 100.0 * (min(reached) - best) / abs(best)

    track_held_out_log_likelihood_against_em.unit = "% of it"


class SmallBatches:
    """What does an update of few rows cost?"""

    params = ([1, 100, 1000], _data.COVARIANCE_TYPES)
    param_names = ("batch_rows", "covariance_type")

    def setup(self, batch_rows, covariance_type):
        warnings.simplefilter("ignore", GaussmixWarning)
        case = _data.make(SHAPE._replace(n_samples=20_000), covariance_type)
        self.X = case.X[:batch_rows]
        self.online = gm.OnlineMixture(
            SHAPE.n_components, covariance_type=covariance_type, start=case.start, start_rows=5000
        )
        self.online.update(case.X)

    def time_update(self, batch_rows, covariance_type):
        self.online.update(self.X)
