"""What a fitted estimator says of rows, in scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..model.mixture import Mixture
from .rows import known_rows
from .state import FittedState


class FittedScores(FittedState):
    """Labels, probabilities and densities under the mixture at hand."""

    def _scored(self, X) -> tuple[Mixture, Any]:
        """The mixture and the rows to score, both of one moment."""
        fitted = self._usable()
        if fitted is None:
            check_is_fitted(self)
        # scikit-learn's checks take a hundred microseconds; a plain array needs none of them.
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == fitted.mixture.n_features
            and fitted.feature_names is None
        ):
            return fitted.mixture, X
        return fitted.mixture, known_rows(self, X, fitted)

    def predict(self, X):
        """(N,) index of the most probable component of each row; ties to the lowest."""
        mixture, rows = self._scored(X)
        return mixture.predict(rows, n_threads=self.n_threads)

    def predict_proba(self, X):
        """(N, K) posterior probability of each component; rows sum to 1."""
        mixture, rows = self._scored(X)
        return mixture.predict_proba(rows, n_threads=self.n_threads)

    def score_samples(self, X):
        """(N,) log density of each row, in nats."""
        mixture, rows = self._scored(X)
        return mixture.logpdf(rows, n_threads=self.n_threads)

    def score(self, X, y=None, sample_weight=None):
        """Mean log-likelihood of `X` per unit weight, in nats; `y` is ignored."""
        mixture, rows = self._scored(X)
        return mixture.score(rows, sample_weight, n_threads=self.n_threads)

    def bic(self, X):
        """Bayesian information criterion on `X`; lower is better."""
        mixture, rows = self._scored(X)
        return mixture.bic(rows, n_threads=self.n_threads)

    def aic(self, X):
        """Akaike information criterion on `X`; lower is better."""
        mixture, rows = self._scored(X)
        return mixture.aic(rows, n_threads=self.n_threads)
