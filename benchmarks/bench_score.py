"""Scoring through the public methods, validation included."""

from . import _data


class Score:
    """What does a call cost for one row, for a small batch, and for many rows with all threads?

    One row measures the way to the kernel and back; many rows measure the kernel.
    """

    params = (
        ["logpdf", "predict_proba", "predict", "score"],
        [1, 64, _data.rows(1_000_000)],
        _data.COVARIANCE_TYPES,
    )
    param_names = ("method", "n_rows", "covariance_type")

    def setup(self, method, n_rows, covariance_type):
        case = _data.make(_data.Shape(n_rows, 8, 16), covariance_type)
        self.X = case.X
        self.call = getattr(case.truth, method)

    def time_call(self, method, n_rows, covariance_type):
        self.call(self.X)


class Sample:
    """What does drawing rows cost?"""

    params = (["d2k8", "d32k16"], _data.COVARIANCE_TYPES)
    param_names = ("shape", "covariance_type")

    def setup(self, shape, covariance_type):
        self.n_rows = _data.rows(100_000)
        size = _data.SHAPES[shape]._replace(n_samples=1)
        self.mixture = _data.make(size, covariance_type).truth

    def time_sample(self, shape, covariance_type):
        self.mixture.sample(self.n_rows, seed=0)
