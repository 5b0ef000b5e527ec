"""Mixture parameters in scikit-learn's terms: checks, conversions, and partly given starts.

scikit-learn describes a mixture by precision matrices as well as by covariances, and lets a
user give only some of the parameters of a start. `gaussmix.Mixture` knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..covariance import family
from ..errors import InvalidInputError
from ..inputs import validate
from ..model.mixture import Mixture

WEIGHT_SUM_TOLERANCE = 1e-8  # scikit-learn's, for float64
WEIGHT_SUM_TOLERANCE_FLOAT32 = 1e-6
SYMMETRY_TOLERANCE = 1e-5  # scikit-learn's, here relative to the diagonal


def shape_of(covariance_type: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """Shape of `covariances_` and of the precisions for a covariance type."""
    return {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }[covariance_type]


def _array(name: str, values: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Finite float64 array of `shape`, with scikit-learn's words if it has another one."""
    array = validate.array(name, values)
    fits = len(array.shape) == len(shape) and all(
        wanted is None or found == wanted for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = str(shape).replace("None", "any")
        raise InvalidInputError(
            f"The parameter '{name}' should have the shape of {wanted}, but got {array.shape}. "
            "Pass one entry per component and feature."
        )
    return array


def weights(values: Any, n_components: int | None, name: str = "weights") -> np.ndarray:
    """Checked mixture weights (K,), summing to 1 within 1e-8.

    Raises
    ------
    InvalidInputError
        If the shape is wrong, a weight is outside [0, 1], or their sum is not 1
        (within 1e-8, or 1e-6 for float32).
    """
    single = getattr(values, "dtype", None) == np.float32
    array = _array(name, values, (n_components,))
    if array.size and (array.min() < 0.0 or array.max() > 1.0):
        worst = int(np.argmin(array) if array.min() < 0.0 else np.argmax(array))
        raise InvalidInputError(
            f"The parameter '{name}' should be in the range [0, 1], but got max value "
            f"{array.max():.5f}, min value {array.min():.5f} (component {worst} has "
            f"{array[worst]:g}). Divide non-negative weights by their sum."
        )
    total = float(array.sum())
    error = abs(total - 1.0)
    if error > (WEIGHT_SUM_TOLERANCE_FLOAT32 if single else WEIGHT_SUM_TOLERANCE):
        raise InvalidInputError(
            f"The parameter '{name}' should be normalized, but got sum({name}) = {total:.5f}. "
            "Divide them by their sum."
        )
    return array if error <= WEIGHT_SUM_TOLERANCE else array / total


def means(
    values: Any, n_components: int | None, n_features: int | None, name: str = "means"
) -> np.ndarray:
    """Checked component means (K, D).

    Raises
    ------
    InvalidInputError
        If the shape is wrong or a value is not finite.
    """
    return _array(name, values, (n_components, n_features))


def precisions(
    values: Any, covariance_type: str, n_components: int | None, n_features: int | None
) -> np.ndarray:
    """Checked precisions (inverse covariances), in the covariance type's shape.

    Raises
    ------
    InvalidInputError
        If the shape is wrong, or one is not symmetric positive definite; the message names
        the component and its smallest eigenvalue.
    """
    name = f"{covariance_type} precision"
    array = _array(name, values, shape_of(covariance_type, n_components, n_features))
    if covariance_type in ("diag", "spherical"):
        if array.size and not array.min() > 0.0:
            component = np.unravel_index(int(np.argmin(array)), array.shape)[0]
            raise InvalidInputError(
                f"'{name}' should be positive, but component {component} has {array.min():g}. "
                "Pass inverse variances."
            )
        return array
    for k, matrix in enumerate(array if covariance_type == "full" else array[np.newaxis]):
        owner = f"component {k}" if covariance_type == "full" else "the shared one"
        _check_definite(matrix, name, owner)
    return array


def _check_definite(matrix: np.ndarray, name: str, owner: str) -> None:
    diagonal = np.diag(matrix)
    smallest = diagonal.min()
    if smallest > 0.0:
        # In units in which the diagonal is 1: features of very different scale stay definite.
        scale = 1.0 / np.sqrt(diagonal)
        scaled = matrix * np.outer(scale, scale)
        gap = np.abs(scaled - scaled.T)
        if gap.max() > SYMMETRY_TOLERANCE:
            i, j = np.unravel_index(int(np.argmax(gap)), gap.shape)
            raise InvalidInputError(
                f"'{name}' should be symmetric, positive-definite, but for {owner} [{i}, {j}] is "
                f"{matrix[i, j]:g} and [{j}, {i}] is {matrix[j, i]:g}. Average it with its "
                "transpose."
            )
        if np.linalg.eigvalsh(scaled)[0] > 0.0:
            return
        smallest = np.linalg.eigvalsh(matrix)[0]
    else:
        smallest = min(float(smallest), float(np.linalg.eigvalsh(matrix)[0]))
    raise InvalidInputError(
        f"'{name}' should be symmetric, positive-definite, but {owner} has the smallest "
        f"eigenvalue {smallest:g}. Pass the inverse of a covariance."
    )


def covariances_from_precisions(precision: np.ndarray, covariance_type: str) -> np.ndarray:
    """Covariances whose inverses are `precision` (checked before); O(K D^3)."""
    if covariance_type in ("diag", "spherical"):
        return 1.0 / precision
    # Inverted in units in which the diagonal is 1, so that features in units far apart cost no
    # digits.
    scale = 1.0 / np.sqrt(np.diagonal(precision, axis1=-2, axis2=-1))
    outer = scale[..., :, np.newaxis] * scale[..., np.newaxis, :]
    inverse = np.linalg.inv(precision * outer) * outer
    return (inverse + np.swapaxes(inverse, -1, -2)) / 2


def covariances_from_cholesky(values: Any, covariance_type: str) -> np.ndarray:
    """Covariances for scikit-learn's `precisions_cholesky_`: factors U with U U^T = precision.

    Raises
    ------
    InvalidInputError
        If the shape is wrong or a factor is singular.
    """
    name = "precisions_cholesky"
    array = _array(name, values, shape_of(covariance_type, None, None))
    if covariance_type in ("diag", "spherical"):
        if array.size and not array.min() > 0.0:
            raise InvalidInputError(
                f"'{name}' should be positive, but holds {array.min():g}. "
                "Pass inverse standard deviations."
            )
        return 1.0 / array**2
    try:
        inverse = np.linalg.inv(array)
    except np.linalg.LinAlgError:
        inverse = np.full_like(array, np.inf)
    covariance = np.swapaxes(inverse, -1, -2) @ inverse
    if not np.isfinite(covariance).all():
        raise InvalidInputError(
            f"'{name}' holds a singular factor. Pass upper triangular factors with a positive "
            "diagonal."
        )
    return (covariance + np.swapaxes(covariance, -1, -2)) / 2


def assigned(
    name: str, values: Any, covariance_type: str, n_components: int | None, n_features: int | None
) -> np.ndarray:
    """Checked copy of what a user assigned to the fitted attribute `name`.

    Raises
    ------
    InvalidInputError
        If it cannot be that parameter of a mixture with `n_components` and `n_features`
        (None: not known yet).
    """
    if name == "weights_":
        return weights(values, n_components, name)
    if name == "means_":
        return means(values, n_components, n_features, name)
    if name == "precisions_":
        return precisions(values, covariance_type, n_components, n_features)
    shape = shape_of(covariance_type, n_components, n_features)
    array = _array(name, values, shape)
    if name == "covariances_":
        family(covariance_type).check(array)
    else:
        covariances_from_cholesky(array, covariance_type)
    return array


def mixture_of(pieces: dict[str, np.ndarray], covariance_type: str) -> Mixture | None:
    """The mixture that checked `pieces` make up, or None while some are missing."""
    covariances = pieces.get("covariances_")
    if "precisions_" in pieces:
        covariances = covariances_from_precisions(pieces["precisions_"], covariance_type)
    if "precisions_cholesky_" in pieces:
        covariances = covariances_from_cholesky(pieces["precisions_cholesky_"], covariance_type)
    if covariances is None or "weights_" not in pieces or "means_" not in pieces:
        return None
    return Mixture(pieces["weights_"], pieces["means_"], covariances, covariance_type)


def precisions_cholesky(mixture: Mixture) -> np.ndarray:
    """scikit-learn's `precisions_cholesky_`: upper triangular U with U U^T = precision."""
    if mixture.covariance_type in ("diag", "spherical"):
        return 1.0 / np.sqrt(mixture.covariances)
    return np.swapaxes(mixture.precision_factors, -1, -2).copy()


def precisions_of(mixture: Mixture) -> np.ndarray:
    """Inverse covariances in the shape of the mixture's covariance type."""
    if mixture.covariance_type in ("diag", "spherical"):
        return 1.0 / mixture.covariances
    factors = mixture.precision_factors
    return np.swapaxes(factors, -1, -2) @ factors


@dataclass(frozen=True, eq=False)
class Given:
    """The parameters of a start that the user gave, checked; None for those left open."""

    covariance_type: str
    weights: np.ndarray | None
    means: np.ndarray | None
    precisions: np.ndarray | None

    @classmethod
    def of(cls, estimator, n_features: int, n_components: int | None = None) -> Given:
        """`weights_init`, `means_init` and `precisions_init` of an estimator.

        Raises
        ------
        InvalidInputError
            If one of them cannot be a parameter of such a mixture.
        """
        kind = family(estimator.covariance_type).name
        size = estimator.n_components if n_components is None else n_components
        return cls(
            kind,
            None if estimator.weights_init is None else weights(estimator.weights_init, size),
            None if estimator.means_init is None else means(estimator.means_init, size, n_features),
            None
            if estimator.precisions_init is None
            else precisions(estimator.precisions_init, kind, size, n_features),
        )

    @property
    def complete(self) -> bool:
        """Whether nothing is open."""
        return all(part is not None for part in (self.weights, self.means, self.precisions))

    @property
    def empty(self) -> bool:
        """Whether everything is open."""
        return all(part is None for part in (self.weights, self.means, self.precisions))

    def mixture(self) -> Mixture:
        """The start, if all three are given."""
        covariances = covariances_from_precisions(self.precisions, self.covariance_type)
        return Mixture(self.weights, self.means, covariances, self.covariance_type)

    def put_into(self, estimated: Mixture) -> Mixture:
        """`estimated`, a start from the data, with the given parameters in place of its own.

        The components of `estimated` stand in no particular order. They are paired with the
        given parameters so that the expected complete-data log-likelihood is largest;
        scikit-learn pairs them as k-means happened to number its clusters.
        Costs O(K^2 D^2 + K^3). Component k of the result carries the k-th given parameters.
        """
        if self.complete:
            return self.mixture()
        if self.empty:
            return estimated
        order = _pairing(estimated, self.weights, self.means, self.precisions)
        if self.precisions is not None:
            covariances = covariances_from_precisions(self.precisions, self.covariance_type)
        elif self.covariance_type == "tied":
            covariances = estimated.covariances
        else:
            covariances = estimated.covariances[order]
        return Mixture(
            estimated.weights[order] if self.weights is None else self.weights,
            estimated.means[order] if self.means is None else self.means,
            covariances,
            self.covariance_type,
        )


def _pairing(
    estimated: Mixture,
    given_weights: np.ndarray | None,
    given_means: np.ndarray | None,
    given_precisions: np.ndarray | None,
) -> np.ndarray:
    """order[j] = the component of `estimated` that takes place j."""
    from scipy.optimize import linear_sum_assignment  # scikit-learn depends on SciPy

    n_components, n_features = estimated.n_components, estimated.n_features
    gain = np.zeros((n_components, n_components))  # [estimated component, place]
    if given_weights is not None:
        gain += np.log(np.maximum(given_weights, np.finfo(float).tiny))
    if given_precisions is None:
        # Each component keeps its own covariance, so only the means tell places apart.
        own = precisions_of(estimated)
        per_row = _dense(own, estimated.covariance_type, n_components, n_features)
    else:
        kind = estimated.covariance_type
        per_place = _dense(given_precisions, kind, n_components, n_features)
        flat = estimated.dense_covariances().reshape(n_components, -1)
        gain += np.linalg.slogdet(per_place)[1] / 2
        gain -= flat @ per_place.reshape(n_components, -1).T / 2
    if given_means is not None:
        for j in range(n_components):
            difference = estimated.means - given_means[j]
            if given_precisions is None:
                whitened = np.einsum("kd,kde->ke", difference, per_row)
            else:
                whitened = difference @ per_place[j]
            gain[:, j] -= np.einsum("kd,kd->k", whitened, difference) / 2
    rows, places = linear_sum_assignment(estimated.weights[:, np.newaxis] * gain, maximize=True)
    order = np.empty(n_components, dtype=np.intp)
    order[places] = rows
    return order


def _dense(
    precision: np.ndarray, covariance_type: str, n_components: int, n_features: int
) -> np.ndarray:
    """Precisions of any covariance type as (K, D, D)."""
    if covariance_type == "full":
        return precision
    if covariance_type == "tied":
        return np.broadcast_to(precision, (n_components, n_features, n_features))
    if covariance_type == "spherical":
        precision = precision[:, np.newaxis]
    return precision[..., np.newaxis] * np.eye(n_features)
