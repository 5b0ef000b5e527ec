"""Whole fits. The log-likelihood is tracked beside the time: speed must not cost quality."""

import warnings

import gaussmix as gm
from gaussmix import datasets
from gaussmix.errors import GaussmixWarning

from . import _data


class FixedIterations:
    """What does an EM iteration cost inside a fit, with M-step, checks and all threads?

    Ten iterations from a given start; tol = 0 keeps the count the same in every version.
    """

    params = (_data.SHAPE_NAMES, _data.COVARIANCE_TYPES)
    param_names = ("shape", "covariance_type")
    timeout = 300

    def setup(self, shape, covariance_type):
        # Ten iterations do not converge; a small sample may collapse a component. Both are fine.
        warnings.simplefilter("ignore", GaussmixWarning)
        self.case = _data.make(_data.SHAPES[shape], covariance_type)

    def fit(self):
        return gm.fit(
            self.case.X,
            self.case.start.n_components,
            covariance_type=self.case.start.covariance_type,
            start=self.case.start,
            tol=0.0,
            max_iter=10,
        )

    def time_fit(self, shape, covariance_type):
        self.fit()

    def track_mean_log_likelihood(self, shape, covariance_type):
        return self.fit().log_likelihood[-1] / len(self.case.X)

    track_mean_log_likelihood.unit = "nats per row"


class Default:
    """What does a user wait for who changes nothing, k-means start included, and how good is it?"""

    timeout = 300

    def setup(self):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.shape = _data.SHAPES["d8k16"]
        self.X = _data.make(self.shape).X

    def fit(self):
        return gm.fit(self.X, self.shape.n_components, seed=0)

    def time_fit(self):
        self.fit()

    def track_mean_log_likelihood(self):
        return self.fit().log_likelihood[-1] / len(self.X)

    track_mean_log_likelihood.unit = "nats per row"


class Convergence:
    """What does a fit to a fine tolerance take from a given start, and where does it end?

    The number of iterations is tracked as well: a time that falls with it says nothing of the
    kernels.
    """

    params = (["d2k8", "d8k16", "d16k32"], _data.COVARIANCE_TYPES)
    param_names = ("shape", "covariance_type")
    timeout = 300

    def setup(self, shape, covariance_type):
        warnings.simplefilter("ignore", GaussmixWarning)
        size = _data.SHAPES[shape]
        self.case = _data.make(
            size._replace(n_samples=min(size.n_samples, 50_000)), covariance_type
        )

    def fit(self):
        start = self.case.start
        return gm.fit(
            self.case.X,
            start.n_components,
            covariance_type=start.covariance_type,
            start=start,
            tol=1e-6,
            max_iter=500,
        )

    def time_fit(self, shape, covariance_type):
        self.fit()

    def track_iterations(self, shape, covariance_type):
        return self.fit().n_iter

    def track_mean_log_likelihood(self, shape, covariance_type):
        return self.fit().log_likelihood[-1] / len(self.case.X)

    track_mean_log_likelihood.unit = "nats per row"


class SmallData:
    """What does everything around the kernels cost? Old Faithful: N = 272, D = 2, K = 3."""

    params = (_data.COVARIANCE_TYPES,)
    param_names = ("covariance_type",)

    def setup(self, covariance_type):
        warnings.simplefilter("ignore", GaussmixWarning)
        self.X = datasets.load("faithful").X
        self.start = gm.fit(self.X, 3, covariance_type=covariance_type, max_iter=1, seed=0).mixture

    def time_default_fit(self, covariance_type):
        gm.fit(self.X, 3, covariance_type=covariance_type, seed=0)

    def time_100_iterations(self, covariance_type):
        gm.fit(self.X, 3, covariance_type=covariance_type, start=self.start, tol=0.0, max_iter=100)

    def time_50_starts(self, covariance_type):
        gm.fit(self.X, 3, covariance_type=covariance_type, n_starts=50, seed=0)

    def track_log_likelihood_of_50_starts(self, covariance_type):
        result = gm.fit(self.X, 3, covariance_type=covariance_type, n_starts=50, seed=0)
        return result.log_likelihood[-1]

    track_log_likelihood_of_50_starts.unit = "nats"
