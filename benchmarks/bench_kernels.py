"""The passes over the rows alone: no validation, no M-step, one thread."""

import numpy as np

import gaussmix as gm
from gaussmix import backends
from gaussmix.kernels import contract

from . import _data


class Accumulate:
    """What does one E-step with its sums cost per covariance type, shape and input precision?

    Each covariance type is another pair of factor kind and moment layout.
    """

    params = (_data.SHAPE_NAMES, _data.COVARIANCE_TYPES, ["float64", "float32"])
    param_names = ("shape", "covariance_type", "dtype")

    def setup(self, shape, covariance_type, dtype):
        size = _data.SHAPES[shape]
        case = _data.make(size, covariance_type, np.dtype(dtype).type)
        self.X = case.X
        self.parameters = case.start.kernel_parameters
        self.layout = contract.LAYOUTS[case.start.family.layout]
        key = (size.n_components, size.n_features, self.layout)
        self.plan = contract.plan(*key)
        self.sums = np.zeros((self.plan.n_accumulators, contract.offsets(*key).size))
        self.accumulate = backends.active().accumulate

    def time_accumulate(self, shape, covariance_type, dtype):
        self.accumulate(
            self.X,
            None,
            0,
            self.parameters,
            self.layout,
            contract.SOFT,
            self.sums,
            self.plan,
            1,
        )


class Evaluate:
    """What does each stage cost before the sums, and what is written for each row?

    Log joint densities are pack and density alone; the others add the rule. What `Accumulate`
    takes beyond responsibilities are the moments.
    """

    params = (
        _data.SHAPE_NAMES,
        _data.COVARIANCE_TYPES,
        ["log_joint", "logpdf", "responsibilities", "labels"],
    )
    param_names = ("shape", "covariance_type", "want")

    def setup(self, shape, covariance_type, want):
        case = _data.make(_data.SHAPES[shape], covariance_type)
        self.X = case.X
        self.parameters = case.start.kernel_parameters
        n_rows, n_components = len(case.X), case.start.n_components
        self.want, self.out = {
            "log_joint": (contract.WANT_LOG_JOINT, np.empty((n_rows, n_components))),
            "logpdf": (contract.WANT_LOGPDF, np.empty(n_rows)),
            "responsibilities": (
                contract.WANT_RESPONSIBILITIES,
                np.empty((n_rows, n_components)),
            ),
            "labels": (contract.WANT_LABELS, np.empty(n_rows, dtype=np.int64)),
        }[want]
        self.evaluate = backends.active().evaluate

    def time_evaluate(self, shape, covariance_type, want):
        self.evaluate(self.X, self.parameters, self.want, self.out, 1)


class MemoryOrder:
    """What does reading rows cost that do not lie one after the other? (pack)

    One spherical component: little but reading is left. "strided" is every second column of every
    second row of a larger array.
    """

    params = (["C", "Fortran", "strided"], ["float64", "float32"])
    param_names = ("order", "dtype")

    def setup(self, order, dtype):
        n_rows, n_features = _data.rows(1_000_000), 8
        rng = np.random.default_rng(_data.SEED)
        X = rng.standard_normal((n_rows, n_features)).astype(dtype)
        if order == "Fortran":
            X = np.asfortranarray(X)
        elif order == "strided":
            wide = np.zeros((2 * n_rows, 2 * n_features), dtype)
            wide[::2, ::2] = X
            X = wide[::2, ::2]
        self.X = X
        mixture = gm.Mixture([1.0], np.zeros((1, n_features)), [1.0], "spherical")
        self.parameters = mixture.kernel_parameters
        self.out = np.empty(n_rows)
        self.evaluate = backends.active().evaluate

    def time_logpdf(self, order, dtype):
        self.evaluate(self.X, self.parameters, contract.WANT_LOGPDF, self.out, 1)
