"""The fitted state of the estimator: one value, swapped as a whole, behind every attribute.

A reader in another thread sees the old model or the new one, never a mixture of both, and a
fit that fails has nothing to undo.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..algorithms.results import FitResult
from ..covariance import family
from ..errors import InvalidInputError
from ..inputs import validate
from ..model.mixture import Mixture
from ..streams.online import OnlineMixture
from . import parameters

# Estimators in the middle of a fit. Outside the objects, so that copies and pickles of them do
# not take it along; with the process id, so that a forked child is not locked by what its
# parent was doing. `dict.setdefault` is atomic, so there is no lock that a fork could break.
_fitting: dict[tuple[int, int], object] = {}


@contextmanager
def only_fit_of(estimator: FittedState):
    """Refuse a second fit of the same object while one is running.

    Raises
    ------
    RuntimeError
        If another thread is fitting `estimator`.
    """
    key = (os.getpid(), id(estimator))
    token = object()
    try:
        if _fitting.setdefault(key, token) is not token:
            raise RuntimeError(
                "fit already running on this object, in another thread. "
                "Fit a clone of it there (sklearn.base.clone)."
            )
        yield
    finally:
        if _fitting.get(key) is token:
            del _fitting[key]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit leaves behind; swapped as a whole."""

    mixture: Mixture
    feature_names: np.ndarray | None = None
    result: FitResult | None = None  # None where the user assigned the parameters
    online: OnlineMixture | None = None  # that `partial_fit` goes on with

    @property
    def n_features(self) -> int:
        """D."""
        return self.mixture.n_features

    @property
    def ready(self) -> bool:
        """Whether there is a mixture."""
        return True

    def check_fits(self, n_components: int, covariance_type: str, n_features: int) -> None:
        """Raise InvalidInputError if a fit of this form cannot start from the mixture."""
        mixture = self.mixture
        found = (mixture.n_components, mixture.covariance_type, mixture.n_features)
        if found != (n_components, covariance_type, n_features):
            raise InvalidInputError(
                f"warm_start=True, but the mixture at hand has {found[0]} components, "
                f"covariance_type={found[1]!r} and {found[2]} features, and the fit asks for "
                f"n_components={n_components}, covariance_type={covariance_type!r} and "
                f"{n_features} features. Set warm_start=False."
            )

    def previous_log_likelihood(self, weight: float) -> float | None:
        """Total, in nats, one iteration before the mixture; None if other data come next.

        With as much weight they are taken for the same ones. Then two fits of one iteration are
        the same as one of two, the stopping rule included.
        """
        result = self.result
        if (
            result is None
            or result.n_iter == 0
            or not math.isclose(result.statistics.weight, weight, rel_tol=1e-12)
        ):
            return None
        return float(result.log_likelihood[-2])


class Streamed(Fitted):
    """What `partial_fit` leaves behind: its mixture is made when it is asked for."""

    def __init__(self, online: OnlineMixture, feature_names: np.ndarray | None) -> None:
        object.__setattr__(self, "online", online)
        object.__setattr__(self, "feature_names", feature_names)

    @property
    def mixture(self) -> Mixture:
        """That of the stream so far."""
        return self.online.mixture

    @property
    def n_features(self) -> int:
        """D."""
        return self.online.n_features

    @property
    def ready(self) -> bool:
        """Whether as many rows as components have been seen."""
        return self.online.ready


class _Parameter:
    """A parameter of the fitted mixture: read-only array when read, checked when assigned."""

    def __init__(self, description: str) -> None:
        self.__doc__ = description

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, estimator, owner=None):
        if estimator is None:
            return self
        fitted = estimator._usable()
        if fitted is None:
            pieces = vars(estimator).get("_assigned", {})
            if self.name in pieces:
                return pieces[self.name]
            raise _missing(estimator, self.name)
        if self.name == "precisions_cholesky_":
            array = parameters.precisions_cholesky(fitted.mixture)
        elif self.name == "precisions_":
            array = parameters.precisions_of(fitted.mixture)
        else:
            return getattr(fitted.mixture, self.name[:-1])
        array.setflags(write=False)
        return array

    def __set__(self, estimator, value) -> None:
        estimator._assign(self.name, value)


def _missing(estimator: FittedState, name: str) -> AttributeError:
    kind = type(estimator).__name__
    fitted = estimator._usable()
    if fitted is None:
        return AttributeError(f"{kind!r} object has no attribute {name!r}: it is not fitted yet")
    if fitted.online is not None:
        return AttributeError(
            f"{kind!r} object has no attribute {name!r}: partial_fit has no iterations over rows "
            "that are gone. Call score for a log-likelihood."
        )
    return AttributeError(
        f"{kind!r} object has no attribute {name!r}: its parameters were assigned, not fitted"
    )


class FittedState:
    """The attributes of a fitted estimator, read from its `Fitted` state.

    Parameters of the mixture may be assigned; they are checked at once. On an object that is
    not fitted they are kept until they make up a mixture.
    """

    weights_ = _Parameter("Mixture weights (K,).")
    means_ = _Parameter("Component means (K, D).")
    covariances_ = _Parameter("Covariances, shaped by the covariance type.")
    precisions_ = _Parameter("Inverse covariances, shaped as `covariances_`.")
    precisions_cholesky_ = _Parameter("Upper triangular factors of `precisions_`.")

    def _adopt(self, fitted: Fitted) -> None:
        """Become `fitted`, all in one go."""
        public = {"n_features_in_": fitted.n_features}
        if fitted.feature_names is not None:
            public["feature_names_in_"] = fitted.feature_names
        vars(self).update(_fitted=fitted, **public)
        for name in {"_assigned", "feature_names_in_"} - set(public):
            vars(self).pop(name, None)

    def _usable(self) -> Fitted | None:
        """The fitted state, if there is one that has a mixture."""
        fitted = vars(self).get("_fitted")
        return fitted if fitted is not None and fitted.ready else None

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture; may be assigned, too."""
        return self._of_fit("mixture_").mixture

    @mixture_.setter
    def mixture_(self, mixture: Mixture) -> None:
        if not isinstance(mixture, Mixture):
            raise InvalidInputError(
                f"mixture_ is {validate.shown(mixture)}; assign a gaussmix.Mixture."
            )
        self._adopt(Fitted(mixture))

    @property
    def fit_result_(self):
        """The `gaussmix.FitResult` of the last fit."""
        return self._of_fit("fit_result_", needs_result=True).result

    @property
    def converged_(self) -> bool:
        """Whether the best start reached `tol`."""
        return bool(self._of_fit("converged_", needs_result=True).result.converged)

    @property
    def n_iter_(self) -> int:
        """Iterations of the best start."""
        return int(self._of_fit("n_iter_", needs_result=True).result.n_iter)

    @property
    def lower_bound_(self) -> float:
        """Mean log-likelihood of the training data under the fitted mixture, in nats."""
        fitted = self._of_fit("lower_bound_", needs_result=True)
        return float(fitted.result.log_likelihood[-1] / fitted.result.statistics.weight)

    @property
    def lower_bounds_(self) -> list[float]:
        """Mean log-likelihood after each iteration, in nats; the last is `lower_bound_`."""
        fitted = self._of_fit("lower_bounds_", needs_result=True)
        return (fitted.result.log_likelihood[1:] / fitted.result.statistics.weight).tolist()

    @property
    def n_samples_seen_(self) -> int:
        """Rows of the last fit and of all calls of `partial_fit` since."""
        fitted = vars(self).get("_fitted")
        if fitted is not None and fitted.online is not None:
            return fitted.online.n_rows_seen
        return self._of_fit("n_samples_seen_", needs_result=True).result.statistics.n_rows

    @property
    def n_components_effective_(self) -> int:
        """Components with a weight above 0."""
        weights = self._of_fit("n_components_effective_").mixture.weights
        return int(np.count_nonzero(weights > 0.0))

    def _of_fit(self, name: str, needs_result: bool = False) -> Fitted:
        fitted = self._usable()
        if fitted is None or (needs_result and fitted.result is None):
            raise _missing(self, name)
        return fitted

    def __sklearn_is_fitted__(self) -> bool:
        return self._usable() is not None

    def _assign(self, name: str, value) -> None:
        """Check an assigned parameter and, once there are enough of them, make the mixture."""
        fitted = self._usable()
        if fitted is None:
            kind, shape = family(self.covariance_type).name, (None, None)
            pieces, names = dict(vars(self).get("_assigned", {})), None
        else:
            mixture = fitted.mixture
            kind, shape = mixture.covariance_type, mixture.means.shape
            pieces = {"weights_": mixture.weights, "means_": mixture.means}
            pieces["covariances_"] = mixture.covariances
            names = fitted.feature_names
        array = parameters.assigned(name, value, kind, *shape).copy()
        array.setflags(write=False)
        if name not in ("weights_", "means_"):  # the last of the three forms counts
            for form in ("covariances_", "precisions_", "precisions_cholesky_"):
                pieces.pop(form, None)
        pieces[name] = array
        made = parameters.mixture_of(pieces, kind)
        if made is None:
            self._assigned = pieces
        else:
            self._adopt(Fitted(made, names))
