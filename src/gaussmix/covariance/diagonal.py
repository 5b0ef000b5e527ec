"""Families without correlations: a variance per component and feature, or per component."""

from __future__ import annotations

import numpy as np

from ..errors import InvalidInputError
from ..kernels import contract
from .base import CovarianceFamily, logarithms, singular


class Diagonal(CovarianceFamily):
    """Axis-aligned ellipsoids: variances (K, D); mclust's VVI."""

    name = "diag"
    layout = "diag"
    factor_kind = contract.FACTOR_DIAG
    step_code = contract.STEP_DIAG

    def shape(self, n_components, n_features):
        return (n_components, n_features)

    def n_parameters(self, n_components, n_features):
        return n_components * n_features

    def check(self, covariances):
        if not (covariances > 0.0).all():
            component, feature = np.argwhere(~(covariances > 0.0))[0]
            raise InvalidInputError(
                f"covariances[{component}, {feature}] is {covariances[component, feature]:g} "
                f"(component {component}); a variance must be positive."
            )

    def factor(self, covariances):
        if not (covariances > 0.0).all():
            component, feature = np.argwhere(~(covariances > 0.0))[0].tolist()
            variance = covariances[component, feature]
            raise singular(component, f"variance {variance:g} of feature {feature}")
        factors = 1.0 / np.sqrt(covariances)
        # One after the other, as in the compiled M-steps: to the bit.
        return factors, np.add.accumulate(logarithms(factors), axis=1)[:, -1]

    def covariance(self, statistics, mass, offset):
        return statistics.second / mass[:, None] - offset**2

    def raise_to(self, floor, covariances):
        below = covariances < floor.variances
        return np.maximum(covariances, floor.variances), below.any(axis=1)

    def keep(self, covariances, previous, empty):
        return np.where(empty[:, None], previous, covariances)

    def dense(self, covariances, n_components, n_features):
        return covariances[:, :, None] * np.eye(n_features)

    def marginal(self, covariances, features):
        return covariances[:, features]

    def condition(self, covariances, given, rest):
        return None, covariances[:, rest]


class Spherical(CovarianceFamily):
    """Balls: one variance per component, (K,); mclust's VII."""

    name = "spherical"
    layout = "spherical"
    factor_kind = contract.FACTOR_DIAG
    step_code = contract.STEP_SPHERICAL

    def shape(self, n_components, n_features):
        return (n_components,)

    def n_parameters(self, n_components, n_features):
        return n_components

    def check(self, covariances):
        if not (covariances > 0.0).all():
            component = int(np.flatnonzero(~(covariances > 0.0))[0])
            raise InvalidInputError(
                f"covariances[{component}] is {covariances[component]:g} (component "
                f"{component}); a variance must be positive."
            )

    def factor(self, covariances):
        if not (covariances > 0.0).all():
            component = int(np.flatnonzero(~(covariances > 0.0))[0])
            raise singular(component, f"variance {covariances[component]:g}")
        # One factor per component; the mixture repeats it for each feature.
        factors = 1.0 / np.sqrt(covariances)
        return factors, logarithms(factors)

    def covariance(self, statistics, mass, offset):
        n_features = statistics.n_features
        return statistics.second / (mass * n_features) - (offset**2).sum(axis=1) / n_features

    def raise_to(self, floor, covariances):
        # Every direction is at least the floor of the widest feature.
        lowest = floor.variances.max()
        return np.maximum(covariances, lowest), covariances < lowest

    def keep(self, covariances, previous, empty):
        return np.where(empty, previous, covariances)

    def dense(self, covariances, n_components, n_features):
        return covariances[:, None, None] * np.eye(n_features)

    def marginal(self, covariances, features):
        return covariances.copy()

    def condition(self, covariances, given, rest):
        return None, covariances.copy()
