"""Rows as scikit-learn checks them: their number, and the names of their columns."""

from __future__ import annotations

import copy

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from ..errors import InvalidInputError
from ..inputs import validate
from ..passes import sources
from .state import Fitted, FittedState

NO_CHUNKS = "Fit data in chunks by gaussmix.fit, or call partial_fit with one after the other."


class _InputRecord(BaseEstimator):
    """Takes the feature names of a fit's input until the fit has succeeded."""


def training_rows(X, min_rows: int = 1) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of `X`, and the names of its columns if all are text."""
    sources.refuse_chunks(X, NO_CHUNKS)
    rows = validate.data(X, min_rows=min_rows)
    record = _InputRecord()
    if not isinstance(X, (np.ndarray, list, tuple)):
        try:
            validate_data(record, X, skip_check_array=True)
        except ValueError as error:
            raise InvalidInputError(str(error)) from error
    return rows, getattr(record, "feature_names_in_", None)


def known_rows(estimator: FittedState, X, fitted: Fitted) -> np.ndarray:
    """The rows of `X`, whose columns must be those that `fitted`, of `estimator`, has seen."""
    rows = validate.data(X, min_rows=0)
    if rows.shape[1] != fitted.n_features:
        raise InvalidInputError(
            f"X has {rows.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{fitted.n_features} features as input. Pass the columns it was fitted "
            "with."
        )
    if fitted.feature_names is not None or not isinstance(X, (np.ndarray, list, tuple)):
        before = copy.copy(estimator)  # a fit that ends meanwhile must not mix old and new
        before._adopt(fitted)
        try:
            validate_data(before, X, reset=False, skip_check_array=True)
        except ValueError as error:
            raise InvalidInputError(str(error)) from error
    return rows
