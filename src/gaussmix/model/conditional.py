"""Some features of a mixture, without the others or given them: marginals to regression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import underflow
from ..errors import InvalidInputError
from ..inputs import validate

_BLOCK_VALUES = 1 << 17  # of conditional means at a time: 1 MB
_LEAST_ROWS = 64


class Regression(NamedTuple):
    """What `Mixture.regress` returns."""

    mean: np.ndarray  # (N, M): conditional mean of each remaining feature, in data units
    covariance: np.ndarray | None  # (N, M, M): conditional covariance, in squared data units


class ConditionalMixtures:
    """Mixtures of the remaining features, one for each row of given values; a read-only sequence.

    ``self[i]`` is the `Mixture` of row i, made when it is asked for. All rows share the covariances
    (a Gaussian's conditional covariance does not depend on the values given).

    Attributes
    ----------
    weights : ndarray (N, K)
        Posterior probabilities of the components given the values.
    means : ndarray (N, K, M)
    covariances : ndarray
        By `covariance_type`, of the M remaining features.
    covariance_type : str
    """

    def __init__(self, mixture, weights, means, covariances) -> None:
        self._type, self._family = type(mixture), mixture.family
        self.weights, self.means, self.covariances = weights, means, covariances
        for array in (weights, means, covariances):
            array.setflags(write=False)

    @property
    def covariance_type(self) -> str:
        """The covariance type of the mixtures, that of the mixture they come from."""
        return self._family.name

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int):
        """The mixture of a row; negative indices count from the end. O(K M^3)."""
        if isinstance(index, slice):
            raise TypeError("one row at a time: conditionals[i]; weights and means take slices")
        if isinstance(index, (bool, np.bool_)):
            raise TypeError(f"conditionals[{index}]: a row's number is an integer.")
        row = range(len(self))[index]
        return self._type._of(self._family, self.weights[row], self.means[row], self.covariances)

    def __repr__(self) -> str:
        n_rows, n_components, n_features = self.means.shape
        return (
            f"<{validate.counted(n_rows, 'conditional mixture')} of "
            f"{validate.counted(n_components, 'component')} in "
            f"{validate.counted(n_features, 'feature')}, {self.covariance_type}>"
        )


@underflow.ignored
def marginal(mixture, features):
    """The mixture of `features` alone; see `Mixture.marginal`."""
    return _marginal(mixture, validate.features("features", features, mixture.n_features))


@underflow.ignored
def condition(mixture, features, values):
    """The mixture of the other features, or one for each row; see `Mixture.condition`."""
    lines = _Lines(mixture, features)
    n_given = len(lines.given)
    shape = validate.shape_of("values", values)
    if len(shape) == 2:
        rows = _given_rows("values", values, n_given)
    elif shape == (n_given,) or (shape == () and n_given == 1):
        rows = validate.array("values", values).reshape(1, n_given)
    else:
        hint = " Several values of it: values.reshape(-1, 1)." if n_given == 1 else ""
        raise InvalidInputError(
            f"values has shape {shape}; {n_given} feature(s) are given, so ({n_given},) makes one "
            f"mixture, and (N, {n_given}) makes N.{hint}"
        )
    shares = np.empty((len(rows), mixture.n_components))
    means = np.empty((len(rows), mixture.n_components, len(lines.rest)))
    for part, weights, moves in lines.blocks("values", rows, None):
        n_rows = part.stop - part.start
        shares[part] = weights[:, :n_rows].T
        means[part] = (lines.means[:, :, None] + moves[:, :, :n_rows]).transpose(2, 0, 1)
        _require_finite(means[part].reshape(n_rows, -1), "values", rows, part.start)
    conditionals = ConditionalMixtures(mixture, shares, means, lines.covariances)
    return conditionals if len(shape) == 2 else conditionals[0]


@underflow.ignored
def regress(mixture, X_given, features, with_covariance: bool, n_threads) -> Regression:
    """Conditional means and covariances of the other features; see `Mixture.regress`."""
    with_covariance = validate.flag("with_covariance", with_covariance)
    lines = _Lines(mixture, features)
    X = _given_rows("X_given", X_given, len(lines.given))
    n_rest = len(lines.rest)
    # Around the centre: the spread between components does not cancel however far off they lie.
    centre = mixture.kernel_parameters.centre[lines.rest]
    offsets = (lines.means - centre)[:, :, None]
    within = mixture.family.dense(lines.covariances, mixture.n_components, n_rest)
    mean = np.empty((len(X), n_rest))
    covariance = np.empty((len(X), n_rest, n_rest)) if with_covariance else None
    for part, weights, moves in lines.blocks("X_given", X, n_threads):
        means = moves + offsets  # (K, M, rows)
        expected = np.einsum("kb,kmb->mb", weights, means)
        mean[part] = (expected + centre[:, None]).T[: part.stop - part.start]
        _require_finite(mean[part], "X_given", X, part.start)
        if with_covariance:
            means -= expected
            _total_covariance(weights, means, within, covariance[part])
    return Regression(mean, covariance)


def _require_finite(means: np.ndarray, name: str, given: np.ndarray, begin: int) -> None:
    """Raise if a row's means overflow; the first of them belongs to row `begin` of `given`."""
    finite = np.isfinite(means).all(axis=1)
    if finite.all():
        return
    row = begin + int(np.argmin(finite))
    column = int(np.abs(given[row]).argmax())
    raise InvalidInputError(
        f"{name}[{row}, {column}] is {given[row, column]:g}, too far from the mixture: the means "
        "given it exceed float64. Leave such rows out, or rescale the data."
    )


def _total_covariance(weights, deviations, within, out) -> None:
    """Write sum_k r_k (S_k + d_k d_k^T) of each row to `out` (rows, M, M).

    `weights` (K, length), `deviations` d (K, M, length) from the mean over components, `within` S
    (K, M, M); what is padding is dropped here. The law of total covariance, as a sum of squares:
    nothing cancels.
    """
    # A component without a share is left out, even if its deviation squared overflows.
    deviations *= np.sqrt(weights)[:, None]
    n_rest, length = deviations.shape[1:]
    entries = np.empty((n_rest, n_rest, length))
    for i in range(n_rest):
        for j in range(i + 1):
            np.einsum("kb,kb->b", deviations[:, i], deviations[:, j], out=entries[i, j])
            entries[i, j] += np.einsum("kb,k->b", weights, within[:, i, j])
            entries[j, i] = entries[i, j]
    out[:] = entries[:, :, : len(out)].transpose(2, 0, 1)


class _Lines:
    """Each component's regression of the remaining features on the given ones."""

    def __init__(self, mixture, features) -> None:
        n_features = mixture.n_features
        self.given = validate.features("features", features, n_features)
        self.rest = [d for d in range(n_features) if d not in set(self.given)]
        if not self.rest:
            raise InvalidInputError(
                f"features names all {n_features} features, so that none remains. Name fewer."
            )
        slopes, covariances = mixture.family.condition(mixture.covariances, self.given, self.rest)
        self.slopes = slopes
        self.covariances = np.ascontiguousarray(covariances)
        self.means = np.ascontiguousarray(mixture.means[:, self.rest])
        self.marginal = _marginal(mixture, self.given)

    def blocks(self, name: str, X, n_threads) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """For runs of rows: which, posteriors (K, length), moves of the means (K, M, length).

        A move is slopes (x - mean[given]). Rows go last and runs are padded to a fixed length: so
        einsum treats each row by itself, and its bits do not depend on the rows around it.
        """
        n_components, n_rest = self.means.shape
        length = max(_LEAST_ROWS, _BLOCK_VALUES // (n_components * n_rest))
        length -= length % _LEAST_ROWS
        if len(X) <= _LEAST_ROWS:
            length = _LEAST_ROWS
        padded = np.zeros((len(self.given), length))
        weights = np.zeros((n_components, length))
        moves = np.zeros((n_components, n_rest, length))
        for begin in range(0, len(X), length):
            part = slice(begin, min(begin + length, len(X)))
            n_rows = part.stop - begin
            rows = X[part]
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                validate.raise_nonfinite(X, begin + int(np.argmin(finite)), name)
            padded[:, :n_rows] = rows.T
            shares = self.marginal.predict_proba(rows, n_threads)
            self._require_reach(shares, X, begin, name)
            weights[:, :n_rows] = shares.T
            if self.slopes is not None:
                gaps = padded - self.marginal.means[:, :, None]  # (K, F, length)
                slopes = np.broadcast_to(self.slopes, (n_components, *self.slopes.shape[1:]))
                np.einsum("kmf,kfb->kmb", slopes, gaps, out=moves)
            yield part, weights, moves

    def _require_reach(self, shares: np.ndarray, X: np.ndarray, begin: int, name: str) -> None:
        """Raise where a row's squared distances overflow, so that its posteriors say nothing."""
        # They are equal then, of the components of positive weight; which few other rows have.
        equal = np.flatnonzero(np.ptp(shares[:, self.marginal.weights > 0.0], axis=1) == 0.0)
        if shares.shape[1] == 1 or not len(equal):
            return
        lost = np.isneginf(self.marginal.logpdf(X[begin + equal]))
        if lost.any():
            row = begin + int(equal[np.argmax(lost)])
            column = int(np.abs(X[row]).argmax())
            raise InvalidInputError(
                f"{name}[{row}, {column}] is {X[row, column]:g}, too far from the mixture: squared "
                "distances to all components exceed float64, and which one is the likeliest is "
                "lost. Leave such rows out, or rescale the data."
            )


def _marginal(mixture, features: list[int]):
    return type(mixture)._of(
        mixture.family,
        mixture.weights,
        np.ascontiguousarray(mixture.means[:, features]),
        np.ascontiguousarray(mixture.family.marginal(mixture.covariances, features)),
    )


def _given_rows(name: str, value, n_given: int) -> np.ndarray:
    """(N, F) rows of the given features; (N,) if there is one."""
    rows = validate.data(value, name=name, min_rows=0, allow_1d=n_given == 1)
    if rows.shape[1] != n_given:
        raise InvalidInputError(
            f"{name} has shape {rows.shape}, but {n_given} feature(s) are given. Pass one column "
            "for each of features, in their order."
        )
    return rows
