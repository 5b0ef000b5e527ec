"""The passes over the rows alone: no validation, no M-step, one thread."""

import numpy as np

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
    """What does scoring rows cost without the sums, by what is written for each row?"""

    params = (
        _data.SHAPE_NAMES,
        _data.COVARIANCE_TYPES,
        ["logpdf", "responsibilities", "labels"],
    )
    param_names = ("shape", "covariance_type", "want")

    def setup(self, shape, covariance_type, want):
        case = _data.make(_data.SHAPES[shape], covariance_type)
        self.X = case.X
        self.parameters = case.start.kernel_parameters
        n_rows, n_components = len(case.X), case.start.n_components
        self.want, self.out = {
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
