"""Scoring through the public methods, validation included."""

import numpy as np

from . import _data


class Score:
    """What does a call cost for one row, for a small batch, and for many rows with all threads?

    One row measures the way to the kernel and back; many rows measure the kernel.
    """

    params = (
        ["logpdf", "predict_proba", "predict", "score", "nearest"],
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


class Scorer:
    """What does a call of the frozen scorer cost, and what does freezing?"""

    params = (
        ["logpdf", "predict_proba", "predict", "nearest"],
        ["d2k3", "d8k16"],
        [1, 16],
        ["full", "tied", "diag"],
    )
    param_names = ("method", "shape", "n_rows", "covariance_type")

    def setup(self, method, shape, n_rows, covariance_type):
        size = {"d2k3": (2, 3), "d8k16": (8, 16)}[shape]
        case = _data.make(_data.Shape(n_rows, *size), covariance_type)
        self.mixture, self.x = case.truth, case.X[0].copy() if n_rows == 1 else case.X
        self.call = getattr(self.mixture.scorer(), method)
        self.out = None if n_rows == 1 and method != "predict_proba" else self.call(self.x)

    def time_call(self, method, shape, n_rows, covariance_type):
        self.call(self.x, out=self.out)


class Freeze:
    """What does making a scorer cost?"""

    params = (["d2k8", "d32k16"], _data.COVARIANCE_TYPES)
    param_names = ("shape", "covariance_type")

    def setup(self, shape, covariance_type):
        size = _data.SHAPES[shape]._replace(n_samples=1)
        self.mixture = _data.make(size, covariance_type).truth

    def time_scorer(self, shape, covariance_type):
        self.mixture.scorer()


class Regression:
    """What does regression of half of the features on the others cost?"""

    params = (["mean", "mean and covariance"], ["d2k8", "d32k16"], _data.COVARIANCE_TYPES)
    param_names = ("wanted", "shape", "covariance_type")

    def setup(self, wanted, shape, covariance_type):
        case = _data.make(
            _data.SHAPES[shape]._replace(n_samples=_data.rows(100_000)), covariance_type
        )
        self.features = range(case.truth.n_features // 2)
        self.X_given = case.X[:, : len(self.features)].copy()
        self.mixture = case.truth
        self.with_covariance = wanted != "mean"

    def time_regress(self, wanted, shape, covariance_type):
        self.mixture.regress(self.X_given, self.features, self.with_covariance)


class Quantile:
    """What do quantiles and values of the distribution function cost?"""

    params = (["cdf", "quantile"], [1, 3, 30])
    param_names = ("method", "n_components")

    def setup(self, method, n_components):
        shape = _data.Shape(_data.rows(100_000), 1, n_components)
        self.call = getattr(_data.make(shape, "spherical").truth, method)
        self.p = np.random.default_rng(0).random(shape.n_samples)

    def time_call(self, method, n_components):
        self.call(self.p)


class Into:
    """Does writing into the caller's array cost less than allocating the result?"""

    params = (["logpdf", "predict_proba", "predict"], [1, 64, _data.rows(1_000_000)])
    param_names = ("method", "n_rows")

    def setup(self, method, n_rows):
        case = _data.make(_data.Shape(n_rows, 8, 16))
        self.X = case.X
        self.call = getattr(case.truth, method)
        self.out = self.call(self.X)

    def time_call(self, method, n_rows):
        self.call(self.X, out=self.out)


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
