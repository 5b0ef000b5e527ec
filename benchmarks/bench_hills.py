"""Modes and hills."""

from gaussmix import merge
from gaussmix.hills import modes as modes_module

from . import _data

# (D, K)
_SHAPES = {
    "d1k10": (1, 10),
    "d1k100": (1, 100),
    "d2k10": (2, 10),
    "d8k16": (8, 16),
    "d8k100": (8, 100),
}


class Modes:
    """What does it cost to find all modes, of components far apart and of overlapping ones?"""

    params = (["d1k100", "d2k10", "d8k100"], _data.COVARIANCE_TYPES)
    param_names = ("shape", "covariance_type")

    def setup(self, shape, covariance_type):
        size = _data.Shape(1, *_SHAPES[shape])
        self.mixture = _data.make(size, covariance_type).truth

    def time_modes(self, shape, covariance_type):
        modes_module.survey.cache_clear()
        self.mixture.modes()

    def track_modes(self, shape, covariance_type):
        return len(self.mixture.modes())


class Hills:
    """What does it cost to climb from each of many rows?"""

    params = (["ascent", "component"], ["d1k10", "d2k10", "d8k16"], _data.COVARIANCE_TYPES)
    param_names = ("method", "shape", "covariance_type")

    def setup(self, method, shape, covariance_type):
        size = _data.Shape(_data.rows(100_000), *_SHAPES[shape])
        case = _data.make(size, covariance_type)
        self.X, self.mixture = case.X, case.truth
        self.mixture.modes()

    def time_hills(self, method, shape, covariance_type):
        self.mixture.hills(self.X, method)


class Merge:
    """What does merging by entropy cost?"""

    def setup(self):
        case = _data.make(_data.Shape(_data.rows(100_000), 2, 20), "full")
        self.X, self.mixture = case.X, case.truth

    def time_merge(self):
        merge(self.mixture, by="entropy", X=self.X)
