"""A mixture as JSON, and the parameters of other libraries."""

from __future__ import annotations

import json

import numpy as np

from ..covariance import family
from ..errors import GaussmixError, InvalidInputError, ModelFileError
from ..files.container import strict_json
from ..files.records import checked_names, values
from ..inputs import validate
from ..kernels import contract

FORMAT = "gaussmix mixture 1"
_DEPTH = 5
# What is left of a zero by the arithmetic of others, relative to the standard deviations.
_RTOL = 1e-10


def to_json(mixture, feature_names) -> str:
    """The text; see `Mixture.to_json`."""
    content = {"format": FORMAT, "covariance_type": mixture.covariance_type}
    if feature_names is not None:
        content |= {"feature_names": checked_names(feature_names, mixture.n_features)}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    for name in ("weights", "means", "covariances"):
        lines.append(f'"{name}": {_rows(getattr(mixture, name).tolist(), " ")}')
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _rows(value: list, indent: str) -> str:
    """Nested lists, a line for each innermost one; floats as `repr` has them, which is exact."""
    if not isinstance(value[0], list):
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    lines = f",\n{inner}".join(_rows(each, inner) for each in value)
    return f"[\n{inner}{lines}\n{indent}]"


def from_json(make, text):
    """The mixture, made by `make`; see `Mixture.from_json`."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    if not isinstance(text, bytes):
        raise InvalidInputError(f"text is {validate.shown(text)}; pass a str or bytes.")
    content = strict_json(text, "the JSON", _DEPTH, fractions=True)
    names = {"feature_names": list} if "feature_names" in content else {}
    try:
        tag, covariance_type, weights, means, covariances, *names = values(
            content,
            "the JSON: ",
            **{"format": str, "covariance_type": str, "weights": list, "means": list},
            covariances=list,
            **names,
        )
        if tag != FORMAT:
            raise InvalidInputError(f"its format is {validate.shown(tag)}, not {FORMAT!r}.")
        shape = np.shape(_numbers("means", means))
        if len(shape) != 2:
            raise InvalidInputError(f"means has shape {shape}; it must be (K, D).")
        if names:
            checked_names(names[0], shape[1])
        expected = family(covariance_type).shape(*shape)
        given = _numbers("covariances", covariances)
        if given.shape != expected:
            raise InvalidInputError(f"covariances has shape {given.shape}, not {expected}.")
        return make(_numbers("weights", weights), means, given, covariance_type)
    except GaussmixError as error:
        raise ModelFileError(f"the JSON does not hold a valid mixture: {error}") from error


def _numbers(name: str, value: list) -> np.ndarray:
    """As an array; JSON also has text, true and null, which NumPy would take for numbers."""
    stack = [value]
    while stack:
        for item in stack.pop():
            if type(item) is list:
                stack.append(item)
            elif type(item) not in (int, float):
                raise InvalidInputError(f"{name} holds {validate.shown(item)}, no number.")
    return validate.array(name, value)


def from_arrays(make, pro, mean, sigma, covariance_type):
    """The mixture, made by `make`; see `Mixture.from_arrays`."""
    chosen = family(covariance_type).name
    weights = np.atleast_1d(validate.array("pro", pro))
    if weights.ndim != 1:
        raise InvalidInputError(f"pro has shape {weights.shape}; it must be (K,).")
    n_components = len(weights)
    means = np.atleast_1d(validate.array("mean", mean))
    if means.ndim == 1:
        means = means[None, :] if len(means) == n_components else means[:, None]
    if means.ndim != 2 or means.shape[1] != n_components:
        raise InvalidInputError(
            f"mean has shape {means.shape}; it must be (D, K) with K = {n_components}."
        )
    n_features = len(means)
    sigma = validate.array("sigma", sigma)
    if n_features == 1 and sigma.size in (1, n_components):
        sigma = np.broadcast_to(sigma.reshape(1, 1, -1), (1, 1, n_components))
    elif sigma.shape == (n_features, n_features):
        sigma = np.broadcast_to(sigma[:, :, None], (n_features, n_features, n_components))
    if sigma.shape != (n_features, n_features, n_components):
        raise InvalidInputError(
            f"sigma has shape {sigma.shape}; it must be (D, D, K) = "
            f"({n_features}, {n_features}, {n_components})."
        )
    return make(weights, means.T, _reduced(np.moveaxis(sigma, -1, 0), chosen), chosen)


def _reduced(full: np.ndarray, covariance_type: str) -> np.ndarray:
    """Matrices (K, D, D) as the type holds them; InvalidInputError if it does not hold them."""
    variances = np.einsum("kdd->kd", full)
    if covariance_type == "full":
        return full
    same = {
        "tied": np.broadcast_to(full[0], full.shape),
        "diag": variances[:, :, None] * np.eye(full.shape[1]),
        "spherical": variances[:, :1, None] * np.eye(full.shape[1]),
    }[covariance_type]
    scale = np.sqrt(np.abs(variances))
    far = np.abs(full - same) > _RTOL * scale[:, :, None] * scale[:, None, :]
    if far.any():
        k, i, j = np.argwhere(far)[0].tolist()
        raise InvalidInputError(
            f"sigma[{i}, {j}, {k}] is {full[k, i, j]:g} where a mixture with {covariance_type} "
            f'covariances has {same[k, i, j]:g}. Use covariance_type="full".'
        )
    return {"tied": full[0], "diag": variances, "spherical": variances[:, 0]}[covariance_type]


def to_sklearn(mixture):
    """The estimator; see `Mixture.to_sklearn`."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError(
            'to_sklearn needs scikit-learn: pip install "gaussmix[sklearn]"'
        ) from error

    estimator = GaussianMixture(mixture.n_components, covariance_type=mixture.covariance_type)
    factors = mixture.precision_factors
    if mixture.kernel_parameters.factor_kind == contract.FACTOR_DIAG:
        cholesky, precisions = factors.copy(), factors**2
    else:
        cholesky = np.ascontiguousarray(factors.swapaxes(-1, -2))
        precisions = cholesky @ factors
    estimator.weights_, estimator.means_ = mixture.weights.copy(), mixture.means.copy()
    estimator.covariances_ = mixture.covariances.copy()
    estimator.precisions_cholesky_, estimator.precisions_ = cholesky, precisions
    estimator.n_features_in_ = mixture.n_features
    estimator.converged_, estimator.n_iter_, estimator.lower_bound_ = True, 0, np.nan
    estimator.lower_bounds_ = []
    return estimator


def from_sklearn(make, estimator):
    """The mixture, made by `make`; see `Mixture.from_sklearn`."""
    names = ("weights_", "means_", "covariances_", "covariance_type")
    missing = [name for name in names if not hasattr(estimator, name)]
    if missing:
        raise InvalidInputError(
            f"estimator is {validate.shown(estimator)} and has no {missing[0]}; pass a fitted "
            "sklearn.mixture.GaussianMixture."
        )
    return make(*(getattr(estimator, name) for name in names))
